//! The catalog: documents about the gateway itself, made once for each configuration. No vendor is called for any of them.
//!
//! | path | what |
//! |---|---|
//! | `/providers`, `/providers/{provider}` | what can be called, and how it was doing when it was last called |
//! | `/schemas/{provider}/{action}.json` | the canonical request of an action, or of a `look` |
//! | `/schemas/answer.json` and `batch.json`, `batch_preview.json`, `preview.json`, `problem.json` beside it | what every answer and every error looks like |
//! | `/problems`, `/problems/{slug}` | every kind of error, for people and for programs |
//! | `/openapi.json` | all of it as OpenAPI 3.1 |
//! | `/docs` | the same to read and to try |
//!
//! **Shape**: [`Catalog::answer`] with the head of a request -> nothing where the path is none of these; else the answer, or why not.
//!
//! **Invariants**: pure; all that changes while a configuration runs, the health of providers, comes in as a function. Nothing secret is in
//! any document: of a provider's configuration there are names and whether it is complete.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use serde_json::Value;

use crate::model::error::GatewayError;
use crate::model::method;
use crate::model::reason::Reason;
use crate::negotiation::prefers_json;
use crate::route::RouteTable;

pub mod advice;
pub mod example;
pub mod openapi;
mod page;
mod problems;
pub mod providers;
mod reference;
pub mod shapes;

pub use page::Page;
pub use providers::{Health, HealthState};

use page::{HTML, JSON, SCHEMA_JSON};

/// The documents of one configuration.
pub struct Catalog {
    table: Arc<RouteTable>,
    health: Box<dyn Fn(&str) -> Health + Send + Sync>,
    schemas: BTreeMap<String, Page>,
    /// Made when it is first asked for: it is the only large one, and a start should not wait for it.
    openapi: OnceLock<Page>,
}

/// The head of a request, as far as the catalog reads it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path of the target.
    pub path: &'a str,
    /// The query of the target.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// Does a body follow?
    pub has_body: bool,
}

impl Catalog {
    /// The documents of a table; `health` says how a provider was doing when it was last called.
    pub fn new(table: Arc<RouteTable>, health: impl Fn(&str) -> Health + Send + Sync + 'static) -> Self {
        let mut schemas: BTreeMap<String, Page> = table
            .providers
            .values()
            .flat_map(|provider| providers::routes(provider).map(|route| (providers::schema_path(&provider.name, &route.action), route)))
            .map(|(path, route)| (path, Page::new(SCHEMA_JSON, pretty(&providers::schema(route)))))
            .collect();
        schemas.extend(shapes::CANONICAL.map(|(file, schema)| (format!("/schemas/{file}"), Page::new(SCHEMA_JSON, schema))));
        Self {
            table,
            health: Box::new(health),
            schemas,
            openapi: OnceLock::new(),
        }
    }

    /// The answer to a request for a page; nothing where the path belongs to somebody else.
    ///
    /// # Errors
    /// `METHOD_NOT_ALLOWED`, `METHOD_NOT_IMPLEMENTED`, `INVALID_QUERY`, `MALFORMED_BODY` for what no page takes; `UNKNOWN_PROVIDER`,
    /// `UNKNOWN_ACTION`, `OPERATION_NOT_SUPPORTED`, `UNKNOWN_PATH` for what is not there.
    #[must_use]
    pub fn answer(&self, asked: Asked<'_>) -> Option<Result<Response<Bytes>, GatewayError>> {
        is_page(asked.path).then(|| {
            check(asked)?;
            let page = self.page(asked.path, prefers_json(asked.headers))?;
            Ok(page.respond(asked.headers))
        })
    }

    /// The page at a path; `json` where programs ask.
    fn page(&self, path: &str, json: bool) -> Result<Page, GatewayError> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["openapi.json"] => Ok(self.openapi.get_or_init(|| Page::new(JSON, openapi::print(&self.table))).clone()),
            ["providers"] => {
                let all = self
                    .table
                    .providers
                    .values()
                    .map(|provider| (&**provider, (self.health)(&provider.name)));
                Ok(Page::new(JSON, providers::list(all).to_string()))
            }
            ["providers", name] => {
                let provider = self.table.providers.get(*name).ok_or_else(|| self.unknown_provider())?;
                Ok(Page::new(JSON, providers::one(provider, &(self.health)(name)).to_string()))
            }
            ["problems"] if json => Ok(Page::new(JSON, problems::all().to_string()).negotiated()),
            ["problems"] => Ok(Page::new(HTML, problems::all_page()).negotiated()),
            ["problems", slug] => {
                let reason = problems::reason(slug).ok_or_else(|| {
                    let detail = "there is no such kind of problem; `/problems` lists all of them";
                    GatewayError::new(Reason::UnknownPath, detail).with_metadata("problems", "/problems")
                })?;
                let examples = self.table.examples.all();
                Ok(match json {
                    true => Page::new(JSON, problems::one(reason, examples).to_string()),
                    false => Page::new(HTML, problems::one_page(reason, examples)),
                }
                .negotiated())
            }
            ["schemas", ..] => self.schemas.get(path).cloned().ok_or_else(|| self.no_schema(&segments)),
            _ => reference::page(path).ok_or_else(no_such_page),
        }
    }

    fn unknown_provider(&self) -> GatewayError {
        let names: Vec<&str> = self.table.providers.keys().map(String::as_str).collect();
        let detail = format!("there is no such provider; there are {}", names.join(", "));
        GatewayError::new(Reason::UnknownProvider, detail).with_metadata("providers", names)
    }

    fn no_schema(&self, segments: &[&str]) -> GatewayError {
        let ["schemas", name, file] = segments else {
            return no_such_page();
        };
        let (Some(provider), Some(_)) = (self.table.providers.get(*name), file.strip_suffix(".json")) else {
            return if file.ends_with(".json") {
                self.unknown_provider()
            } else {
                no_such_page()
            };
        };
        let known: Vec<&str> = providers::routes(provider).map(|route| route.action.as_str()).collect();
        let detail = format!(
            "`{}` has no schema of this name; it has those of {}",
            provider.name,
            known.join(", ")
        );
        GatewayError::new(Reason::OperationNotSupported, detail).with_metadata("actions", known)
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}

/// Does a path belong to the catalog, whether there is something or not?
#[must_use]
pub fn is_page(path: &str) -> bool {
    let first = path.strip_prefix('/').map(|rest| rest.split('/').next().unwrap_or_default());
    match first {
        Some("openapi.json") => path == "/openapi.json",
        Some(first) => ROOTS.contains(&first),
        None => false,
    }
}

/// What no page takes is refused, not ignored.
fn check(asked: Asked<'_>) -> Result<(), GatewayError> {
    if !method::is_known(asked.method) {
        let detail = "this method is not one of RFC 9110; a page is read with a GET";
        return Err(GatewayError::new(Reason::MethodNotImplemented, detail));
    }
    if !matches!(*asked.method, Method::GET | Method::HEAD) {
        let mut error = GatewayError::new(Reason::MethodNotAllowed, "a page is read with a GET").with_metadata("allow", ALLOW);
        error.allow = Some(ALLOW);
        return Err(error);
    }
    if asked.query.is_some() {
        return Err(GatewayError::new(Reason::InvalidQuery, "a page takes no query"));
    }
    if asked.has_body {
        return Err(GatewayError::new(Reason::MalformedBody, "a request for a page has no body"));
    }
    Ok(())
}

fn no_such_page() -> GatewayError {
    let detail = "there is no such page; `/docs` shows what there is";
    GatewayError::new(Reason::UnknownPath, detail)
}

/// JSON that people can read: schemas and the description of the interface are.
fn pretty(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_else(|_| document.to_string());
    text.push('\n');
    text
}

/// The first segments of all pages that have more than one.
const ROOTS: [&str; 4] = ["docs", "problems", "providers", "schemas"];
/// The methods of every page.
const ALLOW: &str = "GET, HEAD";

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ACCEPT, ALLOW as ALLOW_HEADER, CONTENT_TYPE, HeaderValue};

    fn catalog() -> Catalog {
        Catalog::new(Arc::default(), |_| Health::default())
    }

    fn ask(method: &str, target: &str, accept: Option<&str>) -> Option<Result<Response<Bytes>, GatewayError>> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let headers: HeaderMap = accept
            .into_iter()
            .map(|accept| (ACCEPT, HeaderValue::from_str(accept).unwrap()))
            .collect();
        catalog().answer(Asked {
            method: &method,
            path,
            query,
            headers: &headers,
            has_body: false,
        })
    }

    #[track_caller]
    fn check_refused(method: &str, target: &str, expected: Reason) {
        let error = ask(method, target, None).unwrap().unwrap_err();
        assert_eq!(error.reason, expected, "{method} {target}");
        assert_eq!(
            error.allow.is_some(),
            expected == Reason::MethodNotAllowed,
            "{method} {target} {ALLOW_HEADER}"
        );
    }

    #[test]
    fn other_paths_belong_to_somebody_else() {
        for path in [
            "/",
            "",
            "*",
            "/tasks/x/1:stop",
            "/provider",
            "/openapi.json/",
            "/openapi",
            "/Docs",
            "//docs",
            "/operations/x",
        ] {
            assert!(ask("GET", path, None).is_none(), "{path}");
        }
    }

    #[test]
    fn what_no_page_takes_is_refused() {
        check_refused("POST", "/providers", Reason::MethodNotAllowed);
        check_refused("OPTIONS", "/docs", Reason::MethodNotAllowed);
        check_refused("QUERY", "/docs", Reason::MethodNotAllowed);
        check_refused("FOO", "/docs", Reason::MethodNotImplemented);
        check_refused("GET", "/docs?x=1", Reason::InvalidQuery);
        check_refused("GET", "/docs?", Reason::InvalidQuery);
        check_refused("GET", "/docs/", Reason::UnknownPath);
        check_refused("GET", "/docs/../openapi.json", Reason::UnknownPath);
        check_refused("GET", "/problems/nothing", Reason::UnknownPath);
        check_refused("GET", "/problems/TASK_NOT_FOUND", Reason::UnknownPath);
        check_refused("GET", "/providers/nobody", Reason::UnknownProvider);
        check_refused("GET", "/providers/", Reason::UnknownProvider);
        check_refused("GET", "/providers/a/b", Reason::UnknownPath);
        check_refused("GET", "/schemas/nobody/stop.json", Reason::UnknownProvider);
        check_refused("GET", "/schemas/nobody/stop", Reason::UnknownPath);
        check_refused("GET", "/schemas", Reason::UnknownPath);
    }

    #[test]
    fn people_get_pages_and_programs_get_json() {
        for (accept, json) in [
            (None, false),
            (Some("*/*"), false),
            (Some("application/json"), true),
            (Some("application/problem+json, application/json;q=0.9"), true),
            (Some("text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"), false),
        ] {
            for path in ["/problems", "/problems/task-not-found"] {
                let response = ask("GET", path, accept).unwrap().unwrap();
                let expected = if json { JSON } else { HTML };
                assert_eq!(response.headers()[CONTENT_TYPE], expected, "{path} {accept:?}");
            }
        }
    }

    #[test]
    fn a_table_without_providers_has_its_pages() {
        for path in [
            "/openapi.json",
            "/providers",
            "/schemas/answer.json",
            "/schemas/batch.json",
            "/schemas/batch_preview.json",
            "/schemas/preview.json",
            "/schemas/problem.json",
            "/docs",
            "/docs/swagger-ui.css",
        ] {
            let response = ask("GET", path, None).unwrap().unwrap();
            assert_eq!(response.status(), 200, "{path}");
        }
    }
}
