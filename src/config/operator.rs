//! The structural operators of templates, compiled: `each`, `map` and `when`.
//!
//! **Shape**: `{ each: "${?parameters.clusters}", as: c, do: { cluster_id: "${c.id}" } }` -> [`Template::Each`].
//!
//! **Errors**: a list that is none, an enum table with a hole or a dead key, a key beside an operator that it does not have.

use super::diagnostic::did_you_mean;
use super::names::{Lookup, Names, enumeration, kind};
use super::place::Path;
use super::template::{Position, TemplateCompiler};
use super::yaml::{Key, Node};
use crate::mapping::expression::Expression;
use crate::mapping::template::Template;

impl TemplateCompiler<'_> {
    pub(super) fn each(
        &mut self,
        members: &[(Key, Node)],
        node: &Node,
        path: &Path,
        names: &Names,
        position: Position,
    ) -> Option<Template> {
        self.only(members, &["each", "as", "do"], path)?;
        if !matches!(position, Position::Value | Position::Query) {
            self.faults.fault(node.span, path, "a list cannot stand here");
            return None;
        }
        let list_node = self.required(node, "each", path)?;
        let list = self.placeholder(list_node, &path.key("each"), names);
        let name_node = self.required(node, "as", path)?;
        let body = self.required(node, "do", path)?;
        let name = name_node.as_text().filter(|name| is_name(name));
        if name.is_none() {
            self.faults
                .fault(name_node.span, &path.key("as"), "expected the name of an item, such as `cluster`");
        }
        let (list, name) = (list?, name?);
        let reference = match &list.expression {
            Expression::Reference(reference) => Some(reference.clone()),
            Expression::Cel(_) => None,
        };
        if let Some(reference) = &reference
            && let Lookup::Found { schema: Some(schema), .. } = names.look_up(reference)
            && kind(&schema).is_some_and(|kind| kind != "array")
        {
            self.faults
                .fault(node.span, &path.key("each"), format!("`{reference}` is not a list"))
                .focus(reference.to_string());
            return None;
        }
        // The list itself is read item by item: what of the items is used is seen in `do`.
        if let Some(reference) = &reference {
            self.used.remove(&names.origin(reference));
        }
        let body = self.compile(body, &path.key("do"), &names.with_item(name, reference.as_ref()), position)?;
        if let Some(reference) = &reference
            && !self.used.iter().any(|path| path.starts_with(&names.origin(reference)))
        {
            self.used.insert(names.origin(reference));
        }
        Some(Template::Each {
            list,
            name: name.to_owned(),
            body: Box::new(body),
        })
    }

    pub(super) fn table(
        &mut self,
        members: &[(Key, Node)],
        node: &Node,
        path: &Path,
        names: &Names,
        position: Position,
    ) -> Option<Template> {
        self.only(members, &["map", "to", "else"], path)?;
        let value_node = self.required(node, "map", path)?;
        let value = self.placeholder(value_node, &path.key("map"), names);
        let to_node = self.required(node, "to", path)?;
        let Some(entries) = to_node.as_map() else {
            self.faults.fault(
                to_node.span,
                &path.key("to"),
                format!("expected a mapping, found {}", to_node.describe()),
            );
            return None;
        };
        let compiled: Vec<_> = entries
            .iter()
            .map(|(key, target)| {
                Some((
                    key.text.clone(),
                    self.compile(target, &path.key("to").key(&key.text), names, position)?,
                ))
            })
            .collect();
        let otherwise = match node.member("else") {
            Some(target) => Some(Box::new(self.compile(target, &path.key("else"), names, position)?)),
            None => None,
        };
        let value = value?;
        let listed = match &value.expression {
            Expression::Reference(reference) => match names.look_up(reference) {
                Lookup::Found { schema: Some(schema), .. } => enumeration(&schema),
                _ => None,
            },
            Expression::Cel(_) => None,
        };
        self.complete(entries, to_node, listed, otherwise.is_some(), &value.expression, path)?;
        let to = compiled.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Template::Map { value, to, otherwise })
    }

    /// Compares the keys of a table with the values that the schema allows.
    fn complete(
        &mut self,
        entries: &[(Key, Node)],
        table: &Node,
        listed: Option<Vec<String>>,
        has_else: bool,
        value: &Expression,
        path: &Path,
    ) -> Option<()> {
        let Some(listed) = listed else {
            if has_else {
                return Some(());
            }
            let fault = self.faults.fault(
                table.span,
                &path.key("to"),
                format!("the schema does not list the values of `{value}`"),
            );
            fault.hint("give the table an `else`, or the schema an `enum`");
            return None;
        };
        let mut sound = Some(());
        let keys: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
        for (key, _) in entries.iter().filter(|(key, _)| !listed.contains(&key.text)) {
            let hint = did_you_mean(&key.text, listed.iter().map(String::as_str));
            let fault = self.faults.fault(
                key.span,
                &path.key("to").key(&key.text),
                format!("dead key: `{value}` is never `{}`", key.text),
            );
            fault.maybe_hint(hint.or_else(|| Some(format!("the schema allows {}", listed.join(", ")))));
            sound = None;
        }
        let holes: Vec<&str> = listed.iter().map(String::as_str).filter(|value| !keys.contains(value)).collect();
        if !holes.is_empty() && !has_else {
            let message = format!(
                "the table has no entry for {}",
                holes.iter().map(|hole| format!("`{hole}`")).collect::<Vec<_>>().join(", ")
            );
            self.faults
                .fault(table.span, &path.key("to"), message)
                .hint("every value that the schema allows needs an entry, or give the table an `else`");
            sound = None;
        }
        sound
    }

    pub(super) fn when(
        &mut self,
        members: &[(Key, Node)],
        node: &Node,
        path: &Path,
        names: &Names,
        position: Position,
    ) -> Option<Template> {
        self.only(members, &["when", "then", "else"], path)?;
        let condition_node = self.required(node, "when", path)?;
        let condition = match condition_node.as_text() {
            Some(source) => self.condition(source, condition_node.span, &path.key("when"), names),
            None => {
                self.faults
                    .fault(condition_node.span, &path.key("when"), "expected a CEL condition as text");
                None
            }
        };
        let then_node = self.required(node, "then", path)?;
        let then = self.compile(then_node, &path.key("then"), names, position);
        let otherwise = match node.member("else") {
            Some(target) => Some(Box::new(self.compile(target, &path.key("else"), names, position)?)),
            None if position == Position::Path => {
                self.faults.fault(node.span, path, "a path needs an `else`");
                return None;
            }
            None => None,
        };
        Some(Template::When {
            condition: condition?,
            then: Box::new(then?),
            otherwise,
        })
    }

    /// An operator has its own keys and no others.
    pub(super) fn only(&mut self, members: &[(Key, Node)], allowed: &[&str], path: &Path) -> Option<()> {
        let mut sound = Some(());
        for (key, _) in members.iter().filter(|(key, _)| !allowed.contains(&key.text.as_str())) {
            let operator = allowed.first().copied().unwrap_or_default();
            let fault = self.faults.fault(
                key.span,
                &path.key(&key.text),
                format!("unknown key `{}` beside the operator `{operator}`", key.text),
            );
            let near = did_you_mean(&key.text, allowed.iter().copied());
            fault.maybe_hint(near.or_else(|| Some(format!("a literal member of the name `{operator}` stands inside `literal:`"))));
            sound = None;
        }
        sound
    }

    fn required<'n>(&mut self, node: &'n Node, key: &str, path: &Path) -> Option<&'n Node> {
        let found = node.member(key);
        if found.is_none() {
            self.faults.fault(node.span, path, format!("missing key `{key}`"));
        }
        found
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
