//! Bad schema trees and the exact text of their faults.

use serde_json::{Value, json};

use crate::config::diagnostic::Diagnostics;
use crate::config::files::FileSet;
use crate::config::place::{Path, Span, Spanned};
use crate::config::schemas::{Schemas, check_pattern};
use crate::config::sources::Sources;
use crate::config::tests::condensed;

/// Loads `name` as if routes.yaml named it.
fn load(tree: &[(&str, &str)], name: &str) -> (Option<Value>, String) {
    let sources = Sources::memory(tree.iter().copied());
    let mut files = FileSet::default();
    let routes = files.add("routes.yaml", format!("schema: {name}\n"));
    let mut faults = Diagnostics::default();
    let place = Spanned::new(name.to_owned(), Span::new(routes, 8, 8 + name.len()));
    let mut schemas = Schemas::new(&sources);
    let value = schemas.load(&place, &Path::default().key("schema"), &mut files, &mut faults);
    let again = schemas.load(&place, &Path::default().key("schema"), &mut files, &mut faults);
    assert_eq!(value, again);
    assert_eq!(value.is_none(), !faults.is_empty());
    (value, faults.render(&files))
}

#[track_caller]
fn check(tree: &[(&str, &str)], name: &str, expected: &str) {
    let found = condensed(&load(tree, name).1);
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}\n");
}

#[track_caller]
fn check_value(tree: &[(&str, &str)], expected: &Value) {
    let (value, rendered) = load(tree, "a.json");
    assert_eq!(rendered, "");
    assert_eq!(value.as_ref(), Some(expected));
}

#[test]
fn references_are_replaced_by_their_targets() {
    check_value(
        &[
            (
                "a.json",
                r##"{ "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/a",
                "properties": { "id": { "$ref": "#/$defs/id" }, "code": { "$ref": "sub/b.json#code", "title": "Code" },
                    "all": { "$ref": "sub/b.json", "minProperties": 1 }, "esc": { "$ref": "#/$defs/a~1b%20c" } },
                "$defs": { "id": { "type": "string" }, "a/b c": true } }"##,
            ),
            (
                "sub/b.json",
                r##"{ "type": "object", "properties": { "x": { "$ref": "./../c.json" } },
                "$defs": { "c": { "$anchor": "code", "type": "integer", "title": "old" } } }"##,
            ),
            ("c.json", r##"{ "const": { "$ref": "not a reference" } }"##),
        ],
        &json!({ "properties": {
            "id": { "type": "string" },
            "code": { "type": "integer", "title": "Code" },
            "all": { "minProperties": 1, "allOf": [{ "type": "object", "properties": { "x": { "const": { "$ref": "not a reference" } } } }] },
            "esc": true,
        } }),
    );
}

#[test]
fn a_property_may_have_the_name_of_a_keyword() {
    check_value(
        &[(
            "a.json",
            r##"{ "properties": { "$ref": { "type": "string" }, "$defs": true, "pattern": { "minimum": 0.5 } } }"##,
        )],
        &json!({ "properties": { "$ref": { "type": "string" }, "$defs": true, "pattern": { "minimum": 0.5 } } }),
    );
}

#[test]
fn a_missing_file_is_a_fault_where_it_is_named() {
    check(
        &[("schemas/acme/stop.reply.json", "{}")],
        "schemas/acme/stop.replies.json",
        "error: routes.yaml:1:9: schema: schema file `schemas/acme/stop.replies.json`: there is no such file\n\
         = hint: did you mean `schemas/acme/stop.reply.json`?",
    );
}

#[test]
fn references_stay_in_the_tree() {
    check(
        &[
            (
                "s/a.json",
                "{\n  \"allOf\": [\n    { \"$ref\": \"https://example.com/x.json\" },\n    { \"$ref\": \"file:///etc/passwd\" },\n    { \"$ref\": \"/etc/passwd\" },\n    { \"$ref\": \"../../x.json\" },\n    { \"$ref\": \"b.jsn\" },\n    { \"$ref\": \"#/$defs/none\" },\n    { \"$ref\": \"b.json#none\" }\n  ]\n}\n",
            ),
            ("s/b.json", "{}"),
        ],
        "s/a.json",
        "error: s/a.json:3:15: allOf[0].$ref: remote `$ref`: `https://example.com/x.json`\n\
         = hint: nothing is fetched: refer to `#/…` or to a file beside this one, by a relative path\n\
         error: s/a.json:4:15: allOf[1].$ref: remote `$ref`: `file:///etc/passwd`\n\
         = hint: nothing is fetched: refer to `#/…` or to a file beside this one, by a relative path\n\
         error: s/a.json:5:15: allOf[2].$ref: `$ref` that leads out of the folder: `/etc/passwd`\n\
         = hint: nothing is fetched: refer to `#/…` or to a file beside this one, by a relative path\n\
         error: s/a.json:6:15: allOf[3].$ref: `$ref` that leads out of the folder: `../../x.json`\n\
         = hint: nothing is fetched: refer to `#/…` or to a file beside this one, by a relative path\n\
         error: s/a.json:7:15: allOf[4].$ref: schema file `s/b.jsn`: there is no such file\n\
         = hint: did you mean `s/b.json`?\n\
         error: s/a.json:8:15: allOf[5].$ref: `$ref` leads nowhere: `#/$defs/none`\n\
         = hint: there is no `#/$defs/none` in s/a.json\n\
         error: s/a.json:9:15: allOf[6].$ref: `$ref` leads nowhere: `b.json#none`\n\
         = hint: there is no `#none` in s/b.json",
    );
}

#[test]
fn every_fault_of_a_schema_is_said() {
    check(
        &[(
            "a.json",
            "{\n  \"type\": \"strin\",\n  \"requird\": [\"a\"],\n  \"properties\": {\n    \"a\": { \"pattern\": \"(?=x)\" },\n    \"b\": { \"pattern\": \"(\" },\n    \"c\": { \"minLength\": -1 },\n    \"d\": { \"$dynamicRef\": \"#x\" },\n    \"e\": { \"$id\": \"x\" },\n    \"f\": 5\n  }\n}\n",
        )],
        "a.json",
        "error: a.json:2:11: type: unknown type `strin`\n\
         = hint: did you mean `string`?\n\
         error: a.json:3:3: unknown keyword `requird`\n\
         = hint: did you mean `required`?\n\
         error: a.json:5:23: properties.a.pattern: the pattern needs look-around or a back-reference\n\
         = hint: patterns run in linear time: no look-around, no back-references (https://docs.rs/regex/latest/regex/#syntax)\n\
         error: a.json:6:23: properties.b.pattern: the pattern is no regular expression\n\
         = hint: patterns run in linear time: no look-around, no back-references (https://docs.rs/regex/latest/regex/#syntax)\n\
         error: a.json:7:25: properties.c.minLength: not a JSON Schema: value is less than the minimum of 0\n\
         error: a.json:8:12: properties.d: `$dynamicRef` is not supported\n\
         = hint: use `$ref`\n\
         error: a.json:9:12: properties.e: `$id` inside a schema file\n\
         = hint: refer to it by `#/…`, or put it into a file of its own\n\
         error: a.json:10:10: properties.f: not a JSON Schema: value is not of types \"boolean\", \"object\"",
    );
}

#[test]
fn broken_files_are_faults_in_the_file() {
    check(
        &[("a.json", "{\n  \"type\": \"object\",\n}")],
        "a.json",
        "error: a.json:3:1: invalid JSON: trailing comma",
    );
    check(
        &[("a.json", "true")],
        "a.json",
        "error: a.json:1:1: a schema file holds an object, found the boolean `true`",
    );
    check(
        &[("a.json", "{ \"$schema\": \"http://json-schema.org/draft-07/schema#\" }")],
        "a.json",
        "error: a.json:1:14: unknown dialect of JSON Schema\n\
         = hint: write \"https://json-schema.org/draft/2020-12/schema\"",
    );
    check(
        &[],
        "../a.json",
        "error: routes.yaml:1:9: schema: `../a.json` is no path of a schema file\n\
         = hint: it must be relative and stay inside the folder of routes.yaml",
    );
}

#[test]
fn circles_and_bombs_end_at_once() {
    check(
        &[("a.json", r##"{ "properties": { "a": { "$ref": "#" } } }"##)],
        "a.json",
        "error: a.json:1:34: `$ref` leads round in a circle: `#`",
    );
    check(
        &[
            ("a.json", r##"{ "$ref": "b.json" }"##),
            ("b.json", r##"{ "items": { "$ref": "a.json" } }"##),
        ],
        "a.json",
        "error: b.json:1:22: `$ref` leads round in a circle: `a.json`",
    );
    let mut bomb = "{\"$ref\": \"#/$defs/d0\", \"$defs\": {".to_owned();
    for level in 0..60 {
        bomb.push_str(&format!(
            "\"d{level}\": {{\"allOf\": [{{\"$ref\": \"#/$defs/d{0}\"}}, {{\"$ref\": \"#/$defs/d{0}\"}}]}},\n",
            level + 1
        ));
    }
    bomb.push_str("\"d60\": {\"type\": \"string\"}}}");
    check(
        &[("a.json", &bomb)],
        "a.json",
        "error: a.json:59:28: with its references the schema has more than 50000 values",
    );
    let mut chain = "{\"$ref\": \"#/$defs/d0\", \"$defs\": {".to_owned();
    for level in 0..5000 {
        chain.push_str(&format!("\"d{level}\": {{\"$ref\": \"#/$defs/d{}\"}},\n", level + 1));
    }
    chain.push_str("\"d5000\": {\"type\": \"string\"}}}");
    check(
        &[("a.json", &chain)],
        "a.json",
        "error: a.json:128:9: with its references the schema is more than 128 levels deep",
    );
}

#[test]
fn patterns_are_for_the_linear_engine() {
    assert_eq!(check_pattern("^[1-9][0-9]{0,17}$"), Ok(()));
    assert_eq!(
        check_pattern("(?<!x)a"),
        Err("the pattern needs look-around or a back-reference".to_owned())
    );
    assert_eq!(check_pattern("[a"), Err("the pattern is no regular expression".to_owned()));
}
