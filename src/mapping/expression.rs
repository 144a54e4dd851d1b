//! One `${…}` expression: a plain chain of names that is looked up, or CEL that is evaluated.
//!
//! **Shape**: `scope.project` -> look-up; `body.result.lowerAscii() == 'success'` -> CEL.
//!
//! **Invariants**: a plain chain never touches CEL. CEL has no I/O, no clock and no loops beyond the list macros, and
//! sees only the names that it refers to.
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

use super::nesting;

/// The values that an expression may refer to, by name.
#[derive(Clone, Debug, Default)]
pub struct Bindings<'a> {
    names: Vec<(&'a str, &'a Value)>,
}

impl<'a> Bindings<'a> {
    /// No names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name; a later one hides an earlier one.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: &'a Value) -> Self {
        self.names.push((name, value));
        self
    }

    fn look_up(&self, name: &str) -> Option<&'a Value> {
        self.names.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

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
    fn look_up<'a>(&self, bindings: &Bindings<'a>) -> Option<&'a Value> {
        let mut value = bindings.look_up(&self.root)?;
        for step in &self.steps {
            value = match step {
                Step::Index(index) => value.get(*index)?,
                Step::Member(name) => value.get(name.as_str())?,
            };
        }
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
                program,
            })),
        })
    }

    /// The value, borrowed where it is a plain look-up. Absent and null are [`EvaluationError::Absent`].
    ///
    /// # Errors
    /// [`EvaluationError`] where there is no value.
    pub fn evaluate<'a>(&self, bindings: &Bindings<'a>) -> Result<Cow<'a, Value>, EvaluationError> {
        match self {
            Self::Reference(reference) => match reference.look_up(bindings) {
                Some(value) => Ok(Cow::Borrowed(value)),
                None => Err(EvaluationError::Absent(reference.to_string())),
            },
            Self::Cel(cel) => match cel.run(bindings)? {
                cel::Value::Null => Err(EvaluationError::Absent(cel.source.clone())),
                value => to_json(&value)
                    .map(Cow::Owned)
                    .ok_or_else(|| cel.failed("the result has no JSON form".to_owned())),
            },
        }
    }

    /// The value of a condition.
    ///
    /// # Errors
    /// [`EvaluationError`] where it has none or it is not a boolean.
    pub fn holds(&self, bindings: &Bindings<'_>) -> Result<bool, EvaluationError> {
        match self {
            Self::Reference(reference) => match reference.look_up(bindings) {
                Some(Value::Bool(holds)) => Ok(*holds),
                Some(_) => Err(EvaluationError::Failed(
                    reference.to_string(),
                    Box::new(CelError("not a boolean".to_owned())),
                )),
                None => Err(EvaluationError::Absent(reference.to_string())),
            },
            Self::Cel(cel) => match cel.run(bindings)? {
                cel::Value::Bool(holds) => Ok(holds),
                _ => Err(cel.failed("not a boolean".to_owned())),
            },
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
    fn run(&self, bindings: &Bindings<'_>) -> Result<cel::Value, EvaluationError> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        for name in self.program.references().variables() {
            if let Some(value) = bindings.look_up(name) {
                context.add_variable_from_value(name.to_owned(), from_json(value));
            }
        }
        self.program.execute(&context).map_err(|error| match error {
            ExecutionError::NoSuchKey(_) | ExecutionError::UndeclaredReference(_) => EvaluationError::Absent(self.source.clone()),
            other => self.failed(other.to_string()),
        })
    }

    fn failed(&self, message: String) -> EvaluationError {
        EvaluationError::Failed(self.source.clone(), Box::new(CelError(message)))
    }
}

fn as_reference(expression: &IdedExpr) -> Option<Reference> {
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
}
