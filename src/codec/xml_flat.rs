//! Everyday XML, read in one pass into a list of its values where they stand: what an answer to an action mostly is.
//!
//! **Shape.** `<runs count='2'><run>15</run><run>25</run></runs>` -> `[object, runs: object, @count: "2", run: list, 15, 25]`.
//!
//! **Invariants.** What is read here is what [`xml_read`](crate::codec::xml_read) reads, and whatever that one refuses is not read here. So is what
//! is no everyday document: prefixes and declarations of namespaces, sections of character data, processing instructions, text
//! beside children, attributes or comments, attributes that the schema does not declare, and elements of one name that
//! are no list or stand apart. Limits hold on both ways; recursion is as deep as [`Limits::max_depth`](crate::codec::Limits).

use std::borrow::Cow;

use serde_json::Value;

use crate::codec::flat::{Flat, Flattening, Open};
use crate::codec::json_read::Build as _;
use crate::codec::shape::{Kind, Members, Property, Scalar, Shape};
use crate::codec::xml_chars::{SPACE, attribute_value, is_blank, resolve, unify_line_ends};
use crate::codec::xml_frame::convert;
use crate::codec::xml_read::{document, read_text};
use crate::codec::xml_scan::{comment_end, find, skip_space};
use crate::codec::xml_tag::{self, RawAttribute, Tag, check_declaration};
use crate::codec::{Decimals, Limits};

/// Nothing where the careful reader has to be asked.
pub(crate) fn read<'t>(bytes: &'t [u8], shape: &'t Shape, limits: &Limits) -> Option<Flat<'t>> {
    let mut reader = Reader {
        text: read_text(document(bytes)).ok()?,
        at: 0,
        left: limits.max_nodes,
        depth: limits.depth(),
        decimals: limits.decimals,
        attributes: Vec::new(),
        flat: Flattening::new(),
    };
    reader.skip_declaration()?;
    let mut whole = Found::of(reader.flat.members());
    reader.child(&mut whole, shape)?;
    reader.skip_comments()?;
    reader.end_list(&mut whole);
    reader.flat.object(whole.members);
    (reader.at == reader.text.len()).then(|| reader.flat.into())
}

/// Those that vendors write; any other one is taken apart.
const USUAL_DECLARATIONS: [&str; 4] = [
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
    "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>",
    "<?xml version=\"1.0\"?>",
    "<?xml version=\"1.0\" ?>",
];

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// How many elements and attributes may still come.
    left: usize,
    /// How many elements may still open.
    depth: usize,
    decimals: Decimals,
    /// Those of the tag at hand; kept for its room.
    attributes: Vec<RawAttribute<'t>>,
    flat: Flattening<'t>,
}

/// What an open element has so far.
struct Found<'t> {
    members: Open<'t>,
    /// The list that the child before is in.
    list: Option<(&'t str, Open<'t>)>,
}

impl<'t> Found<'t> {
    fn of(members: Open<'t>) -> Self {
        Self { members, list: None }
    }
}

impl<'t> Reader<'t> {
    /// To the `<` of the root element.
    fn skip_declaration(&mut self) -> Option<()> {
        if let Some(usual) = USUAL_DECLARATIONS.iter().find(|usual| self.text.starts_with(**usual)) {
            self.at = usual.len();
        } else if self.text.starts_with("<?xml") {
            let end = self.text.find("?>")?;
            if !self.text.get("<?xml".len()..end)?.starts_with(SPACE) {
                return None;
            }
            check_declaration(self.text, end).ok()?;
            self.at = end + "?>".len();
        }
        self.skip_comments()?;
        self.is_at(0, b'<').then_some(())
    }

    fn is_at(&self, offset: usize, byte: u8) -> bool {
        self.text.as_bytes().get(self.at + offset) == Some(&byte)
    }

    /// Reads the element that starts here, a child of one of this shape.
    fn child(&mut self, parent: &mut Found<'t>, shape: &'t Shape) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        self.depth = self.depth.checked_sub(1)?;
        self.attributes.clear();
        let tag = xml_tag::read(self.text, self.at, self.left, &mut self.attributes).ok()?;
        self.left -= self.attributes.len();
        self.at = tag.end;
        let (key, shape) = place(&tag, shape)?;
        match &mut parent.list {
            Some((known, items)) if *known == key => self.flat.item(items, ()),
            _ => {
                self.end_list(parent);
                self.flat.name(&mut parent.members, Cow::Borrowed(key))?;
                self.flat.member(&mut parent.members, (), ())?;
                if shape.is_list() {
                    let mut items = self.flat.items();
                    self.flat.item(&mut items, ());
                    parent.list = Some((key, items));
                }
            }
        }
        self.element(&tag, shape.item())?;
        self.depth += 1;
        Some(())
    }

    fn end_list(&mut self, parent: &mut Found<'t>) {
        if let Some((_, items)) = parent.list.take() {
            self.flat.list(items);
        }
    }

    /// Reads an element from behind its start tag.
    fn element(&mut self, tag: &Tag<'t>, shape: &'t Shape) -> Option<()> {
        let mut text = Text::Blank(Some(""));
        let mut is_closed = tag.is_empty;
        if !is_closed {
            text = self.text()?;
            is_closed = self.ends(tag)?;
        }
        if is_closed && self.attributes.is_empty() && !matches!((&shape.kind, &text), (Kind::Object(_), Text::Blank(_))) {
            return self.leaf(text, shape);
        }
        // An element without anything in it, with attributes or with children: of its text nothing is kept.
        let members = match &shape.kind {
            Kind::Any => None,
            Kind::Object(members) => Some(&**members),
            Kind::List(_) | Kind::Scalar(_) => return None,
        };
        let is_empty = is_closed && self.attributes.is_empty();
        if is_empty && shape.nullable {
            self.flat.null();
            return Some(());
        }
        // Unless the schema gives white space a place.
        if is_closed && members.is_none_or(|members| members.declared("$").is_some()) {
            return None;
        }
        let mut found = Found::of(self.flat.members());
        self.take_attributes(&mut found.members, members)?;
        while !is_closed {
            let Text::Blank(_) = text else { return None };
            self.child(&mut found, shape)?;
            text = self.text()?;
            is_closed = self.ends(tag)?;
        }
        let Text::Blank(_) = text else { return None };
        self.end_list(&mut found);
        for key in members.into_iter().flat_map(Members::filled_lists) {
            // Nothing of it where the name is there already.
            if !self.flat.has(&found.members, key) {
                self.flat.name(&mut found.members, Cow::Borrowed(key))?;
                self.flat.member(&mut found.members, (), ())?;
                let items = self.flat.items();
                self.flat.list(items);
            }
        }
        self.flat.object(found.members);
        Some(())
    }

    fn take_attributes(&mut self, found: &mut Open<'t>, members: Option<&'t Members>) -> Option<()> {
        let attributes = std::mem::take(&mut self.attributes);
        for attribute in &attributes {
            if attribute.has_colon || attribute.name == "xmlns" {
                return None;
            }
            let property = members?.attribute(attribute.name, None)?;
            let value = if attribute.is_plain {
                Cow::Borrowed(attribute.raw)
            } else {
                attribute_value(attribute.raw, attribute.value_offset).ok()?
            };
            self.flat.name(found, Cow::Borrowed(&property.key))?;
            self.flat.member(found, (), ())?;
            match property.shape.kind {
                Kind::Any | Kind::Object(_) => self.flat.text(value),
                Kind::List(_) => return None,
                Kind::Scalar(scalar) => self.scalar(value, scalar)?,
            }
        }
        self.attributes = attributes;
        Some(())
    }

    /// Takes an element that has nothing but text.
    fn leaf(&mut self, text: Text<'t>, shape: &'t Shape) -> Option<()> {
        let scalar = match &shape.kind {
            Kind::Any => Scalar::String,
            Kind::List(_) => return None,
            Kind::Object(members) => members.text_only?,
            Kind::Scalar(scalar) => *scalar,
        };
        let may_be_null = shape.nullable && !matches!(shape.kind, Kind::Scalar(Scalar::String));
        let text = match text {
            Text::Blank(_) if may_be_null => {
                self.flat.null();
                return Some(());
            }
            Text::Blank(text) => unify_line_ends(text?),
            Text::Plain(text) => text,
        };
        self.scalar(text, scalar)
    }

    fn scalar(&mut self, text: Cow<'t, str>, scalar: Scalar) -> Option<()> {
        if scalar == Scalar::String {
            self.flat.text(text);
            return Some(());
        }
        match convert(&text, scalar, self.decimals, 0).ok()? {
            Value::Bool(flag) => self.flat.bool(flag),
            Value::Number(number) => self.flat.number(number),
            _ => return None,
        }
        Some(())
    }

    /// Takes white space and comments, to a tag or the end.
    #[cold]
    fn skip_comments(&mut self) -> Option<()> {
        self.at = skip_space(self.text, self.at);
        while self.is_at(0, b'<') && self.is_at(1, b'!') {
            self.at = skip_space(self.text, comment_end(self.text, self.at)?);
        }
        Some(())
    }

    /// Reads the text up to the next tag.
    fn text(&mut self) -> Option<Text<'t>> {
        let (text, start) = (self.text, self.at);
        self.at = skip_space(text, start);
        if self.is_at(0, b'<') {
            if self.is_at(1, b'!') {
                self.skip_comments()?;
                return self.is_at(0, b'<').then_some(Text::Blank(None));
            }
            return text.get(start..self.at).map(|blank| Text::Blank(Some(blank)));
        }
        self.at = find(text, start, [b'<', b'&', b']', b'\r']);
        if self.is_at(0, b'<') {
            return text.get(start..self.at).map(|text| Text::Plain(Cow::Borrowed(text)));
        }
        self.at = find(text, self.at, [b'<']);
        let text = resolved(text.get(start..self.at)?)?;
        // White space that is spelled otherwise is a rare thing.
        (self.is_at(0, b'<') && !is_blank(&text)).then_some(Text::Plain(Cow::Owned(text)))
    }

    /// Takes the end tag of an element, where the tag here is one and no start.
    fn ends(&mut self, tag: &Tag<'t>) -> Option<bool> {
        if !self.is_at(1, b'/') {
            return Some(false);
        }
        let name = self.at + "</".len();
        let end = name + tag.name.name.len();
        if self.text.as_bytes().get(name..end)? != tag.name.name.as_bytes() {
            return None;
        }
        self.at = skip_space(self.text, end);
        let is_end = self.is_at(0, b'>');
        self.at += 1;
        is_end.then_some(true)
    }
}

/// The text of an element.
enum Text<'t> {
    /// Nothing but white space, as it stands in the document; `None` where comments stand in it.
    Blank(Option<&'t str>),
    /// As it is meant.
    Plain(Cow<'t, str>),
}

/// The member that an element becomes, and its shape.
fn place<'t>(tag: &Tag<'t>, parent: &'t Shape) -> Option<(&'t str, &'t Shape)> {
    let name = tag.name.name;
    if tag.name.has_colon {
        return None;
    }
    let Some(members) = parent.members() else {
        return Some((name, &Shape::ANY));
    };
    match members.element(name, "") {
        Some(Property { key, shape, .. }) => Some((key, shape)),
        None if members.declared(name).is_some() => None,
        None => Some((name, members.undeclared())),
    }
}

/// Character data with its references resolved and its line ends unified; nothing where it is refused.
fn resolved(raw: &str) -> Option<String> {
    if raw.contains("]]>") {
        return None;
    }
    let raw = unify_line_ends(raw);
    let mut pieces = raw.split('&');
    let mut text = String::with_capacity(raw.len());
    text.push_str(pieces.next()?);
    for piece in pieces {
        let (reference, rest) = piece.split_once(';')?;
        text.push(resolve(reference, 0).ok()?);
        text.push_str(rest);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;
    use crate::codec::xml_read;

    /// Is it read here, and as the careful reader reads it?
    #[track_caller]
    fn is_read(document: &str, schema: &Value, limits: &Limits) -> bool {
        let shape = Shape::compile(schema).unwrap();
        let flat = read(document.as_bytes(), &shape, limits).map(|flat| flat.root().to_value());
        let is_read = flat.is_some();
        if let Some(value) = flat {
            assert_eq!(
                Ok(value),
                xml_read::decode(document.as_bytes(), &shape, limits),
                "{document} {schema}"
            );
        }
        is_read
    }

    #[test]
    fn everyday_documents_are_read() {
        let item = json!({ "type": "object", "properties": { "id": { "type": "integer" }, "ok": { "type": ["boolean", "null"] } } });
        let list = json!({ "type": "array", "items": item });
        let both = json!({ "type": ["object", "string", "null"], "properties": { "m": { "type": "array" } } });
        let schema = json!({ "properties": { "r": { "type": "object", "properties": {
            "@n": { "type": "integer" }, "@u": { "type": "string" }, "l": list, "s": { "type": "string" }, "b": both,
        } } } });
        let many: String = (0..40).map(|number| format!("<n{number}/>")).collect();
        for document in [
            "<?xml version='1.0' ?>\r\n<r n=' 5 ' u='a&amp;b'>\r\n  <l><id> 15 </id><ok/></l>\n <l><id>+7</id><ok>1</ok></l>\n</r>\n",
            "\u{FEFF}<r/>",
            "<r u=''></r >",
            "<r><s>a &lt;&#98;&#xA; ]] c</s></r>",
            "<r><s>\r\n a\r\n</s></r>",
            "<r><s>\r\n</s><l/></r>",
            "<r><s/><b>text</b></r>",
            "<r><b/></r>",
            "<r><b><m>1</m><m/></b></r>",
            "<r><x><y>1</y><z> </z></x><s>é</s></r>",
            "<other><error>no</error></other>",
            "<!-- a --><r><!-- - --><s>1</s>\n<!----> <b><!-- null --></b></r><!-- b -->",
            &format!("<r>{many}<s>1</s></r>"),
        ] {
            assert!(is_read(document, &schema, &Limits::REPLY), "{document}");
        }
        // Well-formed, and left to the careful reader.
        for document in [
            "<r xmlns='urn:a'/>",
            "<r x='1'/>",
            "<r><s> <!-- --> </s></r>",
            "<r><s>a<!-- --></s></r>",
            "<r><s><!-- -->a</s></r>",
            "<r><s><![CDATA[x]]></s></r>",
            "<r/><?p?>",
            "<r>text</r>",
            "<r><x>1</x><x>2</x></r>",
            "<r><l><id>1</id></l><s/><l><id>2</id></l></r>",
            "<r><s><x/></s></r>",
            "<r><s>&#32;</s></r>",
            &format!("<r>{many}<n7/></r>"),
        ] {
            assert!(!is_read(document, &schema, &Limits::REPLY), "{document}");
        }
        let three = Limits {
            max_nodes: 3,
            max_depth: 2,
            ..Limits::REPLY
        };
        for (document, within) in [
            ("<r n='1'><s/></r>", true),
            ("<r n='1' u=''><s/></r>", false),
            ("<r><s/><l/></r>", true),
            ("<r><s/><l/><l/></r>", false),
            ("<r><x><y/></x></r>", false),
        ] {
            assert_eq!(is_read(document, &schema, &three), within, "{document}");
        }
    }

    /// A schema of the form of a document, over a few names.
    fn schemas() -> impl Strategy<Value = Value> {
        let kind = prop::sample::select(vec![
            json!({}),
            json!({ "type": "string" }),
            json!({ "type": "integer" }),
            json!({ "type": ["number", "null"] }),
            json!({ "type": ["boolean", "null"] }),
            json!({ "type": ["string", "null"] }),
            json!({ "type": "null" }),
            json!({ "type": "object" }),
            json!({ "type": ["object", "integer"] }),
            json!({ "type": ["object", "null"] }),
        ]);
        kind.prop_recursive(4, 24, 5, |inner| {
            let list = inner.clone().prop_map(|item| {
                let is_list = item.get("type") == Some(&json!("array"));
                if is_list { item } else { json!({ "type": "array", "items": item }) }
            });
            let member = prop_oneof![2 => inner.clone(), 1 => list.clone()];
            let name = prop::sample::select(vec!["a", "b", "c", "d", "@a", "@b", "$"]);
            let types = prop::sample::select(vec![
                json!("object"),
                json!(["object", "null"]),
                json!(["object", "string"]),
                json!(["object", "integer", "null"]),
            ]);
            let called = prop::option::weighted(0.1, prop::sample::select(vec!["a", "e"]));
            let members = prop::collection::btree_map(name, (member, called), 0..5);
            let object = (types, members, prop::option::of(inner)).prop_map(|(types, members, rest)| {
                let named = |(name, (mut schema, called)): (&str, (Value, Option<&str>))| {
                    if let (Some(called), Some(schema)) = (called, schema.as_object_mut()) {
                        schema.insert("xml".to_owned(), json!({ "name": called }));
                    }
                    (name.to_owned(), schema)
                };
                let properties: Map<String, Value> = members.into_iter().map(named).collect();
                match rest {
                    Some(rest) => json!({ "type": types, "properties": properties, "additionalProperties": rest }),
                    None => json!({ "type": types, "properties": properties }),
                }
            });
            prop_oneof![3 => object, 1 => list]
        })
    }

    /// An element over the same names.
    fn elements() -> impl Strategy<Value = String> {
        let name = || prop::sample::select(vec!["a", "b", "c", "d", "e"]);
        let attribute = prop::sample::select(vec![" a='1'", " b = \"x\"", " b='&lt; \n'", " c=''", " xmlns='u'"]);
        let attributes =
            move || prop_oneof![4 => Just(String::new()), 1 => prop::collection::vec(attribute.clone(), 1..3).prop_map(|all| all.concat())];
        let text = prop::sample::select(vec![
            "",
            "",
            "1",
            "1",
            " 15\n",
            "-0.5",
            "true",
            "0",
            "text",
            " ",
            "\n  ",
            "\r\n",
            "a\rb",
            "&amp;",
            "&#49;",
            "&#32;",
            "]",
            "]]>",
            "é",
            "<!---->",
            "\r<!-- - -->\n",
            "<!-- -- -->",
            "<!--->",
            "<![CDATA[1]]>",
            "&x;",
            "<",
        ]);
        let leaf = (name(), attributes(), text).prop_map(|(name, attributes, text)| match text {
            "" => format!("<{name}{attributes}/>"),
            text => format!("<{name}{attributes}>{text}</{name}>"),
        });
        leaf.prop_recursive(4, 24, 6, move |inner| {
            let layout = prop::sample::select(vec!["", "", "\n  ", "\r\n", " ", "x", "&#32;", "<!-- a -->", "\n<!---->\n"]);
            let run = (inner, 1..3_usize).prop_map(|(element, times)| element.repeat(times));
            let content = prop::collection::vec(prop_oneof![3 => run, 1 => layout.prop_map(str::to_owned)], 0..5);
            (name(), attributes(), content)
                .prop_map(|(name, attributes, content)| format!("<{name}{attributes}>{}</{name}>", content.concat()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

        #[test]
        fn what_is_read_is_what_the_careful_reader_reads(root in elements(), schema in schemas(), after in prop::sample::select(vec!["", "", "\n", "x", "<a/>", "<!-- a -->", "<!--"])) {
            let document = format!("{root}{after}");
            // As a member of its own name, so that most documents meet their schema, and as it is.
            let properties: Map<String, Value> = ["a", "b", "c", "d", "e"].iter().map(|name| ((*name).to_owned(), schema.clone())).collect();
            for schema in [json!({ "properties": properties }), schema] {
                if Shape::compile(&schema).is_ok() {
                    is_read(&document, &schema, &Limits::REPLY);
                }
            }
        }
    }
}
