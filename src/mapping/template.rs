//! Templates: the shape that stands in routes.yaml, with expressions where values go.
//!
//! **Shape**: `{ task_id: "${id}" }` with id `15` -> `{ "task_id": 15 }`.
//!
//! **Invariants**: values are put into a parsed tree, never into text, so a value can add no member, element, segment or
//! header. An optional part without a value leaves its member or item out; a required one without a value is an error, and
//! nothing is sent.

use std::borrow::Cow;

use serde_json::Value;

use super::expression::{Bindings, EvaluationError, Expression};
use crate::codec::tree::Tree;

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// `{ each: …, as: name, do: … }`
    Each {
        /// The list.
        list: Placeholder,
        /// The name of an item.
        name: String,
        /// What becomes of an item.
        body: Box<Self>,
    },
    /// A list, item by item.
    List(Vec<Self>),
    /// A value as it stands.
    Literal(Value),
    /// `{ map: …, to: …, else: … }`
    Map {
        /// The value that is looked up.
        value: Placeholder,
        /// What it becomes.
        to: Vec<(String, Self)>,
        /// What anything else becomes.
        otherwise: Option<Box<Self>>,
    },
    /// An object, in this order.
    Object(Vec<(String, Self)>),
    /// One placeholder: keeps the value's type.
    Placeholder(Placeholder),
    /// Text with placeholders in it.
    Text(Vec<Part>),
    /// `{ when: …, then: …, else: … }`
    When {
        /// The condition.
        condition: Expression,
        /// Where it holds.
        then: Box<Self>,
        /// Where it does not.
        otherwise: Option<Box<Self>>,
    },
}

/// `${…}` or `${?…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// What stands in the braces.
    pub expression: Expression,
    /// `${?…}`: leave the place out when there is no value.
    pub optional: bool,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Literal(String),
    /// A value.
    Placeholder(Placeholder),
}

/// A template cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// An expression has no value where one is needed.
    #[error("an expression of the route has no value")]
    Expression(#[source] EvaluationError),
    /// `each` over something else.
    #[error("`{0}` is not a list")]
    NotAList(String),
    /// An object or a list in the middle of a text.
    #[error("`{0}` is not a text, number or boolean")]
    NotAScalar(String),
    /// A value that the enum table does not know.
    #[error("the table of `{0}` has no entry for this value")]
    NotInMap(String),
}

impl Placeholder {
    /// The value; `None` where it is optional and absent.
    ///
    /// # Errors
    /// [`RenderError::Expression`]
    pub fn evaluate<'a>(&self, bindings: &Bindings<'a>) -> Result<Option<Cow<'a, Value>>, RenderError> {
        match self.expression.evaluate(bindings) {
            Ok(value) => Ok(Some(value)),
            Err(EvaluationError::Absent(_)) if self.optional => Ok(None),
            Err(error) => Err(RenderError::Expression(error)),
        }
    }
}

impl Template {
    /// Fills the template; `None` where it is left out as a whole.
    ///
    /// # Errors
    /// [`RenderError`] where a value is missing or of the wrong kind.
    pub fn render<'a>(&'a self, bindings: &Bindings<'a>) -> Result<Option<Tree<'a>>, RenderError> {
        Ok(Some(match self {
            Self::Each { list, name, body } => {
                let Some(items) = list.evaluate(bindings)? else { return Ok(None) };
                let mut rendered = Vec::new();
                match items {
                    Cow::Borrowed(items) => {
                        for item in items.as_array().ok_or_else(|| RenderError::NotAList(list.expression.to_string()))? {
                            rendered.extend(body.render(&bindings.clone().with(name, item))?);
                        }
                    }
                    Cow::Owned(items) => {
                        for item in items.as_array().ok_or_else(|| RenderError::NotAList(list.expression.to_string()))? {
                            rendered.extend(body.render(&bindings.clone().with(name, item))?.map(into_owned));
                        }
                    }
                }
                Tree::List(rendered)
            }
            Self::List(items) => {
                let mut rendered = Vec::with_capacity(items.len());
                for item in items {
                    rendered.extend(item.render(bindings)?);
                }
                Tree::List(rendered)
            }
            Self::Literal(value) => Tree::Value(Cow::Borrowed(value)),
            Self::Map { value, to, otherwise } => {
                let placeholder = &value.expression;
                let key = match value.evaluate(bindings)? {
                    Some(value) => Some(
                        to_text(&value)
                            .ok_or_else(|| RenderError::NotAScalar(placeholder.to_string()))?
                            .into_owned(),
                    ),
                    None => None,
                };
                let entry = key.and_then(|key| to.iter().find(|(known, _)| *known == key).map(|(_, target)| target));
                match (entry, otherwise) {
                    (Some(target), _) => return target.render(bindings),
                    (None, Some(otherwise)) => return otherwise.render(bindings),
                    (None, None) if value.optional => return Ok(None),
                    (None, None) => return Err(RenderError::NotInMap(value.expression.to_string())),
                }
            }
            Self::Object(members) => {
                let mut rendered = Vec::with_capacity(members.len());
                for (name, member) in members {
                    if let Some(member) = member.render(bindings)? {
                        rendered.push((Cow::Borrowed(name.as_str()), member));
                    }
                }
                Tree::Object(rendered)
            }
            Self::Placeholder(placeholder) => match placeholder.evaluate(bindings)? {
                Some(value) => Tree::Value(value),
                None => return Ok(None),
            },
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Placeholder(placeholder) => match placeholder.evaluate(bindings)? {
                            Some(value) => {
                                text.push_str(&to_text(&value).ok_or_else(|| RenderError::NotAScalar(placeholder.expression.to_string()))?);
                            }
                            None => return Ok(None),
                        },
                    }
                }
                Tree::Value(Cow::Owned(Value::String(text)))
            }
            Self::When {
                condition,
                then,
                otherwise,
            } => {
                let holds = condition.holds(bindings).map_err(RenderError::Expression)?;
                return match (holds, otherwise) {
                    (true, _) => then.render(bindings),
                    (false, Some(otherwise)) => otherwise.render(bindings),
                    (false, None) => Ok(None),
                };
            }
        }))
    }

    /// Fills a template that stands where a text is needed; numbers and booleans become their text.
    ///
    /// # Errors
    /// [`RenderError`] as [`Template::render`], and for an object or a list.
    pub fn render_text(&self, bindings: &Bindings<'_>) -> Result<Option<String>, RenderError> {
        // The clone of the bindings ties the lifetimes of template and values together without tying the caller's.
        let bindings = bindings.clone();
        match self.render(&bindings)? {
            None => Ok(None),
            Some(Tree::Value(value)) => match to_text(&value) {
                Some(text) => Ok(Some(text.into_owned())),
                None => Err(RenderError::NotAScalar("the template".to_owned())),
            },
            Some(Tree::List(_) | Tree::Object(_)) => Err(RenderError::NotAScalar("the template".to_owned())),
        }
    }
}

/// Text, number or boolean as text; nothing else has one.
#[must_use]
pub fn to_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn into_owned(tree: Tree<'_>) -> Tree<'static> {
    match tree {
        Tree::Object(members) => Tree::Object(
            members
                .into_iter()
                .map(|(name, member)| (Cow::Owned(name.into_owned()), into_owned(member)))
                .collect(),
        ),
        Tree::List(items) => Tree::List(items.into_iter().map(into_owned).collect()),
        Tree::Value(value) => Tree::Value(Cow::Owned(value.into_owned())),
    }
}
