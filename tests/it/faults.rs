//! Every fault of a vendor, for every provider, over real sockets: a failed call is never told as a success, no call reaches a
//! vendor twice, and what is said about the effect is true.

use futures_util::future::join_all;
use taskgate::config::compile::Compiled;
use taskgate::config::environment::Environment;
use taskgate::simulate::{SimulatorOptions, Simulators};

use super::answers::Told;
use super::caller::Caller;
use super::rig::{self, Everyday, Rig, VENDORS, everyday};

#[tokio::test]
async fn quick_faults_are_told_as_they_are() {
    let rig = Rig::unhindered().await;
    check(&rig, |fault| !is_slow(fault)).await;
    rig.stop().await;
}

#[tokio::test]
async fn slow_faults_end_with_the_time_of_the_provider() {
    let changes = [&rig::UNHINDERED[..], &IN_A_HURRY].concat();
    let rig = Rig::start(SimulatorOptions::default(), &rig::shipped_with(&changes), Environment::default()).await;
    check(&rig, is_slow).await;
    rig.stop().await;
}

fn is_slow(fault: &str) -> bool {
    ["drip", "hang", "latency"].iter().any(|kind| fault.starts_with(kind))
}

/// Plays these of the faults, each at all providers at once.
async fn check(rig: &Rig, those: impl Fn(&str) -> bool) {
    let mut differences = Vec::new();
    for (fault, expected) in FAULTS.into_iter().filter(|(fault, _)| those(fault)) {
        let calls = || everyday().into_iter().filter(|call| !is_senseless(call.provider, fault));
        rig.simulators.reset();
        for provider in VENDORS {
            // At the action itself; what a fault at a look comes to is in the cases.
            let at = if provider == "zstack" { ",path=disable" } else { "" };
            rig.simulators.set_fault(provider, format!("{fault}{at}").parse().unwrap()).unwrap();
        }
        let told = join_all(calls().map(|call| act(&rig.caller, call))).await;
        for (call, told) in calls().zip(&told) {
            let exception = EXCEPTIONS
                .iter()
                .find(|(provider, at, _)| *provider == call.provider && *at == fault);
            let expected = exception.map_or(expected, |(_, _, word)| word);
            differences.extend(judge(&rig.simulators, &call, told, expected).map(|found| format!("{}={fault}: {found}", call.provider)));
        }
        // The connection of a broken answer serves nobody else: the next call is as good as ever.
        rig.simulators.reset();
        for provider in VENDORS {
            rig.simulators.clear_fault(provider).unwrap();
        }
        for (call, told) in everyday()
            .into_iter()
            .zip(join_all(everyday().map(|call| act(&rig.caller, call))).await)
        {
            if told.word() != call.answer {
                differences.push(format!("after {}={fault}: {told:?}", call.provider));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

async fn act(caller: &Caller, call: Everyday) -> Told {
    caller.act(&call.task(), &call.body).await
}

/// What is not as it should be.
fn judge(simulators: &Simulators, call: &Everyday, told: &Told, expected: &str) -> Option<String> {
    let verbs = ["/stop", "/retry", "/disable/", "/cancelrunning"];
    let seen = simulators.seen(call.provider).unwrap();
    let calls = seen
        .iter()
        .filter(|seen| verbs.iter().any(|verb| seen.target.contains(verb)))
        .count();
    let effects = simulators.effects(call.provider, call.id).unwrap();
    let outcome = told.text("/outcome");
    let is_true = match outcome.as_str() {
        "done" | "accepted" => effects == 1,
        "not_done" => effects == 0,
        _ => true,
    };
    let is_right = told.word() == expected && calls == 1 && is_true && effects <= 1;
    (!is_right).then(|| {
        format!(
            "expected `{expected}`, was told `{}` ({}, {outcome}), {calls} calls, {effects} effects",
            told.word(),
            told.text("/detail")
        )
    })
}

/// Where a fault cannot be told from a real answer of the vendor that means something else.
fn is_senseless(provider: &str, fault: &str) -> bool {
    match provider {
        // Its real success is a 200 without a body.
        "hss" => fault == "empty,effect=none",
        // It redirects only who is not logged in, so it has never acted.
        "prime" => fault == "redirect,effect=applied",
        _ => false,
    }
}

#[tokio::test]
async fn a_vendor_that_hangs_slows_nobody_else_and_is_not_overrun() {
    let nobody_waits = rig::shipped_with(&[("      in_flight: 5\n", "      in_flight: 5\n      queue: { length: 0 }\n")]);
    let rig = Rig::start(SimulatorOptions::default(), &nobody_waits, Environment::default()).await;
    rig.simulators.set_fault("prime", "hang".parse().unwrap()).unwrap();
    // As many as the route allows at once.
    let hanging: Vec<_> = (0..5)
        .map(|_| {
            let caller = rig.caller.clone();
            tokio::spawn(async move { caller.act("prime/15:stop", "").await })
        })
        .collect();
    while rig.simulators.calls("prime").unwrap() < 5 {
        tokio::task::yield_now().await;
    }
    let sixth = rig.caller.act("prime/25:stop", "").await;
    assert_eq!(sixth.word(), "503 PROVIDER_BUSY");
    assert_eq!(sixth.header("retry-after"), Some("1"));
    assert_eq!(sixth.text("/outcome"), "not_done");
    for call in everyday().into_iter().filter(|call| call.provider != "prime") {
        let (word, provider) = (call.answer, call.provider);
        assert_eq!(act(&rig.caller, call).await.word(), word, "{provider}");
    }
    assert_eq!(rig.simulators.calls("prime").unwrap(), 5, "the sixth was not sent");
    // The vendor goes away under the calls that wait: each is answered.
    rig.simulators.shutdown().await;
    for told in hanging {
        let told = told.await.unwrap();
        assert_eq!(
            (told.word().as_str(), told.text("/outcome").as_str()),
            ("502 VENDOR_CONNECTION_LOST", "unknown")
        );
    }
    rig.gateway.stop().await;
}

/// Operators, and questions that call no vendor, are answered while every vendor hangs.
#[tokio::test]
async fn what_calls_nobody_is_answered_while_vendors_hang() {
    let rig = Rig::shipped().await;
    for provider in VENDORS {
        rig.simulators.set_fault(provider, "hang".parse().unwrap()).unwrap();
    }
    let hanging: Vec<_> = everyday()
        .into_iter()
        .map(|call| {
            let caller = rig.caller.clone();
            tokio::spawn(async move { act(&caller, call).await })
        })
        .collect();
    let calls = || VENDORS.map(|provider| rig.simulators.calls(provider).unwrap());
    while calls().contains(&0) {
        tokio::task::yield_now().await;
    }
    let before = calls();
    let admin = Caller::new(rig.gateway.admin_address().unwrap());
    for path in ["/livez", "/readyz", "/metrics", "/status"] {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    for path in [
        "/openapi.json",
        "/docs",
        "/providers",
        "/providers/prime",
        "/schemas/prime/stop.json",
        "/problems/internal",
    ] {
        assert_eq!(rig.caller.get(path).await.status, 200, "{path}");
    }
    for call in everyday() {
        let checked = rig.caller.act(&format!("{}?validate_only=true", call.task()), &call.body).await;
        assert_eq!(checked.word(), "200 not_done");
    }
    assert_eq!(calls(), before);
    rig.simulators.shutdown().await;
    for told in hanging {
        told.await.unwrap();
    }
    rig.gateway.stop().await;
}

#[tokio::test]
async fn a_vendor_that_is_not_there_has_done_nothing() {
    let simulators = Simulators::start(SimulatorOptions::default()).await.unwrap();
    let environment: Environment = simulators.environment().into_iter().collect();
    simulators.shutdown().await;
    let gateway = rig::start_gateway(&compiled(&environment)).await;
    let caller = Caller::new(gateway.address());
    for call in everyday() {
        let provider = call.provider;
        let told = act(&caller, call).await;
        assert_eq!(told.word(), "503 VENDOR_UNREACHABLE", "{provider}");
        assert_eq!(
            (told.text("/outcome"), told.text("/retryable")),
            ("not_done".to_owned(), "true".to_owned())
        );
        assert!(!String::from_utf8_lossy(&told.body).contains("127.0.0.1"), "{told:?}");
    }
    drop(caller);
    gateway.stop().await;
}

fn compiled(environment: &Environment) -> Compiled {
    rig::compiled(&taskgate::config::shipped::sources(), environment)
}

/// Nothing of what a vendor's page or error says that is not its code or message reaches the caller.
#[tokio::test]
async fn pages_are_not_relayed() {
    let rig = Rig::unhindered().await;
    for fault in ["html", "html:404", "html:503", "redirect", "garbage"] {
        for call in everyday() {
            rig.simulators.set_fault(call.provider, fault.parse().unwrap()).unwrap();
            let provider = call.provider;
            let told = act(&rig.caller, call).await;
            let text = String::from_utf8_lossy(&told.body).to_lowercase();
            for part in ["<html", "<h1", "load balancer", "login", "this is not http", "127.0.0.1"] {
                assert!(!text.contains(part), "{provider}={fault}: {text}");
            }
        }
    }
    rig.stop().await;
}

/// The faults, and what the caller is told: for all providers, unless the exceptions below know better.
const FAULTS: [(&str, &str); 30] = [
    // The answer is lost on its way: the vendor has acted or not, and nobody can know.
    ("cut", "502 VENDOR_CONNECTION_LOST"),
    ("cut,effect=none", "502 VENDOR_CONNECTION_LOST"),
    ("reset", "502 VENDOR_CONNECTION_LOST"),
    ("reset,effect=none", "502 VENDOR_CONNECTION_LOST"),
    ("truncated", "502 VENDOR_CONNECTION_LOST"),
    ("truncated,effect=none", "502 VENDOR_CONNECTION_LOST"),
    ("hang", "504 VENDOR_TIMEOUT"),
    ("hang,effect=none", "504 VENDOR_TIMEOUT"),
    ("drip:400ms", "504 VENDOR_TIMEOUT"),
    ("latency:30s", "504 VENDOR_TIMEOUT"),
    // It comes, and makes no sense.
    ("garbage", "502 BAD_VENDOR_RESPONSE"),
    ("garbage,effect=none", "502 BAD_VENDOR_RESPONSE"),
    ("empty", "502 BAD_VENDOR_RESPONSE"),
    ("empty,effect=none", "502 BAD_VENDOR_RESPONSE"),
    ("html", "502 BAD_VENDOR_RESPONSE"),
    ("html,effect=applied", "502 BAD_VENDOR_RESPONSE"),
    ("redirect", "502 BAD_VENDOR_RESPONSE"),
    ("redirect,effect=applied", "502 BAD_VENDOR_RESPONSE"),
    ("status:204,body=empty,effect=applied", "502 BAD_VENDOR_RESPONSE"),
    // Something on the way answers in the vendor's place: whether the vendor got the call, it does not say.
    ("html:502", "502 BAD_VENDOR_RESPONSE"),
    ("html:503,effect=applied", "502 BAD_VENDOR_RESPONSE"),
    ("html:404", "502 BAD_VENDOR_RESPONSE"),
    ("status:409,body=empty", "502 BAD_VENDOR_RESPONSE"),
    ("status:500,body=empty", "502 BAD_VENDOR_RESPONSE"),
    ("status:504,body=empty,effect=applied", "502 BAD_VENDOR_RESPONSE"),
    // Refusals that need no words.
    ("status:401,body=empty", "502 VENDOR_AUTH"),
    ("status:429,body=empty", "503 VENDOR_RATE_LIMITED"),
    // The vendor itself says that it failed.
    ("failure", "502 ACTION_FAILED"),
    ("status:500", "502 VENDOR_ERROR"),
    ("status:503", "503 VENDOR_UNAVAILABLE"),
];

/// Where a vendor's own words, or its everyday answer, mean something else than the general rule.
const EXCEPTIONS: [(&str, &str, &str); 8] = [
    // Its error body under a 200: neither a success nor a failure that it would own up to.
    ("cfw", "failure", "502 BAD_VENDOR_RESPONSE"),
    ("hss", "failure", "502 BAD_VENDOR_RESPONSE"),
    // Its success is a 200 without a body, so there is nothing to lose and nothing to drip.
    ("hss", "drip:400ms", "202 accepted"),
    ("hss", "empty", "202 accepted"),
    // It has taken the password before: too many sessions.
    ("prime", "status:401,body=empty", "503 VENDOR_RATE_LIMITED"),
    // It sends who is not logged in to a page.
    ("prime", "redirect", "502 VENDOR_AUTH"),
    // A 500 of its REST layer is plain text that may be empty.
    ("zstack", "status:500,body=empty", "502 VENDOR_ERROR"),
    // 503 is its status for every business error.
    ("zstack", "status:503", "502 ACTION_FAILED"),
];

/// A short time for each provider: long enough for an answer that is not slow, on a machine that is busy.
const IN_A_HURRY: [(&str, &str); 2] = [
    ("    limits: { breaker: none }\n", "    limits: { timeout: 700ms, breaker: none }\n"),
    rig::PRIME_IN_A_HURRY,
];
