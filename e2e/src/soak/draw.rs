//! Histories at random: a pure function of a seed. What the disk's cache holds when the power goes, and how
//! far the sink is when the host is lost, is up to the clock of the run.

use fake_substrate::volume::store::cut::Dice;

use super::Ends;
use super::history::{End, Event, History, Kind};
use crate::ledger::transaction::Size;
use crate::sql::Door;

/// What may happen under load, to each kind of machine.
const OF_ALL: [Event; 5] = [
    Event::Ddl,
    Event::Prepare,
    Event::Checkpoint,
    Event::Flush,
    Event::Neighbour,
];
const OF_THE_SINK: [&[Event]; 4] = [
    &[Event::CutNetwork, Event::Heal],
    &[Event::RestartSink],
    &[Event::CrashSink],
    &[Event::CutNetwork],
];

/// The history of that seed.
pub(super) fn drawn(seed: u64, ends: Ends) -> History {
    let mut dice = Dice::new(seed);
    let (sink, power) = (dice.below(5) < 3, dice.below(4) == 0);
    let sectors = dice.below(2) == 0;
    let kind = match ends {
        Ends::PowerCut => Kind::Alone,
        Ends::Any | Ends::LoseHost if sink => Kind::Sink,
        Ends::Any | Ends::LoseHost => Kind::Alone,
    };
    let end = match ends {
        Ends::LoseHost => End::LoseHost,
        Ends::PowerCut => End::PowerCut { sectors },
        Ends::Any if power => End::PowerCut { sectors },
        Ends::Any => End::LoseHost,
    };
    let mut events = vec![
        writers(&mut dice, 16),
        Event::Commits(20 + below(&mut dice, 120)),
    ];
    for _nth in 0..2 + dice.below(4) {
        match dice.below(7) {
            // Fewer than the first, so that there are connections for all.
            0 => events.push(writers(&mut dice, 8)),
            1 | 2 if kind == Kind::Sink => events.extend(of_the_sink(&mut dice)),
            _ => events.push(OF_ALL[dice.below(OF_ALL.len())]),
        }
        if dice.below(2) == 0 {
            events.push(Event::Commits(1 + below(&mut dice, 50)));
        }
    }
    // What happens right before the end.
    match dice.below(4) {
        0 => events.push(Event::Checkpoint),
        1 | 2 if kind == Kind::Sink => events.extend(of_the_sink(&mut dice)),
        _ => {}
    }
    History { kind, events, end }
}

fn writers(dice: &mut Dice, most: usize) -> Event {
    let writers = [1, 2 + dice.below(7), most][dice.below(3)];
    Event::Write {
        writers,
        size: Size::ALL[dice.below(Size::ALL.len())],
        door: Door::ALL[dice.below(Door::ALL.len())],
    }
}

fn of_the_sink(dice: &mut Dice) -> &'static [Event] {
    OF_THE_SINK[dice.below(OF_THE_SINK.len())]
}

fn below(dice: &mut Dice, limit: usize) -> u64 {
    dice.below(limit) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{End, Ends, Kind, drawn};

    #[test]
    fn a_seed_is_one_history_and_another_seed_another() {
        assert_eq!(drawn(7, Ends::Any), drawn(7, Ends::Any));
        assert_ne!(drawn(7, Ends::Any), drawn(8, Ends::Any));
    }

    #[test]
    fn everything_that_may_be_drawn_is_drawn() {
        let mut seen = BTreeSet::new();
        for seed in 0..400 {
            let history = drawn(seed, Ends::Any);
            let words = history.to_string();
            seen.extend(words.split(&[';', ' ']).filter_map(|word| {
                let number = word.trim_end_matches('x').parse::<u64>();
                (number.is_err() && !word.is_empty()).then(|| word.to_owned())
            }));
            if history.kind == Kind::Alone {
                assert!(
                    !words.contains("network") && !words.contains("-sink"),
                    "{words}"
                );
            }
        }
        let seen: Vec<_> = seen.into_iter().collect();
        assert_eq!(
            seen.join(" "),
            "alone big blocks checkpoint commits crash-sink cut-network ddl direct flush heal lose-host mixed \
             neighbour pooled power-cut prepare restart-sink sectors sink tiny write"
        );
    }

    #[test]
    fn only_ends_that_were_asked_for_are_drawn() {
        for seed in 0..50 {
            assert_eq!(drawn(seed, Ends::LoseHost).end, End::LoseHost);
            let cut = drawn(seed, Ends::PowerCut);
            assert!(cut.end != End::LoseHost && cut.kind == Kind::Alone);
        }
    }
}
