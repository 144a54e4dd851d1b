//! Faults of `limits` and `quotas`: each row breaks the routes in one place, and shows what is printed but for the excerpts.

use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::route::{Limits, Provider};

use super::{broken, faults, sources};

/// The routes with these limits of the provider and these quotas.
fn routes(limits: &str, quotas: &str) -> String {
    let limits = format!("    faults: acme\n    limits: {limits}\n");
    let providers = format!("{quotas}providers:\n");
    broken(&[("    faults: acme\n", &limits), ("\nproviders:\n", &format!("\n{providers}"))])
}

#[track_caller]
fn check(routes: &str, expected: &str) {
    let printed = faults(&sources(routes), &Environment::default());
    let lines = printed.lines().map(str::trim_start);
    let found: Vec<&str> = lines.filter(|line| line.starts_with("error: ") || line.starts_with("= ")).collect();
    let found = found.join("\n");
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}");
}

const RATE: &str = "= hint: a rate is a whole number and a unit: `20/s`, `5/m`, `100/h`";
const SHARE: &str = "= hint: a share is a whole number of percent from `1%` to `100%`";

#[test]
fn keys_and_values_of_limits() {
    let rate = "error: routes.yaml:17:21: providers.acme.limits.rate: expected a rate";
    let share = "error: routes.yaml:17:33: providers.acme.limits.breaker.share: expected a share, found the text";
    for (limits, expected) in [
        ("{ rate: 20/day }", format!("{rate}, found the text `20/day`\n{RATE}")),
        ("{ rate: 20 }", format!("{rate}, found the number 20\n{RATE}")),
        ("{ rate: 1/2/s }", format!("{rate}, found the text `1/2/s`\n{RATE}")),
        ("{ rate: 0/s }", format!("{rate} of 1 to 1000000 calls, found the text `0/s`")),
        ("{ rate: -5/m }", format!("{rate} of 1 to 1000000 calls, found the text `-5/m`")),
        (
            "{ rate: 1000001/h }",
            format!("{rate} of 1 to 1000000 calls, found the text `1000001/h`"),
        ),
        (
            "{ rate: 5/m, burst: 0 }",
            "error: routes.yaml:17:33: providers.acme.limits.burst: expected a number from 1 to 1000000, found 0".to_owned(),
        ),
        (
            "{ burst: 5 }",
            "error: routes.yaml:17:15: providers.acme.limits.burst: `burst` without `rate`\n\
             = hint: `rate` says how many calls in a time, `burst` how many of them at once"
                .to_owned(),
        ),
        (
            "{ rat: 5/m }",
            "error: routes.yaml:17:15: providers.acme.limits: unknown key `rat`\n= hint: did you mean `rate`?".to_owned(),
        ),
        (
            "{ queue: { length: -1, wait: 31s } }",
            "error: routes.yaml:17:32: providers.acme.limits.queue.length: expected a number from 0 to 10000, found -1\n\
             error: routes.yaml:17:42: providers.acme.limits.queue.wait: expected a duration above zero and up to 30s, found the text `31s`"
                .to_owned(),
        ),
        (
            "{ queue: { size: 5 } }",
            "error: routes.yaml:17:24: providers.acme.limits.queue: unknown key `size`\n\
             = hint: `queue` has the keys `length` and `wait`"
                .to_owned(),
        ),
        ("{ breaker: { share: 0% } }", format!("{share} `0%`\n{SHARE}")),
        ("{ breaker: { share: 101% } }", format!("{share} `101%`\n{SHARE}")),
        ("{ breaker: { share: half } }", format!("{share} `half`\n{SHARE}")),
        (
            "{ breaker: never }",
            "error: routes.yaml:17:24: providers.acme.limits.breaker: unknown value `never`\n= hint: expected `none`".to_owned(),
        ),
        (
            "{ breaker: { pause: 10s, longest_pause: 5s } }",
            "error: routes.yaml:17:53: providers.acme.limits.breaker.longest_pause: the longest pause is shorter than the first one"
                .to_owned(),
        ),
        (
            "{ breaker: { status: [429, 5xx] } }",
            "error: routes.yaml:17:34: providers.acme.limits.breaker.status: a vendor that answers with less than 500 is not in trouble\n\
             = hint: write `5xx` or a list such as `[500, 502, 504]`"
                .to_owned(),
        ),
        (
            "{ breaker: { consecutive: 0, calls: 0 } }",
            "error: routes.yaml:17:39: providers.acme.limits.breaker.consecutive: expected a number from 1 to 1000, found 0\n\
             error: routes.yaml:17:49: providers.acme.limits.breaker.calls: expected a number from 1 to 10000, found 0"
                .to_owned(),
        ),
    ] {
        check(&routes(limits, ""), &expected);
    }
}

#[test]
fn names_of_quotas() {
    let both = "quotas:\n  one: { rate: 5/m }\n  two: { rate: 5/m, burst: 2 }\n";
    check(&routes("{ quotas: [one, two] }", both), "");
    check(
        &routes("{ quotas: one }", both),
        "error: routes.yaml:13:3: quotas.two: nothing uses this quota\n\
         = hint: remove it, or name it under `quotas:` of some `limits`",
    );
    check(
        &routes("{ quotas: [one, tow] }", both),
        "error: routes.yaml:20:29: providers.acme.limits.quotas: unknown quota `tow`\n= hint: did you mean `two`?",
    );
    check(
        &routes("{ quotas: elsewhere }", both),
        "error: routes.yaml:20:23: providers.acme.limits.quotas: unknown quota `elsewhere`\n= hint: there are one, two",
    );
    check(
        &routes("{ quotas: [one, two, one] }", both),
        "error: routes.yaml:20:34: providers.acme.limits.quotas[2]: `one` stands there twice",
    );
    check(
        &routes("{ rate: 1/s }", "quotas:\n  One: { burst: 5 }\n"),
        "error: routes.yaml:12:3: quotas.One: `One` is no name\n\
         = hint: it must match ^[a-z][a-z0-9_-]{0,31}$\n\
         error: routes.yaml:12:3: quotas.One: missing key `rate`\n\
         error: routes.yaml:12:3: quotas.One: nothing uses this quota\n\
         = hint: remove it, or name it under `quotas:` of some `limits`\n\
         error: routes.yaml:12:10: quotas.One.burst: `burst` without `rate`\n\
         = hint: `rate` says how many calls in a time, `burst` how many of them at once",
    );
    let title = "        title: Stops a job\n";
    let twice =
        routes("{ quotas: one }", "quotas:\n  one: { rate: 5/m }\n").replace(title, &format!("{title}        limits: {{ quotas: one }}\n"));
    check(
        &twice,
        "error: routes.yaml:25:27: providers.acme.actions.stop.limits.quotas: every call of the provider counts against this quota already\n\
         = note: routes.yaml:19:23: by its own `limits`",
    );
}

#[track_caller]
fn compiled(routes: &str, provider: &str) -> std::sync::Arc<Provider> {
    let compiled = compile(&sources(routes), "routes.yaml", &Environment::default());
    std::sync::Arc::clone(
        &compiled
            .unwrap_or_else(|rejected| panic!("{}", rejected.faults.render(&rejected.files)))
            .table
            .providers[provider],
    )
}

fn names(allowances: &[std::sync::Arc<taskgate::route::Allowance>]) -> Vec<String> {
    allowances.iter().map(|one| format!("{} {}", one.name, one.rate)).collect()
}

#[test]
fn what_is_named_is_meant_and_the_rest_has_defaults() {
    let limits = "{ queue: { length: 3 }, rate: 20/s, burst: 5, quotas: one, breaker: { share: 30%, pause: 2m, status: 502 } }";
    let title = "        title: Stops a job\n";
    let text = routes(limits, "quotas:\n  one: { rate: 5/m }\n  two: { rate: 7/h }\n")
        .replace(title, &format!("{title}        limits: {{ rate: 1/s, quotas: [two] }}\n"));
    let site =
        format!("{text}  site: {{ like: acme, title: Another }}\n  free: {{ like: acme, title: Free, limits: {{ breaker: none }} }}\n");
    for name in ["acme", "site"] {
        let provider = compiled(&site, name);
        let own = |rest: &str| format!("providers.{name}{rest}");
        assert_eq!(
            names(&provider.limits.allowances),
            [own(" 20/s, 5 at once"), "quotas.one 5/m".to_owned()]
        );
        assert_eq!(
            names(&provider.actions["stop"].allowances),
            [own(".stop 1/s"), "quotas.two 7/h".to_owned()]
        );
        assert_eq!(
            (provider.limits.queue.length, provider.limits.queue.wait),
            (3, Limits::default().queue.wait)
        );
        let plan = provider.limits.breaker.as_ref().unwrap();
        assert_eq!(
            (plan.share, plan.consecutive, plan.failures.ranges.as_slice()),
            (30, 5, &[(502, 502)][..])
        );
        // Never shorter than the first one.
        assert_eq!((plan.pause.as_secs(), plan.longest_pause.as_secs()), (120, 120));
    }
    // As a whole: nothing of the base's limits remains, but the action is the base's with all that it has.
    let free = compiled(&site, "free");
    assert_eq!((free.limits.breaker.is_none(), free.limits.allowances.len()), (true, 0));
    assert_eq!(
        names(&free.actions["stop"].allowances),
        ["providers.free.stop 1/s", "quotas.two 7/h"]
    );
    assert_eq!(compiled(super::ROUTES, "acme").limits, Limits::default());
}
