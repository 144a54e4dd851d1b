//! Reading the members of a mapping by name: unknown and missing keys, wrong types, bad words, each a fault with a place.
//!
//! **Shape**: `{ in_flight: 5, timeout: 10s }` with [`Keys`] -> `take("in_flight")`, `take("timeout")`.
//!
//! **Invariants**: every member is taken or reported; what was refused before is passed over in silence.

use std::time::Duration;

use http::header::HeaderName;

use crate::config::diagnostic::{Diagnostics, did_you_mean, nearest};
use crate::config::place::{Path, Place, Span, Spanned};
use crate::config::yaml::{Key, Node, NodeValue};

/// The keys that a mapping of routes.yaml may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// What the mapping is, for people: `a provider`.
    pub what: &'static str,
    /// Keys that must be there.
    pub required: &'static [&'static str],
    /// Keys that may be there.
    pub optional: &'static [&'static str],
}

impl Keys {
    /// All keys, required ones first.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        self.required.iter().chain(self.optional).copied()
    }
}

/// A value on its way into the model: the node, its path, and the place that a fault about the whole points at.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where faults point: the key, or the value itself in a list.
    pub(crate) place: Place,
    /// The value.
    pub(crate) node: Node,
}

impl Item {
    /// The value of the member `key` of `parent`.
    pub(crate) fn member(parent: &Path, key: &Key, node: Node) -> Self {
        Self {
            place: Place {
                span: key.span,
                path: parent.key(&key.text),
            },
            node,
        }
    }

    /// The value `index` of the list `parent`.
    pub(crate) fn entry(parent: &Path, index: usize, node: Node) -> Self {
        Self {
            place: Place {
                span: node.span,
                path: parent.index(index),
            },
            node,
        }
    }
}

/// The members of one mapping that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The mapping.
    pub(crate) place: Place,
    entries: Vec<(Key, Node)>,
    /// It was no mapping, so that nothing in it can be missed.
    unusable: bool,
}

impl Fields {
    /// The members of `item`, after a fault for each key that `keys` does not know or misses. Nothing when it is no mapping.
    pub(crate) fn open(item: Item, keys: &Keys, faults: &mut Diagnostics) -> Self {
        let Item { place, node } = item;
        let unusable = !matches!(node.value, NodeValue::Map(_));
        let entries = take_map(node, &place, faults).unwrap_or_default();
        let mut mistyped = Vec::new();
        for (key, _) in entries.iter().filter(|(key, _)| !keys.all().any(|known| known == key.text)) {
            let near = nearest(
                &key.text,
                keys.all().filter(|known| !entries.iter().any(|(key, _)| key.text == *known)),
            );
            let fault = faults.fault(key.span, &place.path, format!("unknown key `{}`", key.text.escape_debug()));
            match near {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint(format!("{} has the keys {}", keys.what, quoted(keys.all(), "and"))),
            };
            mistyped.extend(near);
        }
        // A key that is there with a slip is not missing as well: one mistake, one fault.
        let missing = keys
            .required
            .iter()
            .filter(|name| !unusable && !mistyped.contains(*name) && !entries.iter().any(|(key, _)| key.text == **name));
        for name in missing {
            faults.fault(place.span, &place.path, format!("missing key `{name}`"));
        }
        Self { place, entries, unusable }
    }

    /// Was it no mapping at all? Then nothing in it can be missed.
    pub(crate) fn is_unusable(&self) -> bool {
        self.unusable
    }

    /// Is `key` there and not taken yet?
    pub(crate) fn has(&self, key: &str) -> bool {
        self.span_of(key).is_some()
    }

    /// Where `key` stands.
    pub(crate) fn span_of(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(name, _)| name.text == key).map(|(name, _)| name.span)
    }

    /// Takes the value of `key` out; nothing when it is not there.
    pub(crate) fn take(&mut self, key: &str) -> Option<Item> {
        let at = self.entries.iter().position(|(name, _)| name.text == key)?;
        let (name, node) = self.entries.swap_remove(at);
        Some(Item::member(&self.place.path, &name, node))
    }

    /// Takes the value of `key` as it is: a template, checked later.
    pub(crate) fn node(&mut self, key: &str) -> Option<Node> {
        self.take(key).map(|item| item.node)
    }

    /// Takes a template that must be there; a refused node when it is not.
    pub(crate) fn required_node(&mut self, key: &str) -> Node {
        self.node(key).unwrap_or_else(|| Node::refused(self.place.span))
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, key: &str, faults: &mut Diagnostics) -> Option<Spanned<String>> {
        take_text(self.take(key)?, faults)
    }

    /// Takes a text that must be there; an empty one when it is not.
    pub(crate) fn required_text(&mut self, key: &str, faults: &mut Diagnostics) -> Spanned<String> {
        self.text(key, faults)
            .unwrap_or_else(|| Spanned::new(String::new(), self.place.span))
    }

    /// Takes one of a closed set of words.
    pub(crate) fn word<T: Clone>(&mut self, key: &str, words: &[(&str, T)], faults: &mut Diagnostics) -> Option<Spanned<T>> {
        take_word(self.take(key)?, words, faults)
    }

    /// Takes an integer between two bounds, both included.
    pub(crate) fn integer<T: TryFrom<i128>>(
        &mut self,
        key: &str,
        (least, most): (i128, i128),
        faults: &mut Diagnostics,
    ) -> Option<Spanned<T>> {
        let Item { place, node } = self.take(key)?;
        match node.value {
            NodeValue::Int(number) if (least..=most).contains(&number) => Some(Spanned::new(T::try_from(number).ok()?, node.span)),
            NodeValue::Int(number) => {
                faults.fault(
                    node.span,
                    &place.path,
                    format!("expected a number from {least} to {most}, found {number}"),
                );
                None
            }
            NodeValue::Bool(_) | NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null | NodeValue::Refused | NodeValue::Text(_) => {
                wrong_type(&node, &place.path, "a number", faults);
                None
            }
        }
    }

    /// Takes a duration between nothing and `most`.
    pub(crate) fn duration(&mut self, key: &str, most: Duration, faults: &mut Diagnostics) -> Option<Spanned<Duration>> {
        let Item { place, node } = self.take(key)?;
        let parsed = match &node.value {
            NodeValue::Refused => return None,
            NodeValue::Text(text) => parse_duration(text),
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null => None,
        };
        match parsed {
            Some(duration) if duration.is_zero() || duration > most => {
                faults.fault(
                    node.span,
                    &place.path,
                    format!("expected a duration above zero and up to {most:?}, found {}", node.describe()),
                );
                None
            }
            Some(duration) => Some(Spanned::new(duration, node.span)),
            None => {
                faults
                    .fault(node.span, &place.path, format!("expected a duration, found {}", node.describe()))
                    .hint("a duration is a whole number and a unit: `250ms`, `10s`, `2m`");
                None
            }
        }
    }

    /// Takes the members of a mapping with free names that must not be empty.
    pub(crate) fn members(&mut self, key: &str, faults: &mut Diagnostics) -> Vec<(Key, Item)> {
        self.take(key).map(|item| members(item, faults)).unwrap_or_default()
    }

    /// Takes the members of a mapping with free names whose values are templates.
    pub(crate) fn templates(&mut self, key: &str, faults: &mut Diagnostics) -> Vec<(Key, Node)> {
        self.members(key, faults).into_iter().map(|(key, item)| (key, item.node)).collect()
    }

    /// Takes the items of a list that must not be empty.
    pub(crate) fn items(&mut self, key: &str, faults: &mut Diagnostics) -> Vec<Item> {
        self.take(key).map(|item| items(item, faults)).unwrap_or_default()
    }
}

/// The members of a mapping with free names; an empty one is a fault.
pub(crate) fn members(item: Item, faults: &mut Diagnostics) -> Vec<(Key, Item)> {
    let Item { place, node } = item;
    let refused = node.is_refused();
    let Some(entries) = take_map(node, &place, faults) else {
        return Vec::new();
    };
    if entries.is_empty() && !refused {
        faults
            .fault(place.span, &place.path, "an empty mapping")
            .hint("fill it or take the key out");
    }
    let path = place.path;
    entries
        .into_iter()
        .map(|(key, node)| (key.clone(), Item::member(&path, &key, node)))
        .collect()
}

/// The items of a list; an empty one is a fault.
pub(crate) fn items(item: Item, faults: &mut Diagnostics) -> Vec<Item> {
    let Item { place, node } = item;
    match node.value {
        NodeValue::List(items) => {
            if items.is_empty() {
                faults
                    .fault(place.span, &place.path, "an empty list")
                    .hint("fill it or take the key out");
            }
            items
                .into_iter()
                .enumerate()
                .map(|(index, node)| Item::entry(&place.path, index, node))
                .collect()
        }
        NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Map(_) | NodeValue::Null | NodeValue::Refused | NodeValue::Text(_) => {
            wrong_type(&node, &place.path, "a list", faults);
            Vec::new()
        }
    }
}

/// One text or a list of texts, as templates.
pub(crate) fn one_or_many(item: Item, faults: &mut Diagnostics) -> Vec<Node> {
    match item.node.value {
        NodeValue::List(_) => items(item, faults).into_iter().map(|item| item.node).collect(),
        NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::Map(_) | NodeValue::Null | NodeValue::Refused | NodeValue::Text(_) => {
            vec![item.node]
        }
    }
}

/// A text that is not empty.
pub(crate) fn take_text(item: Item, faults: &mut Diagnostics) -> Option<Spanned<String>> {
    let Item { place, node } = item;
    match node.value {
        NodeValue::Text(text) if text.is_empty() => {
            faults.fault(node.span, &place.path, "an empty text");
            None
        }
        NodeValue::Text(text) => Some(Spanned::new(text, node.span)),
        NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null | NodeValue::Refused => {
            wrong_type(&node, &place.path, "text", faults);
            None
        }
    }
}

/// One of a closed set of words.
pub(crate) fn take_word<T: Clone>(item: Item, words: &[(&str, T)], faults: &mut Diagnostics) -> Option<Spanned<T>> {
    let path = item.place.path.clone();
    let text = take_text(item, faults)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return Some(Spanned::new(value.clone(), text.span));
    }
    let names = || words.iter().map(|(word, _)| *word);
    unknown_word(&text, &path, names(), faults);
    None
}

/// One of a closed set of words that stays text.
pub(crate) fn take_known(item: Item, words: &[&str], faults: &mut Diagnostics) -> Option<Spanned<String>> {
    let path = item.place.path.clone();
    let text = take_text(item, faults)?;
    if words.contains(&text.value.as_str()) {
        return Some(text);
    }
    unknown_word(&text, &path, words.iter().copied(), faults);
    None
}

/// Says that a word is not of the set.
pub(crate) fn unknown_word<'a>(
    text: &Spanned<String>,
    path: &Path,
    words: impl Iterator<Item = &'a str> + Clone,
    faults: &mut Diagnostics,
) {
    let count = words.clone().count();
    let fault = faults.fault(text.span, path, format!("unknown value `{}`", text.value.escape_debug()));
    if count <= MAX_LISTED {
        fault.hint(format!("expected {}", quoted(words.clone(), "or")));
    }
    fault.maybe_hint(did_you_mean(&text.value, words));
}

/// A header's name.
pub(crate) fn parse_header(text: &str, span: Span, path: &Path, faults: &mut Diagnostics) -> Option<Spanned<HeaderName>> {
    if let Ok(name) = HeaderName::from_bytes(text.as_bytes()) {
        return Some(Spanned::new(name, span));
    }
    faults
        .fault(span, path, format!("`{}` is no header name", text.escape_debug()))
        .hint("a header's name has letters, digits and `-`, no spaces and no `:`");
    None
}

/// Says that a value has the wrong type; nothing when it was refused before.
pub(crate) fn wrong_type(node: &Node, path: &Path, expected: &str, faults: &mut Diagnostics) {
    if node.is_refused() {
        return;
    }
    let fault = faults.fault(node.span, path, format!("expected {expected}, found {}", node.describe()));
    if expected == "text" && matches!(node.value, NodeValue::Bool(_) | NodeValue::Int(_)) {
        fault.hint("write it in quotes");
    }
}

/// `` `a`, `b` and `c` ``.
pub(crate) fn quoted<'a>(words: impl Iterator<Item = &'a str>, conjunction: &str) -> String {
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
        None => "none".to_owned(),
    }
}

/// The entries of a mapping, empty for a refused one; nothing after a fault.
fn take_map(node: Node, place: &Place, faults: &mut Diagnostics) -> Option<Vec<(Key, Node)>> {
    match node.value {
        NodeValue::Map(entries) => Some(entries),
        NodeValue::Refused => Some(Vec::new()),
        NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Null | NodeValue::Text(_) => {
            wrong_type(&node, &place.path, "a mapping", faults);
            None
        }
    }
}

/// `250ms`, `10s`, `2m`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number.into())),
        "s" => Some(Duration::from_secs(number.into())),
        "m" => Some(Duration::from_secs(u64::from(number) * 60)),
        _ => None,
    }
}

/// Longer lists of words do not help: `did you mean` does.
const MAX_LISTED: usize = 16;
