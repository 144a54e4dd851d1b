//! A request of routes.yaml, compiled: the part that actions, logins and looks have in common.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING, VIA};

use super::file::{Request, RequestBody};
use super::names::Names;
use super::template::{Position, TemplateCompiler};
use crate::mapping::request::{BodyTemplate, RequestTemplate};
use crate::mapping::target::QueryTemplate;
use crate::mapping::template::Template;

/// Compiles a request; `None` where it has faults, which have been noted. The compiler's `used` is complete otherwise.
pub(super) fn request(compiler: &mut TemplateCompiler<'_>, request: &Request, names: &Names) -> Option<RequestTemplate> {
    let path = &request.place.path;
    let target = compiler.compile(&request.path, &path.key("path"), names, Position::Path);
    let mut query: Vec<(String, Option<Template>)> = request
        .query
        .iter()
        .map(|(key, node)| {
            (
                key.text.clone(),
                compiler.compile(node, &path.key("query").key(&key.text), names, Position::Query),
            )
        })
        .collect();
    query.sort_by(|(a, _), (b, _)| a.cmp(b));
    let headers: Vec<(HeaderName, Option<Template>)> = request
        .headers
        .iter()
        .map(|(header, node)| {
            let path = path.key("headers").key(header.value.as_str());
            if OWN_HEADERS.contains(&header.value) {
                compiler.faults.fault(
                    header.span,
                    &path,
                    format!("the header `{}` is set by taskgate itself", header.value),
                );
            }
            (header.value.clone(), compiler.compile(node, &path, names, Position::Scalar))
        })
        .collect();
    let mut value = |node, key| compiler.compile(node, &path.key(key), names, Position::Value);
    let body = match &request.body {
        RequestBody::Empty => Some(BodyTemplate::None),
        RequestBody::Form(node) => value(node, "form").map(BodyTemplate::Form),
        RequestBody::Json(node) => value(node, "json").map(BodyTemplate::Json),
        RequestBody::Xml(node) => value(node, "xml").map(BodyTemplate::Xml),
    };
    Some(RequestTemplate {
        method: request.method.value.clone(),
        path: target?.into(),
        query: query
            .into_iter()
            .map(|(name, template)| Some(QueryTemplate::new(&name, template?)))
            .collect::<Option<_>>()?,
        headers: headers
            .into_iter()
            .map(|(name, template)| Some((name, template?.into())))
            .collect::<Option<_>>()?,
        body: body?,
        bare: request.bare,
    })
}

/// Set by the client or forbidden on a connection that is shared. Source: RFC 9110 section 7.6.1.
const OWN_HEADERS: [HeaderName; 5] = [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, VIA];
