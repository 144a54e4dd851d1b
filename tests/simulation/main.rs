//! The gateway in a simulated world: callers, vendors and an identity service on a network where anything goes wrong, and an oracle that
//! says afterwards whether taskgate told the truth.
//!
//! **Shape**: seed -> [`plan`] -> [`run`] (machines: [`gateway`], [`vendor`], [`caller`]) -> [`oracle`].
//!
//! **Invariants**: all chance comes from the seed, all time from the simulation. `TASKGATE_SEED=17` runs that seed alone and prints its
//! log, with `TASKGATE_LOG=debug` or `TASKGATE_LOG=turmoil=trace` what the gateway or the network says as well; `TASKGATE_SEEDS=10000` runs
//! so many.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests say what must hold")]
#![expect(clippy::print_stdout, reason = "whoever runs a seed wants to see it")]

mod caller;
mod gateway;
mod oracle;
mod plan;
mod product;
mod run;
mod vendor;
mod world;

use std::collections::BTreeMap;

use crate::gateway::Mutant;
use crate::oracle::Rule;
use crate::run::run;

/// How many tests share the seeds, so that they run side by side and none takes long.
const PARTS: u64 = 8;
/// What every run of the tests goes through.
const SEEDS: u64 = 200;
/// After so many seeds that fail a part gives up, and after so many faults of one seed there is no need for more.
const MOST_FAILURES: usize = 10;

macro_rules! storms_in_parts {
    ($($name:ident: $part:literal),*) => {
        $(#[test]
        fn $name() {
            storms($part);
        })*
    };
}

storms_in_parts! {
    storms_of_part_0: 0, storms_of_part_1: 1, storms_of_part_2: 2, storms_of_part_3: 3,
    storms_of_part_4: 4, storms_of_part_5: 5, storms_of_part_6: 6, storms_of_part_7: 7
}

/// The one place where these tests are told something from outside.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says how long")]
fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(name: &str) -> Option<u64> {
    Some(text(name)?.parse().expect("a number"))
}

#[track_caller]
fn storms(part: u64) {
    let (seeds, is_one) = match number("TASKGATE_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("TASKGATE_SEEDS").unwrap_or(SEEDS), false),
    };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut troubles: BTreeMap<String, usize> = BTreeMap::new();
    let (mut count, mut failed) = (0, Vec::new());
    let _shown = text("TASKGATE_LOG").filter(|_| is_one).map(|directives| {
        let shown = tracing_subscriber::fmt()
            .with_env_filter(directives)
            .without_time()
            .with_ansi(false)
            .finish();
        tracing::subscriber::set_default(shown)
    });
    for seed in seeds.filter(|seed| seed % PARTS == part) {
        let outcome = run(seed, Mutant::None);
        count += 1;
        if count % 250 == 0 {
            println!("part {part}: {count} seeds so far");
        }
        let books = outcome.world.books();
        if is_one {
            println!("{:#?}\n{}", outcome.world.plan, books.text());
        }
        for record in &books.told {
            *seen.entry(record.told.kind()).or_default() += 1;
        }
        for (name, count) in &books.troubles {
            *troubles.entry(name.clone()).or_default() += count;
        }
        *seen.entry("repeated".to_owned()).or_default() += books.repeated();
        if !outcome.violations.is_empty() {
            // One log is enough to begin with.
            if failed.is_empty() && !is_one {
                println!("{}", books.text());
            }
            let found: Vec<String> = outcome
                .violations
                .iter()
                .take(MOST_FAILURES)
                .map(|v| format!("\n  {:?}: {}", v.rule, v.text))
                .collect();
            let again = format!("TASKGATE_SEED={seed} cargo test --test simulation storms_of_part_{part} -- --nocapture");
            failed.push(format!("seed {seed}:{}\n  {again}", found.concat()));
            if failed.len() == MOST_FAILURES {
                break;
            }
        }
    }
    println!("{count} seeds: {seen:?}; {troubles:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // A storm in which nothing happens proves nothing.
    if count >= SEEDS / PARTS {
        for word in ["accepted", "done", "not_done", "unknown", "no answer"] {
            assert!(seen.get(word).is_some_and(|count| *count > 0), "`{word}` did not occur: {seen:?}");
        }
        assert!(troubles.len() >= 12, "hardly any kind of trouble occurred: {troubles:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..6 {
        let (first, second) = (run(seed, Mutant::None), run(seed, Mutant::None));
        let (first, second) = (first.world.books(), second.world.books());
        let differs = first.log.iter().zip(&second.log).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.hash(), second.hash(), "seed {seed}");
    }
}

/// What may be sent again is, or the oracle had nothing to judge there.
#[test]
fn some_storm_makes_the_gateway_repeat() {
    let by = (0..SEEDS).find(|seed| run(*seed, Mutant::None).world.books().repeated() > 0);
    assert!(by.is_some());
}

/// The oracle finds this mutant, by this rule, within the seeds that every run of the tests goes through.
#[track_caller]
fn check_found(mutant: Mutant, rule: Rule) {
    let by = (0..SEEDS).find(|seed| run(*seed, mutant).violations.iter().any(|violation| violation.rule == rule));
    assert!(by.is_some(), "{mutant:?} was not found");
    println!("{mutant:?} was found with seed {by:?}");
}

#[test]
fn a_gateway_that_repeats_what_may_have_happened_is_found() {
    check_found(Mutant::Repeats, Rule::ActsOnce);
}

#[test]
fn a_gateway_that_calls_a_lost_answer_not_done_is_found() {
    check_found(Mutant::CallsLostUnsent, Rule::TellsTheTruth);
}

#[test]
fn a_gateway_that_calls_a_lost_answer_a_success_is_found() {
    check_found(Mutant::CallsLostAccepted, Rule::TellsTheTruth);
}

#[test]
fn a_gateway_that_never_answers_is_found() {
    check_found(Mutant::Stalls, Rule::AnswersInTime);
}

#[test]
fn a_gateway_that_leaves_tasks_behind_is_found() {
    check_found(Mutant::Leaks, Rule::LeavesNothing);
}
