//! Operations over real sockets: an accepted action is asked for by its name, at any instance that has the key.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::Value;
use taskgate::config::environment::Environment;
use taskgate::gateway::RunningGateway;
use taskgate::idempotency::MemoryLimits;
use taskgate::layer::resume::Operations;
use taskgate::operation::{DEFAULT_LIFETIME, Operation, OperationKeys};
use taskgate::simulate::{Effect, ErrorBody, Fault, FaultKind, Phase, SimulatorOptions, Simulators};
use taskgate::stack::StackLimits;

use super::answers::{Seen, Told};
use super::caller::Caller;
use super::rig::{Everyday, UNHINDERED, compiled, everyday, shipped_with, start_gateway_within};

/// Simulated vendors, and gateways that name operations with keys of their own.
struct House {
    simulators: Simulators,
    gateways: Vec<RunningGateway>,
}

/// A key of the configuration; each letter is another one.
fn keys(letter: char) -> Arc<OperationKeys> {
    use base64::Engine as _;
    let key = base64::prelude::BASE64_STANDARD.encode(format!("made-up-key-that-opens-nothing-{letter}"));
    Arc::new(OperationKeys::parse(&SecretString::from(key)).unwrap())
}

impl House {
    /// One gateway for each letter, with that key.
    async fn with_keys(letters: &str) -> (Self, Vec<Caller>) {
        let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
        let environment = Environment::default().with(simulators.environment());
        let compiled = compiled(&shipped_with(&UNHINDERED), &environment);
        let mut gateways = Vec::new();
        for letter in letters.chars() {
            let limits = StackLimits {
                operations: Operations {
                    keys: Some(keys(letter)),
                    lifetime: DEFAULT_LIFETIME,
                },
                idempotency: MemoryLimits::default(),
                ..StackLimits::default()
            };
            gateways.push(start_gateway_within(&compiled, limits).await);
        }
        let callers = gateways.iter().map(|gateway| Caller::new(gateway.address())).collect();
        (Self { simulators, gateways }, callers)
    }

    fn calls(&self) -> u64 {
        ["cfw", "dbss", "hss", "prime", "zstack"]
            .iter()
            .map(|vendor| self.simulators.calls(vendor).unwrap())
            .sum()
    }

    async fn stop(self) {
        for gateway in self.gateways {
            gateway.stop().await;
        }
        self.simulators.shutdown().await;
    }
}

/// What became of an operation; the answer keeps the contract.
async fn ask(caller: &Caller, name: &str, headers: &[(&str, &str)]) -> Told {
    let told = caller.send("GET", &format!("/{name}"), headers, "").await;
    told.check(Seen::OnTheWire);
    told
}

/// A name that the first gateway would give, for an action that was accepted so long ago.
fn name(call: &Everyday, job: Option<&str>, age: SignedDuration, lifetime: SignedDuration) -> String {
    let body: Value = serde_json::from_str(if call.body.is_empty() { "{}" } else { &call.body }).unwrap();
    let (accepted_at, expires_at) = Operation::times(Timestamp::now() - age, lifetime);
    let operation = Operation {
        provider: call.provider.to_owned(),
        id: call.id.to_owned(),
        action: call.action.to_owned(),
        job: job.map(str::to_owned),
        body: body.as_object().unwrap().clone(),
        vendor_status: 200,
        accepted_at,
        expires_at,
    };
    format!("operations/{}", keys('a').seal("", operation.accepted(), accepted_at).unwrap())
}

const NOW: SignedDuration = SignedDuration::ZERO;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[tokio::test]
async fn any_instance_with_the_key_says_what_became_of_it_and_no_other() {
    let (house, callers) = House::with_keys("aab").await;
    let [one, other, stranger] = &callers[..] else { unreachable!() };
    for call in everyday() {
        let told = one.act(&call.task(), &call.body).await;
        assert_eq!(told.word(), call.answer, "{}", call.provider);
        let name = told.text("/operation");
        assert!(name.starts_with("operations/"), "{name}");
        let under_way = ask(other, &name, &[]).await;
        assert_eq!(
            (under_way.word().as_str(), under_way.text("/operation")),
            ("202 accepted", name.clone()),
            "{}",
            call.provider
        );
        let settled = house.simulators.place(call.provider, call.id, Phase::Settled).unwrap();
        assert!(settled, "{}", call.provider);
        let told = match call.provider {
            // The job goes on by itself; whoever waits sees its end.
            "zstack" => ask(other, &name, &[("prefer", "wait=10")]).await,
            _ => ask(other, &name, &[]).await,
        };
        let found = told.json();
        let expected = ("200 done", name.as_str(), call.id, call.action, call.provider);
        let word = told.word();
        let found = (
            word.as_str(),
            found["operation"].as_str().unwrap(),
            found["id"].as_str().unwrap(),
            found["action"].as_str().unwrap(),
            found["provider"].as_str().unwrap(),
        );
        assert_eq!(found, expected);
        assert_eq!(house.simulators.effects(call.provider, call.id).unwrap(), 1, "{}", call.provider);
        let calls = house.calls();
        let unknown = ask(stranger, &name, &[]).await;
        assert_eq!((unknown.word().as_str(), house.calls()), ("404 OPERATION_NOT_FOUND", calls));
    }
    house.stop().await;
}

#[tokio::test]
async fn names_that_nobody_gave_are_all_the_same() {
    let (house, callers) = House::with_keys("a").await;
    let call = &everyday()[0];
    let good = name(call, None, NOW, HOUR);
    let forged = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { 'B' } else { 'A' });
    let mut said = Vec::new();
    for name in ["operations/x", &forged, &format!("operations/{}", "A".repeat(3000))] {
        let told = ask(&callers[0], name, &[]).await;
        assert_eq!(told.word(), "404 OPERATION_NOT_FOUND");
        said.push((told.text("/detail"), told.text("/metadata")));
    }
    assert!(said.windows(2).all(|two| two[0] == two[1]), "{said:?}");
    let expired = ask(&callers[0], &name(call, None, HOUR, HOUR), &[]).await;
    assert_eq!(
        (expired.word().as_str(), expired.text("/metadata/expired").as_str()),
        ("404 OPERATION_NOT_FOUND", "true")
    );
    // Of routes that do not run here.
    for call in [
        Everyday {
            provider: "acme",
            ..call.clone()
        },
        Everyday {
            action: "halt",
            ..call.clone()
        },
        Everyday {
            action: "retry",
            ..call.clone()
        },
        Everyday {
            id: "no id of this provider",
            ..call.clone()
        },
        Everyday {
            body: "{}".to_owned(),
            ..call.clone()
        },
    ] {
        let told = ask(&callers[0], &name(&call, None, NOW, HOUR), &[]).await;
        assert_eq!(told.word(), "404 OPERATION_NOT_FOUND", "{call:?}");
    }
    let path = format!("/{good}");
    for (method, path, word) in [
        ("POST", path.as_str(), "405 METHOD_NOT_ALLOWED"),
        ("DELETE", &path, "405 METHOD_NOT_ALLOWED"),
        ("GET", &format!("{path}?x=1"), "400 INVALID_QUERY"),
        ("GET", &format!("{path}/"), "404 UNKNOWN_PATH"),
        ("GET", &format!("{path}:cancel"), "404 UNKNOWN_PATH"),
        ("GET", "/operations/", "404 UNKNOWN_PATH"),
        ("GET", "/operations", "404 UNKNOWN_PATH"),
    ] {
        assert_eq!(callers[0].send(method, path, &[], "").await.word(), word, "{method} {path}");
    }
    assert_eq!(house.calls(), 0);
    let head = callers[0].send("HEAD", &path, &[], "").await;
    assert_eq!((head.status, head.body.len()), (202, 0));
    house.stop().await;
}

#[tokio::test]
async fn a_failure_is_told_once_it_is_the_actions_own() {
    let (house, callers) = House::with_keys("a").await;
    for call in everyday().into_iter().filter(|call| call.provider != "zstack") {
        assert!(house.simulators.place(call.provider, call.id, Phase::Failed).unwrap());
        // What a look shows right away may be what was before the action.
        let fresh = ask(&callers[0], &name(&call, None, NOW, HOUR), &[]).await;
        let aged = ask(&callers[0], &name(&call, None, SignedDuration::from_mins(5), HOUR), &[]).await;
        let words = (fresh.word(), aged.word());
        match call.provider {
            // A task that goes on as before says nothing of the stop.
            "dbss" | "prime" | "cfw" | "hss" if words.1 == "502 ACTION_FAILED" => assert_eq!(words.0, "202 accepted", "{}", call.provider),
            provider => panic!("{provider}: {words:?}"),
        }
        assert_eq!(house.simulators.effects(call.provider, call.id).unwrap(), 0);
    }
    house.stop().await;
}

#[tokio::test]
async fn what_cannot_be_seen_stays_accepted_and_nothing_acts() {
    let (house, callers) = House::with_keys("a").await;
    let kinds = [
        FaultKind::Status {
            status: http::StatusCode::INTERNAL_SERVER_ERROR,
            body: ErrorBody::Empty,
        },
        FaultKind::Reset,
        FaultKind::Html {
            status: http::StatusCode::OK,
        },
    ];
    for call in everyday() {
        for kind in kinds {
            house
                .simulators
                .set_fault(call.provider, Fault::new(kind).effect(Effect::None))
                .unwrap();
            let job = (call.provider == "zstack").then_some("00000000000000000000000000000000");
            let told = ask(&callers[0], &name(&call, job, NOW, HOUR), &[]).await;
            assert_eq!(
                (told.word().as_str(), told.text("/state").as_str()),
                ("202 accepted", "unknown"),
                "{}",
                call.provider
            );
            assert!(!told.text("/message").is_empty());
            house.simulators.clear_fault(call.provider).unwrap();
        }
        // One of them looks with a POST.
        let looks_with = |method: &http::Method| method == "GET" || (call.provider == "hss" && method == "POST");
        let seen = house.simulators.seen(call.provider).unwrap();
        let acted = !seen.iter().all(|seen| looks_with(&seen.method));
        assert!(!acted, "{}", call.provider);
        assert_eq!(house.simulators.effects(call.provider, call.id).unwrap(), 0);
    }
    house.stop().await;
}

#[tokio::test]
async fn what_was_preferred_is_said() {
    let (house, callers) = House::with_keys("a").await;
    let prime = everyday().into_iter().find(|call| call.provider == "prime").unwrap();
    let act = |prefer: &'static str| {
        let (caller, path) = (callers[0].clone(), format!("/tasks/{}", prime.task()));
        async move { caller.send("POST", &path, &[("prefer", prefer)], "").await }
    };
    let told = act("respond-async").await;
    assert_eq!(
        (told.word().as_str(), told.header("preference-applied")),
        ("202 accepted", Some("respond-async"))
    );
    let name = told.text("/operation");
    assert!(house.simulators.place("prime", prime.id, Phase::Settled).unwrap());
    let told = ask(&callers[0], &name, &[("prefer", "wait=5, respond-async")]).await;
    assert_eq!(
        (told.word().as_str(), told.header("preference-applied")),
        ("200 done", Some("wait=5"))
    );
    let told = ask(&callers[0], &name, &[]).await;
    assert_eq!((told.word().as_str(), told.header("preference-applied")), ("200 done", None));
    house.stop().await;
}

#[tokio::test]
async fn questions_are_counted_and_logged_as_questions() {
    let (house, callers) = House::with_keys("a").await;
    let call = &everyday()[0];
    ask(&callers[0], &name(call, None, NOW, HOUR), &[]).await;
    let metrics = super::rig::process_metrics().render();
    let counted = format!(
        "taskgate_requests_total{{provider=\"{}\",action=\"operation\",outcome=\"accepted\",reason=\"none\"}}",
        call.provider
    );
    assert!(metrics.contains(&counted), "{metrics}");
    house.stop().await;
}
