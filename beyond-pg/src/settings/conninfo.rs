//! How to reach other machines of a cluster, as libpq reads it.

/// How to reach a primary: libpq `key=value` pairs that carry no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conninfo(String);

impl Conninfo {
    /// Refuses a password, because conninfo ends up in a file and in `pg_stat_wal_receiver`, and
    /// refuses URIs, where one can hide in the authority.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let accepted = !text.is_empty()
            && text.contains('=')
            && !text.contains("://")
            && !text.contains(char::is_control)
            && !text.to_ascii_lowercase().contains("password");
        accepted.then(|| Self(text.to_owned()))
    }

    /// The pairs as they were given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What, behind the pairs, means each of their hosts alone: libpq goes by the last of a kind. A line
    /// without hosts, or that libpq will refuse anyway, is one host.
    pub(crate) fn each_host(&self) -> Vec<String> {
        let pairs = pairs(&self.0).unwrap_or_default();
        let list = |key: &str| -> Vec<&str> {
            let last = pairs.iter().rev().find(|(name, _)| name == key);
            last.map_or_else(Vec::new, |(_, value)| value.split(',').collect())
        };
        let keys = ["host", "hostaddr", "port"];
        let lists = keys.map(list);
        let hosts = lists[0].len().max(lists[1].len()).max(1);
        let alone = |index: usize| {
            let of = keys.iter().zip(&lists).filter_map(|(key, values)| {
                // One port is everybody's.
                let value = values.get(index).or_else(|| values.first())?;
                Some(format!("{key}={}", quoted(value)))
            });
            of.collect::<Vec<_>>().join(" ")
        };
        (0..hosts).map(alone).collect()
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Keys and values, quotes and backslashes undone. `None`: libpq would refuse it.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, behind) = rest.split_once('=')?;
        let (value, behind) = value(behind.trim_start())?;
        pairs.push((key.trim_end().to_owned(), value));
        rest = behind.trim_start();
    }
    Some(pairs)
}

/// The value that a text begins with, and what follows.
fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((value, &text[at + 1..])),
            char if char.is_whitespace() && !quoted => return Some((value, &text[at..])),
            char => value.push(char),
        }
    }
    (!quoted).then_some((value, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(text: &str) -> Vec<String> {
        Conninfo::parse(text).unwrap().each_host()
    }

    #[test]
    fn each_host_has_its_own_port_or_the_one_that_there_is() {
        assert_eq!(
            hosts("host=a,b port=5433,5434 sslmode=require"),
            ["host='a' port='5433'", "host='b' port='5434'"]
        );
        assert_eq!(
            hosts("host = a,b port= 5433"),
            ["host='a' port='5433'", "host='b' port='5433'"]
        );
        assert_eq!(
            hosts("hostaddr=::1,::2 host=a,b")[1],
            "host='b' hostaddr='::2'"
        );
        assert_eq!(hosts("host=a,b host='c'"), ["host='c'"]);
        assert_eq!(hosts("service=cluster"), [""]);
    }

    #[test]
    fn quotes_and_backslashes_are_libpqs() {
        assert_eq!(hosts(r"host='a b\'c' port=1"), [r"host='a b\'c' port='1'"]);
        assert_eq!(hosts(r"host=a\ b,c"), ["host='a b'", "host='c'"]);
        for refused in ["host='a", "host", "host=a b"] {
            assert_eq!(pairs(refused), None, "{refused}");
        }
    }

    proptest! {
        #[test]
        fn a_value_survives_quoting(value in "[^\u{0}-\u{1f},]{0,20}") {
            let text = format!("host={} port=5433", quoted(&value));
            let expected = vec![("host".to_owned(), value), ("port".to_owned(), "5433".to_owned())];
            prop_assert_eq!(pairs(&text), Some(expected));
        }

        #[test]
        fn whatever_a_line_says_there_is_somebody_to_ask(text in ".{0,60}") {
            if let Some(conninfo) = Conninfo::parse(&text) {
                prop_assert!(!conninfo.each_host().is_empty());
            }
        }
    }
}
