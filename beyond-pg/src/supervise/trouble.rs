//! A server that is started and started again and never gets as far as letting a client in. Pure.

use crate::supervise::machine::Server;

/// So many starts in a row are an accident; the next one is worth a word.
const PATIENCE: u32 = 3;

/// Starts of one server, since a client last got in.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    ended: u32,
}

impl Trouble {
    /// It has ended, or could not even be started.
    pub(super) fn ended(&mut self) {
        self.ended = self.ended.saturating_add(1);
    }

    /// A client got in.
    pub(super) fn is_over(&mut self) {
        self.ended = 0;
    }

    /// For an operator; `None` while there is nothing to tell.
    pub(super) fn words(&self, server: Server, last_words: Option<String>) -> Option<String> {
        if self.ended < PATIENCE {
            return None;
        }
        let last_words = last_words.map_or_else(
            || "what it said stands in the log of the machine".to_owned(),
            |words| format!("its last words: {words}"),
        );
        let meanwhile = match server {
            Server::Postgres => "mend what it complains about",
            Server::Pooler => {
                "mend what it complains about; who may use the direct port is served there meanwhile"
            }
        };
        Some(format!(
            "{server} has ended {} times in a row before a client got in, and is started again; \
             {last_words}\nHINT: {meanwhile}",
            self.ended
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_are_an_accident_and_three_are_told() {
        let mut trouble = Trouble::default();
        trouble.ended();
        trouble.ended();
        assert_eq!(trouble.words(Server::Pooler, None), None);
        trouble.ended();
        let words = trouble.words(Server::Pooler, Some("FATAL no port".to_owned()));
        assert_eq!(
            words.as_deref(),
            Some(
                "PgBouncer has ended 3 times in a row before a client got in, and is started again; \
                 its last words: FATAL no port\n\
                 HINT: mend what it complains about; who may use the direct port is served there \
                 meanwhile"
            )
        );
    }

    #[test]
    fn a_client_that_gets_in_ends_the_trouble() {
        let mut trouble = Trouble::default();
        (0..5).for_each(|_| trouble.ended());
        trouble.is_over();
        assert_eq!(trouble.words(Server::Postgres, None), None);
        trouble.ended();
        assert_eq!(trouble.words(Server::Postgres, None), None);
    }
}
