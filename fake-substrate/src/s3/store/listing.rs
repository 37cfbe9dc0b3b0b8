//! One page of a listing. Pure: keys in order go in, what a client is told comes out.

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Query<'q> {
    pub(super) prefix: &'q str,
    pub(super) delimiter: Option<&'q str>,
    /// Only what comes after this one.
    pub(super) after: &'q str,
    pub(super) at_most: usize,
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line<T> {
    Object(T),
    /// Every key that begins like this.
    CommonPrefix(String),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub(super) lines: Vec<Line<T>>,
    /// What the next page comes after; `None` when this was the last.
    pub(super) next: Option<String>,
}

/// Takes a page from `keys`, which come in the order of their bytes and not before
/// `query.after` or `query.prefix`.
pub(super) fn page<'k, T>(keys: impl Iterator<Item = (&'k str, T)>, query: &Query<'_>) -> Page<T> {
    let mut lines = Vec::new();
    let mut last = String::new();
    for (key, object) in keys {
        let Some(rest) = key.strip_prefix(query.prefix) else {
            break;
        };
        let line = match common_prefix(key, rest, query) {
            // Told already, on this page or as the end of the one before.
            Some(common) if common == last || common == query.after => continue,
            Some(common) => Line::CommonPrefix(common.to_owned()),
            None if key <= query.after => continue,
            None => Line::Object(object),
        };
        if lines.len() == query.at_most {
            let next = (query.at_most > 0).then_some(last);
            return Page { lines, next };
        }
        last = match &line {
            Line::CommonPrefix(common) => common.clone(),
            Line::Object(_) => key.to_owned(),
        };
        lines.push(line);
    }
    Page { lines, next: None }
}

fn common_prefix<'k>(key: &'k str, rest: &str, query: &Query<'_>) -> Option<&'k str> {
    let delimiter = query.delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let end = query.prefix.len() + rest.find(delimiter)? + delimiter.len();
    key.get(..end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn told(page: &Page<()>, keys: &[&str]) -> Vec<String> {
        let mut objects = keys.iter();
        let lines = page.lines.iter().map(|line| match line {
            Line::CommonPrefix(common) => common.clone(),
            Line::Object(()) => (*objects.next().expect("as many")).to_owned(),
        });
        lines.collect()
    }

    /// Follows the pages to the end; objects carry their own key here.
    fn all_pages(keys: &BTreeSet<String>, query: &Query<'_>) -> Vec<String> {
        let mut all = Vec::new();
        let mut after = query.after.to_owned();
        loop {
            let asked = Query {
                after: &after,
                ..query.clone()
            };
            let from = after.clone().max(query.prefix.to_owned());
            let keys = keys.range(from..).map(|key| (key.as_str(), key.clone()));
            let page = page(keys, &asked);
            assert!(page.lines.len() <= query.at_most);
            all.extend(page.lines.into_iter().map(|line| match line {
                Line::Object(key) | Line::CommonPrefix(key) => key,
            }));
            match page.next {
                Some(next) => after = next,
                None => return all,
            }
        }
    }

    #[test]
    fn keys_under_a_delimiter_are_told_as_one() {
        let keys = ["a", "b/1", "b/2", "c"];
        let query = Query {
            delimiter: Some("/"),
            at_most: 10,
            ..Default::default()
        };
        let page = page(keys.iter().map(|key| (*key, ())), &query);
        assert_eq!(told(&page, &["a", "c"]), ["a", "b/", "c"]);
        assert_eq!(page.next, None);
    }

    #[test]
    fn asking_for_nothing_gets_nothing_and_ends() {
        let query = Query::default();
        let page = page([("a", ())].into_iter(), &query);
        assert_eq!((page.lines, page.next), (vec![], None));
    }

    proptest! {
        #[test]
        fn pages_of_any_size_tell_everything_once_and_in_order(
            keys in proptest::collection::btree_set("[ab/]{1,6}", 0..30),
            prefix in "[ab/]{0,2}",
            delimited: bool,
            at_most in 1_usize..5,
        ) {
            let delimiter = delimited.then_some("/");
            let expected: BTreeSet<String> = keys
                .iter()
                .filter_map(|key| {
                    let rest = key.strip_prefix(&prefix)?;
                    Some(match rest.find('/').filter(|_| delimited) {
                        Some(at) => format!("{prefix}{}", &rest[..=at]),
                        None => key.clone(),
                    })
                })
                .collect();
            let query = Query { prefix: &prefix, delimiter, after: "", at_most };
            let told = all_pages(&keys, &query);
            prop_assert_eq!(told, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
