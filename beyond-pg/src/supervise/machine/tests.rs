use std::time::Duration;

use super::Action::{Abandon, AnnounceReady, Run, Spawn};
use super::*;
use crate::fx::clock;

const BUDGET: StopBudget = StopBudget(Duration::from_secs(30));

/// A machine and its clock.
struct Story {
    now: Instant,
    machine: Machine,
}

impl Story {
    fn begin() -> (Story, Vec<Action>) {
        let now = clock::now();
        let (machine, actions) = Machine::begin(now, BUDGET);
        (Story { now, machine }, actions)
    }

    fn ready() -> Story {
        let (mut story, _) = Story::begin();
        for errand in [Errand::AwaitPostgres, Errand::PostStart, Errand::Login] {
            story.on(Event::Done(errand));
        }
        assert_eq!(story.machine.stage, Stage::Ready);
        story
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.machine.on(self.now, &event)
    }

    /// Sleeps until the machine wants to be woken.
    fn sleep(&mut self) -> Vec<Action> {
        self.now = self
            .machine
            .deadline()
            .expect("the machine waits for something");
        self.on(Event::DeadlinePassed)
    }
}

fn signal(server: Server, signal: Signal) -> Action {
    Action::Signal(server, signal)
}

#[test]
fn a_boot_starts_both_servers_makes_things_true_and_tries_a_login_before_it_is_ready() {
    let (mut story, first) = Story::begin();
    assert_eq!(first, [Spawn(Server::Postgres), Run(Errand::AwaitPostgres)]);
    assert_eq!(
        story.on(Event::Done(Errand::AwaitPostgres)),
        [Spawn(Server::Pooler), Run(Errand::PostStart)]
    );
    assert_eq!(
        story.on(Event::Done(Errand::PostStart)),
        [Run(Errand::Login)]
    );
    assert_eq!(story.on(Event::Done(Errand::Login)), [AnnounceReady]);
}

#[test]
fn an_idle_machine_is_never_woken() {
    assert_eq!(Story::ready().machine.deadline(), None);
}

#[test]
fn a_postgres_that_dies_comes_back_and_post_start_is_not_repeated() {
    let mut story = Story::ready();
    assert_eq!(story.on(Event::Exited(Server::Postgres)), [Abandon]);
    assert_eq!(
        story.sleep(),
        [Spawn(Server::Postgres), Run(Errand::AwaitPostgres)]
    );
    assert_eq!(
        story.on(Event::Done(Errand::AwaitPostgres)),
        [Run(Errand::Login)]
    );
    assert_eq!(story.on(Event::Done(Errand::Login)), [AnnounceReady]);
}

#[test]
fn a_postgres_that_dies_during_post_start_has_it_run_again() {
    let (mut story, _) = Story::begin();
    story.on(Event::Done(Errand::AwaitPostgres));
    assert_eq!(story.on(Event::Exited(Server::Postgres)), [Abandon]);
    story.sleep();
    assert_eq!(
        story.on(Event::Done(Errand::AwaitPostgres)),
        [Run(Errand::PostStart)]
    );
}

#[test]
fn a_pooler_that_dies_comes_back_and_is_ready_only_after_a_login() {
    let mut story = Story::ready();
    assert_eq!(story.on(Event::Exited(Server::Pooler)), [Abandon]);
    assert_eq!(story.sleep(), [Spawn(Server::Pooler), Run(Errand::Login)]);
    assert_eq!(story.on(Event::Done(Errand::Login)), [AnnounceReady]);
}

#[test]
fn a_failed_post_start_is_tried_again() {
    let (mut story, _) = Story::begin();
    story.on(Event::Done(Errand::AwaitPostgres));
    assert_eq!(story.on(Event::Failed(Errand::PostStart)), []);
    assert_eq!(story.sleep(), [Run(Errand::PostStart)]);
}

#[test]
fn a_stop_drains_checkpoints_and_shuts_postgres_down_last() {
    let mut story = Story::ready();
    assert_eq!(
        story.on(Event::StopRequested),
        [
            Abandon,
            signal(Server::Pooler, Signal::Interrupt),
            Run(Errand::AwaitQuiet)
        ]
    );
    assert_eq!(story.on(Event::Exited(Server::Pooler)), []);
    assert_eq!(
        story.on(Event::Done(Errand::AwaitQuiet)),
        [Run(Errand::Checkpoint)]
    );
    assert_eq!(
        story.on(Event::Done(Errand::Checkpoint)),
        [Abandon, signal(Server::Postgres, Signal::Interrupt)]
    );
    assert_eq!(
        story.on(Event::Exited(Server::Postgres)),
        [Abandon, Action::Finish { clean: true }]
    );
}

#[test]
fn clients_that_do_not_leave_are_not_waited_for_longer_than_the_budget() {
    let mut story = Story::ready();
    let began = story.now;
    story.on(Event::StopRequested);
    assert_eq!(
        story.sleep(),
        [
            Abandon,
            signal(Server::Pooler, Signal::Quit),
            Run(Errand::Checkpoint)
        ]
    );
    assert_eq!(
        story.sleep(),
        [Abandon, signal(Server::Postgres, Signal::Interrupt)]
    );
    assert_eq!(story.sleep(), [signal(Server::Postgres, Signal::Quit)]);
    assert_eq!(story.sleep(), [Abandon, Action::Finish { clean: false }]);
    assert!(story.now - began <= BUDGET.0);
}

#[test]
fn postgres_is_never_killed_outright() {
    // There is no such signal: this is a reminder to whoever adds one.
    let _: fn(Signal) = |signal| match signal {
        Signal::Interrupt | Signal::Quit | Signal::Reload => {}
    };
}

#[test]
fn a_stop_during_recovery_interrupts_postgres_at_once() {
    let (mut story, _) = Story::begin();
    assert_eq!(
        story.on(Event::StopRequested),
        [
            Abandon,
            Abandon,
            signal(Server::Postgres, Signal::Interrupt)
        ]
    );
}

#[test]
fn a_stop_while_postgres_waits_out_its_backoff_ends_without_starting_it() {
    let mut story = Story::ready();
    story.on(Event::Exited(Server::Postgres));
    let actions = story.on(Event::StopRequested);
    assert!(
        actions.contains(&Action::Finish { clean: false }),
        "{actions:?}"
    );
    assert!(!actions.contains(&Spawn(Server::Postgres)), "{actions:?}");
}

#[test]
fn a_second_stop_changes_nothing() {
    let mut story = Story::ready();
    story.on(Event::StopRequested);
    assert_eq!(story.on(Event::StopRequested), []);
}

#[test]
fn a_server_that_dies_during_a_stop_is_not_started_again() {
    let mut story = Story::ready();
    story.on(Event::StopRequested);
    story.on(Event::Exited(Server::Pooler));
    assert_eq!(
        story.on(Event::Exited(Server::Postgres)),
        [Abandon, Action::Finish { clean: false }]
    );
    assert_eq!(story.machine.deadline(), None);
}

#[test]
fn crashes_in_a_row_wait_longer_each_time() {
    let mut story = Story::ready();
    let mut waits = Vec::new();
    for _ in 0..4 {
        story.on(Event::Exited(Server::Postgres));
        story.on(Event::Failed(Errand::FallBack));
        let died = story.now;
        story.sleep();
        waits.push((story.now - died).as_millis());
    }
    assert_eq!(waits, [100, 200, 400, 800]);
}

#[test]
fn a_server_that_cannot_even_be_started_is_tried_again() {
    let (mut story, _) = Story::begin();
    assert_eq!(story.on(Event::Exited(Server::Postgres)), [Abandon]);
    assert_eq!(
        story.sleep(),
        [Spawn(Server::Postgres), Run(Errand::AwaitPostgres)]
    );
}

#[test]
fn a_reload_reaches_both_servers_and_none_that_is_stopping() {
    let mut story = Story::ready();
    assert_eq!(
        story.on(Event::ReloadRequested),
        [
            signal(Server::Postgres, Signal::Reload),
            signal(Server::Pooler, Signal::Reload)
        ]
    );
    story.on(Event::StopRequested);
    assert_eq!(story.on(Event::ReloadRequested), []);
}

#[test]
fn three_failed_starts_in_a_row_bring_the_configuration_under_suspicion() {
    let (mut story, _) = Story::begin();
    for _ in 0..2 {
        assert_eq!(story.on(Event::Exited(Server::Postgres)), [Abandon]);
        story.sleep();
    }
    assert_eq!(
        story.on(Event::Exited(Server::Postgres)),
        [Run(Errand::FallBack)]
    );
    assert_eq!(
        story.machine.deadline(),
        None,
        "it is not started before it is known what with"
    );
    assert_eq!(
        story.on(Event::Done(Errand::FallBack)),
        [Spawn(Server::Postgres), Run(Errand::AwaitPostgres)]
    );
    // The next rung takes three more.
    for _ in 0..2 {
        assert_eq!(story.on(Event::Exited(Server::Postgres)), [Abandon]);
        story.sleep();
    }
    assert_eq!(
        story.on(Event::Exited(Server::Postgres)),
        [Run(Errand::FallBack)]
    );
}

#[test]
fn where_no_other_configuration_helps_postgres_is_tried_again_after_its_backoff() {
    let (mut story, _) = Story::begin();
    for _ in 0..2 {
        story.on(Event::Exited(Server::Postgres));
        story.sleep();
    }
    story.on(Event::Exited(Server::Postgres));
    let died = story.now;
    assert_eq!(story.on(Event::Failed(Errand::FallBack)), []);
    assert_eq!(
        story.sleep(),
        [Spawn(Server::Postgres), Run(Errand::AwaitPostgres)]
    );
    assert_eq!((story.now - died).as_millis(), 400);
}

#[test]
fn a_postgres_that_answered_in_between_has_not_failed_to_start() {
    let (mut story, _) = Story::begin();
    for _ in 0..5 {
        story.on(Event::Done(Errand::AwaitPostgres));
        assert_eq!(story.on(Event::Exited(Server::Postgres)), [Abandon]);
        story.sleep();
    }
}

#[test]
fn a_stop_while_a_configuration_is_looked_for_ends_without_starting_postgres() {
    let (mut story, _) = Story::begin();
    for _ in 0..2 {
        story.on(Event::Exited(Server::Postgres));
        story.sleep();
    }
    story.on(Event::Exited(Server::Postgres));
    let actions = story.on(Event::StopRequested);
    assert!(
        actions.contains(&Action::Finish { clean: false }),
        "{actions:?}"
    );
}

#[test]
fn a_pooler_that_is_outdated_ends_between_transactions_and_comes_back() {
    let mut story = Story::ready();
    let interrupt = signal(Server::Pooler, Signal::Interrupt);
    assert_eq!(story.on(Event::PoolerOutdated), [interrupt]);
    assert!(story.machine.expects_end_of(Server::Pooler));
    assert!(!story.machine.expects_end_of(Server::Postgres));
    // A second signal would mean "at once".
    assert_eq!(story.on(Event::PoolerOutdated), []);
    assert_eq!(story.on(Event::Exited(Server::Pooler)), [Abandon]);
    assert_eq!(story.sleep(), [Spawn(Server::Pooler), Run(Errand::Login)]);
    assert_eq!(story.on(Event::Done(Errand::Login)), [AnnounceReady]);
    assert_eq!(story.machine.deadline(), None);
}

#[test]
fn transactions_that_last_keep_an_outdated_pooler_only_so_long() {
    let mut story = Story::ready();
    story.on(Event::PoolerOutdated);
    assert_eq!(story.sleep(), [signal(Server::Pooler, Signal::Quit)]);
    assert_eq!(story.machine.deadline(), None);
}

#[test]
fn a_stop_does_not_hurry_a_pooler_that_ends_already() {
    let mut story = Story::ready();
    story.on(Event::PoolerOutdated);
    assert_eq!(
        story.on(Event::StopRequested),
        [Abandon, Run(Errand::AwaitQuiet)]
    );
    assert_eq!(story.on(Event::PoolerOutdated), []);
}

#[test]
fn a_pooler_that_is_down_has_nothing_to_forget() {
    let mut story = Story::ready();
    story.on(Event::Exited(Server::Pooler));
    assert_eq!(story.on(Event::PoolerOutdated), []);
}
