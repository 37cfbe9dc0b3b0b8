//! One machine's document: what a path reads as, and what a host may put.

use serde_json::{Map, Value};

/// `--mmds-size-limit` when nobody sets it, in bytes of compact JSON.
pub const SIZE_LIMIT: usize = 51200;

/// How a guest wants a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Compact JSON.
    Json,
    /// The text form of EC2's metadata service.
    Imds,
}

/// Every way the store refuses. `Display` is the exact body of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No value at the pointer. The guest's answer names the path as it was sent, which only
    /// the route knows.
    #[error("The MMDS resource does not exist.")]
    NotFound,
    /// A number, boolean, null or array has no IMDS form.
    #[error("Cannot retrieve value. The value has an unsupported type.")]
    UnsupportedType,
    /// A PATCH came before the first PUT.
    #[error("The MMDS data store is not initialized.")]
    NotInitialized,
    /// The document would outgrow the limit; the old one stays.
    #[error("The MMDS patch request doesn't fit.")]
    TooLarge,
}

/// The document. `null` until the first PUT, as a guest can see by asking for `/`.
#[derive(Clone)]
pub struct Store {
    document: Value,
    initialized: bool,
    limit: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self::with_limit(SIZE_LIMIT)
    }
}

impl Store {
    /// An empty store that holds up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            document: Value::Null,
            initialized: false,
            limit,
        }
    }

    /// `PUT /mmds`: replaces the document.
    pub fn put(&mut self, document: Value) -> Result<(), StoreError> {
        self.replace(document)?;
        self.initialized = true;
        Ok(())
    }

    /// `PATCH /mmds`: an RFC 7396 merge.
    pub fn patch(&mut self, patch: &Value) -> Result<(), StoreError> {
        if !self.initialized {
            return Err(StoreError::NotInitialized);
        }
        let mut document = self.document.clone();
        merge(&mut document, patch);
        self.replace(document)
    }

    /// What a guest reads at `path`, which starts with `/` and has its `//` collapsed.
    pub fn get(&self, path: &str, format: Format) -> Result<String, StoreError> {
        // `/` is the whole document, as is the empty pointer of RFC 6901; so a trailing slash
        // means nothing anywhere, and exactly one of them is dropped.
        let pointer = path.strip_suffix('/').unwrap_or(path);
        let value = self.document.pointer(pointer).ok_or(StoreError::NotFound)?;
        match format {
            Format::Json => Ok(value.to_string()),
            Format::Imds => imds(value),
        }
    }

    fn replace(&mut self, document: Value) -> Result<(), StoreError> {
        let document = sorted(document);
        if document.to_string().len() > self.limit {
            return Err(StoreError::TooLarge);
        }
        self.document = document;
        Ok(())
    }
}

/// Firecracker's maps are sorted. serde_json's are only while no crate in the build asks for
/// `preserve_order`, so the order is made here and not inherited from someone's feature list.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            let entries = entries.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(entries.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(document) = target else {
        return;
    };
    for (key, change) in changes {
        if change.is_null() {
            document.remove(key);
        } else {
            merge(document.entry(key).or_insert(Value::Null), change);
        }
    }
}

fn imds(value: &Value) -> Result<String, StoreError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Object(map) => {
            let names = map.iter().map(|(key, value)| match value {
                Value::Object(_) => format!("{key}/"),
                _ => key.clone(),
            });
            Ok(names.collect::<Vec<_>>().join("\n"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(StoreError::UnsupportedType)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn store() -> Store {
        let mut store = Store::default();
        let document = json!({
            "latest": { "meta-data": { "b": "two", "a": "one", "n": 5, "sub": {} } },
            "list": ["zero", { "x": true }],
            "a/b": "slash", "m~n": "tilde", "%2F": "not decoded", "": "empty key",
        });
        store.put(document).expect("it fits");
        store
    }

    #[test]
    fn an_object_reads_as_its_sorted_keys_with_a_slash_only_after_objects() {
        let text = store().get("/latest/meta-data", Format::Imds);
        assert_eq!(text.as_deref(), Ok("a\nb\nn\nsub/"));
    }

    #[test]
    fn json_is_compact_and_sorted() {
        let text = store().get("/latest/meta-data", Format::Json);
        assert_eq!(
            text.as_deref(),
            Ok(r#"{"a":"one","b":"two","n":5,"sub":{}}"#)
        );
    }

    #[test]
    fn pointers_follow_rfc_6901_and_nothing_is_percent_decoded() {
        let store = store();
        for (path, value) in [
            ("/latest/meta-data/a", "one"),
            ("/latest/meta-data/a/", "one"),
            ("/list/0", "zero"),
            ("/a~1b", "slash"),
            ("/m~0n", "tilde"),
            ("/%2F", "not decoded"),
        ] {
            assert_eq!(
                store.get(path, Format::Imds).as_deref(),
                Ok(value),
                "{path}"
            );
        }
        for path in [
            "/latest/meta-data/c",
            "/latest/meta-data//",
            "/list/2",
            "/latest%2Fmeta-data",
            "/a/b",
        ] {
            let answer = store.get(path, Format::Imds);
            assert_eq!(answer, Err(StoreError::NotFound), "{path}");
        }
    }

    #[test]
    fn only_strings_and_objects_have_an_imds_form() {
        for path in ["/latest/meta-data/n", "/list", "/list/1/x"] {
            let answer = store().get(path, Format::Imds);
            assert_eq!(answer, Err(StoreError::UnsupportedType), "{path}");
        }
    }

    #[test]
    fn before_the_first_put_the_document_is_null() {
        let empty = Store::default();
        assert_eq!(empty.get("/", Format::Json).as_deref(), Ok("null"));
        assert_eq!(
            empty.get("/", Format::Imds),
            Err(StoreError::UnsupportedType)
        );
        assert_eq!(
            empty.get("/latest", Format::Json),
            Err(StoreError::NotFound)
        );
    }

    #[test]
    fn a_patch_merges_deletes_with_null_and_needs_a_put_first() {
        let mut fresh = Store::default();
        assert_eq!(fresh.patch(&json!({})), Err(StoreError::NotInitialized));

        let mut store = store();
        let patch = json!({ "latest": { "meta-data": { "a": null, "c": "three" } } });
        store.patch(&patch).expect("it fits");
        let keys = store.get("/latest/meta-data", Format::Imds);
        assert_eq!(keys.as_deref(), Ok("b\nc\nn\nsub/"));
    }

    #[test]
    fn a_document_one_byte_over_the_limit_is_refused_and_the_old_one_stays() {
        let exact = json!({ "k": "12345" });
        let mut store = Store::with_limit(exact.to_string().len());
        store.put(exact).expect("exactly the limit fits");
        let over = json!({ "k": "123456" });
        assert_eq!(store.put(over.clone()), Err(StoreError::TooLarge));
        assert_eq!(store.patch(&over), Err(StoreError::TooLarge));
        assert_eq!(store.get("/k", Format::Imds).as_deref(), Ok("12345"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn patching_twice_is_patching_once(document in any_json(), patch in any_json()) {
            let mut once = Store::default();
            once.put(document).expect("small");
            once.patch(&patch).expect("small");
            let mut twice = once.clone();
            twice.patch(&patch).expect("small");
            prop_assert_eq!(once.get("/", Format::Json), twice.get("/", Format::Json));
        }
    }
}
