//! `/docs`: the reference page, and what it loads. It renders `/openapi.json` and can send calls.
//!
//! The renderer is Swagger UI (Apache-2.0), as the crate `utoipa-swagger-ui-vendored` carries it; the build compresses its two files.
//!
//! **Invariants**: everything comes from this origin; the page works without any other network.

use super::page::{HTML, Page};

/// The page at this path, below `/docs`.
pub(super) fn page(path: &str) -> Option<Page> {
    Some(match path {
        "/docs" => Page::new(HTML, INDEX),
        "/docs/page.css" => Page::new(CSS, PAGE_CSS),
        "/docs/start.js" => Page::new(JAVASCRIPT, START),
        "/docs/swagger-ui.css" => Page::compressed(CSS, SWAGGER_CSS),
        "/docs/swagger-ui.js" => Page::compressed(JAVASCRIPT, SWAGGER_JS),
        "/docs/LICENSE" => Page::compressed("text/plain; charset=utf-8", SWAGGER_LICENSE),
        _ => return None,
    })
}

const INDEX: &str = include_str!("reference/index.html");
const START: &str = include_str!("reference/start.js");
const PAGE_CSS: &str = include_str!("reference/page.css");
static SWAGGER_CSS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));
static SWAGGER_JS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));
static SWAGGER_LICENSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/LICENSE.gz"));
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderValue};

    #[test]
    fn who_takes_no_gzip_gets_the_renderer_as_it_is() {
        let page = page("/docs/swagger-ui.js").unwrap();
        let plain = page.respond(&HeaderMap::new());
        let text = String::from_utf8(plain.body().to_vec()).unwrap();
        assert!(text.contains("SwaggerUIBundle"));
        let packed = page.respond(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"))]));
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        assert!(packed.body().len() * 2 < text.len());
        assert_ne!(packed.headers()[ETAG], plain.headers()[ETAG]);
    }

    #[test]
    fn the_page_names_only_what_is_there() {
        let names = INDEX.split(['"']).filter(|part| part.starts_with("docs/"));
        let all: Vec<&str> = names.collect();
        assert!(all.len() >= 3, "{all:?}");
        for name in all {
            assert!(page(&format!("/{name}")).is_some(), "{name}");
        }
        assert!(!INDEX.contains("http") && !START.contains("http"));
        assert!(page("/docs/").is_none());
    }
}
