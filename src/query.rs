//! The query of a look: the members of `scope` as parameters.
//!
//! **Shape**: `instance=ebf891cd&project=a%20b` -> `[("instance", "ebf891cd"), ("project", "a b")]` ->
//! `{"scope":{"instance":"ebf891cd","project":"a b"}}`.
//!
//! **Invariants**: nothing that a caller says is ignored in silence: an unknown, repeated or broken parameter is an error.
//! Values are percent-decoded once; `+` is a plus.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// Reads the query of a request target.
///
/// ```
/// use taskgate::query::parse;
/// assert_eq!(parse("instance=a%2Fb").unwrap(), [("instance".to_owned(), "a/b".to_owned())]);
/// assert!(parse("instance=a&instance=b").is_err());
/// ```
///
/// # Errors
/// `INVALID_QUERY` for a parameter without a value, a repeated one, or one that is not percent-encoded UTF-8.
pub fn parse(query: &str) -> Result<Vec<(String, String)>, GatewayError> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for part in query.split('&') {
        let Some((name, value)) = part.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(invalid("a query is `name=value`, joined by `&`".to_owned()));
        };
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            return Err(invalid("the query is not percent-encoded UTF-8".to_owned()));
        };
        if !seen.insert(name.clone()) {
            return Err(invalid(format!("the query parameter {} stands there twice", shown(&name))));
        }
        found.push((name, value));
    }
    Ok(found)
}

/// The canonical body that the parameters stand for, with the types of its schema.
///
/// # Errors
/// `INVALID_QUERY` for a parameter that is no member of `scope`, or that is no number or boolean where one is needed.
pub fn to_body(parameters: &[(String, String)], schema: &Value) -> Result<Map<String, Value>, GatewayError> {
    let members = schema.pointer("/properties/scope/properties").and_then(Value::as_object);
    let mut scope = Map::new();
    for (name, text) in parameters {
        let Some(member) = members.and_then(|members| members.get(name)) else {
            let known: Vec<&str> = members.into_iter().flat_map(Map::keys).map(String::as_str).collect();
            let detail = match known.as_slice() {
                [] => format!("there is no query parameter {}; a look takes none here", shown(name)),
                known => format!("there is no query parameter {}; there are {}", shown(name), known.join(", ")),
            };
            return Err(invalid(detail).with_metadata("parameters", known));
        };
        let value = match member.get("type").and_then(Value::as_str) {
            Some("boolean") => text.parse::<bool>().ok().map(Value::from),
            Some("integer") => text
                .parse::<i64>()
                .ok()
                .filter(|number| number.to_string() == *text)
                .map(Value::from),
            _ => Some(Value::from(text.as_str())),
        };
        let Some(value) = value else {
            return Err(invalid(format!("the query parameter {} has a value of another type", shown(name))));
        };
        scope.insert(name.clone(), value);
    }
    let mut body = Map::new();
    if !scope.is_empty() {
        body.insert("scope".to_owned(), Value::Object(scope));
    }
    Ok(body)
}

fn decode(text: &str) -> Option<String> {
    let broken = text.match_indices('%').any(|(at, _)| {
        !text
            .get(at + 1..at + 3)
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    if broken {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// A name as it may be repeated to the caller: plain and short.
fn shown(name: &str) -> String {
    let plain = name.len() <= MAX_SHOWN && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain { format!("`{name}`") } else { "of that name".to_owned() }
}

fn invalid(detail: String) -> GatewayError {
    GatewayError::new(Reason::InvalidQuery, detail)
}

/// Members of `scope` have names of a word or two.
const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(query: &str, expected: Option<Value>) {
        let schema = json!({ "properties": { "scope": { "properties": {
            "instance": { "type": "string" }, "shard": { "type": "integer" }, "all": { "type": "boolean" } } } } });
        let body = parse(query).and_then(|parameters| to_body(&parameters, &schema));
        assert_eq!(body.as_ref().ok().cloned().map(Value::Object), expected, "{query}");
        assert!(body.is_ok() || body.unwrap_err().reason == Reason::InvalidQuery);
    }

    #[test]
    fn parameters_are_members_of_scope() {
        check("instance=a", Some(json!({ "scope": { "instance": "a" } })));
        check("instance=a%20%C3%A9+b", Some(json!({ "scope": { "instance": "a é+b" } })));
        check("shard=7&all=true", Some(json!({ "scope": { "shard": 7, "all": true } })));
        check("instance=", Some(json!({ "scope": { "instance": "" } })));
        check("instance=a=b", Some(json!({ "scope": { "instance": "a=b" } })));
    }

    #[test]
    fn nothing_is_ignored_in_silence() {
        for query in [
            "",
            "instance",
            "=a",
            "&",
            "instance=a&",
            "instance=a&instance=b",
            "instance=a&inst%61nce=b",
            "other=1",
            "validate_only=true",
            "instance=%",
            "instance=%zz",
            "instance=%ff",
            "shard=07",
            "shard=x",
            "all=1",
            "scope=a",
            "%00=1",
            "instance=%é",
        ] {
            check(query, None);
        }
    }
}
