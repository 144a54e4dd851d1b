//! Templates: the shape that stands in routes.yaml, with expressions where values go.
//!
//! **Shape**: `{ task_id: "${id}" }` with id `15` -> `{ "task_id": 15 }`.
//!
//! **Invariants**: values are put into a parsed tree, never into text, so a value can add no member, element, segment or
//! header. An optional part without a value leaves its member or item out; a required one without a value is an error, and
//! nothing is sent.

use std::borrow::Cow;

use serde_json::Value;

use super::expression::{Bindings, EvaluationError, Expression, Missing};
use crate::codec::json;
use crate::codec::tree::Tree;
use crate::json_text;

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
    pub fn evaluate<'a>(&'a self, bindings: &Bindings<'a>) -> Result<Option<Cow<'a, Value>>, RenderError> {
        match self.expression.find(bindings) {
            Ok(value) => Ok(Some(value)),
            Err(Missing::Absent) if self.optional => Ok(None),
            Err(missing) => Err(RenderError::Expression(self.expression.explain(missing))),
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
                        let mut bindings = bindings.over_items(name);
                        for item in items.as_array().ok_or_else(|| RenderError::NotAList(list.expression.to_string()))? {
                            bindings.set_item(item);
                            rendered.extend(body.render(&bindings)?);
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
            Self::Map { .. } | Self::When { .. } => {
                return self.chosen(bindings)?.map_or(Ok(None), |chosen| chosen.render(bindings));
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
        }))
    }

    /// What a choice comes to; anything else is what it is. `None` where it is left out as a whole.
    ///
    /// # Errors
    /// [`RenderError`] as [`Template::render`].
    pub(super) fn chosen(&self, bindings: &Bindings<'_>) -> Result<Option<&Self>, RenderError> {
        match self {
            Self::Map { value, to, otherwise } => {
                let found = value.evaluate(bindings)?;
                let key = match &found {
                    Some(found) => Some(to_text(found).ok_or_else(|| RenderError::NotAScalar(value.expression.to_string()))?),
                    None => None,
                };
                let entry = key.and_then(|key| to.iter().find(|(known, _)| *known == key).map(|(_, target)| target));
                match (entry, otherwise) {
                    (Some(target), _) => target.chosen(bindings),
                    (None, Some(otherwise)) => otherwise.chosen(bindings),
                    (None, None) if value.optional => Ok(None),
                    (None, None) => Err(RenderError::NotInMap(value.expression.to_string())),
                }
            }
            Self::When {
                condition,
                then,
                otherwise,
            } => {
                let holds = condition.holds(bindings).map_err(RenderError::Expression)?;
                match (holds, otherwise) {
                    (true, _) => then.chosen(bindings),
                    (false, Some(otherwise)) => otherwise.chosen(bindings),
                    (false, None) => Ok(None),
                }
            }
            other => Ok(Some(other)),
        }
    }

    /// Adds what [`Self::render`] gives to a JSON text, objects and lists without a tree of them. Is it there?
    ///
    /// # Errors
    /// [`RenderError`] as [`Template::render`].
    pub(super) fn write_json(&self, bindings: &Bindings<'_>, out: &mut String) -> Result<bool, RenderError> {
        match self {
            Self::List(items) => {
                out.push('[');
                let empty = out.len();
                for item in items {
                    let before = out.len();
                    if before > empty {
                        out.push(',');
                    }
                    if !item.write_json(bindings, out)? {
                        out.truncate(before);
                    }
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                let empty = out.len();
                for (name, member) in members {
                    let before = out.len();
                    if before > empty {
                        out.push(',');
                    }
                    json_text::text(out, name);
                    out.push(':');
                    if !member.write_json(bindings, out)? {
                        out.truncate(before);
                    }
                }
                out.push('}');
            }
            other => match other.render(bindings)? {
                Some(tree) => json::write(out, &tree),
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// Fills a template that stands where a text is needed; numbers and booleans become their text.
    ///
    /// # Errors
    /// [`RenderError`] as [`Template::render`], and for an object or a list.
    pub fn render_text(&self, bindings: &Bindings<'_>) -> Result<Option<String>, RenderError> {
        Ok(self.text(bindings)?.map(Cow::into_owned))
    }

    /// The same, borrowed where it stands somewhere as a text.
    pub(super) fn text<'a>(&'a self, bindings: &Bindings<'a>) -> Result<Option<Cow<'a, str>>, RenderError> {
        match self.scalar(bindings)? {
            None => Ok(None),
            Some(Scalar::Text(text)) => Ok(Some(text)),
            Some(Scalar::None) => Err(RenderError::NotAScalar("the template".to_owned())),
        }
    }

    /// The same for those who say in their own words what is no text.
    pub(super) fn scalar<'a>(&'a self, bindings: &Bindings<'a>) -> Result<Option<Scalar<'a>>, RenderError> {
        let value = match self.chosen(bindings)? {
            None => return Ok(None),
            // The usual places hold one value, which is taken where it stands.
            Some(Self::Literal(value)) => Cow::Borrowed(value),
            Some(Self::Placeholder(placeholder)) => match placeholder.evaluate(bindings)? {
                None => return Ok(None),
                Some(value) => value,
            },
            Some(other) => match other.render(bindings)? {
                None => return Ok(None),
                Some(Tree::Value(value)) => value,
                Some(Tree::List(_) | Tree::Object(_)) => return Ok(Some(Scalar::None)),
            },
        };
        Ok(Some(into_text(value).map_or(Scalar::None, Scalar::Text)))
    }
}

/// What a template is where a text is needed.
pub(super) enum Scalar<'a> {
    /// Null, an object or a list.
    None,
    /// A text, or the text of a number or boolean.
    Text(Cow<'a, str>),
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

/// The same of a value that may be given away.
pub(super) fn into_text(value: Cow<'_, Value>) -> Option<Cow<'_, str>> {
    match value {
        Cow::Borrowed(value) => to_text(value),
        Cow::Owned(Value::String(text)) => Some(Cow::Owned(text)),
        Cow::Owned(value) => to_text(&value).map(|text| Cow::Owned(text.into_owned())),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// `there` has a value, `list` has several, `absent` has none.
    fn placeholders() -> impl Strategy<Value = Placeholder> {
        let sources = prop_oneof![4 => Just("body.there"), 1 => Just("body.list"), 3 => Just("body.absent")];
        (sources, prop::bool::weighted(0.9)).prop_map(|(source, optional)| Placeholder {
            expression: Expression::parse(source).unwrap(),
            optional,
        })
    }

    fn templates() -> impl Strategy<Value = Template> {
        let part = prop_oneof![any::<String>().prop_map(Part::Literal), placeholders().prop_map(Part::Placeholder)];
        let leaf = prop_oneof![
            1 => prop_oneof![Just(json!(null)), Just(json!(5)), Just(json!("a\"b")), Just(json!({ "x": [1, {}] }))].prop_map(Template::Literal),
            3 => placeholders().prop_map(Template::Placeholder),
            1 => prop::collection::vec(part, 0..3).prop_map(Template::Text),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let otherwise = prop::option::of(inner.clone().prop_map(Box::new));
            let condition = prop_oneof![Just("has(body.there)"), Just("has(body.absent)")];
            prop_oneof![
                3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Template::List),
                3 => prop::collection::vec((any::<String>(), inner.clone()), 0..4).prop_map(Template::Object),
                1 => (placeholders(), inner.clone()).prop_map(|(mut list, body)| {
                    list.expression = Expression::parse("body.list").unwrap();
                    Template::Each { list, name: "item".to_owned(), body: Box::new(body) }
                }),
                1 => (placeholders(), inner.clone(), otherwise.clone()).prop_map(|(value, to, otherwise)| Template::Map {
                    value,
                    to: vec![("7".to_owned(), to)],
                    otherwise,
                }),
                1 => (condition, inner, otherwise).prop_map(|(condition, then, otherwise)| Template::When {
                    condition: Expression::parse(condition).unwrap(),
                    then: Box::new(then),
                    otherwise,
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2048) })]

        #[test]
        fn what_is_written_at_once_is_what_is_rendered(template in templates()) {
            let body = json!({ "there": 7, "list": [1, "two"] });
            let bindings = Bindings::new().with("body", &body);
            let mut text = String::new();
            let written = template.write_json(&bindings, &mut text).map(|there| there.then_some(text));
            let rendered = template.render(&bindings);
            let rendered = rendered.map(|tree| tree.map(|tree| String::from_utf8(json::encode(&tree)).unwrap()));
            prop_assert_eq!(written, rendered);
        }
    }
}
