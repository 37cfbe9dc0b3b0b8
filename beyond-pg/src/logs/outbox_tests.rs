use proptest::prelude::*;

use super::*;

const LESSER: Severity = Severity::BelowWarning;
const GRAVE: Severity = Severity::WarningOrAbove;

fn line(text: &str) -> LogLine {
    LogLine {
        stream: Stream::Stderr,
        line: text.to_owned(),
        truncated: false,
        execution_id: "postgres-1".to_owned(),
    }
}

/// Room for so many of the lines that the tests write.
fn outbox_of(lines: usize) -> Outbox {
    Outbox::new(lines * size(&line("00")))
}

fn write(outbox: &mut Outbox, severity: Severity, texts: &[&str]) {
    let message = outbox.begin();
    for text in texts {
        outbox.push(severity, message, line(text));
    }
}

fn read(outbox: &mut Outbox) -> Vec<String> {
    std::iter::from_fn(|| outbox.pop())
        .map(|line| line.line)
        .collect()
}

#[test]
fn lines_come_out_as_they_went_in_whatever_their_severity() {
    let mut outbox = outbox_of(9);
    for (severity, text) in [(LESSER, "l1"), (GRAVE, "g1"), (LESSER, "l2"), (GRAVE, "g2")] {
        write(&mut outbox, severity, &[text]);
    }
    assert_eq!(read(&mut outbox), ["l1", "g1", "l2", "g2"]);
    assert!(outbox.is_drained());
}

#[test]
fn a_full_outbox_loses_the_oldest_lesser_message_as_a_whole_and_says_so_where_it_is_missing() {
    let mut outbox = outbox_of(5);
    write(&mut outbox, GRAVE, &["g1"]);
    write(&mut outbox, LESSER, &["l1", "l2"]);
    write(&mut outbox, GRAVE, &["g2"]);
    write(&mut outbox, LESSER, &["l3"]);
    write(&mut outbox, GRAVE, &["g3"]);
    let notice = "[beyond-pg: dropped 2 log lines]";
    assert_eq!(read(&mut outbox), ["g1", notice, "g2", "l3", "g3"]);
}

#[test]
fn a_lesser_line_costs_no_graver_one_its_place() {
    let mut outbox = outbox_of(2);
    write(&mut outbox, GRAVE, &["g1"]);
    write(&mut outbox, GRAVE, &["g2"]);
    write(&mut outbox, LESSER, &["l1"]);
    assert_eq!(read(&mut outbox), ["g1", "g2"]);
    write(&mut outbox, LESSER, &["l2"]);
    let notice = "[beyond-pg: dropped 1 log lines]";
    assert_eq!(read(&mut outbox), [notice, "l2"]);
}

#[test]
fn among_grave_lines_the_oldest_go() {
    let mut outbox = outbox_of(2);
    for text in ["g1", "g2", "g3"] {
        write(&mut outbox, GRAVE, &[text]);
    }
    let notice = "[beyond-pg: dropped 1 log lines]";
    assert_eq!(read(&mut outbox), [notice, "g2", "g3"]);
}

#[test]
fn a_message_whose_beginning_was_lost_is_lost_to_its_end() {
    let mut outbox = outbox_of(2);
    let long = outbox.begin();
    outbox.push(LESSER, long, line("a1"));
    write(&mut outbox, LESSER, &["b1"]);
    outbox.push(LESSER, long, line("a2"));
    assert_eq!(
        read(&mut outbox),
        ["[beyond-pg: dropped 1 log lines]", "b1"],
        "a2 is counted in front of what comes next"
    );
    outbox.push(LESSER, long, line("a3"));
    write(&mut outbox, LESSER, &["c1"]);
    let notice = "[beyond-pg: dropped 2 log lines]";
    assert_eq!(read(&mut outbox), [notice, "c1"]);
}

#[test]
fn the_rest_of_a_lost_message_takes_nobodys_place() {
    let mut outbox = outbox_of(2);
    let long = outbox.begin();
    outbox.push(LESSER, long, line("a1"));
    write(&mut outbox, LESSER, &["b1"]);
    outbox.push(LESSER, long, line("a2"));
    outbox.push(LESSER, long, line("a3"));
    write(&mut outbox, LESSER, &["c1"]);
    let [first, second] = [1, 2].map(|lost| format!("[beyond-pg: dropped {lost} log lines]"));
    assert_eq!(read(&mut outbox), [&first, "b1", &second, "c1"]);
}

#[test]
fn what_the_limit_refused_is_counted_with_what_found_no_room() {
    let mut outbox = outbox_of(1);
    outbox.count_lost();
    write(&mut outbox, LESSER, &["l1"]);
    outbox.count_lost();
    write(&mut outbox, LESSER, &["l2"]);
    let notice = "[beyond-pg: dropped 3 log lines]";
    assert_eq!(read(&mut outbox), [notice, "l2"]);
}

#[test]
fn what_is_missing_at_the_very_end_is_said_once_there_is_nothing_to_come() {
    let mut outbox = outbox_of(3);
    write(&mut outbox, LESSER, &["l1"]);
    outbox.count_lost();
    assert_eq!(read(&mut outbox), ["l1"]);
    let last = outbox.last_notice().map(|line| line.line);
    assert_eq!(last.as_deref(), Some("[beyond-pg: dropped 1 log lines]"));
    assert_eq!(outbox.last_notice(), None);
}

#[derive(Debug, Clone)]
enum Step {
    Write { grave: bool, lines: usize },
    Refuse,
    Read,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 1_usize..4).prop_map(|(grave, lines)| Step::Write { grave, lines }),
        1 => Just(Step::Refuse),
        3 => Just(Step::Read),
    ]
}

proptest! {
    /// Each line that was written comes out once, in order, or is in exactly the count that stands
    /// where it is missing.
    #[test]
    fn every_line_is_delivered_or_counted_in_its_place(
        steps in prop::collection::vec(any_step(), 0..120),
        room in 1_usize..8,
    ) {
        let mut outbox = Outbox::new(room * size(&line("00000")));
        let mut written = 0_u64;
        let mut seen = Vec::new();
        for step in steps {
            match step {
                Step::Write { grave, lines } => {
                    let message = outbox.begin();
                    for _ in 0..lines {
                        let severity = if grave { GRAVE } else { LESSER };
                        outbox.push(severity, message, line(&format!("{written:05}")));
                        written += 1;
                    }
                }
                Step::Refuse => {
                    outbox.count_lost();
                    written += 1;
                }
                Step::Read => seen.extend(outbox.pop()),
            }
            prop_assert!(outbox.bytes <= outbox.capacity);
        }
        seen.extend(std::iter::from_fn(|| outbox.pop()));
        seen.extend(outbox.last_notice());

        let mut expected = 0_u64;
        for line in seen {
            let count = line.line.strip_prefix("[beyond-pg: dropped ");
            match count.and_then(|rest| rest.strip_suffix(" log lines]")) {
                Some(count) => expected += count.parse::<u64>().unwrap(),
                None => {
                    prop_assert_eq!(line.line.parse::<u64>().unwrap(), expected);
                    expected += 1;
                }
            }
        }
        prop_assert_eq!(expected, written);
        prop_assert_eq!(outbox.bytes, 0);
    }
}
