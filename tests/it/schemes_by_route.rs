//! What goes out for every shipped route under every scheme of its vendor: method, target, headers and body, as the cases have them.
//!
//! **Shape**: [`Scheme::start`] gives the shipped routes the variables of one scheme, [`Ask`] is one call, and [`Ask::sent`] is what the
//! vendor got for it.
//!
//! **Source**: the cases `ok` of each route, which name the vendors' pages. The simulators verify tokens, sessions and signatures, so a
//! success says that these fit as well.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::DateTime;
use serde_json::{Value, json};
use taskgate::codec::shape::Shape;
use taskgate::codec::{Limits, xml};
use taskgate::config::case::{Case, ExpectedRequest};
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::crypto;
use taskgate::simulate::{
    CFW_TASK, DBSS_ENCRYPTION_INSTANCE, DBSS_INSTANCE, DBSS_MAINTENANCE_INSTANCE, HSS_IMAGE_SCAN, HSS_TASK, HUAWEI_ACCESS_KEY,
    HUAWEI_DOMAIN, HUAWEI_PASSWORD, HUAWEI_PROJECT_ID, HUAWEI_TOKEN, HUAWEI_USER, PRIME_PASSWORD, PRIME_USER, SeenRequest,
    SimulatorOptions, Simulators, ZSTACK_ACCESS_KEY_ID, ZSTACK_ACCESS_KEY_SECRET, ZSTACK_ACCOUNT, ZSTACK_CDP_TASK, ZSTACK_PASSWORD,
    ZSTACK_SESSION, ZSTACK_STOPPED_TASK, ZSTACK_TASK,
};

use super::answers::{Seen, Told};
use super::caller::Caller;
use super::rig::{self, Rig};

#[tokio::test]
async fn every_route_sends_what_the_pages_say_under_every_scheme() {
    let cases = rig::cases(&rig::only_cases_named("ok"));
    for scheme in SCHEMES {
        let (rig, zone) = scheme.start().await;
        for case in &cases {
            let ask = Ask::of(case, start_task(&case.provider, &case.action));
            let (told, seen) = ask.sent(&rig).await;
            assert!(matches!(told.status, 200 | 202), "{scheme:?} {ask:?}: {told:?}");
            assert_eq!(seen.len(), case.content.vendor.len(), "{scheme:?} {ask:?}: {seen:?}");
            for (turn, seen) in case.content.vendor.iter().zip(&seen) {
                let expected = with_id(&turn.request, &case.content.call.id, &ask.id);
                check(scheme, &ask, &expected, seen);
                check_credentials(scheme, ask.vendor(), &zone, seen);
            }
        }
        check_logins(scheme, &rig.simulators);
        rig.stop().await;
    }
}

#[test]
fn every_route_has_a_case_to_compare_with() {
    let table = rig::compiled(&shipped::sources(), &Environment::default()).table;
    let routes: BTreeSet<(String, String)> = table
        .providers
        .values()
        .flat_map(|provider| {
            let look = provider.task.as_ref().map(|_| LOOK.to_owned());
            let actions = provider.actions.keys().cloned().chain(look);
            actions.map(|action| (provider.name.to_string(), action))
        })
        .collect();
    let cases = rig::cases(&rig::only_cases_named("ok"));
    let cases: BTreeSet<_> = cases.into_iter().map(|case| (case.provider, case.action)).collect();
    assert_eq!(cases, routes);
}

/// The ids of the cases as they stand: some are of no task here, and what the vendor thinks of that makes no difference to what it got.
#[tokio::test]
async fn schemes_differ_in_their_credentials_only() {
    let cases = rig::cases(&rig::only_cases_named("ok"));
    let mut by_scheme = Vec::new();
    for scheme in SCHEMES {
        let (rig, _) = scheme.start().await;
        let mut requests = Vec::new();
        for case in &cases {
            let ask = Ask::of(case, &case.content.call.id);
            let (told, mut seen) = ask.sent(&rig).await;
            // A look may follow at what a refusal leaves open.
            seen.truncate(case.content.vendor.len());
            assert_eq!(seen.len(), case.content.vendor.len(), "{scheme:?} {ask:?}: {told:?}");
            for (turn, seen) in case.content.vendor.iter().zip(seen) {
                check(scheme, &ask, &turn.request, &seen);
                requests.push(without_credentials(&seen));
            }
        }
        by_scheme.push(requests);
        rig.stop().await;
    }
    let [fixed, login, signature] = <[_; 3]>::try_from(by_scheme).unwrap();
    assert_eq!(login, fixed);
    assert_eq!(signature, fixed);
}

/// How the shipped vendors are told who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// Secrets that somebody else renews.
    Static,
    Login,
    Signature,
}

impl Scheme {
    /// The gateway under the variables of this scheme, and the zone that it was told.
    async fn start(self) -> (Rig, String) {
        let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
        let variables = match self {
            Self::Static => simulators.environment(),
            Self::Login => simulators.login_environment(),
            Self::Signature => simulators.signature_environment(),
        };
        let zone = variables.get("ZSTACK_TIME_ZONE").cloned().unwrap_or_default();
        let environment = Environment::default().with(variables);
        let gateway = rig::start_gateway(&rig::compiled(&shipped::sources(), &environment)).await;
        let caller = Caller::new(gateway.address());
        let rig = Rig {
            simulators,
            gateway,
            caller,
        };
        (rig, zone)
    }

    /// The headers that say who calls.
    fn headers(self, vendor: &str) -> &'static [&'static str] {
        match (vendor, self) {
            ("prime", _) | ("zstack", Self::Static | Self::Login) => &["authorization"],
            ("zstack", Self::Signature) => &["authorization", "date"],
            (_, Self::Static | Self::Login) => &["x-auth-token"],
            (_, Self::Signature) => &["authorization", "x-project-id", "x-sdk-date"],
        }
    }
}

/// One call of a caller.
#[derive(Debug)]
struct Ask {
    provider: String,
    action: String,
    id: String,
    /// With its question mark; empty when there is none.
    query: String,
    /// Empty when there is none.
    body: String,
}

impl Ask {
    fn of(case: &Case, id: &str) -> Self {
        let call = &case.content.call;
        let query: Vec<String> = call.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Self {
            provider: case.provider.clone(),
            action: case.action.clone(),
            id: id.to_owned(),
            query: if query.is_empty() {
                String::new()
            } else {
                format!("?{}", query.join("&"))
            },
            body: call.body.as_ref().map(Value::to_string).unwrap_or_default(),
        }
    }

    /// The simulator that plays the provider: siblings have their vendor's name in front.
    fn vendor(&self) -> &str {
        self.provider.split('-').next().unwrap()
    }

    /// What the caller is told, and what the vendor got for it; logins are left out.
    async fn sent(&self, rig: &Rig) -> (Told, Vec<SeenRequest>) {
        let before = requests(&rig.simulators, self.vendor()).len();
        let Self {
            provider,
            action,
            id,
            query,
            body,
        } = self;
        let told = if action == LOOK {
            let told = rig.caller.get(&format!("/tasks/{provider}/{id}{query}")).await;
            told.check(Seen::OnTheWire);
            told
        } else {
            rig.caller.act(&format!("{provider}/{id}:{action}"), body).await
        };
        (told, requests(&rig.simulators, self.vendor()).split_off(before))
    }
}

/// What a vendor got, without logins.
fn requests(simulators: &Simulators, vendor: &str) -> Vec<SeenRequest> {
    let mut seen = simulators.seen(vendor).unwrap();
    seen.retain(|seen| seen.target != ZSTACK_LOGIN);
    seen
}

/// A request is the expected one but for what its credentials are: nothing is missing, and nothing is there that the case does not name.
#[track_caller]
fn check(scheme: Scheme, ask: &Ask, expected: &ExpectedRequest, seen: &SeenRequest) {
    let place = format!("{scheme:?} {ask:?}");
    assert_eq!(
        (seen.method.as_str(), &seen.target),
        (expected.method.as_str(), &expected.target),
        "{place}"
    );
    let query: Vec<&str> = seen.target.split_once('?').map_or("", |(_, query)| query).split('&').collect();
    assert!(query.is_sorted(), "{place}: {}", seen.target);

    let of_the_page: Vec<_> = expected
        .headers
        .iter()
        .filter(|(name, _)| !CREDENTIALS.contains(&name.as_str()))
        .collect();
    for (name, value) in &of_the_page {
        let found = header(seen, name);
        assert!(value.as_str() == "*" || found == value.as_str(), "{place}: {name}: {found}");
    }
    let mut names: BTreeSet<&str> = of_the_page.iter().map(|(name, _)| name.as_str()).collect();
    names.extend(["host", "via"]);
    names.extend(scheme.headers(ask.vendor()));
    // The framing: a method that may have a body says how long it is.
    names.extend((expected.method != "GET").then_some("content-length"));
    names.extend((ask.vendor() == "prime").then_some("connection"));
    let found: BTreeSet<&str> = seen.headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(found, names, "{place}");
    assert_eq!(seen.headers.len(), names.len(), "{place}: each header stands there once");
    assert_eq!(header(seen, "via"), "1.1 taskgate", "{place}");
    if ask.vendor() == "prime" {
        assert_eq!(header(seen, "connection"), "close", "{place}");
    }

    match (&expected.json, &expected.xml) {
        (Some(json), None) => assert_eq!(&serde_json::from_slice::<Value>(&seen.body).unwrap(), json, "{place}"),
        (None, Some(document)) => assert_eq!(read_xml(&seen.body), read_xml(document.as_bytes()), "{place}"),
        (None, None) => assert!(expected.empty && seen.body.is_empty(), "{place}: {seen:?}"),
        (Some(_), Some(_)) => panic!("{place}: the case has two bodies"),
    }
}

/// The credentials have the form that the vendor's pages give them.
#[track_caller]
fn check_credentials(scheme: Scheme, vendor: &str, zone: &str, seen: &SeenRequest) {
    match (vendor, scheme) {
        ("prime", _) => {
            let user = STANDARD.encode(format!("{PRIME_USER}:{PRIME_PASSWORD}"));
            assert_eq!(header(seen, "authorization"), format!("Basic {user}"));
        }
        ("zstack", Scheme::Static) => assert_eq!(header(seen, "authorization"), format!("OAuth {ZSTACK_SESSION}")),
        ("zstack", Scheme::Login) => {
            let session = header(seen, "authorization").strip_prefix("OAuth ").unwrap();
            assert!(is_hex(session, 32) && session != ZSTACK_SESSION, "{session}");
        }
        ("zstack", Scheme::Signature) => {
            let date = header(seen, "date");
            let (wall, named) = date.rsplit_once(' ').unwrap();
            assert!(!zone.is_empty());
            assert_eq!(named, zone);
            assert_eq!(in_form(wall, HTTP_DATE), wall);
            // The context path is not signed.
            let path = seen.target.strip_prefix("/zstack").unwrap();
            let text = format!("{}\n{date}\n{path}", seen.method);
            let signature = crypto::hmac_sha1_base64(ZSTACK_ACCESS_KEY_SECRET.as_bytes(), text.as_bytes());
            assert_eq!(header(seen, "authorization"), format!("ZStack {ZSTACK_ACCESS_KEY_ID}:{signature}"));
        }
        (_, Scheme::Static) => assert_eq!(header(seen, "x-auth-token"), HUAWEI_TOKEN),
        (_, Scheme::Login) => {
            let token = header(seen, "x-auth-token");
            assert!(!token.is_empty() && token != HUAWEI_TOKEN, "{token}");
        }
        (_, Scheme::Signature) => {
            assert_eq!(header(seen, "x-project-id"), HUAWEI_PROJECT_ID);
            let date = header(seen, "x-sdk-date");
            assert_eq!(in_form(date, SDK_DATE), date);
            let signed: Vec<&str> = ["content-type", "host", "x-project-id", "x-sdk-date"]
                .into_iter()
                .filter(|name| seen.headers.contains_key(*name))
                .collect();
            let start = format!(
                "SDK-HMAC-SHA256 Access={HUAWEI_ACCESS_KEY}, SignedHeaders={}, Signature=",
                signed.join(";")
            );
            let authorization = header(seen, "authorization");
            let signature = authorization.strip_prefix(&start).unwrap_or_else(|| panic!("{authorization}"));
            assert!(is_hex(signature, 64), "{signature}");
        }
    }
}

/// One login for each vendor that has one, and none where there is something better.
#[track_caller]
fn check_logins(scheme: Scheme, simulators: &Simulators) {
    let mut logins = simulators.seen("iam").unwrap();
    let of_the_node = simulators.seen("zstack").unwrap();
    logins.extend(of_the_node.into_iter().filter(|seen| seen.target == ZSTACK_LOGIN));
    let found: Vec<(&str, &str, Value)> = logins
        .iter()
        .map(|seen| {
            let body = serde_json::from_slice(&seen.body).unwrap();
            for name in CREDENTIALS {
                assert!(!seen.headers.contains_key(name), "{seen:?}");
            }
            assert_eq!(
                (header(seen, "content-type"), header(seen, "via")),
                ("application/json", "1.1 taskgate")
            );
            (seen.method.as_str(), seen.target.as_str(), body)
        })
        .collect();
    let user = json!({ "name": HUAWEI_USER, "password": HUAWEI_PASSWORD, "domain": { "name": HUAWEI_DOMAIN } });
    let cloud = json!({
        "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": { "id": HUAWEI_PROJECT_ID } }
        }
    });
    let password = crypto::sha512_hex(ZSTACK_PASSWORD.as_bytes());
    let node = json!({ "logInByAccount": { "accountName": ZSTACK_ACCOUNT, "password": password } });
    let expected = match scheme {
        Scheme::Login => vec![("POST", "/v3/auth/tokens?nocatalog=true", cloud), ("PUT", ZSTACK_LOGIN, node)],
        Scheme::Static | Scheme::Signature => Vec::new(),
    };
    assert_eq!(found, expected, "{scheme:?}");
}

/// What the simulators have to act on at their start.
#[track_caller]
fn start_task(provider: &str, action: &str) -> &'static str {
    match (provider, action) {
        ("cfw", _) => CFW_TASK,
        ("dbss", _) => DBSS_INSTANCE,
        ("dbss-encrypt", _) => DBSS_ENCRYPTION_INSTANCE,
        ("dbss-om", _) => DBSS_MAINTENANCE_INSTANCE,
        ("hss", _) => HSS_TASK,
        ("hss-image", _) => HSS_IMAGE_SCAN,
        ("prime", _) => "15",
        ("zstack", "retry") => ZSTACK_STOPPED_TASK,
        ("zstack", _) => ZSTACK_TASK,
        ("zstack-cdp", _) => ZSTACK_CDP_TASK,
        _ => panic!("no simulator has a task for {provider}"),
    }
}

/// The same request about another task.
fn with_id(request: &ExpectedRequest, from: &str, to: &str) -> ExpectedRequest {
    if from == to {
        return request.clone();
    }
    let swap = |text: &str| text.replace(from, to);
    ExpectedRequest {
        target: swap(&request.target),
        json: request
            .json
            .as_ref()
            .map(|json| serde_json::from_str(&swap(&json.to_string())).unwrap()),
        xml: request.xml.as_deref().map(swap),
        ..request.clone()
    }
}

/// What must be the same under every scheme. The host has another port each time, and the id of a job is fresh for each call.
#[derive(Debug, PartialEq)]
struct Bare {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

fn without_credentials(seen: &SeenRequest) -> Bare {
    let varies = |name: &str| CREDENTIALS.contains(&name) || name == "host";
    let headers = seen.headers.keys().map(http::HeaderName::as_str).filter(|name| !varies(name));
    Bare {
        line: format!("{} {}", seen.method, seen.target),
        headers: headers
            .map(|name| {
                let value = if name == "x-job-uuid" { "*" } else { header(seen, name) };
                (name.to_owned(), value.to_owned())
            })
            .collect(),
        body: String::from_utf8(seen.body.to_vec()).unwrap(),
    }
}

/// A header as text; empty when it is not there.
fn header<'a>(seen: &'a SeenRequest, name: &str) -> &'a str {
    seen.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[track_caller]
fn read_xml(bytes: &[u8]) -> Value {
    xml::decode(bytes, &Shape::compile(&Value::Bool(true)).unwrap(), &Limits::REPLY).unwrap()
}

/// A moment, read and written again: digits that are missing and a wrong weekday show.
#[track_caller]
fn in_form(text: &str, form: &str) -> String {
    let moment = DateTime::strptime(form, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    moment.strftime(form).to_string()
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

const SCHEMES: [Scheme; 3] = [Scheme::Static, Scheme::Login, Scheme::Signature];
/// What the cases call a GET of a task.
const LOOK: &str = "look";
/// Every header that says who calls, under any scheme.
const CREDENTIALS: [&str; 6] = [
    "authorization",
    "date",
    "x-auth-token",
    "x-project-id",
    "x-sdk-date",
    "x-security-token",
];
const ZSTACK_LOGIN: &str = "/zstack/v1/accounts/login";
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S";
const SDK_DATE: &str = "%Y%m%dT%H%M%SZ";
