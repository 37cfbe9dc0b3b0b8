//! Bytes of a child's pipe into lines of text. Pure: bytes in, lines out.

use wire::log::LINE_LIMIT;

/// No UTF-8 character is longer. A line keeps so many bytes more than it may have, so that a
/// character on the limit is seen whole before the cut.
const CHARACTER: usize = 4;

/// One line, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// Whether its end was cut off at [`LINE_LIMIT`].
    pub(crate) truncated: bool,
}

/// Cuts lines out of a stream, whatever the pieces it arrives in. Holds no more than one line of
/// the longest length, however much a child writes without a line end.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes what was read and hands on each line that it completes.
    pub(crate) fn push(&mut self, bytes: &[u8], mut on_line: impl FnMut(Line)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.extend(end);
                    on_line(line(&self.begun));
                    self.begun.clear();
                }
                None => self.extend(piece),
            }
        }
    }

    /// What stands after the last line end; call it at the end of the stream.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        let last = std::mem::take(&mut self.begun);
        (!last.is_empty()).then(|| line(&last))
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = (LINE_LIMIT + CHARACTER).saturating_sub(self.begun.len());
        self.begun
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Invalid UTF-8 is replaced, which may lengthen the text: the limit holds for what is sent.
fn line(bytes: &[u8]) -> Line {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let truncated = text.len() > LINE_LIMIT;
    text.truncate(text.floor_char_boundary(LINE_LIMIT));
    Line { text, truncated }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| seen.push(line));
        }
        seen.extend(lines.finish());
        seen
    }

    fn whole(text: &str) -> Line {
        Line {
            text: text.to_owned(),
            truncated: false,
        }
    }

    #[test]
    fn a_last_line_without_an_end_is_a_line_and_an_empty_one_in_between_too() {
        let seen = lines_of(&[b"one\n\ntw", b"o\nthree"]);
        assert_eq!(seen, ["one", "", "two", "three"].map(whole));
        assert_eq!(lines_of(&[b"one\n"]), [whole("one")]);
    }

    #[test]
    fn a_line_of_the_limit_is_whole_and_a_longer_one_is_cut_between_two_characters() {
        let longest = "x".repeat(LINE_LIMIT);
        assert_eq!(lines_of(&[longest.as_bytes(), b"\n"]), [whole(&longest)]);

        let over = format!("{longest}y\nnext\n");
        let cut = Line {
            text: longest,
            truncated: true,
        };
        assert_eq!(lines_of(&[over.as_bytes()]), [cut, whole("next")]);

        for shift in 1..4 {
            let text = "x".repeat(LINE_LIMIT - shift) + "\u{1f418}\n";
            let seen = lines_of(&[text.as_bytes()]);
            assert!(seen[0].truncated, "shift {shift}");
            assert_eq!(
                seen[0].text,
                "x".repeat(LINE_LIMIT - shift),
                "shift {shift}"
            );
        }
    }

    #[test]
    fn invalid_bytes_are_replaced_and_still_fit() {
        assert_eq!(lines_of(&[b"a\xffb\n"]), [whole("a\u{fffd}b")]);
        let seen = lines_of(&[&vec![0xff; LINE_LIMIT]]);
        assert!(seen[0].truncated && seen[0].text.len() <= LINE_LIMIT);
    }

    #[test]
    fn a_child_that_never_ends_its_line_takes_no_more_memory_than_one_line() {
        let mut lines = Lines::default();
        for _ in 0..64 {
            lines.push(&[b'x'; 64 * 1024], |_| panic!("no line has ended"));
        }
        assert_eq!(lines.begun.len(), LINE_LIMIT + CHARACTER);
    }

    proptest! {
        #[test]
        fn the_cut_of_the_stream_changes_no_line(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n')], 0..200),
            cut in 1_usize..20,
        ) {
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let seen = lines_of(&pieces);
            let text = String::from_utf8_lossy(&bytes);
            let expected: Vec<Line> = text.split_terminator('\n').map(whole).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
