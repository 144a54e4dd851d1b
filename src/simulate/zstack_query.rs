//! Queries of ZStack: conditions such as `q=status=Running`, pages and counts.
//!
//! **Source.** The vendor's public server source and its REST documentation; of the operators those for equality and membership.

use serde_json::{Map, Value, json};

use super::vendor::{VendorReply, VendorRequest};
use super::zstack_documents::{business_error, reply};

/// What a query asks for.
#[derive(Debug)]
pub(super) struct Query {
    conditions: Vec<Condition>,
    start: usize,
    limit: usize,
    counts_only: bool,
    with_count: bool,
}

#[derive(Debug)]
struct Condition {
    field: String,
    values: Vec<String>,
    fits: bool,
}

impl Query {
    /// Reads the parameters; none for a condition that is not understood.
    pub(super) fn of(request: &VendorRequest) -> Option<Self> {
        let parameters = request.query();
        let conditions = parameters.iter().filter(|(name, _)| name == "q");
        let number = |name: &str, default: usize| match request.query_value(name) {
            None => Some(default),
            Some(text) => text.parse().ok(),
        };
        let is_true = |name: &str| request.query_value(name).is_some_and(|value| value == "true");
        Some(Self {
            conditions: conditions.map(|(_, text)| Condition::of(text)).collect::<Option<_>>()?,
            start: number("start", 0)?,
            limit: number("limit", DEFAULT_LIMIT)?,
            counts_only: is_true("count"),
            with_count: is_true("replyWithCount"),
        })
    }

    /// Answers with those of the inventories that fit.
    pub(super) fn answer(&self, inventories: Vec<Value>) -> VendorReply {
        let fits = |inventory: &Value| self.conditions.iter().all(|condition| condition.fits(inventory));
        let found: Vec<Value> = inventories.into_iter().filter(fits).collect();
        let mut body = Map::new();
        if self.counts_only || self.with_count {
            body.insert("total".to_owned(), json!(found.len()));
        }
        if !self.counts_only {
            let page: Vec<Value> = found.into_iter().skip(self.start).take(self.limit).collect();
            body.insert("inventories".to_owned(), Value::Array(page));
        }
        reply(http::StatusCode::OK, &Value::Object(body))
    }
}

impl Condition {
    fn of(text: &str) -> Option<Self> {
        let (operator, fits, is_list) = if text.contains("!?=") {
            ("!?=", false, true)
        } else if text.contains("?=") {
            ("?=", true, true)
        } else if text.contains("!=") {
            ("!=", false, false)
        } else {
            ("=", true, false)
        };
        let (field, value) = text.split_once(operator)?;
        let values = if is_list {
            value.split(',').map(str::to_owned).collect()
        } else {
            vec![value.to_owned()]
        };
        let field = field.trim().to_owned();
        FIELDS.contains(&field.as_str()).then_some(Self { field, values, fits })
    }

    fn fits(&self, inventory: &Value) -> bool {
        let value = inventory.get(&self.field).and_then(Value::as_str).unwrap_or_default();
        self.values.iter().any(|wanted| wanted == value) == self.fits
    }
}

/// The answer to a query that is not understood.
pub(super) fn not_understood() -> VendorReply {
    business_error("SYS.1007", "One or more API argument is invalid", "unsupported query condition")
}

const FIELDS: [&str; 3] = ["uuid", "name", "status"];
const DEFAULT_LIMIT: usize = 1000;
