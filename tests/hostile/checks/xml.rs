//! A vendor's XML: read under every shape, and written again without loss.

use std::sync::LazyLock;

use taskgate::codec::shape::Shape;
use taskgate::codec::tree::Tree;
use taskgate::codec::{EncodeFault, Limits, xml};
use taskgate::mapping::reply::ReplyBody;

use super::shipped;

/// `data` is a document.
pub(super) fn check(data: &[u8]) {
    for shape in shapes() {
        let read = xml::decode(data, shape, &Limits::REPLY);
        if let Err(error) = &read {
            assert!(error.line() >= 1 && error.column() >= 1, "{error}");
        }
        if let Some(flat) = xml::read_flat(data, shape, &Limits::REPLY) {
            assert_eq!(Ok(flat.root().to_value()), read, "{}", String::from_utf8_lossy(data));
        }
    }
    let Ok(value) = xml::decode(data, &Shape::ANY, &Limits::REPLY) else {
        return;
    };
    match xml::encode(&Tree::from(&value)) {
        Ok(written) => assert_eq!(
            xml::decode(&written, &Shape::ANY, &Limits::REPLY).as_ref(),
            Ok(&value),
            "{}",
            String::from_utf8_lossy(&written)
        ),
        // Declarations of namespaces are not kept, so a name with a prefix cannot be written.
        Err(error) => assert!(matches!(error.fault(), EncodeFault::Name | EncodeFault::Namespace), "{error}"),
    }
}

/// Those of all routes that read XML.
fn shapes() -> &'static [&'static Shape] {
    static SHAPES: LazyLock<Vec<&'static Shape>> = LazyLock::new(|| {
        let bodies = shipped::asks().iter().map(|ask| &ask.route.reply.body);
        bodies
            .filter_map(|body| match body {
                ReplyBody::Xml(shape) => Some(&**shape),
                ReplyBody::Empty | ReplyBody::Json => None,
            })
            .collect()
    });
    &SHAPES
}
