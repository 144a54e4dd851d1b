//! The identity service: a name and a password for a token that is good for a day.
//!
//! The token is in a header, `X-Subject-Token`, and several kilobytes long; the body only describes it. Without `nocatalog` it is longer
//! still, and the body has a catalog. A new token leaves older ones valid.
//!
//! **Source.** The vendor's page of `KeystoneCreateUserTokenByPassword`. Guess: a project that does not exist is answered as a wrong
//! password is.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::cloud::{Cloud, HUAWEI_PROJECT_ID, HUAWEI_PROJECT_NAME, micros};
use super::settings::{Kind, Setting, SettingError, Settings};
use super::vendor::{TaskView, Vendor, VendorReply, VendorRequest};

/// The name of the account, which is the domain of the user.
pub const HUAWEI_DOMAIN: &str = "simulator-domain";

/// The name of the user.
pub const HUAWEI_USER: &str = "simulator-user";

/// The user's password.
pub const HUAWEI_PASSWORD: &str = "simulator-huawei-password-that-opens-nothing";

/// The simulated service.
#[derive(Debug)]
pub(super) struct Iam {
    cloud: Arc<Cloud>,
    settings: Settings,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Account,
    Project,
    /// Nothing that exists.
    Unknown,
}

impl Iam {
    pub(super) fn new(cloud: Arc<Cloud>) -> Self {
        Self {
            cloud,
            settings: Settings::new(SETTINGS),
        }
    }

    fn login(&self, request: &VendorRequest) -> VendorReply {
        let Some(body) = request.json_object() else {
            return error(StatusCode::BAD_REQUEST, "The request body is invalid");
        };
        let Some((scope, is_known)) = read_login(&Value::Object(body)) else {
            return error(StatusCode::BAD_REQUEST, "The request body is invalid");
        };
        if !is_known || scope == Scope::Unknown {
            return error(StatusCode::UNAUTHORIZED, "The username or password is wrong.");
        }
        let with_catalog = !request.query().iter().any(|(name, _)| name == "nocatalog");
        let bytes = self.settings.count("token_bytes");
        let bytes = if with_catalog { bytes.saturating_mul(2) } else { bytes };
        let issued = self.cloud.issue(self.settings.time("lifetime"), bytes, scope == Scope::Project);
        let mut token = description(scope);
        token.insert("issued_at".to_owned(), json!(micros(issued.issued_at)));
        token.insert("expires_at".to_owned(), json!(micros(issued.expires_at)));
        if with_catalog {
            token.insert(
                "catalog".to_owned(),
                json!([{"id": "1", "name": "iam", "type": "identity", "endpoints": []}]),
            );
        }
        let reply = VendorReply::json(StatusCode::CREATED, &json!({"token": token}));
        match HeaderValue::from_str(&issued.token) {
            Ok(mut value) => {
                value.set_sensitive(true);
                reply.header(SUBJECT_TOKEN, value)
            }
            Err(_) => reply,
        }
    }
}

impl Vendor for Iam {
    fn name(&self) -> &str {
        "iam"
    }

    fn answer(&self, request: &VendorRequest) -> VendorReply {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (&request.method, segments.as_slice()) {
            (&Method::POST, ["v3", "auth", "tokens"]) => self.login(request),
            (_, ["v3", "auth", "tokens"]) => error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            _ => error(StatusCode::NOT_FOUND, "The requested resource could not be found"),
        }
    }

    fn error(&self, _: &VendorRequest, status: StatusCode) -> VendorReply {
        error(status, "An error was asked for")
    }

    fn failure(&self, request: &VendorRequest) -> VendorReply {
        self.error(request, StatusCode::OK)
    }

    fn tasks(&self) -> Vec<TaskView> {
        Vec::new()
    }

    fn reset(&self) {
        self.cloud.reset();
    }

    /// None: whoever has the fixed token needs no login.
    fn environment(&self, _: &str) -> Vec<(String, String)> {
        Vec::new()
    }

    fn login_environment(&self, endpoint: &str) -> Vec<(String, String)> {
        [
            ("HUAWEI_IAM_ENDPOINT", endpoint),
            ("HUAWEI_DOMAIN", HUAWEI_DOMAIN),
            ("HUAWEI_USER", HUAWEI_USER),
            ("HUAWEI_PASSWORD", HUAWEI_PASSWORD),
            ("HUAWEI_PROJECT_ID", HUAWEI_PROJECT_ID),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn settings(&self) -> std::collections::BTreeMap<String, String> {
        self.settings.all()
    }

    fn set(&self, name: &str, value: &str) -> Result<(), SettingError> {
        self.settings.set(name, value)
    }

    fn revoke(&self) {
        self.cloud.revoke();
    }

    fn logins(&self) -> Value {
        self.cloud.view()
    }
}

/// The scope that a login asks for, and whether name and password are right; none when the body is not that of a login.
fn read_login(body: &Value) -> Option<(Scope, bool)> {
    let identity = body.pointer("/auth/identity")?;
    let methods = identity.get("methods")?.as_array()?;
    if methods.as_slice() != [json!("password")] {
        return None;
    }
    let user = identity.pointer("/password/user")?;
    let text = |pointer: &str| user.pointer(pointer).and_then(Value::as_str);
    let (name, password, domain) = (text("/name")?, text("/password")?, text("/domain/name")?);
    let is_known = (name, password, domain) == (HUAWEI_USER, HUAWEI_PASSWORD, HUAWEI_DOMAIN);
    Some((scope(body.pointer("/auth/scope"))?, is_known))
}

/// A project by its id or its name; it wins when an account is named as well.
fn scope(scope: Option<&Value>) -> Option<Scope> {
    let Some(scope) = scope else { return Some(Scope::Account) };
    let text = |pointer: &str| scope.pointer(pointer).and_then(Value::as_str);
    let found = |is_known| if is_known { Scope::Project } else { Scope::Unknown };
    if scope.get("project").is_some() {
        return match (text("/project/id"), text("/project/name")) {
            (Some(id), _) => Some(found(id == HUAWEI_PROJECT_ID)),
            (None, Some(name)) => Some(found(name == HUAWEI_PROJECT_NAME)),
            (None, None) => None,
        };
    }
    match (text("/domain/name"), text("/domain/id")) {
        (None, None) => None,
        (Some(name), _) if name != HUAWEI_DOMAIN => Some(Scope::Unknown),
        (None, Some(id)) if id != DOMAIN_ID => Some(Scope::Unknown),
        (_, _) => Some(Scope::Account),
    }
}

fn description(scope: Scope) -> Map<String, Value> {
    let domain = json!({"id": DOMAIN_ID, "name": HUAWEI_DOMAIN});
    let mut token = Map::from_iter([
        ("methods".to_owned(), json!(["password"])),
        ("roles".to_owned(), json!([{"id": "0", "name": "te_admin"}])),
        (
            "user".to_owned(),
            json!({"id": USER_ID, "name": HUAWEI_USER, "domain": domain, "password_expires_at": ""}),
        ),
    ]);
    let (name, value) = match scope {
        Scope::Project => (
            "project",
            json!({"id": HUAWEI_PROJECT_ID, "name": HUAWEI_PROJECT_NAME, "domain": domain}),
        ),
        Scope::Account | Scope::Unknown => ("domain", domain),
    };
    token.insert(name.to_owned(), value);
    token
}

/// The code is a number here, unlike everywhere behind the gateway.
fn error(status: StatusCode, message: &str) -> VendorReply {
    let title = status.canonical_reason().unwrap_or("Error");
    VendorReply::json(
        status,
        &json!({"error": {"code": status.as_u16(), "message": message, "title": title}}),
    )
}

const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");
const DOMAIN_ID: &str = "d78cbac186b744899480f25bd022f468";
const USER_ID: &str = "7116d09f88fa41908676fdd4b039e95b";

const SETTINGS: &[Setting] = &[
    Setting {
        name: "lifetime",
        kind: Kind::Time,
        start: "24h",
    },
    // Without the catalog; twice as many with it, which is more than the 8 kB that many programs allow a header.
    Setting {
        name: "token_bytes",
        kind: Kind::Count,
        start: "5000",
    },
];
