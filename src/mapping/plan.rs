//! Everyday expressions without CEL: a plan that looks the values up where they stand, instead of copying them into CEL's own.
//!
//! **Shape**: `has(body.result) && body.result.lowerAscii() == 'success'` -> `And(Has(body, result), Equal(LowerAscii(body.result), …))`.
//!
//! **Invariants**: a plan says what CEL says, or it gives up and CEL is asked: [`Gap::Unsure`] stands for every error but an absent value,
//! and for every mix of types whose rules are not worth repeating here. What CEL would not have looked at, a plan does not look at either.

use std::borrow::Cow;
use std::cmp::Ordering;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators};
use serde_json::Value;

use super::expression::{Bindings, Reference, Step, as_reference};
use crate::json_text;

/// An expression that can be evaluated without CEL, for most values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    And(Box<[Self; 2]>),
    Call(Function, Vec<Self>),
    Compare(Comparison, Box<[Self; 2]>),
    /// `list.exists(name, condition)`
    Exists {
        list: Box<Self>,
        name: String,
        condition: Box<Self>,
    },
    /// `list.filter(name, condition)`
    Filter {
        list: Box<Self>,
        name: String,
        condition: Box<Self>,
    },
    /// `has(operand.field)`
    Has {
        operand: Box<Self>,
        field: String,
    },
    If(Box<[Self; 3]>),
    Index(Box<[Self; 2]>),
    List(Vec<Self>),
    Literal(Value),
    Not(Box<Self>),
    Or(Box<[Self; 2]>),
    Read(Reference),
}

/// A function with one meaning for the types that it is planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Add,
    Contains,
    EndsWith,
    LowerAscii,
    Size,
    Split,
    StartsWith,
    String,
    Subtract,
    UpperAscii,
}

/// An operator between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterEqual,
    In,
    Less,
    LessEqual,
    NotEqual,
}

/// Why a plan has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// It refers to something that is not there.
    Absent,
    /// CEL has to be asked.
    Unsure,
}

type Found<'a> = Result<Cow<'a, Value>, Gap>;

impl Plan {
    /// The plan of an expression, where all of it can be planned.
    pub(super) fn of(expression: &IdedExpr) -> Option<Self> {
        if let Some(reference) = as_reference(expression) {
            // Names of types stand below this one, and win against a member of a value.
            return (reference.root != "google").then_some(Self::Read(reference));
        }
        match &expression.expr {
            Expr::Call(call) => Self::of_call(call),
            Expr::Comprehension(comprehension) => Self::of_filter(comprehension).or_else(|| Self::of_exists(comprehension)),
            Expr::List(list) if list.optional_indices.is_empty() => {
                list.elements.iter().map(Self::of).collect::<Option<_>>().map(Self::List)
            }
            Expr::Literal(literal) => Some(Self::Literal(match literal {
                LiteralValue::Boolean(flag) => Value::Bool(*flag.inner()),
                LiteralValue::Int(int) => Value::from(*int.inner()),
                LiteralValue::Null => Value::Null,
                LiteralValue::String(text) => Value::from(text.inner()),
                LiteralValue::Bytes(_) | LiteralValue::Double(_) | LiteralValue::UInt(_) => return None,
            })),
            Expr::Select(select) if select.test => Some(Self::Has {
                operand: Box::new(Self::of(&select.operand)?),
                field: select.field.clone(),
            }),
            _ => None,
        }
    }

    fn of_call(call: &CallExpr) -> Option<Self> {
        let parts: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let two = || match parts.as_slice() {
            [left, right] => Some(Box::new([Self::of(left)?, Self::of(right)?])),
            _ => None,
        };
        let function = |function| {
            let parts: Option<Vec<Self>> = parts.iter().map(|part| Self::of(part)).collect();
            parts.map(|parts| Self::Call(function, parts))
        };
        let comparison = |comparison| two().map(|two| Self::Compare(comparison, two));
        match (call.func_name.as_str(), call.target.is_some(), call.args.len()) {
            (operators::LOGICAL_AND, false, 2) => two().map(Self::And),
            (operators::LOGICAL_OR, false, 2) => two().map(Self::Or),
            (operators::EQUALS, false, 2) => comparison(Comparison::Equal),
            (operators::NOT_EQUALS, false, 2) => comparison(Comparison::NotEqual),
            (operators::LESS, false, 2) => comparison(Comparison::Less),
            (operators::LESS_EQUALS, false, 2) => comparison(Comparison::LessEqual),
            (operators::GREATER, false, 2) => comparison(Comparison::Greater),
            (operators::GREATER_EQUALS, false, 2) => comparison(Comparison::GreaterEqual),
            (operators::IN, false, 2) => comparison(Comparison::In),
            (operators::INDEX, false, 2) => two().map(Self::Index),
            (operators::ADD, false, 2) => function(Function::Add),
            (operators::SUBSTRACT, false, 2) => function(Function::Subtract),
            (operators::LOGICAL_NOT, false, 1) => Some(Self::Not(Box::new(Self::of(parts.first()?)?))),
            (operators::CONDITIONAL, false, 3) => match parts.as_slice() {
                [condition, then, otherwise] => Some(Self::If(Box::new([Self::of(condition)?, Self::of(then)?, Self::of(otherwise)?]))),
                _ => None,
            },
            ("string", false, 1) => function(Function::String),
            ("size", false, 1) | ("size", true, 0) => function(Function::Size),
            ("lowerAscii", true, 0) => function(Function::LowerAscii),
            ("upperAscii", true, 0) => function(Function::UpperAscii),
            ("contains", true, 1) => function(Function::Contains),
            ("startsWith", true, 1) => function(Function::StartsWith),
            ("endsWith", true, 1) => function(Function::EndsWith),
            ("split", true, 1) => function(Function::Split),
            _ => None,
        }
    }

    /// `list.filter(name, condition)` as its macro spells it: `condition ? found + [name] : found` over an empty list.
    fn of_filter(loops: &ComprehensionExpr) -> Option<Self> {
        let is = |part: &IdedExpr, name: &str| matches!(&part.expr, Expr::Ident(ident) if ident == name);
        let found = loops.accu_var.as_str();
        let starts_empty = matches!(&loops.accu_init.expr, Expr::List(list) if list.elements.is_empty());
        let runs_through = matches!(&loops.loop_cond.expr, Expr::Literal(LiteralValue::Boolean(flag)) if *flag.inner());
        if !starts_empty || !runs_through || !is(&loops.result, found) || loops.iter_var2.is_some() {
            return None;
        }
        let Expr::Call(step) = &loops.loop_step.expr else { return None };
        let (operators::CONDITIONAL, [condition, append, otherwise]) = (step.func_name.as_str(), step.args.as_slice()) else {
            return None;
        };
        let Expr::Call(append) = &append.expr else { return None };
        let (operators::ADD, [list, items]) = (append.func_name.as_str(), append.args.as_slice()) else {
            return None;
        };
        let takes_item = matches!(&items.expr, Expr::List(list) if matches!(list.elements.as_slice(), [item] if is(item, &loops.iter_var)));
        if !is(list, found) || !is(otherwise, found) || !takes_item {
            return None;
        }
        Some(Self::Filter {
            list: Box::new(Self::of(&loops.iter_range)?),
            name: loops.iter_var.clone(),
            condition: Box::new(Self::of(condition)?),
        })
    }

    /// `list.exists(name, condition)` as its macro spells it: `found || condition` from `false` on, until it is true.
    fn of_exists(loops: &ComprehensionExpr) -> Option<Self> {
        let call = |part: &'_ IdedExpr, name: &str| match &part.expr {
            Expr::Call(call) if call.func_name == name && call.target.is_none() => Some(call.args.clone()),
            _ => None,
        };
        let found = |part: &IdedExpr| matches!(&part.expr, Expr::Ident(ident) if *ident == loops.accu_var);
        let starts_false = matches!(&loops.accu_init.expr, Expr::Literal(LiteralValue::Boolean(flag)) if !*flag.inner());
        let not = call(&loops.loop_cond, operators::NOT_STRICTLY_FALSE)?;
        let [not] = not.as_slice() else { return None };
        let until = call(not, operators::LOGICAL_NOT)?;
        let step = call(&loops.loop_step, operators::LOGICAL_OR)?;
        match (until.as_slice(), step.as_slice()) {
            ([until], [before, condition])
                if starts_false && found(until) && found(before) && found(&loops.result) && loops.iter_var2.is_none() =>
            {
                Some(Self::Exists {
                    list: Box::new(Self::of(&loops.iter_range)?),
                    name: loops.iter_var.clone(),
                    condition: Box::new(Self::of(condition)?),
                })
            }
            _ => None,
        }
    }

    /// The value.
    ///
    /// # Errors
    /// [`Gap`]
    pub(super) fn evaluate<'a>(&'a self, bindings: &Bindings<'a>) -> Found<'a> {
        match self {
            Self::Read(reference) => read(reference, bindings),
            Self::Literal(value) => Ok(Cow::Borrowed(value)),
            Self::And(_) | Self::Compare(..) | Self::Exists { .. } | Self::Has { .. } | Self::Not(_) | Self::Or(_) => {
                self.holds(bindings).map(|holds| Cow::Owned(Value::Bool(holds)))
            }
            Self::If(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                if condition.holds(bindings)? { then } else { otherwise }.evaluate(bindings)
            }
            Self::List(items) => {
                let items: Result<Vec<Value>, Gap> = items.iter().map(|item| item.evaluate(bindings).map(Cow::into_owned)).collect();
                items.map(|items| Cow::Owned(Value::Array(items)))
            }
            Self::Index(parts) => {
                let [list, index] = parts.as_ref();
                let (list, index) = (list.evaluate(bindings)?, index.evaluate(bindings)?);
                // Whatever is wrong with the index is CEL's to say.
                let at = index.as_u64().and_then(|index| usize::try_from(index).ok()).ok_or(Gap::Unsure)?;
                match list {
                    Cow::Borrowed(list) => list.as_array().and_then(|items| items.get(at)).map(Cow::Borrowed),
                    Cow::Owned(Value::Array(mut items)) => (at < items.len()).then(|| Cow::Owned(items.swap_remove(at))),
                    Cow::Owned(_) => None,
                }
                .ok_or(Gap::Unsure)
            }
            Self::Filter { list, name, condition } => {
                let list = list.evaluate(bindings)?;
                let mut bindings = bindings.over_items(name);
                let mut found = Vec::new();
                for item in list.as_array().ok_or(Gap::Unsure)? {
                    bindings.set_item(item);
                    if condition.holds(&bindings)? {
                        found.push(item.clone());
                    }
                }
                Ok(Cow::Owned(Value::Array(found)))
            }
            Self::Call(function, parts) => match parts.as_slice() {
                [one] => function.of_one(one.evaluate(bindings)?),
                [left, right] => {
                    // Both values are needed, and an absent one is absent on either side; CEL is asked where only one side is unsure.
                    let (left, right) = match (left.evaluate(bindings), right.evaluate(bindings)) {
                        (Ok(left), Ok(right)) => (left, right),
                        (Err(Gap::Unsure), _) | (_, Err(Gap::Unsure)) => return Err(Gap::Unsure),
                        (Err(Gap::Absent), _) | (_, Err(Gap::Absent)) => return Err(Gap::Absent),
                    };
                    function.of_two(&left, &right).map(Cow::Owned)
                }
                _ => Err(Gap::Unsure),
            },
        }
    }

    /// The value of a condition.
    ///
    /// # Errors
    /// [`Gap`]; what is no boolean is CEL's to refuse.
    pub(super) fn holds(&self, bindings: &Bindings<'_>) -> Result<bool, Gap> {
        match self {
            Self::And(parts) => junction(parts, bindings, false),
            Self::Or(parts) => junction(parts, bindings, true),
            Self::Not(part) => part.holds(bindings).map(|holds| !holds),
            Self::Exists { list, name, condition } => {
                let list = list.evaluate(bindings)?;
                let mut bindings = bindings.over_items(name);
                let mut absent = false;
                for item in list.as_array().ok_or(Gap::Unsure)? {
                    bindings.set_item(item);
                    match condition.holds(&bindings) {
                        Ok(true) => return Ok(true),
                        Ok(false) => {}
                        // An item that holds is enough, whatever is wrong with others.
                        Err(Gap::Absent) => absent = true,
                        Err(Gap::Unsure) => return Err(Gap::Unsure),
                    }
                }
                if absent { Err(Gap::Absent) } else { Ok(false) }
            }
            Self::Has { operand, field } => {
                if let Self::Read(reference) = operand.as_ref()
                    && let Some(has) = bindings.has(reference, field)
                {
                    return Ok(has);
                }
                match operand.evaluate(bindings)?.as_ref() {
                    Value::Object(members) => Ok(members.contains_key(field)),
                    _ => Err(Gap::Unsure),
                }
            }
            Self::Compare(comparison, parts) => {
                let [left, right] = parts.as_ref();
                if let (Comparison::Equal | Comparison::NotEqual, Self::Read(reference), Self::Literal(Value::Null)) =
                    (comparison, left, right)
                    && let Some(is_null) = bindings.is_null(reference)
                {
                    return is_null.map(|is_null| is_null == (*comparison == Comparison::Equal));
                }
                let left = left.evaluate(bindings)?;
                match (comparison, right) {
                    // A list that stands in the expression is not made for the question.
                    (Comparison::In, Self::List(items)) => {
                        let mut found = false;
                        for item in items {
                            // All items are evaluated, as CEL does before it compares.
                            let item = item.evaluate(bindings)?;
                            found = found || equal(&left, &item)?;
                        }
                        Ok(found)
                    }
                    _ => comparison.holds(&left, right.evaluate(bindings)?.as_ref()),
                }
            }
            _ => match self.evaluate(bindings)?.as_ref() {
                Value::Bool(holds) => Ok(*holds),
                _ => Err(Gap::Unsure),
            },
        }
    }
}

/// `&&`, which `false` decides, and `||`, which `true` decides: from either side, whatever is wrong with the other one.
fn junction(parts: &[Plan; 2], bindings: &Bindings<'_>, decisive: bool) -> Result<bool, Gap> {
    let [left, right] = parts;
    match left.holds(bindings) {
        Ok(holds) if holds == decisive => Ok(decisive),
        Ok(_) => right.holds(bindings),
        Err(Gap::Absent) => match right.holds(bindings)? {
            holds if holds == decisive => Ok(decisive),
            _ => Err(Gap::Absent),
        },
        Err(Gap::Unsure) => Err(Gap::Unsure),
    }
}

/// What CEL finds along a chain; other than for a look-up, null is a value.
fn read<'a>(reference: &Reference, bindings: &Bindings<'a>) -> Found<'a> {
    // Without a variable of this name it may be one of CEL's own.
    let (mut value, steps) = bindings.start(reference)?;
    for step in steps {
        value = match (value, step) {
            (Cow::Borrowed(Value::Object(members)), Step::Member(name)) => Cow::Borrowed(members.get(name).ok_or(Gap::Absent)?),
            (Cow::Borrowed(Value::Array(items)), Step::Index(index)) => Cow::Borrowed(items.get(*index).ok_or(Gap::Unsure)?),
            _ => return Err(Gap::Unsure),
        };
    }
    Ok(value)
}

impl Function {
    fn of_one<'a>(self, value: Cow<'a, Value>) -> Found<'a> {
        Ok(match (self, value) {
            (Self::String, text @ (Cow::Borrowed(Value::String(_)) | Cow::Owned(Value::String(_)))) => text,
            (function, value) => Cow::Owned(match (function, value.as_ref()) {
                (Self::LowerAscii, Value::String(text)) => text.to_ascii_lowercase().into(),
                (Self::UpperAscii, Value::String(text)) => text.to_ascii_uppercase().into(),
                (Self::String, Value::Bool(flag)) => flag.to_string().into(),
                (Self::String, number @ Value::Number(found)) if !found.is_f64() => {
                    let mut text = String::new();
                    json_text::value(&mut text, number);
                    text.into()
                }
                (Self::Size, Value::String(text)) => text.chars().count().into(),
                (Self::Size, Value::Array(items)) => items.len().into(),
                (Self::Size, Value::Object(members)) => members.len().into(),
                _ => return Err(Gap::Unsure),
            }),
        })
    }

    fn of_two(self, left: &Value, right: &Value) -> Result<Value, Gap> {
        Ok(match (self, left, right) {
            (Self::Contains, Value::String(text), Value::String(part)) => text.contains(part.as_str()).into(),
            (Self::StartsWith, Value::String(text), Value::String(part)) => text.starts_with(part.as_str()).into(),
            (Self::EndsWith, Value::String(text), Value::String(part)) => text.ends_with(part.as_str()).into(),
            (Self::Add, Value::String(left), Value::String(right)) => format!("{left}{right}").into(),
            // An empty separator has rules of its own.
            (Self::Split, Value::String(text), Value::String(separator)) if !separator.is_empty() => {
                text.split(separator.as_str()).map(Value::from).collect()
            }
            (Self::Subtract, Value::Number(left), Value::Number(right)) => {
                let difference = left.as_i64().zip(right.as_i64()).and_then(|(left, right)| left.checked_sub(right));
                difference.ok_or(Gap::Unsure)?.into()
            }
            _ => return Err(Gap::Unsure),
        })
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> Result<bool, Gap> {
        match self {
            Self::Equal => equal(left, right),
            Self::NotEqual => equal(left, right).map(|equal| !equal),
            Self::In => match right {
                Value::Array(items) => {
                    for item in items {
                        if equal(item, left)? {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                }
                Value::Object(members) => match left {
                    Value::String(name) => Ok(members.contains_key(name)),
                    _ => Err(Gap::Unsure),
                },
                _ => Err(Gap::Unsure),
            },
            Self::Less => order(left, right).map(Ordering::is_lt),
            Self::LessEqual => order(left, right).map(Ordering::is_le),
            Self::Greater => order(left, right).map(Ordering::is_gt),
            Self::GreaterEqual => order(left, right).map(Ordering::is_ge),
        }
    }
}

/// Values of different types are not equal; numbers are compared as numbers. Lists and objects are CEL's to compare.
fn equal(left: &Value, right: &Value) -> Result<bool, Gap> {
    match (left, right) {
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => Err(Gap::Unsure),
        (Value::Number(_), Value::Number(_)) => order(left, right).map(Ordering::is_eq),
        _ => Ok(left == right),
    }
}

fn order(left: &Value, right: &Value) -> Result<Ordering, Gap> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Ok(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Ok(left.cmp(&right)),
            // Decimals, and integers beyond 2^63.
            _ => Err(Gap::Unsure),
        },
        _ => Err(Gap::Unsure),
    }
}
