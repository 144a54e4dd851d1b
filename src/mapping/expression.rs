//! One `${…}` expression: a plain chain of names that is looked up, or CEL that is evaluated.
//!
//! **Shape**: `scope.project` -> look-up; `body.result.lowerAscii() == 'success'` -> CEL, by a plan where it has one.
//!
//! **Invariants**: a plain chain never touches CEL, and what a plan (`plan.rs`) can answer does not either. CEL has no I/O, no clock and no
//! loops beyond the list macros, and sees only the names that it refers to. What is absent costs no text until somebody reads it.
//!
//! **Source**: the Common Expression Language, <https://cel.dev>.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cel::common::ast::{Expr, LiteralValue, operators};
use cel::common::types::CelString;
use cel::objects::{Key, Map as CelMap};
use cel::{Context, Env, ExecutionError, IdedExpr, Program};
use serde_json::Value;

pub use super::bindings::Bindings;
use super::nesting;
use super::plan::{Gap, Plan};
use crate::codec::flat::Items;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Everything else: CEL.
    Cel(Arc<CelExpression>),
    /// A chain of names and indexes.
    Reference(Reference),
}

/// A CEL program with its text.
pub struct CelExpression {
    source: String,
    program: Program,
    plan: Option<Plan>,
}

/// The same text is the same program.
impl PartialEq for CelExpression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for CelExpression {}

impl fmt::Debug for CelExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cel({})", self.source)
    }
}

/// A chain of names and indexes: `body.data.records[0].name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The first name.
    pub root: String,
    /// What is taken from it, step by step.
    pub steps: Vec<Step>,
}

/// One step of a [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// An item of a list.
    Index(usize),
    /// A member of an object.
    Member(String),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        for step in &self.steps {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Member(name) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => write!(f, ".{name}")?,
                Step::Member(name) => write!(f, "['{name}']")?,
            }
        }
        Ok(())
    }
}

impl Reference {
    fn look_up<'a>(&self, bindings: &Bindings<'a>) -> Option<Cow<'a, Value>> {
        let (start, steps) = bindings.start(self).ok()?;
        let value = match start {
            Cow::Borrowed(mut value) => {
                for step in steps {
                    value = match step {
                        Step::Index(index) => value.as_array()?.get(*index)?,
                        Step::Member(name) => value.as_object()?.get(name)?,
                    };
                }
                Cow::Borrowed(value)
            }
            // A text has nothing in it.
            Cow::Owned(text) => steps.is_empty().then_some(Cow::Owned(text))?,
        };
        (!value.is_null()).then_some(value)
    }
}

/// A place of an expression that reads a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// What is read.
    pub reference: Reference,
    /// Is it only read where `has(…)` of the same chain has been asked, or is it that question itself?
    pub guarded: bool,
}

/// The text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CEL expression: {message}")]
pub struct ExpressionError {
    /// What the parser expected.
    pub message: String,
}

/// The expression has no value here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It refers to something that is not there.
    #[error("`{0}` is absent")]
    Absent(String),
    /// CEL refused: wrong types, an index out of range, a function's own error.
    #[error("`{0}` cannot be evaluated")]
    Failed(String, #[source] Box<CelError>),
}

/// Why an expression has no value, before anybody wants to read it.
#[derive(Debug)]
pub(super) enum Missing {
    /// It refers to something that is not there.
    Absent,
    /// CEL refused.
    Failed(CelError),
}

/// What CEL said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CelError(String);

impl Expression {
    /// Parses the text between `${` and `}`.
    ///
    /// ```
    /// use taskgate::mapping::expression::Expression;
    /// assert!(matches!(Expression::parse("scope.project").unwrap(), Expression::Reference(_)));
    /// assert!(matches!(Expression::parse("status == 200").unwrap(), Expression::Cel(_)));
    /// assert!(Expression::parse("scope.").is_err());
    /// ```
    ///
    /// # Errors
    /// [`ExpressionError`] where the text is not CEL, or so deep that no stack is sure to hold it.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        if !nesting::fits(source) {
            let message = "it is nested too deeply or too long, or a text in it does not end".to_owned();
            return Err(ExpressionError { message });
        }
        let program = ENVIRONMENT.compile(source).map_err(|errors| ExpressionError {
            message: errors.errors.first().map_or_else(|| errors.to_string(), |error| error.msg.clone()),
        })?;
        Ok(match as_reference(program.expression()) {
            Some(reference) => Self::Reference(reference),
            None => Self::Cel(Arc::new(CelExpression {
                source: source.trim().to_owned(),
                plan: Plan::of(program.expression()),
                program,
            })),
        })
    }

    /// The value, borrowed where it is a plain look-up. Absent and null are [`EvaluationError::Absent`].
    ///
    /// # Errors
    /// [`EvaluationError`] where there is no value.
    pub fn evaluate<'a>(&'a self, bindings: &Bindings<'a>) -> Result<Cow<'a, Value>, EvaluationError> {
        self.find(bindings).map_err(|missing| self.explain(missing))
    }

    /// The value of a condition.
    ///
    /// # Errors
    /// [`EvaluationError`] where it has none or it is not a boolean.
    pub fn holds(&self, bindings: &Bindings<'_>) -> Result<bool, EvaluationError> {
        let holds = match self {
            Self::Reference(reference) => match reference.look_up(bindings).as_deref() {
                Some(Value::Bool(holds)) => Ok(*holds),
                Some(_) => Err(Missing::Failed(CelError("not a boolean".to_owned()))),
                None => Err(Missing::Absent),
            },
            Self::Cel(cel) => cel.holds(bindings),
        };
        holds.map_err(|missing| self.explain(missing))
    }

    /// As [`Expression::evaluate`], for those who do not read why there is no value.
    pub(super) fn find<'a>(&'a self, bindings: &Bindings<'a>) -> Result<Cow<'a, Value>, Missing> {
        match self {
            Self::Reference(reference) => reference.look_up(bindings).ok_or(Missing::Absent),
            Self::Cel(cel) => match cel.find(bindings)? {
                value if value.is_null() => Err(Missing::Absent),
                value => Ok(value),
            },
        }
    }

    /// The header that it is the name of, if it is one.
    pub(super) fn header<'a>(&self, bindings: &Bindings<'a>) -> Option<Option<&'a str>> {
        match self {
            Self::Reference(reference) => bindings.header(reference),
            Self::Cel(_) => None,
        }
    }

    /// The items of the list that it is the chain to, to be looked at where they stand; nothing where [`Expression::find`] has to be asked.
    pub(super) fn items<'a>(&self, bindings: &Bindings<'a>) -> Option<Result<Items<'a>, Gap>> {
        match self {
            Self::Reference(reference) => bindings.items(reference),
            Self::Cel(_) => None,
        }
    }

    /// Why there is no value, in words.
    pub(super) fn explain(&self, missing: Missing) -> EvaluationError {
        match missing {
            Missing::Absent => EvaluationError::Absent(self.to_string()),
            Missing::Failed(error) => EvaluationError::Failed(self.to_string(), Box::new(error)),
        }
    }

    /// Every value that the expression reads, bound variables of macros left out.
    #[must_use]
    pub fn uses(&self) -> Vec<Use> {
        match self {
            Self::Reference(reference) => vec![Use {
                reference: reference.clone(),
                guarded: false,
            }],
            Self::Cel(cel) => {
                let mut found = Vec::new();
                collect(cel.program.expression(), &mut Vec::new(), &mut found);
                let asked: Vec<Reference> = found
                    .iter()
                    .filter(|(_, test)| *test)
                    .map(|(reference, _)| reference.clone())
                    .collect();
                found
                    .into_iter()
                    .map(|(reference, test)| {
                        let guarded = test || asked.iter().any(|asked| starts_with(&reference, asked));
                        Use { reference, guarded }
                    })
                    .collect()
            }
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cel(cel) => f.write_str(&cel.source),
            Self::Reference(reference) => reference.fmt(f),
        }
    }
}

impl CelExpression {
    fn find<'a>(&'a self, bindings: &Bindings<'a>) -> Result<Cow<'a, Value>, Missing> {
        match self.plan.as_ref().map_or(Err(Gap::Unsure), |plan| plan.evaluate(bindings)) {
            Ok(value) => Ok(value),
            Err(Gap::Absent) => Err(Missing::Absent),
            Err(Gap::Unsure) => {
                let value = to_json(&self.run(bindings)?).map(Cow::Owned);
                value.ok_or_else(|| Missing::Failed(CelError("the result has no JSON form".to_owned())))
            }
        }
    }

    fn holds(&self, bindings: &Bindings<'_>) -> Result<bool, Missing> {
        match self.plan.as_ref().map_or(Err(Gap::Unsure), |plan| plan.holds(bindings)) {
            Ok(holds) => Ok(holds),
            Err(Gap::Absent) => Err(Missing::Absent),
            Err(Gap::Unsure) => match self.run(bindings)? {
                cel::Value::Bool(holds) => Ok(holds),
                _ => Err(Missing::Failed(CelError("not a boolean".to_owned()))),
            },
        }
    }

    /// Asks CEL.
    fn run(&self, bindings: &Bindings<'_>) -> Result<cel::Value, Missing> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        for name in self.program.references().variables() {
            if let Some(bound) = bindings.look_up(name) {
                context.add_variable_from_value(name.to_owned(), from_json(bound.value()));
            }
        }
        self.program.execute(&context).map_err(|error| match error {
            ExecutionError::NoSuchKey(_) | ExecutionError::UndeclaredReference(_) => Missing::Absent,
            other => Missing::Failed(CelError(other.to_string())),
        })
    }
}

pub(super) fn as_reference(expression: &IdedExpr) -> Option<Reference> {
    match &expression.expr {
        Expr::Ident(name) => Some(Reference {
            root: name.clone(),
            steps: Vec::new(),
        }),
        Expr::Select(select) if !select.test => {
            let mut reference = as_reference(&select.operand)?;
            reference.steps.push(Step::Member(select.field.clone()));
            Some(reference)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let (list, index) = match (&call.target, call.args.as_slice()) {
                (Some(list), [index]) => (list.as_ref(), index),
                (None, [list, index]) => (list, index),
                _ => return None,
            };
            let mut reference = as_reference(list)?;
            reference.steps.push(match &index.expr {
                Expr::Literal(LiteralValue::Int(index)) => Step::Index(usize::try_from(*index.inner()).ok()?),
                Expr::Literal(LiteralValue::String(name)) => Step::Member(name.inner().to_owned()),
                _ => return None,
            });
            Some(reference)
        }
        _ => None,
    }
}

/// Walks the tree and notes each chain, with whether it stands inside `has(…)`.
fn collect(expression: &IdedExpr, bound: &mut Vec<String>, found: &mut Vec<(Reference, bool)>) {
    if let Some(reference) = as_reference(expression) {
        if !bound.contains(&reference.root) {
            found.push((reference, false));
        }
        return;
    }
    match &expression.expr {
        Expr::Select(select) => {
            if let Some(mut reference) = as_reference(&select.operand) {
                reference.steps.push(Step::Member(select.field.clone()));
                if !bound.contains(&reference.root) {
                    found.push((reference, select.test));
                }
            } else {
                collect(&select.operand, bound, found);
            }
        }
        Expr::Call(call) => {
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                collect(part, bound, found);
            }
        }
        Expr::Comprehension(comprehension) => {
            collect(&comprehension.iter_range, bound, found);
            collect(&comprehension.accu_init, bound, found);
            let before = bound.len();
            bound.push(comprehension.iter_var.clone());
            bound.extend(comprehension.iter_var2.clone());
            bound.push(comprehension.accu_var.clone());
            for part in [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result] {
                collect(part, bound, found);
            }
            bound.truncate(before);
        }
        Expr::List(list) => list.elements.iter().for_each(|element| collect(element, bound, found)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let cel::common::ast::EntryExpr::MapEntry(entry) = &entry.expr {
                    collect(&entry.key, bound, found);
                    collect(&entry.value, bound, found);
                }
            }
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

fn starts_with(reference: &Reference, prefix: &Reference) -> bool {
    reference.root == prefix.root && reference.steps.starts_with(&prefix.steps)
}

fn from_json(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => cel::Value::Int(int),
            (None, Some(int)) => cel::Value::UInt(int),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(from_json).collect())),
        Value::Object(members) => {
            let map: HashMap<Key, cel::Value> = members
                .iter()
                .map(|(name, member)| (Key::String(Arc::new(name.clone())), from_json(member)))
                .collect();
            cel::Value::Map(CelMap { map: Arc::new(map) })
        }
    }
}

fn to_json(value: &cel::Value) -> Option<Value> {
    Some(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(flag) => Value::Bool(*flag),
        cel::Value::Int(int) => Value::from(*int),
        cel::Value::UInt(int) => Value::from(*int),
        cel::Value::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
        cel::Value::String(text) => Value::String(text.as_ref().clone()),
        cel::Value::List(items) => Value::Array(items.iter().map(to_json).collect::<Option<_>>()?),
        cel::Value::Map(map) => Value::Object(
            map.map
                .iter()
                .map(|(key, member)| match key {
                    Key::String(name) => Some((name.as_ref().clone(), to_json(member)?)),
                    _ => None,
                })
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

/// The standard environment with the string functions (`lowerAscii`, `split`, …), built once: building it costs more
/// than a thousand evaluations.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    environment
        .add_extension(cel::extensions::strings)
        .expect("the strings extension declares no name of the standard library");
    environment
        .add_extension(digests)
        .expect("no other library declares the names of the digests");
    Arc::new(environment)
});

/// `sha512(text)`: lower-case hex; some vendors take a password so. `base64(text)`: for a login with HTTP Basic.
fn digests(environment: &mut Env) -> Result<(), cel::DeclarationError> {
    fn sha512(text: &CelString<'_>) -> CelString<'static> {
        crate::crypto::sha512_hex(text.inner().as_bytes()).into()
    }
    fn base64(text: &CelString<'_>) -> CelString<'static> {
        BASE64_STANDARD.encode(text.inner()).into()
    }
    cel::add_overload!(environment, fn sha512: (CelString) -> CelString)?;
    cel::add_overload!(environment, fn base64: (CelString) -> CelString)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Limits;
    use crate::codec::json::read_flat;
    use crate::mapping::request::{CallValues, Fresh};
    use crate::mapping::values::{Decoded, ReplyValues};
    use crate::model::call::UpstreamReply;
    use proptest::prelude::*;
    use serde_json::json;

    #[track_caller]
    fn check(source: &str, expected: Result<Value, &str>) {
        let body = json!({ "result": "SUCCESS", "list": [{ "id": 15 }, { "id": 25 }], "none": null, "big": 9_007_199_254_740_993_i64,
            "error": { "code": "X" }, "a-b": 1 });
        let status = json!(200);
        let empty = json!({});
        let bindings = Bindings::new().with("body", &body).with("status", &status).with("empty", &empty);
        let outcome = Expression::parse(source).unwrap().evaluate(&bindings).map(Cow::into_owned);
        match (outcome, expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{source}"),
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected, "{source}"),
            (outcome, _) => panic!("{source}: {outcome:?}"),
        }
    }

    #[test]
    fn references_are_looked_up() {
        check("body.result", Ok(json!("SUCCESS")));
        check("body.list[1].id", Ok(json!(25)));
        check("body['a-b']", Ok(json!(1)));
        check("body.big", Ok(json!(9_007_199_254_740_993_i64)));
        check("body.none", Err("`body.none` is absent"));
        check("body.list[7].id", Err("`body.list[7].id` is absent"));
        check("nobody.x", Err("`nobody.x` is absent"));
    }

    #[test]
    fn cel_is_evaluated() {
        check("body.result.lowerAscii() == 'success'", Ok(json!(true)));
        check("status == 200 && !has(body.missing)", Ok(json!(true)));
        check("has(body.error) && body.error.code == 'X'", Ok(json!(true)));
        check("has(empty.error)", Ok(json!(false)));
        check("string(body.big)", Ok(json!("9007199254740993")));
        check("body.list.filter(r, r.id == 15)", Ok(json!([{ "id": 15 }])));
        check("body.missing == 1", Err("`body.missing == 1` is absent"));
        check("body.result + 1", Err("`body.result + 1` cannot be evaluated"));
    }

    #[test]
    fn syntax_errors_are_reported() {
        for source in ["", "a.", "a b", "a == ", "'x"] {
            assert!(Expression::parse(source).is_err(), "{source}");
        }
    }

    #[test]
    fn uses_are_collected_without_bound_names() {
        let uses = |source: &str| -> Vec<(String, bool)> {
            Expression::parse(source)
                .unwrap()
                .uses()
                .into_iter()
                .map(|u| (u.reference.to_string(), u.guarded))
                .collect()
        };
        assert_eq!(uses("scope.project"), [("scope.project".to_owned(), false)]);
        assert_eq!(
            uses("has(body.error) && body.error.code == id"),
            [
                ("body.error".to_owned(), true),
                ("body.error.code".to_owned(), true),
                ("id".to_owned(), false)
            ]
        );
        assert_eq!(
            uses("body.list.exists(r, r.id == id)"),
            [("body.list".to_owned(), false), ("id".to_owned(), false)]
        );
    }

    /// Expressions over names that are there and names that are not, of types that fit and types that do not.
    fn source() -> impl Strategy<Value = String> {
        const READS: &[&str] = &[
            "body",
            "body.a",
            "body.a.a",
            "body.a.b.a",
            "body.b",
            "body.l",
            "body.l[0]",
            "body.l[1].a",
            "body['a-b']",
            "body.a['b']",
            "body[0]",
            "status",
            "text",
            "id",
            "headers",
            "headers['x-id']",
            "headers.gone",
            "call.uuid",
            "call.other",
            "nobody",
            "nobody.x",
            "int",
        ];
        const LITERALS: &[&str] = &[
            "200",
            "-1",
            "0",
            "1.5",
            "1u",
            "9223372036854775807",
            "'x'",
            "''",
            "'abc'",
            "'ABC'",
            "true",
            "false",
            "null",
            "[]",
            "['x', 1, null]",
            "{}",
            "{'x': 1}",
        ];
        const HAS: &[&str] = &[
            "has(body.a)",
            "has(body.a.b)",
            "has(body.b.a.b)",
            "has(body.l.a)",
            "has(headers.gone)",
            "has(call.uuid)",
            "has(nobody.a)",
            "has(body.l[0].a)",
        ];
        let leaf = prop_oneof![
            4 => prop::sample::select(READS).prop_map(str::to_owned),
            2 => prop::sample::select(LITERALS).prop_map(str::to_owned),
            2 => prop::sample::select(HAS).prop_map(str::to_owned),
        ];
        const BINARY: &[&str] = &["==", "!=", "<", "<=", ">", ">=", "in", "&&", "||", "+", "-"];
        leaf.prop_recursive(4, 16, 3, |inner| {
            prop_oneof![
                5 => (inner.clone(), prop::sample::select(BINARY), inner.clone()).prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
                1 => inner.clone().prop_map(|part| format!("!{part}")),
                1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(when, then, other)| format!("({when} ? {then} : {other})")),
                2 => (prop::sample::select(&["string", "size", "int"]), inner.clone()).prop_map(|(function, part)| format!("{function}({part})")),
                2 => (inner.clone(), prop::sample::select(&["lowerAscii", "upperAscii", "size", "trim"])).prop_map(|(part, method)| format!("{part}.{method}()")),
                2 => (inner.clone(), prop::sample::select(&["contains", "startsWith", "endsWith", "split"]), inner.clone())
                    .prop_map(|(part, method, argument)| format!("{part}.{method}({argument})")),
                1 => (inner.clone(), inner.clone()).prop_map(|(list, index)| format!("{list}[{index}]")),
                1 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("[{one}, {other}]")),
                1 => (inner.clone(), prop::sample::select(&["filter", "exists", "all", "map"]), inner).prop_map(|(list, each, condition)| {
                    format!("{list}.{each}(body, {condition})")
                }),
            ]
        })
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2_i64..3).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            prop::sample::select(&[0.0, 1.5, -0.0, 200.0, 1e300]).prop_map(Value::from),
            prop::sample::select(&["", "x", "abc", "ABC", "é/x", "200"]).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let names = prop::sample::select(&["a", "b", "l", "a-b", "x"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(names, inner, 0..4).prop_map(|members| members
                    .into_iter()
                    .map(|(name, member)| (name.to_owned(), member))
                    .collect::<Value>()),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        let names = prop::sample::select(&["a", "b", "l", "a-b"]);
        prop::collection::btree_map(names, value(), 0..5)
            .prop_map(|members| members.into_iter().map(|(name, member)| (name.to_owned(), member)).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

        #[test]
        fn a_plan_says_what_cel_says(source in source(), body in object(), status in value(), id in value(), known in any::<bool>()) {
            let Ok(Expression::Cel(cel)) = Expression::parse(&source) else { return Ok(()) };
            let Some(plan) = &cel.plan else { return Ok(()) };
            let mut fields = http::HeaderMap::new();
            fields.insert("x-id", http::HeaderValue::from_static("abc"));
            let text = json!("abc");
            let call = CallValues {
                id: Value::Null,
                body: serde_json::Map::new(),
                call: if known { Fresh::new("abc") } else { Fresh::unknown() },
                settings: Arc::new(Value::Null),
            };
            let reply = UpstreamReply { status: http::StatusCode::OK, headers: fields, body: body.to_string().into() };
            let flat = read_flat(&reply.body, &Limits::REPLY).unwrap();
            let values = ReplyValues::new(&reply, Decoded::Document(flat.into()));
            let bindings = values
                .bind(call.bindings())
                .with("id", &status)
                .with("status", &status)
                .with("id", &id)
                .with("text", &text);
            // Before anybody needs the body as a value.
            let (found, holds) = (plan.evaluate(&bindings), plan.holds(&bindings));
            let said = cel.run(&bindings);
            match found {
                Ok(value) => prop_assert_eq!(said.as_ref().ok().and_then(to_json), Some(value.into_owned()), "{}", source),
                Err(Gap::Absent) => prop_assert!(matches!(said, Err(Missing::Absent)), "{source}: {said:?}"),
                Err(Gap::Unsure) => {}
            }
            match holds {
                Ok(holds) => prop_assert_eq!(said.ok(), Some(cel::Value::Bool(holds)), "{}", source),
                Err(Gap::Absent) => prop_assert!(matches!(said, Err(Missing::Absent)), "{source}: {said:?}"),
                Err(Gap::Unsure) => {}
            }
        }
    }

    #[test]
    fn everyday_expressions_are_answered_without_cel() {
        let body = json!({ "result": "SUCCESS", "error": { "code": "ID.1001" }, "none": null, "list": [{ "id": "15" }, { "id": "25" }], "n": 7,
            "location": "https://host/v1/jobs/5ca9" });
        let (status, id, text) = (json!(200), json!("15"), json!("no api mapping"));
        let bindings = Bindings::new()
            .with("body", &body)
            .with("status", &status)
            .with("id", &id)
            .with("text", &text);
        for (source, expected) in [
            ("status == 202", Some(json!(false))),
            ("has(body.result) && body.result.lowerAscii() == 'success'", Some(json!(true))),
            (
                "has(body.error) && body.error != null && has(body.error.code) && body.error.code in ['ID.1000', 'ID.1001']",
                Some(json!(true)),
            ),
            ("text.contains('no api mapping') || has(body.x)", Some(json!(true))),
            ("string(body.n)", Some(json!("7"))),
            ("body.list.filter(item, item.id == id)", Some(json!([{ "id": "15" }]))),
            ("body.n <= size(body.list)", Some(json!(false))),
            ("has(body.y) ? body.y : body.none == null ? 'none' : 'some'", Some(json!("none"))),
            ("body.location.split('/')[size(body.location.split('/')) - 1]", Some(json!("5ca9"))),
            ("body.result + ', ' + body.error.code", Some(json!("SUCCESS, ID.1001"))),
            ("!('x' in body)", Some(json!(true))),
            ("body.list.exists(item, has(item.id) && item.id == id)", Some(json!(true))),
            ("body.missing == 1", None),
        ] {
            let Expression::Cel(cel) = Expression::parse(source).unwrap() else {
                panic!("{source}")
            };
            let found = cel.plan.as_ref().map(|plan| plan.evaluate(&bindings).map(Cow::into_owned));
            assert_eq!(found, Some(expected.ok_or(Gap::Absent)), "{source}");
        }
    }
}
