//! Two sites of one vendor: the example of `docs/routes.md`, compiled and played.
#![expect(clippy::unwrap_used, reason = "tests say what must hold")]

use taskgate::cli::check::play_all;
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::shipped;
use taskgate::config::sources::Sources;
use taskgate::route::Credentials;

const SITE: &str = r#"
  prime-eu:
    like: prime
    title: Cisco Prime Infrastructure, the site in Europe
    endpoint: ${env.PRIME_EU_ENDPOINT}
    credentials: prime-eu
    tls: { pin_sha256: "${?env.PRIME_EU_PIN}" }
"#;
const CREDENTIALS: &str =
    "credentials:\n  prime-eu: { scheme: basic, username: \"${env.PRIME_EU_USER}\", password: \"${env.PRIME_EU_PASSWORD}\" }\n";
const PIN: &str = include_str!("tls/site/server.pin");

/// The shipped tree with one more provider in its routes.
fn sources(site: &str) -> Sources {
    let shipped = shipped::sources();
    let files = shipped.list("").into_iter().map(|path| {
        let text = shipped.read(&path).unwrap();
        let text = match path.as_str() {
            "routes.yaml" => format!("{}{site}", text.replacen("credentials:\n", CREDENTIALS, 1)),
            _ => text,
        };
        (path, text)
    });
    Sources::memory(files.collect::<Vec<_>>())
}

#[test]
fn a_second_site_is_a_few_lines() {
    let environment: Environment = [
        ("PRIME_ENDPOINT", "https://prime.example"),
        ("PRIME_USER", "u"),
        ("PRIME_PASSWORD", "p-that-opens-nothing"),
        ("PRIME_EU_ENDPOINT", "https://prime.eu.example:8443"),
        ("PRIME_EU_USER", "eu"),
        ("PRIME_EU_PASSWORD", "p-that-opens-nothing"),
        ("PRIME_EU_PIN", PIN),
    ]
    .into_iter()
    .collect();
    let table = compile(&sources(SITE), "routes.yaml", &environment).unwrap().table;
    let (base, site) = (&table.providers["prime"], &table.providers["prime-eu"]);
    assert_eq!((site.limits.in_flight, site.limits.close), (5, true));
    assert_eq!(site.limits, base.limits);
    assert_eq!(site.actions.keys().collect::<Vec<_>>(), base.actions.keys().collect::<Vec<_>>());
    assert_eq!(site.actions["stop"].provider, "prime-eu");
    assert_eq!((site.actions_of.as_deref(), base.actions_of.as_deref()), (Some("prime"), None));
    let (base, site) = (base.connection.as_ref().unwrap(), site.connection.as_ref().unwrap());
    assert_eq!(site.endpoint.authority, "prime.eu.example:8443");
    let header = |credentials: &Credentials| credentials.as_header().unwrap().1.clone();
    assert_ne!(header(&site.credentials), header(&base.credentials));
    assert_eq!((site.trust.pins.len(), base.trust.is_default()), (1, true));
}

#[test]
fn a_site_that_is_not_configured_leaves_its_base_alone() {
    let environment: Environment = [
        ("PRIME_ENDPOINT", "https://h"),
        ("PRIME_USER", "u"),
        ("PRIME_PASSWORD", "p-that-opens-nothing"),
    ]
    .into_iter()
    .collect();
    let table = compile(&sources(SITE), "routes.yaml", &environment).unwrap().table;
    assert!(table.providers["prime"].connection.is_ok());
    assert_eq!(
        table.providers["prime-eu"].connection.as_ref().unwrap_err(),
        &["PRIME_EU_ENDPOINT", "PRIME_EU_PASSWORD", "PRIME_EU_USER"]
    );
}

#[tokio::test]
async fn the_cases_of_a_site_are_those_of_its_base() {
    let played = play_all(&sources(SITE), "routes.yaml", Some("cases/prime/stop/ok.yaml"))
        .await
        .unwrap();
    assert!(played.len() == 1 && played[0].differences.is_empty());
    // With actions of its own it needs its own.
    let own = format!(
        "{SITE}    actions:\n      stop:\n        title: Stop\n        schema: schemas/prime/stop.request.json\n        request: {{ method: PUT, path: \"/${{id}}\" }}\n        reply: {{ body: empty, outcome: [{{ status: 200, is: accepted, state: stopping }}] }}\n"
    );
    let rejected = play_all(&sources(&own), "routes.yaml", Some("prime-eu")).await.unwrap_err();
    let text = rejected.faults.render(&rejected.files);
    assert!(text.contains("cases/prime-eu/stop/ok.yaml: this case is missing"), "{text}");
}

#[test]
fn what_a_site_breaks_is_said_at_the_line_of_the_base_and_with_the_name_of_the_site() {
    // Without the default of `scope` the base's path has no project.
    let site = "\n  dbss-x:\n    like: dbss\n    scope: { other: \"x\" }\n";
    let rejected = compile(&sources(site), "routes.yaml", &Environment::default()).unwrap_err();
    let text = rejected.faults.render(&rejected.files);
    let routes = shipped::sources().read("routes.yaml").unwrap();
    // One line more by the credentials that were put in.
    let line = routes
        .lines()
        .position(|line| line.contains("documented: /v1/${scope.project}"))
        .unwrap()
        + 2;
    assert!(
        text.contains(&format!("routes.yaml:{line}:")) && text.contains("providers.dbss-x.actions.stop.request.path"),
        "{text}"
    );
}
