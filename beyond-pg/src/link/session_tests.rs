use proptest::prelude::*;

use super::*;
use crate::fx::clock;

/// A session and a clock that the story moves.
struct Story {
    session: Session,
    now: Instant,
}

impl Story {
    fn begin() -> Story {
        let (session, actions) = Session::begin();
        assert_eq!(actions, [Action::Dial]);
        let now = clock::now();
        Story { session, now }
    }

    fn after(&mut self, wait: Duration, event: &Event) -> Vec<Action> {
        self.now += wait;
        self.session.on(self.now, event)
    }

    fn at_once(&mut self, event: &Event) -> Vec<Action> {
        self.after(Duration::ZERO, event)
    }

    fn owed(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.session.take_owed()).collect()
    }

    /// Lets the time until the deadline pass.
    fn at_the_deadline(&mut self) -> Vec<Action> {
        self.now = self.session.deadline().expect("something is awaited");
        self.at_once(&Event::DeadlinePassed)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_first_connection_says_ready_and_every_later_one_that_it_is_a_reconnect() {
    let mut story = Story::begin();
    story.at_once(&Event::Dialled);
    assert_eq!(story.owed(), [Message::Ready { reconnect: false }]);
    for _ in 0..3 {
        assert_eq!(story.after(SECOND, &Event::Broken), []);
        assert_eq!(story.at_the_deadline(), [Action::Dial]);
        story.at_once(&Event::Dialled);
        assert_eq!(story.owed(), [Message::Ready { reconnect: true }]);
    }
}

#[test]
fn a_host_that_comes_late_is_told_ready_and_no_reconnect() {
    let mut story = Story::begin();
    for _ in 0..5 {
        story.at_once(&Event::NobodyThere);
        assert_eq!(story.at_the_deadline(), [Action::Dial]);
    }
    story.at_once(&Event::Dialled);
    assert_eq!(story.owed(), [Message::Ready { reconnect: false }]);
}

#[test]
fn a_heartbeat_is_answered_and_many_unread_answers_are_one() {
    let mut story = Story::begin();
    story.at_once(&Event::Dialled);
    story.owed();
    for _ in 0..100 {
        story.at_once(&Event::Received(Message::Heartbeat));
    }
    assert_eq!(story.owed(), [Message::HeartbeatAck]);
    assert_eq!(story.owed(), []);
}

#[test]
fn readiness_is_said_when_it_comes_and_again_on_every_connection_while_it_lasts() {
    let mut story = Story::begin();
    story.at_once(&Event::Dialled);
    story.owed();
    story.at_once(&Event::Readiness(true));
    assert_eq!(story.owed(), [Message::ServiceReady]);
    let again = [Message::Ready { reconnect: true }, Message::ServiceReady];
    story.at_once(&Event::Broken);
    story.at_the_deadline();
    story.at_once(&Event::Dialled);
    assert_eq!(story.owed(), again);

    story.at_once(&Event::Readiness(false));
    story.at_once(&Event::Broken);
    story.at_the_deadline();
    story.at_once(&Event::Dialled);
    assert_eq!(story.owed(), again[..1], "it is not ready now");
    story.at_once(&Event::Broken);
    story.at_once(&Event::Readiness(true));
    assert_eq!(story.owed(), [], "there is nobody to tell");
    story.at_the_deadline();
    story.at_once(&Event::Dialled);
    assert_eq!(story.owed(), again);
}

#[test]
fn thirty_seconds_of_silence_end_a_connection_and_a_heartbeat_begins_them_anew() {
    let mut story = Story::begin();
    story.at_once(&Event::Dialled);
    let heartbeat = Event::Received(Message::Heartbeat);
    assert_eq!(story.after(29 * SECOND, &Event::DeadlinePassed), []);
    assert_eq!(story.at_once(&heartbeat), []);
    assert_eq!(story.after(29 * SECOND, &Event::DeadlinePassed), []);
    let silent = [Action::HangUp(Cause::Silent)];
    assert_eq!(story.after(SECOND, &Event::DeadlinePassed), silent);
    assert_eq!(story.at_the_deadline(), [Action::Dial]);
}

#[test]
fn the_waits_between_dials_grow_to_five_seconds_and_begin_anew_after_a_good_connection() {
    let mut story = Story::begin();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let before = story.now;
        story.at_once(&Event::NobodyThere);
        story.at_the_deadline();
        waits.push(story.now.duration_since(before).as_millis());
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);

    // A host that hangs up at once is no better than none.
    story.at_once(&Event::Dialled);
    let before = story.now;
    story.at_once(&Event::Broken);
    story.at_the_deadline();
    assert_eq!(story.now.duration_since(before).as_millis(), 5000);

    story.at_once(&Event::Dialled);
    story.after(GOOD, &Event::Broken);
    let before = story.now;
    story.at_the_deadline();
    assert_eq!(story.now.duration_since(before).as_millis(), 100);
}

#[test]
fn a_shutdown_stops_the_machine_and_keeps_the_link_for_its_last_lines() {
    let mut story = Story::begin();
    story.at_once(&Event::Dialled);
    let actions = story.at_once(&Event::Received(Message::Shutdown));
    assert_eq!(actions, [Action::StopMachine]);
    assert_eq!(story.owed(), [Message::Ready { reconnect: false }]);
}

#[test]
fn what_only_a_guest_says_ends_a_connection() {
    let mut story = Story::begin();
    story.at_once(&Event::Dialled);
    let actions = story.at_once(&Event::Received(Message::ServiceReady));
    assert_eq!(actions, [Action::HangUp(Cause::OutOfPlace)]);
    assert_eq!(story.owed(), [], "nothing is owed to a dropped connection");
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Dialled),
        Just(Event::NobodyThere),
        Just(Event::Received(Message::Heartbeat)),
        Just(Event::Received(Message::Shutdown)),
        Just(Event::Received(Message::HeartbeatAck)),
        Just(Event::Broken),
        any::<bool>().prop_map(Event::Readiness),
        Just(Event::DeadlinePassed),
    ]
}

proptest! {
    /// Whatever happens in whatever order, there is a dial under way or a time at which something
    /// happens by itself.
    #[test]
    fn the_link_never_sleeps_for_ever(
        events in prop::collection::vec((0_u64..40_000, any_event()), 0..60),
    ) {
        let mut story = Story::begin();
        let mut dialling = true;
        for (millis, event) in events {
            // A dial ends before there can be another one.
            let answers = matches!(event, Event::Dialled | Event::NobodyThere);
            if answers != dialling && (answers || event == Event::Broken) {
                continue;
            }
            let actions = story.after(Duration::from_millis(millis), &event);
            dialling = (dialling && !answers) || actions.contains(&Action::Dial);
            let deadline = story.session.deadline();
            prop_assert_eq!(deadline.is_none(), dialling, "after {:?}", event);
            if let Some(deadline) = deadline {
                prop_assert!(deadline <= story.now + DEGRADED_AFTER);
            }
        }
    }
}
