//! Every shipped case is played, and every answer in it is one of ours.

use std::collections::BTreeSet;

use taskgate::cli::check::{Played, play_all};
use taskgate::config::case::REQUIRED;
use taskgate::config::shipped::{self, ROUTES_FILE};
use taskgate::config::sources::Sources;

use super::answers::{Seen, Told};
use super::rig;

/// Plays all cases of a tree. Each one that differs is named, and every answer keeps the contract.
#[track_caller]
pub(crate) fn check(sources: &Sources) -> Vec<Played> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let played = match runtime.block_on(play_all(sources, ROUTES_FILE, None)) {
        Ok(played) => played,
        Err(rejected) => panic!("{}", rejected.faults.render(&rejected.files)),
    };
    let failed: Vec<String> = played
        .iter()
        .filter(|played| !played.differences.is_empty())
        .map(|played| {
            format!(
                "{} ({})\n  {}",
                played.case.path,
                played.case.content.title,
                played.differences.join("\n  ")
            )
        })
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} cases failed\n{}",
        failed.len(),
        played.len(),
        failed.join("\n")
    );
    for Played { case, told, .. } in &played {
        let told = told.as_ref().unwrap();
        let told = Told {
            status: told.status,
            headers: told.headers.clone(),
            body: told.body.to_string().into(),
        };
        told.check(Seen::FromTheStack);
        assert!(
            !case.content.vendor.is_empty() || told.status >= 400,
            "{}: a success without a vendor",
            case.path
        );
    }
    played
}

#[test]
fn every_shipped_case_passes() {
    let played = check(&shipped::sources());
    let count = |provider: &str| played.iter().filter(|played| played.case.provider == provider).count();
    for provider in rig::PROVIDERS {
        // A sibling shares codec, credentials and fault table with its vendor, whose cases go through them.
        let least = if rig::VENDORS.contains(&provider) { 35 } else { 8 };
        assert!(count(provider) >= least, "{provider} has {} cases only", count(provider));
    }
}

#[test]
fn every_route_has_its_four_cases() {
    let sources = shipped::sources();
    let table = rig::compiled(&sources, &Default::default()).table;
    let found: BTreeSet<String> = rig::cases(&sources).into_iter().map(|case| case.path).collect();
    for provider in table.providers.values() {
        for action in provider.actions.keys() {
            for name in REQUIRED {
                let path = format!("cases/{}/{action}/{name}.yaml", provider.name);
                assert!(found.contains(&path), "{path} is missing");
            }
        }
    }
}

#[test]
fn every_sample_of_the_vendors_documents_is_in_a_case() {
    let sources = shipped::sources();
    let cases: Vec<(String, String)> = sources
        .list("cases")
        .into_iter()
        .map(|path| (path.clone(), sources.read(&path).unwrap()))
        .collect();
    for (provider, sample) in SAMPLES {
        let folder = format!("cases/{provider}/");
        let is_there = cases.iter().any(|(path, text)| path.starts_with(&folder) && text.contains(sample));
        assert!(is_there, "no case of {provider} has `{sample}`");
    }
}

#[test]
fn every_outcome_of_a_call_is_in_the_cases_of_each_provider() {
    let played = check(&shipped::sources());
    for provider in rig::PROVIDERS {
        let of_provider = || played.iter().filter(|played| played.case.provider == provider);
        for outcome in ["accepted", "not_done", "unknown"] {
            let told = |played: &&Played| played.told.as_ref().is_some_and(|told| told.body["outcome"] == outcome);
            assert!(
                of_provider().any(|played| told(&played)),
                "{provider} has no case that ends `{outcome}`"
            );
        }
    }
}

/// Ids, numbers and words of the samples in the vendors' own documents, by the page that has them.
const SAMPLES: [(&str, &str); 15] = [
    // CancelCaptureTask: request and response of the example.
    ("cfw", "1dcddab3-7d79-4a56-9e67-4aa0962b98ad"),
    ("cfw", "ebf891cd-2163-48a0-9963-6309f99dd3c4"),
    ("cfw", "09bb24e6fe80d23d2fa2c010b53b418c"),
    // StopAuditInstance: example request and the error of status 400.
    ("dbss", "1d07f606-92d2-441c-b05c-dca47e180552"),
    ("dbss", "DBSS.XXXX"),
    ("dbss", "SUCCESS"),
    // RetryTask: example request.
    ("hss", "all_failed_cluster"),
    ("hss", "cluster_scan"),
    // DisableCbtTask: request and response of the example.
    ("zstack", "5ca9c15a50c53f0dac359a64841d7b2b"),
    ("zstack", "My Task"),
    ("zstack", "Stopped"),
    // PUT jobService/cancelrunning: the ids of the request and of the response.
    ("prime", "<runId>15</runId>"),
    ("prime", "<runId>25</runId>"),
    ("prime", "<id>2</id>"),
    ("prime", "<id>12</id>"),
];
