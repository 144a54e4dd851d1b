//! JSON Schema files: read, checked, and put together into one document without references.
//!
//! **Shape**: `schemas/acme/stop.reply.json` with `{ "$ref": "../fault.json#/$defs/code" }` -> one value, targets in place.
//!
//! **Invariants**: nothing is fetched: a `$ref` leads to a place in its own file or in another file of the same tree. What
//! [`Schemas::load`] returns is valid under the meta-schema of 2020-12, holds no `$ref`, no `$defs` and no `$id`, and is of
//! bounded size and depth. Every `pattern` can be run by the linear engine. An unknown keyword is a fault: a misspelt
//! `required` would check nothing.
//!
//! **Errors**: a fault of a schema stands in the schema file; that a file is missing stands where it is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::PatternOptions;
use serde_json::{Value, json};

use crate::config::diagnostic::{Diagnostics, nearest};
use crate::config::fields::quoted;
use crate::config::files::FileSet;
use crate::config::flatten::{Flattener, fragment_target};
use crate::config::json::{self, Document};
use crate::config::place::{Path, Place, Span, Spanned};
use crate::config::sources::{Sources, normalize};
use crate::config::yaml::{Node, NodeValue};

/// The schema files of one compilation. Each is read and checked once.
#[derive(Debug)]
pub struct Schemas<'a> {
    sources: &'a Sources,
    documents: BTreeMap<String, Loaded>,
    flattened: BTreeMap<String, Option<Value>>,
}

/// What came of reading a file.
#[derive(Clone, Debug)]
enum Loaded {
    /// It was read; `clean` when it has no fault by itself.
    Document { document: Arc<Document>, clean: bool },
    /// It cannot be read, for this reason. That is said wherever it is named.
    Missing(String),
    /// It was read and is no JSON object, which is said.
    Unusable,
}

impl<'a> Schemas<'a> {
    /// No schema yet.
    #[must_use]
    pub fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            documents: BTreeMap::new(),
            flattened: BTreeMap::new(),
        }
    }

    /// The schema of the file `name`, with all references replaced by what they refer to; nothing after a fault.
    ///
    /// `path` leads to the place that names the file.
    pub fn load(&mut self, name: &Spanned<String>, path: &Path, files: &mut FileSet, faults: &mut Diagnostics) -> Option<Value> {
        let place = Place {
            span: name.span,
            path: path.clone(),
        };
        let key = self.key(&name.value, &place, faults)?;
        let (document, clean) = self.document(&key, &place, files, faults)?;
        if let Some(known) = self.flattened.get(&key) {
            return known.clone();
        }
        // References are followed also where the file has a fault: all faults come at once.
        let reachable = self.reachable(&key, &document, files, faults).filter(|_| clean);
        let value = reachable.and_then(|documents| Flattener::new(documents, faults).flatten(&key));
        self.flattened.insert(key, value.clone());
        value
    }

    /// The path of a file as it is known here.
    fn key(&self, name: &str, place: &Place, faults: &mut Diagnostics) -> Option<String> {
        let key = normalize(name).filter(|key| !key.is_empty());
        if key.is_none() {
            faults
                .fault(
                    place.span,
                    &place.path,
                    format!("`{}` is no path of a schema file", name.escape_debug()),
                )
                .hint("it must be relative and stay inside the folder of routes.yaml");
        }
        key
    }

    /// The file, and whether it is without faults by itself; nothing when it cannot be used at all.
    fn document(&mut self, key: &str, place: &Place, files: &mut FileSet, faults: &mut Diagnostics) -> Option<(Arc<Document>, bool)> {
        if !self.documents.contains_key(key) {
            let loaded = self.read(key, files, faults);
            self.documents.insert(key.to_owned(), loaded);
        }
        match self.documents.get(key)? {
            Loaded::Document { document, clean } => Some((Arc::clone(document), *clean)),
            Loaded::Unusable => None,
            Loaded::Missing(why) => {
                let hint = self.sources.nearest(key).map(|near| format!("did you mean `{near}`?"));
                faults
                    .fault(place.span, &place.path, format!("schema file `{key}`: {why}"))
                    .maybe_hint(hint);
                None
            }
        }
    }

    /// Reads a file and checks it by itself.
    fn read(&self, key: &str, files: &mut FileSet, faults: &mut Diagnostics) -> Loaded {
        let file = match self.sources.open(key, files) {
            Ok(file) => file,
            Err(error) => return Loaded::Missing(error.to_string()),
        };
        let before = faults.len();
        let Some(document) = json::parse(file, files, faults) else {
            return Loaded::Unusable;
        };
        if document.tree.as_map().is_none() {
            faults.fault(
                document.tree.span,
                &Path::default(),
                format!("a schema file holds an object, found {}", document.tree.describe()),
            );
            return Loaded::Unusable;
        }
        check_keywords(&document.tree, &Path::default(), true, faults);
        check_meta(&document, faults);
        Loaded::Document {
            document: Arc::new(document),
            clean: faults.len() == before,
        }
    }

    /// All files that `key` leads to, itself included, when each reference in them leads somewhere.
    fn reachable(
        &mut self,
        key: &str,
        document: &Arc<Document>,
        files: &mut FileSet,
        faults: &mut Diagnostics,
    ) -> Option<BTreeMap<String, Arc<Document>>> {
        let before = faults.len();
        let mut complete = true;
        let mut found = BTreeMap::from([(key.to_owned(), Arc::clone(document))]);
        let mut open = vec![(key.to_owned(), Arc::clone(document))];
        while let Some((key, document)) = open.pop() {
            let mut references = Vec::new();
            collect_references(&document.tree, &Path::default(), &mut references);
            for (text, place) in references {
                let Some((target, fragment)) = self.target(&key, text, &place, faults) else {
                    continue;
                };
                let Some((other, clean)) = self.document(&target, &place, files, faults) else {
                    complete = false;
                    continue;
                };
                complete &= clean;
                if fragment_target(&other, &fragment).is_none() {
                    faults
                        .fault(place.span, &place.path, format!("`$ref` leads nowhere: `{}`", text.escape_debug()))
                        .hint(format!("there is no `#{fragment}` in {target}"));
                }
                if found.insert(target.clone(), Arc::clone(&other)).is_none() {
                    open.push((target, other));
                }
            }
        }
        (complete && faults.len() == before).then_some(found)
    }

    /// File and fragment that a reference of the file `from` names.
    fn target(&self, from: &str, text: &str, place: &Place, faults: &mut Diagnostics) -> Option<(String, String)> {
        let target = split_reference(from, text);
        if target.is_none() {
            let what = if text.contains(':') {
                "remote `$ref`"
            } else {
                "`$ref` that leads out of the folder"
            };
            faults
                .fault(place.span, &place.path, format!("{what}: `{}`", text.escape_debug()))
                .hint("nothing is fetched: refer to `#/…` or to a file beside this one, by a relative path");
        }
        target
    }
}

/// Checks that a pattern can be run by the engine that takes linear time.
///
/// # Errors
///
/// What is wrong with it, for people.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    let schema = json!({ "pattern": pattern });
    let builds = |options: jsonschema::ValidationOptions<'_>| options.offline().build(&schema).is_ok();
    if builds(jsonschema::draft202012::options().with_pattern_options(PatternOptions::regex())) {
        Ok(())
    } else if builds(jsonschema::draft202012::options()) {
        Err("the pattern needs look-around or a back-reference".to_owned())
    } else {
        Err("the pattern is no regular expression".to_owned())
    }
}

/// File and fragment of a reference that stands in the file `from`; nothing when it leads out of the tree.
pub(crate) fn split_reference(from: &str, text: &str) -> Option<(String, String)> {
    let (file, fragment) = text.split_once('#').unwrap_or((text, ""));
    if file.is_empty() {
        return Some((from.to_owned(), fragment.to_owned()));
    }
    if file.starts_with('/') || file.contains(['?', ':']) {
        return None;
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let joined = if folder.is_empty() {
        file.to_owned()
    } else {
        format!("{folder}/{file}")
    };
    Some((normalize(&joined)?, fragment.to_owned()))
}

/// The schemas inside a schema, with the kind of place that they stand in.
pub(crate) fn place_of(keyword: &str) -> Holds {
    match keyword {
        "$defs" | "dependentSchemas" | "patternProperties" | "properties" => Holds::NamedSchemas,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Holds::SchemaList,
        "additionalProperties"
        | "contains"
        | "contentSchema"
        | "else"
        | "if"
        | "items"
        | "not"
        | "propertyNames"
        | "then"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Holds::Schema,
        _ => Holds::Data,
    }
}

/// What the value of a keyword is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Something that is not searched for references.
    Data,
    /// A mapping of names to schemas.
    NamedSchemas,
    /// One schema.
    Schema,
    /// A list of schemas.
    SchemaList,
}

/// Calls `visit` for each schema directly inside a schema.
fn for_each_inner<'n>(schema: &'n Node, path: &Path, mut visit: impl FnMut(&'n Node, Path)) {
    for (key, node) in schema.as_map().unwrap_or_default() {
        let path = path.key(&key.text);
        match place_of(&key.text) {
            Holds::Data => {}
            Holds::NamedSchemas => node
                .as_map()
                .unwrap_or_default()
                .iter()
                .for_each(|(key, node)| visit(node, path.key(&key.text))),
            Holds::Schema => visit(node, path),
            Holds::SchemaList => node
                .as_list()
                .unwrap_or_default()
                .iter()
                .enumerate()
                .for_each(|(at, node)| visit(node, path.index(at))),
        }
    }
}

/// Collects the references of a schema and of all schemas in it.
fn collect_references<'n>(schema: &'n Node, path: &Path, found: &mut Vec<(&'n str, Place)>) {
    if let Some(node) = schema.member("$ref")
        && let Some(text) = node.as_text()
    {
        found.push((
            text,
            Place {
                span: node.span,
                path: path.key("$ref"),
            },
        ));
    }
    for_each_inner(schema, path, |inner, path| collect_references(inner, &path, found));
}

/// Checks what the meta-schema does not: unknown keywords, identifiers, patterns.
fn check_keywords(schema: &Node, path: &Path, is_root: bool, faults: &mut Diagnostics) {
    for (key, node) in schema.as_map().unwrap_or_default() {
        match key.text.as_str() {
            "$schema" if node.as_text() == Some(DIALECT) => {}
            "$schema" => {
                faults
                    .fault(node.span, path, "unknown dialect of JSON Schema")
                    .hint(format!("write \"{DIALECT}\""));
            }
            "$id" if !is_root => {
                faults
                    .fault(key.span, path, "`$id` inside a schema file")
                    .hint("refer to it by `#/…`, or put it into a file of its own");
            }
            word @ ("$dynamicAnchor" | "$dynamicRef") => {
                faults
                    .fault(key.span, path, format!("`{word}` is not supported"))
                    .hint("use `$ref`");
            }
            "pattern" => check_pattern_at(node.as_text(), node.span, &path.key("pattern"), faults),
            "patternProperties" => {
                for (name, _) in node.as_map().unwrap_or_default() {
                    check_pattern_at(Some(&name.text), name.span, &path.key("patternProperties"), faults);
                }
            }
            word if KEYWORDS.contains(&word) || word.starts_with("x-") => {}
            word => {
                let fault = faults.fault(key.span, path, format!("unknown keyword `{}`", word.escape_debug()));
                fault.hint("an unknown keyword checks nothing; notes of your own start with `x-` or stand in `$comment`");
                fault.maybe_hint(nearest(word, KEYWORDS.iter().copied()).map(|near| format!("did you mean `{near}`?")));
            }
        }
    }
    for_each_inner(schema, path, |inner, path| check_keywords(inner, &path, false, faults));
}

/// Checks one pattern.
fn check_pattern_at(pattern: Option<&str>, span: Span, path: &Path, faults: &mut Diagnostics) {
    if let Some(Err(why)) = pattern.map(check_pattern) {
        faults.fault(span, path, why).hint(PATTERN_HINT);
    }
}

/// Checks a document against the meta-schema.
fn check_meta(document: &Document, faults: &mut Diagnostics) {
    let validator = jsonschema::draft202012::meta::validator();
    for error in validator.iter_errors(&document.value).take(MAX_META_FAULTS) {
        let pointer = error.instance_path().as_str().to_owned();
        let node = document.tree.at(&pointer).unwrap_or(&document.tree);
        let path = pointer.split('/').skip(1).fold(Path::default(), |path, token| match token.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.key(&token.replace("~1", "/").replace("~0", "~")),
        });
        let keyword = pointer.rsplit('/').next().unwrap_or_default();
        if keyword == "type" && matches!(node.value, NodeValue::Text(_)) {
            let fault = faults.fault(
                node.span,
                &path,
                format!("unknown type `{}`", node.as_text().unwrap_or_default().escape_debug()),
            );
            fault.hint(format!("the types are {}", quoted(TYPES.into_iter(), "and")));
            fault.maybe_hint(nearest(node.as_text().unwrap_or_default(), TYPES).map(|near| format!("did you mean `{near}`?")));
        } else {
            faults.fault(node.span, &path, format!("not a JSON Schema: {}", error.masked()));
        }
    }
}

/// What to do about a pattern that cannot be run.
pub const PATTERN_HINT: &str =
    "patterns run in linear time: no look-around, no back-references (https://docs.rs/regex/latest/regex/#syntax)";
/// The only dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The types of JSON Schema.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
/// One slip can break several rules of the meta-schema; the first few tell it.
const MAX_META_FAULTS: usize = 20;
/// The keywords of 2020-12 that are understood. Those for dynamic references are not: a schema here says all it means.
const KEYWORDS: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$ref",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "then",
    "title",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "writeOnly",
    // Names and namespaces of elements and attributes, as in OpenAPI; steers the reading of XML.
    "xml",
];
