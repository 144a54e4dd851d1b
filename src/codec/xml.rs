//! XML: a document to a value shaped by its schema, and a tree to a document.
//!
//! **Shape.** `<runs count="2"><run>15</run><run>25</run></runs>` is
//! `{"runs": {"@count": "2", "run": [15, 25]}}` under a schema with `run` an array of integers.
//!
//! **Invariants.** Only well-formed XML 1.0 with declared prefixes is read or written, and no document type declaration.
//! What the schema does not know is kept, never dropped; what it contradicts is refused, never guessed.
//!
//! **Source.** XML 1.0 fifth edition; Namespaces in XML 1.0 third edition; RFC 7303 section 3 for the byte order mark.

use serde_json::Value;

use crate::codec::flat::Flat;
use crate::codec::shape::Shape;
use crate::codec::tree::Tree;
use crate::codec::{DecodeError, EncodeError, Limits, xml_flat, xml_read, xml_write};

/// Reads one document as `{ "<root>": content }`, its form taken from the shape.
///
/// | in the schema | in the value |
/// |---|---|
/// | `array` | a list, with one element and with none as well, if the object around it is there |
/// | `integer`, `number`, `boolean` | the number or boolean; white space around it is dropped |
/// | `string` | the text, empty where the element is |
/// | `object` | an object, also for an empty element |
/// | `["…", "null"]` | `null` for an empty element, unless it is a string; `xsi:nil` is obeyed |
/// | nothing | text as a string, else an object; a list where the element is repeated |
///
/// Elements are matched by local name and, where the schema has `"xml": {"namespace": …}`, by namespace; one that is not
/// matched and whose local name is taken keeps its prefix (`p:id`), or stands as `{urn:a}id`. Attributes are `@name`, with
/// a prefix `@p:name`; declarations of namespaces are not shown. `$` is the text beside attributes or children.
///
/// ```
/// # use serde_json::json;
/// # use taskgate::codec::{Limits, shape::Shape, xml::decode};
/// let run = json!({ "type": "array", "items": { "type": "integer" } });
/// let shape = Shape::compile(&json!({ "properties": { "runs": { "properties": { "run": run } } } }))?;
/// let value = decode(b"<runs count='1'><run>15</run></runs>", &shape, &Limits::REPLY)?;
/// assert_eq!(value, json!({ "runs": { "@count": "1", "run": [15] } }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`DecodeFault`](crate::codec::DecodeFault) names the classes; the error has the place and the path, and no value.
pub fn decode(bytes: &[u8], shape: &Shape, limits: &Limits) -> Result<Value, DecodeError> {
    xml_read::decode(bytes, shape, limits)
}

/// Reads one everyday document into what can be looked at, texts and names where they stand.
///
/// Nothing where [`decode`] has to be asked: it refuses the document, or the document is not an everyday one.
#[must_use]
pub fn read_flat<'t>(bytes: &'t [u8], shape: &'t Shape, limits: &Limits) -> Option<Flat<'t>> {
    xml_flat::read(bytes, shape, limits)
}

/// Writes a document in the order of the tree: `@name` is an attribute, `$` text, a list one element for each item, `null`
/// and `""` an empty element.
///
/// ```
/// # use serde_json::json;
/// # use taskgate::codec::{tree::Tree, xml::encode};
/// let ids = json!([15, 25]);
/// let tree = Tree::Object(vec![("runs".into(), Tree::Object(vec![("run".into(), (&ids).into())]))]);
/// let document = br#"<?xml version="1.0" encoding="UTF-8"?><runs><run>15</run><run>25</run></runs>"#;
/// assert_eq!(encode(&tree)?, document);
/// # Ok::<(), taskgate::codec::EncodeError>(())
/// ```
///
/// # Errors
/// [`EncodeFault`](crate::codec::EncodeFault) for what XML cannot carry, with the path of the member.
pub fn encode(tree: &Tree<'_>) -> Result<Vec<u8>, EncodeError> {
    xml_write::encode(tree)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;
    use crate::codec::DecodeFault as Fault;
    use crate::codec::EncodeFault;

    // Reading: what the schema makes of a document.

    #[track_caller]
    fn check(schema: Value, document: &str, expected: Result<Value, Fault>) {
        let shape = Shape::compile(&schema).unwrap();
        let found = decode(document.as_bytes(), &shape, &Limits::REPLY);
        let fault = found.as_ref().map_err(DecodeError::fault);
        assert_eq!(fault, expected.as_ref().map_err(|fault| *fault), "{document:.200} {found:?}");
    }

    /// A root `r` with the given members.
    fn root(properties: Value) -> Value {
        json!({ "properties": { "r": { "type": "object", "properties": properties } } })
    }

    /// The schema of the documented answer, as far as its form goes.
    fn answer() -> Value {
        let status = json!({
            "type": "object",
            "properties": { "id": { "type": "integer" }, "message": { "type": "string" }, "status": { "type": "string" } }
        });
        let list = |name: &str| json!({ "type": "object", "properties": { name: { "type": "array", "items": status } } });
        let result = json!({ "type": "object", "properties": {
            "failure": list("failure"), "success": list("success"),
            "message": { "type": "string" }, "operation": { "type": "string" },
        }});
        json!({ "type": "object", "properties": {
            "mgmtResponse": { "type": "object", "properties": { "operationResult": { "type": "array", "items": result } } }
        }})
    }

    #[test]
    fn the_documented_reply_reads_as_the_documented_json() {
        let document = r#"<?xml version="1.0" ?>
<mgmtResponse responseType="operation" requestUrl="https://localhost/webacs/api/v3/op/jobService/cancelrunning" rootUrl="https://localhost/webacs/api/v3/op">
  <operationResult>
    <failure>
      <failure>
        <id>2</id>
        <message>String value</message>
        <status>String value</status>
      </failure>
      <failure>
        <id>12</id>
        <message>Another string value</message>
        <status>Another string value</status>
      </failure>
    </failure>
    <message>String value</message>
    <operation>SUSPEND</operation>
    <success>
      <success>
        <id>2</id>
        <message>String value</message>
        <status>String value</status>
      </success>
      <success>
        <id>12</id>
        <message>Another string value</message>
        <status>Another string value</status>
      </success>
    </success>
  </operationResult>
</mgmtResponse>
"#;
        let both = json!([
            { "id": 2, "message": "String value", "status": "String value" },
            { "id": 12, "message": "Another string value", "status": "Another string value" },
        ]);
        let expected = json!({ "mgmtResponse": {
            "@requestUrl": "https://localhost/webacs/api/v3/op/jobService/cancelrunning",
            "@responseType": "operation",
            "@rootUrl": "https://localhost/webacs/api/v3/op",
            "operationResult": [{
                "failure": { "failure": both },
                "message": "String value",
                "operation": "SUSPEND",
                "success": { "success": both },
            }],
        }});
        check(answer(), document, Ok(expected));
    }

    #[test]
    fn the_documented_request_is_read_and_written() {
        let document = "<?xml version=\"1.0\" ?>\n<jobRunOperationPayload>\n  <runIds>\n    <runId>15</runId>\n    <runId>25</runId>\n  </runIds>\n</jobRunOperationPayload>\n";
        let value = json!({ "jobRunOperationPayload": { "runIds": { "runId": [15, 25] } } });
        let ids = json!({ "type": "array", "items": { "type": "integer" } });
        let schema =
            json!({ "properties": { "jobRunOperationPayload": { "properties": { "runIds": { "properties": { "runId": ids } } } } } });
        check(schema, document, Ok(value.clone()));
        written(
            &value,
            Ok("<jobRunOperationPayload><runIds><runId>15</runId><runId>25</runId></runIds></jobRunOperationPayload>"),
        );
    }

    #[test]
    fn lists_with_none_one_and_many() {
        let result = |inner: &str| format!("<mgmtResponse><operationResult>{inner}</operationResult></mgmtResponse>");
        let value = |inner: Value| Ok(json!({ "mgmtResponse": { "operationResult": [inner] } }));
        check(answer(), &result(""), value(json!({})));
        check(answer(), &result("<failure/>"), value(json!({ "failure": { "failure": [] } })));
        check(
            answer(),
            &result("<failure>\n </failure>"),
            value(json!({ "failure": { "failure": [] } })),
        );
        check(
            answer(),
            &result("<failure><failure><id>12</id></failure></failure>"),
            value(json!({ "failure": { "failure": [{ "id": 12 }] } })),
        );
        check(
            answer(),
            "<mgmtResponse/>",
            Ok(json!({ "mgmtResponse": { "operationResult": [] } })),
        );
        let list = root(json!({ "i": { "type": "array", "items": { "type": ["integer", "null"] } }, "s": { "type": "array" } }));
        check(
            list.clone(),
            "<r><i>1</i><s/><i/><s>x</s><i>2</i></r>",
            Ok(json!({ "r": { "i": [1, null, 2], "s": ["", "x"] } })),
        );
        check(list, "<other/>", Ok(json!({ "other": "" })));
        check(
            json!({ "properties": { "r": { "type": "array" } } }),
            "<r/>",
            Ok(json!({ "r": [""] })),
        );
    }

    #[test]
    fn texts_as_the_schema_types_them() {
        let schema = root(json!({
            "i": { "type": "integer" }, "n": { "type": "number" }, "b": { "type": "boolean" }, "s": { "type": "string" },
            "o": { "type": "object" }, "j": { "type": ["integer", "null"] }, "t": { "type": ["string", "null"] },
            "m": { "type": ["object", "string"], "properties": { "l": { "type": "array" } } },
            "k": { "type": ["object", "null"] }, "z": { "type": "null" },
        }));
        let table = [
            ("<i>15</i>", Ok(json!({ "i": 15 }))),
            ("<i>\r\n 15\t</i>", Ok(json!({ "i": 15 }))),
            ("<i>1<!-- c -->5</i>", Ok(json!({ "i": 15 }))),
            ("<i>&#49;<![CDATA[5]]></i>", Ok(json!({ "i": 15 }))),
            ("<i>9007199254740993</i>", Ok(json!({ "i": 9_007_199_254_740_993_i64 }))),
            ("<i>9223372036854775807</i>", Ok(json!({ "i": i64::MAX }))),
            ("<i>18446744073709551615</i>", Ok(json!({ "i": u64::MAX }))),
            ("<i>18446744073709551616</i>", Err(Fault::Number)),
            ("<i></i>", Err(Fault::Shape)),
            ("<i/>", Err(Fault::Shape)),
            ("<i>1.0</i>", Err(Fault::Shape)),
            ("<i>1e3</i>", Err(Fault::Shape)),
            ("<i>12 13</i>", Err(Fault::Shape)),
            ("<i>\u{a0}12</i>", Err(Fault::Shape)),
            ("<i>x</i>", Err(Fault::Shape)),
            ("<i>1</i><i>1</i>", Err(Fault::Shape)),
            ("<n>1.5</n>", Ok(json!({ "n": 1.5 }))),
            ("<n>7</n>", Ok(json!({ "n": 7 }))),
            ("<n>NaN</n>", Err(Fault::Shape)),
            ("<n>1e400</n>", Err(Fault::Number)),
            ("<b>true</b>", Ok(json!({ "b": true }))),
            ("<b> 0 </b>", Ok(json!({ "b": false }))),
            ("<b>1</b>", Ok(json!({ "b": true }))),
            ("<b>True</b>", Err(Fault::Shape)),
            ("<b/>", Err(Fault::Shape)),
            ("<s>15</s>", Ok(json!({ "s": "15" }))),
            ("<s/>", Ok(json!({ "s": "" }))),
            ("<s> a\r\nb </s>", Ok(json!({ "s": " a\nb " }))),
            ("<s>1</s><s>2</s>", Err(Fault::Shape)),
            ("<o/>", Ok(json!({ "o": {} }))),
            ("<o>\n</o>", Ok(json!({ "o": {} }))),
            ("<o>text</o>", Ok(json!({ "o": { "$": "text" } }))),
            ("<o/><o/>", Err(Fault::Shape)),
            ("<j/>", Ok(json!({ "j": null }))),
            ("<j>3</j>", Ok(json!({ "j": 3 }))),
            ("<t/>", Ok(json!({ "t": "" }))),
            ("<m/>", Ok(json!({ "m": { "l": [] } }))),
            ("<m>hi</m>", Ok(json!({ "m": "hi" }))),
            ("<m><l>1</l></m>", Ok(json!({ "m": { "l": ["1"] } }))),
            ("<k/>", Ok(json!({ "k": null }))),
            ("<k><a/></k>", Ok(json!({ "k": { "a": "" } }))),
            ("<z/>", Ok(json!({ "z": null }))),
            ("<z>x</z>", Ok(json!({ "z": "x" }))),
        ];
        for (content, expected) in table {
            check(
                schema.clone(),
                &format!("<r>{content}</r>"),
                expected.map(|members| json!({ "r": members })),
            );
        }
    }

    #[test]
    fn attributes_and_the_text_beside_them() {
        let schema = root(json!({
            "e": { "type": "object", "properties": { "@n": { "type": "integer" }, "@b": { "type": "boolean" }, "@l": { "type": "array" }, "$": { "type": "integer" } } },
            "s": { "type": "string" }, "i": { "type": "integer" },
            "t": { "type": "object", "properties": { "$": { "type": "string" } } },
        }));
        let table = [
            ("<e n='5' b='1'>7</e>", Ok(json!({ "e": { "@n": 5, "@b": true, "$": 7 } }))),
            ("<e n=' 5 '/>", Ok(json!({ "e": { "@n": 5 } }))),
            ("<e l='x'/>", Ok(json!({ "e": { "@l": ["x"] } }))),
            ("<e n='x'/>", Err(Fault::Shape)),
            ("<e n=''/>", Err(Fault::Shape)),
            ("<e>x</e>", Err(Fault::Shape)),
            ("<e x='&lt;&#10; \n'/>", Ok(json!({ "e": { "@x": "<\n  " } }))),
            ("<e> <a/> </e>", Ok(json!({ "e": { "a": "" } }))),
            ("<s a='1'>x</s>", Ok(json!({ "s": { "@a": "1", "$": "x" } }))),
            ("<s a='1'/>", Ok(json!({ "s": { "@a": "1", "$": "" } }))),
            ("<i a='long'>12</i>", Ok(json!({ "i": { "@a": "long", "$": 12 } }))),
            ("<t/>", Ok(json!({ "t": { "$": "" } }))),
            ("<t>x</t>", Ok(json!({ "t": { "$": "x" } }))),
            ("<u a='1'> </u>", Ok(json!({ "u": { "@a": "1", "$": " " } }))),
            ("<u a='1'/>", Ok(json!({ "u": { "@a": "1" } }))),
            ("<u>a<b/>c</u>", Ok(json!({ "u": { "b": "", "$": "ac" } }))),
        ];
        for (content, expected) in table {
            check(
                schema.clone(),
                &format!("<r>{content}</r>"),
                expected.map(|members| json!({ "r": members })),
            );
        }
    }

    #[test]
    fn nothing_unknown_is_dropped() {
        check(json!({}), "<a/>", Ok(json!({ "a": "" })));
        check(json!({}), "<a> x </a>", Ok(json!({ "a": " x " })));
        check(
            json!({}),
            "<a><b>1</b><c/><b>2</b><b><d>3</d></b></a>",
            Ok(json!({ "a": { "b": ["1", "2", { "d": "3" }], "c": "" } })),
        );
        check(json!({}), "<a>\n  <b/>\n</a>", Ok(json!({ "a": { "b": "" } })));
        let rest = json!({ "properties": { "r": { "additionalProperties": { "type": "integer" } } } });
        check(rest.clone(), "<r><a>1</a><b>2</b></r>", Ok(json!({ "r": { "a": 1, "b": 2 } })));
        check(rest, "<r><a>1</a><a>2</a></r>", Err(Fault::Shape));
        let lists = json!({ "properties": { "r": { "additionalProperties": { "type": "array" } } } });
        check(lists, "<r><a>1</a></r>", Ok(json!({ "r": { "a": ["1"] } })));
    }

    #[test]
    fn namespaces() {
        let schema = root(json!({
            "id": { "type": "integer", "xml": { "namespace": "urn:a" } },
            "name": { "type": "string" },
            "@k": { "type": "integer", "xml": { "namespace": "urn:a" } },
            "@xml:lang": { "type": "string" },
        }));
        let table = [
            ("<id xmlns='urn:a'>1</id>", Ok(json!({ "id": 1 }))),
            ("<p:id xmlns:p='urn:a'>1</p:id>", Ok(json!({ "id": 1 }))),
            ("<p:id xmlns:p='urn:&#97;'>1</p:id>", Ok(json!({ "id": 1 }))),
            (
                "<p:id xmlns:p='urn:a'>1</p:id><p:id xmlns:p='urn:b'>x</p:id>",
                Ok(json!({ "id": 1, "p:id": "x" })),
            ),
            ("<p:id xmlns:p='urn:b'>x</p:id>", Ok(json!({ "p:id": "x" }))),
            ("<id>x</id>", Ok(json!({ "{}id": "x" }))),
            (
                "<id xmlns='urn:b'>x</id><id xmlns='urn:b'>y</id>",
                Ok(json!({ "{urn:b}id": ["x", "y"] })),
            ),
            ("<p:name xmlns:p='urn:b'>x</p:name>", Ok(json!({ "name": "x" }))),
            (
                "<p:u xmlns:p='urn:b'>x</p:u><u>y</u><p:u xmlns:p='urn:c'>z</p:u>",
                Ok(json!({ "u": "x", "{}u": "y", "p:u": "z" })),
            ),
            ("<p:u xmlns:p='urn:b'/><q:u xmlns:q='urn:b'/>", Ok(json!({ "u": ["", ""] }))),
            (
                "<u xmlns='urn:a' a='1' xmlns:p='urn:a' p:a='2'/>",
                Ok(json!({ "u": { "@a": "1", "@p:a": "2" } })),
            ),
            (
                "<u xml:lang='en' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
                Ok(json!({ "u": { "@xml:lang": "en" } })),
            ),
            ("<u xmlns='urn:a'><v xmlns=''/></u>", Ok(json!({ "u": { "v": "" } }))),
            ("<p:u/>", Err(Fault::Namespace)),
            ("<u p:a='1'/>", Err(Fault::Namespace)),
            ("<u xmlns:p='urn:a'/><p:v/>", Err(Fault::Namespace)),
            ("<u xmlns:p='urn:a' xmlns:q='urn:a' p:a='1' q:a='2'/>", Err(Fault::Duplicate)),
            ("<u xmlns:p='urn:a' xmlns:p='urn:b'/>", Err(Fault::Duplicate)),
            ("<u xmlns:p=''/>", Err(Fault::Namespace)),
            ("<u xmlns:='urn:a'/>", Err(Fault::Namespace)),
            ("<u xmlns:xmlns='urn:a'/>", Err(Fault::Namespace)),
            ("<u xmlns:xml='urn:a'/>", Err(Fault::Namespace)),
            ("<u xmlns='http://www.w3.org/2000/xmlns/'/>", Err(Fault::Namespace)),
            ("<xmlns:u/>", Err(Fault::Namespace)),
            ("<p:u:v xmlns:p='urn:a'/>", Err(Fault::Namespace)),
            ("<?p:i x?><u/>", Err(Fault::Namespace)),
            ("<:u/>", Err(Fault::Namespace)),
            ("<u:/>", Err(Fault::Namespace)),
            ("<u :a='1'/>", Err(Fault::Namespace)),
        ];
        for (content, expected) in table {
            check(
                schema.clone(),
                &format!("<r>{content}</r>"),
                expected.map(|members| json!({ "r": members })),
            );
        }
        check(
            schema.clone(),
            "<r xmlns:p='urn:a' p:k='5' xml:lang='en'/>",
            Ok(json!({ "r": { "@k": 5, "@xml:lang": "en" } })),
        );
        check(schema.clone(), "<r k='5'/>", Err(Fault::Namespace));
        check(schema, "<p:r xmlns:p='urn:z'/>", Ok(json!({ "r": {} })));
    }

    #[test]
    fn nil_is_null_where_the_schema_allows_it() {
        let schema = root(json!({ "i": { "type": ["integer", "null"] }, "s": { "type": ["string", "null"] }, "n": { "type": "string" } }));
        let document = |content: &str| format!("<r xmlns:x='http://www.w3.org/2001/XMLSchema-instance'>{content}</r>");
        check(
            schema.clone(),
            &document("<i x:nil='true'/><s x:nil=' 1 '/>"),
            Ok(json!({ "r": { "i": null, "s": null } })),
        );
        check(schema.clone(), &document("<i x:nil='false'>5</i>"), Ok(json!({ "r": { "i": 5 } })));
        check(
            schema.clone(),
            &document("<n x:nil='true'/>"),
            Ok(json!({ "r": { "n": { "@x:nil": "true", "$": "" } } })),
        );
        check(schema, &document("<i x:nil='true'>5</i>"), Err(Fault::Shape));
    }

    // Reading: what is no document.

    #[test]
    fn takes_what_is_well_formed() {
        let table = [
            ("<?xml version='1.0'?><a/>", ""),
            (
                "<?xml version='1.0' encoding='Utf-8' standalone='no' ?>\n<!-- x --><?p i?>\n<a/>\n<!----><?q?> ",
                "",
            ),
            ("\u{FEFF}<?xml version='1.0'?><a/>", ""),
            ("\u{FEFF}<a/>", ""),
            ("<a \n ></a \t>", ""),
            ("<a>]] > ]&gt; ]]&gt; > ' \"</a>", "]] > ]> ]]> > ' \""),
            ("<a>&lt;&gt;&amp;&apos;&quot;&#65;&#x42;&#x1F600;</a>", "<>&'\"AB😀"),
            ("<a>&amp;lt;</a>", "&lt;"),
            ("<a>1<![CDATA[<b>&amp;]]]]><![CDATA[>]]>2</a>", "1<b>&amp;]]>2"),
            ("<a><![CDATA[]]></a>", ""),
            ("<a>x\r\ny\rz<![CDATA[\r\n\r]]>&#13;&#10;</a>", "x\ny\nz\n\n\r\n"),
            ("<a>b<!-- <c> & - -->d<?p ?e > <f?>g</a>", "bdg"),
            ("<a><!--->--></a>", ""),
            ("<a><?xml-stylesheet href='x'?><?p?></a>", ""),
            ("<a>\u{85}\u{2028}\u{FEFF}\u{7f}</a>", "\u{85}\u{2028}\u{FEFF}\u{7f}"),
        ];
        for (document, text) in table {
            check(json!({}), document, Ok(json!({ "a": text })));
        }
        check(json!({}), "<名前 属性='値'/>", Ok(json!({ "名前": { "@属性": "値" } })));
        check(json!({}), "<_.-1·/>", Ok(json!({ "_.-1·": "" })));
    }

    #[test]
    fn refuses_what_is_not_well_formed() {
        let syntax = [
            "<a/><b/>",
            "<a/>x",
            "x<a/>",
            "<a></a></a>",
            "</a>",
            "<a></b>",
            "<a><b></a></b>",
            "<a/>&#32;",
            "&#32;<a/>",
            "<a/><![CDATA[]]>",
            "<![CDATA[]]><a/>",
            "\u{FEFF}\u{FEFF}<a/>",
            "<a>]]></a>",
            "<a>x]]]></a>",
            "<a>&</a>",
            "<a>& b;</a>",
            "<a>&amp</a>",
            "<a>&;</a>",
            "<a>&#;</a>",
            "<a>&#x;</a>",
            "<a>&#0;</a>",
            "<a>&#xB;</a>",
            "<a>&#xFFFE;</a>",
            "<a>&#xD800;</a>",
            "<a>&#x110000;</a>",
            "<a>&#X41;</a>",
            "<a b='&#0;'/>",
            "<a b='&'/>",
            "<a b='<'/>",
            "<a b=c/>",
            "<a b/>",
            "<a b='1'c='2'/>",
            "<a b=\"1'/>\"",
            "<a 1='1'/>",
            "< a/>",
            "<1a/>",
            "<a/ >",
            "<a / >",
            "<>",
            "<a></a b='1'>",
            "</ a>",
            "<a></ a>",
            "<a><!-- -- --></a>",
            "<a><!-- x ---></a>",
            "<a><!-x--></a>",
            "<!foo><a/>",
            "<a><!foo></a>",
            "<a><![cdata[x]]></a>",
            "<?xml version='1.0'?><?xml version='1.0'?><a/>",
            " <?xml version='1.0'?><a/>",
            "<!-- --><?xml version='1.0'?><a/>",
            "<a><?xml version='1.0'?></a>",
            "<?XML version='1.0'?><a/>",
            "<a><?Xml?></a>",
            "<?xml?><a/>",
            "<?xml version='2.0'?><a/>",
            "<? p?><a/>",
            "<??><a/>",
            "<a><?p/x?></a>",
            "<?1p?><a/>",
            "<a>\u{0}</a>",
            "<a>\u{1}</a>",
            "<a>\u{b}</a>",
            "<a>\u{FFFE}</a>",
            "<a b='\u{FFFF}'/>",
            "<!--\u{1}--><a/>",
            "<a><?p \u{1}?></a>",
            "<a\u{1}/>",
            "<a><b/x></a>",
            "<a <b/></a>",
            "<a b='1' <c/>",
        ];
        for document in syntax {
            let found = decode(document.as_bytes(), &Shape::ANY, &Limits::REPLY).unwrap_err();
            assert!(matches!(found.fault(), Fault::Syntax | Fault::Incomplete), "{document} {found:?}");
        }
        for document in [
            "",
            " \n",
            "<?xml version='1.0'?>",
            "<!-- -->",
            "<a>",
            "<a><b></b>",
            "<a",
            "<a b='",
            "<a><!-- ",
            "<a><![CDATA[x",
            "<a><?p",
            "<a></a",
        ] {
            check(json!({}), document, Err(Fault::Incomplete));
        }
        for document in ["<a b='1' b='1'/>", "<a b='1' c='' b='2'/>"] {
            check(json!({}), document, Err(Fault::Duplicate));
        }
        for document in ["<a>&nbsp;</a>", "<a>&xxe;</a>", "<a b='&xxe;'/>", "<a b='&AMP;'/>"] {
            check(json!({}), document, Err(Fault::Entity));
        }
    }

    #[test]
    fn refuses_what_is_not_utf8() {
        let table: [&[u8]; 9] = [
            b"<a>\xFF</a>",
            b"<a>\xC0\xAE</a>",
            b"<a>\xED\xA0\x80</a>",
            b"<a>\xE2\x82",
            b"\xFE\xFF\0<\0a\0/\0>",
            b"\xFF\xFE<\0a\0/\0>\0",
            b"<\0a\0/\0>\0",
            b"\0<\0a\0/\0>",
            b"<?xml version='1.0' encoding='ISO-8859-1'?><a/>",
        ];
        for document in table {
            assert_eq!(
                decode(document, &Shape::ANY, &Limits::REPLY).unwrap_err().fault(),
                Fault::Encoding,
                "{document:?}"
            );
        }
        check(json!({}), "<?xml version='1.0' encoding='US-ASCII'?><a>é</a>", Err(Fault::Encoding));
        check(
            json!({}),
            "<?xml version='1.0' encoding='US-ASCII'?><a>e</a>",
            Ok(json!({ "a": "e" })),
        );
    }

    #[test]
    fn attacks_are_refused_or_bounded() {
        let laughs: String = (1..10)
            .map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10)))
            .collect();
        let quadratic = format!(
            "<!DOCTYPE a [<!ENTITY x \"{}\">]><a>{}</a>",
            "y".repeat(50_000),
            "&x;".repeat(50_000)
        );
        let table = [
            (format!("<!DOCTYPE a [<!ENTITY l0 \"ha\">{laughs}]><a>&l9;</a>"), Fault::Doctype),
            (quadratic, Fault::Doctype),
            (
                "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>".to_owned(),
                Fault::Doctype,
            ),
            ("<!DOCTYPE a SYSTEM \"http://127.0.0.1/x.dtd\"><a/>".to_owned(), Fault::Doctype),
            ("<!DOCTYPE a [<!ENTITY % p SYSTEM \"x\"> %p;]><a/>".to_owned(), Fault::Doctype),
            ("<?xml version='1.0'?>\n<!DOCTYPE html><html/>".to_owned(), Fault::Doctype),
            ("<!doctype html><html/>".to_owned(), Fault::Doctype),
            ("<!DOCTYPE".to_owned() + &"<!".repeat(100_000), Fault::Doctype),
            ("<a>".repeat(100_000), Fault::Depth),
            ("<a>".repeat(128) + &"</a>".repeat(128), Fault::Depth),
            ("<a ".repeat(100_000), Fault::Incomplete),
            ("<a>".to_owned() + &"<b/>".repeat(1_000_000), Fault::Nodes),
            ("<a>".to_owned() + &"<!--".repeat(250_000), Fault::Incomplete),
            ("<a>".to_owned() + &"&".repeat(1_000_000), Fault::Syntax),
            ("<a b='".to_owned() + &"&amp".repeat(250_000) + "'/>", Fault::Syntax),
            (attributes(300_000, "a", ""), Fault::Nodes),
            (attributes(100_000, "a", " a50='again'"), Fault::Duplicate),
        ];
        for (document, fault) in table {
            check(json!({}), &document, Err(fault));
        }
        assert!(read(&("<a>".repeat(127) + &"</a>".repeat(127))).is_ok());
        let boundless = Limits {
            max_depth: usize::MAX,
            ..Limits::REPLY
        };
        let deep = "<a>".repeat(100_000);
        assert_eq!(decode(deep.as_bytes(), &Shape::ANY, &boundless).unwrap_err().fault(), Fault::Depth);
    }

    /// Each of these takes milliseconds when time is linear, and minutes when it is not.
    #[test]
    fn large_documents_are_read_in_linear_time() {
        let name = "n".repeat(1_000_000);
        assert!(read(&format!("<{name}><{name}/><b {name}='1'/></{name}>")).is_ok());
        assert!(read(&format!("<a b='{name}' xmlns='{name}'>{}</a>", "<c/>".repeat(50_000))).is_ok());
        assert!(read(&attributes(100_000, "a", "")).is_ok());
        // Declarations, each used; and as many elements under them.
        let declared = attributes(50_000, "xmlns:a", "");
        let declared = declared.strip_suffix("/>").unwrap();
        let used: String = (0..50_000).map(|n| format!("<a{n}:b/>")).collect();
        assert!(read(&format!("{declared}>{used}</r>")).is_ok());
        let distinct: String = (0..100_000).map(|n| format!("<b{n}/>")).collect();
        assert!(read(&format!("<a>{distinct}</a>")).is_ok());
        let pieces = "x&amp;<!-- --><![CDATA[y]]>\r".repeat(50_000);
        assert!(read(&format!("<a>{pieces}</a>")).is_ok());
        // A long namespace does not become part of many names.
        let pairs = "<x><id xmlns=''/><id/></x>".repeat(10_000);
        assert_eq!(
            read(&format!("<a xmlns='{name}'>{pairs}</a>")).unwrap_err().fault(),
            Fault::Namespace
        );
    }

    fn read(document: &str) -> Result<Value, DecodeError> {
        decode(document.as_bytes(), &Shape::ANY, &Limits::REPLY)
    }

    fn attributes(count: usize, prefix: &str, last: &str) -> String {
        let attributes: String = (0..count).map(|n| format!(" {prefix}{n}='urn:{n}'")).collect();
        format!("<r{attributes}{last}/>")
    }

    #[test]
    fn an_error_names_the_place_and_no_value() {
        let at = |schema: Value, document: &str| {
            let error = decode(document.as_bytes(), &Shape::compile(&schema).unwrap(), &Limits::REPLY).unwrap_err();
            (error.to_string(), error.pointer().map(str::to_owned))
        };
        let result = "<mgmtResponse>\n<operationResult/>\n<operationResult><failure><failure/><failure>\n <id>sesame</id>";
        assert_eq!(
            at(answer(), result),
            (
                "expected an integer at line 4, column 2".to_owned(),
                Some("/mgmtResponse/operationResult/1/failure/failure/1/id".to_owned())
            )
        );
        assert_eq!(
            at(root(json!({ "s": { "type": "string" } })), "<r><s>1</s><s>2</s></r>"),
            (
                "expected this element once: the schema does not call it a list at line 1, column 12".to_owned(),
                Some("/r/s".to_owned())
            )
        );
        assert_eq!(
            at(json!({}), "<a>\n<b></sesame></a>"),
            (
                "expected the end tag of the open element at line 2, column 4".to_owned(),
                Some("/a/b".to_owned())
            )
        );
        assert_eq!(
            at(json!({}), "<a b='x\n&sesame;'/>"),
            (
                "a reference to an entity that is not predefined at line 2, column 1".to_owned(),
                Some("/a".to_owned())
            )
        );
        assert_eq!(
            at(json!({}), "<!DOCTYPE sesame>").0,
            "expected no document type declaration at line 1, column 1"
        );
        assert_eq!(at(json!({}), &format!("<{}>", "n".repeat(1000))).1, None);
    }

    // Writing.

    const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

    #[track_caller]
    fn written(value: &Value, expected: Result<&str, (EncodeFault, &str)>) {
        let found = encode(&value.into()).map(|bytes| String::from_utf8(bytes).unwrap());
        match expected {
            Ok(document) => assert_eq!(found, Ok(format!("{DECLARATION}{document}"))),
            Err((fault, pointer)) => {
                let error = found.unwrap_err();
                assert_eq!((error.fault(), error.pointer()), (fault, pointer), "{value}");
            }
        }
    }

    #[test]
    fn writes_in_the_order_of_the_tree() {
        let ids = json!([15, 25]);
        let tree = Tree::Object(vec![(
            "r".into(),
            Tree::Object(vec![
                ("z".into(), json!(1).into()),
                ("@b".into(), json!(true).into()),
                (
                    "a".into(),
                    Tree::List(vec![Tree::Object(vec![]), json!(null).into(), json!("x").into()]),
                ),
                ("@a".into(), json!(1.5).into()),
                ("id".into(), Tree::Value(Cow::Borrowed(&ids))),
            ]),
        )]);
        let document = "<r b=\"true\" a=\"1.5\"><z>1</z><a/><a/><a>x</a><id>15</id><id>25</id></r>";
        assert_eq!(
            String::from_utf8(encode(&tree).unwrap()).unwrap(),
            format!("{DECLARATION}{document}")
        );
    }

    #[test]
    fn writes_what_xml_can_carry() {
        written(&json!({ "a": null }), Ok("<a/>"));
        written(&json!({ "a": "" }), Ok("<a/>"));
        written(&json!({ "a": {} }), Ok("<a/>"));
        written(&json!({ "a": [] , }), Err((EncodeFault::Root, "/a")));
        written(&json!({ "a": [1] }), Ok("<a>1</a>"));
        written(&json!({ "a": { "b": [] } }), Ok("<a></a>"));
        written(&json!({ "a": 18_446_744_073_709_551_615_u64 }), Ok("<a>18446744073709551615</a>"));
        written(&json!({ "a": "<&>\"' ]]>\t\n\r" }), Ok("<a>&lt;&amp;&gt;\"' ]]&gt;\t\n&#13;</a>"));
        written(
            &json!({ "a": { "@b": "<&>\"'\t\n\r" } }),
            Ok("<a b=\"&lt;&amp;&gt;&quot;&apos;&#9;&#10;&#13;\"/>"),
        );
        written(&json!({ "a": { "@b": "", "$": "t&t" } }), Ok("<a b=\"\">t&amp;t</a>"));
        written(&json!({ "a": { "$": null } }), Ok("<a></a>"));
        written(
            &json!({ "p:a": { "@xmlns:p": "urn:p", "@p:b": 1, "p:c": { "@xmlns": "urn:q", "d": 1 } } }),
            Ok("<p:a p:b=\"1\" xmlns:p=\"urn:p\"><p:c xmlns=\"urn:q\"><d>1</d></p:c></p:a>"),
        );
        written(&json!({ "a": { "@xml:lang": "en" } }), Ok("<a xml:lang=\"en\"/>"));
        written(&json!({ "名": "\u{1F600}\u{FFFD}\u{85}" }), Ok("<名>\u{1F600}\u{FFFD}\u{85}</名>"));
    }

    #[test]
    fn refuses_what_xml_cannot_carry() {
        for text in ["\0", "a\u{1}", "\u{b}", "\u{c}", "\u{1f}", "\u{FFFE}", "\u{FFFF}"] {
            written(&json!({ "a": { "b": ["x", text] } }), Err((EncodeFault::Character, "/a/b/1")));
            written(&json!({ "a": { "@b": text } }), Err((EncodeFault::Character, "/a/@b")));
            written(&json!({ "a": { "$": text } }), Err((EncodeFault::Character, "/a/$")));
        }
        for name in [
            "", "1", "a b", "-a", "a<b", "a/b", "a:", ":a", "a:b:c", "a&b", "{u}a", "a\u{0}", "a'", "a=",
        ] {
            let pointer = format!("/r/{}", name.replace('/', "~1"));
            written(&json!({ "r": { name: 1 } }), Err((EncodeFault::Name, &pointer)));
            let pointer = format!("/r/@{}", name.replace('/', "~1"));
            written(&json!({ "r": { format!("@{name}"): 1 } }), Err((EncodeFault::Name, &pointer)));
        }
        written(&json!({ "r": { "@xmlns:": "urn:a" } }), Err((EncodeFault::Name, "/r/@xmlns:")));
        written(&json!({ "a": { "b": [1, [2]] } }), Err((EncodeFault::List, "/a/b/1")));
        written(&json!({ "a": [[1]] }), Err((EncodeFault::List, "/a")));
        for value in [json!({}), json!([]), json!("a"), json!(null), json!({ "a": 1, "b": 2 })] {
            written(&value, Err((EncodeFault::Root, "")));
        }
        written(&json!({ "a": [1, 2] }), Err((EncodeFault::Root, "/a")));
        written(&json!({ "@a": 1 }), Err((EncodeFault::Root, "/@a")));
        written(&json!({ "$": 1 }), Err((EncodeFault::Root, "/$")));
        for value in [json!(null), json!([]), json!({})] {
            written(&json!({ "a": { "@b": value } }), Err((EncodeFault::Content, "/a/@b")));
        }
        for value in [json!([]), json!({})] {
            written(&json!({ "a": { "$": value } }), Err((EncodeFault::Content, "/a/$")));
        }
        written(&json!({ "p:a": 1 }), Err((EncodeFault::Namespace, "/p:a")));
        written(&json!({ "a": { "@p:b": 1 } }), Err((EncodeFault::Namespace, "/a/@p:b")));
        written(
            &json!({ "a": { "b": { "@xmlns:p": "urn:p" }, "p:c": 1 } }),
            Err((EncodeFault::Namespace, "/a/p:c")),
        );
        written(&json!({ "a": { "@xmlns:p": "" } }), Err((EncodeFault::Namespace, "/a/@xmlns:p")));
        written(
            &json!({ "a": { "@xmlns:xml": "urn:a" } }),
            Err((EncodeFault::Namespace, "/a/@xmlns:xml")),
        );
        written(
            &json!({ "a": { "@xmlns:xmlns": "urn:a" } }),
            Err((EncodeFault::Namespace, "/a/@xmlns:xmlns")),
        );
        written(&json!({ "xmlns:a": 1 }), Err((EncodeFault::Namespace, "/xmlns:a")));
        written(
            &json!({ "a": { "@xmlns:p": "u", "@xmlns:q": "u", "@p:b": 1, "@q:b": 2 } }),
            Err((EncodeFault::Duplicate, "/a/@q:b")),
        );
    }

    #[test]
    fn an_encode_error_shows_no_value() {
        let error = encode(&(&json!({ "a": { "b": "sesame\u{0}" } })).into()).unwrap_err();
        assert_eq!(error.to_string(), "a character that xml cannot carry at `/a/b`");
    }

    // Properties.

    /// Text that XML can carry, rich in what has to be escaped.
    fn text() -> impl Strategy<Value = String> {
        "([ -~]|[&<>'\"\\]\t\n\r]|[\u{85}\u{A0}é名\u{2028}\u{FFFD}\u{10000}\u{10FFFF}]){0,12}"
    }

    fn name() -> impl Strategy<Value = String> {
        "[A-Za-z_é名][A-Za-z0-9_.é-]{0,4}"
    }

    /// A value, and a schema that describes it.
    fn shaped() -> impl Strategy<Value = (Value, Value)> {
        let number = any::<f64>().prop_filter("json has no other", |number| number.is_finite());
        let scalar = prop_oneof![
            text().prop_map(|text| (json!({ "type": "string" }), json!(text))),
            any::<i64>().prop_map(|number| (json!({ "type": "integer" }), json!(number))),
            any::<u64>().prop_map(|number| (json!({ "type": ["integer", "null"] }), json!(number))),
            number.prop_map(|number| (json!({ "type": "number" }), json!(number))),
            any::<bool>().prop_map(|value| (json!({ "type": "boolean" }), json!(value))),
            Just((json!({ "type": ["integer", "null"] }), json!(null))),
        ];
        let attribute = scalar.clone().prop_filter("no attribute is null", |(_, value)| !value.is_null());
        scalar.prop_recursive(4, 32, 4, move |inner| {
            // A list repeats one pair: its items have one schema.
            let list = (inner.clone(), 0..4_usize).prop_filter("no list of lists", |((_, value), _)| !value.is_array());
            let list =
                list.prop_map(|((schema, value), count)| (json!({ "type": "array", "items": schema }), Value::Array(vec![value; count])));
            let object = (
                prop::collection::btree_map(name(), prop_oneof![inner, list], 0..4),
                prop::collection::btree_map(name().prop_map(|name| format!("@{name}")), attribute.clone(), 0..3),
            );
            object.prop_map(|(children, attributes)| {
                let (mut properties, mut members) = (Map::new(), Map::new());
                for (name, (schema, value)) in children.into_iter().chain(attributes) {
                    properties.insert(name.clone(), schema);
                    members.insert(name, value);
                }
                (json!({ "type": "object", "properties": properties }), Value::Object(members))
            })
        })
    }

    /// Documents near well-formed ones: fragments of markup in any order.
    fn near_xml() -> impl Strategy<Value = String> {
        let fragment = prop::sample::select(vec![
            "<a>",
            "</a>",
            "<a/>",
            "<b c='1'",
            " d=\"&amp;\"",
            ">",
            "/>",
            "</b>",
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
            "--",
            "<?p ",
            "?>",
            "<?xml version='1.0'?>",
            "<!DOCTYPE a>",
            "&lt;",
            "&#65;",
            "&#x0;",
            "&x;",
            "&",
            "\r\n",
            " ",
            "x",
            "\u{FEFF}",
            "é",
            "\u{1}",
            "xmlns:p='urn:a'",
            "<p:a>",
            "</p:a>",
            "<",
            "'",
            "\"",
            "=",
        ]);
        prop::collection::vec(fragment, 0..12).prop_map(|fragments| fragments.concat())
    }

    const SAMPLE: &[u8] =
        b"<?xml version=\"1.0\"?>\n<r xmlns:p='urn:a' b=\"&amp;\"><!-- c --><p:a>1 &lt; 2</p:a><![CDATA[<x>]]><c d='1'/><?p i?></r>\n";

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn what_is_written_is_read_back((schema, value) in shaped()) {
            let shape = Shape::compile(&json!({ "properties": { "root": schema } })).unwrap();
            let expected = json!({ "root": value });
            let document = encode(&(&expected).into()).unwrap();
            prop_assert_eq!(decode(&document, &shape, &Limits::REPLY), Ok(expected));
        }

        #[test]
        fn any_text_is_carried_or_refused(text in any::<String>()) {
            let value = json!({ "a": { "@b": text, "$": text } });
            match encode(&(&value).into()) {
                Ok(document) if text.is_empty() => prop_assert_eq!(decode(&document, &Shape::ANY, &Limits::REPLY), Ok(json!({ "a": { "@b": "" } }))),
                Ok(document) => prop_assert_eq!(decode(&document, &Shape::ANY, &Limits::REPLY), Ok(value)),
                Err(error) => prop_assert_eq!(error.fault(), EncodeFault::Character),
            }
        }

        #[test]
        fn any_name_is_written_well_formed_or_refused(name in any::<String>()) {
            let value = json!({ "r": { &name: { "@a": 1 }, format!("@{name}"): 2 } });
            if let Ok(document) = encode(&(&value).into()) {
                prop_assert!(decode(&document, &Shape::ANY, &Limits::REPLY).is_ok());
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes, &Shape::ANY, &Limits::REPLY);
        }

        #[test]
        fn no_near_xml_panics(document in near_xml(), (schema, _) in shaped()) {
            let shape = Shape::compile(&json!({ "properties": { "a": schema } })).unwrap();
            let _ = decode(document.as_bytes(), &shape, &Limits::REPLY);
        }

        #[test]
        fn no_mutation_panics(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6)) {
            let mut document = SAMPLE.to_vec();
            for (place, byte, kind) in edits {
                if document.is_empty() {
                    break;
                }
                let at = place.index(document.len());
                match kind {
                    0 => document[at] = byte,
                    1 => document.insert(at, byte),
                    _ => { document.remove(at); }
                }
            }
            let _ = decode(&document, &Shape::ANY, &Limits::REPLY);
        }

        #[test]
        fn a_truncated_document_is_never_taken(cut in 1..SAMPLE.len() - 2) {
            prop_assert!(decode(&SAMPLE[..cut], &Shape::ANY, &Limits::REPLY).is_err());
        }
    }
}
