//! Every attack on readers of XML ends refused or as plain data, for work that grows no faster than the document: what is counted is
//! allocations, never time. How long each takes is the bench `xml/attacks`.

use std::collections::BTreeSet;

use allocation_counter::measure;
use taskgate::codec::shape::Shape;
use taskgate::codec::{DecodeFault, Limits, xml};

use crate::{attack, checks};

/// The counts do not depend on it.
const SIZE: usize = 128 * 1024;

#[test]
fn every_attack_ends_as_it_should() {
    let attacks = attack::all(SIZE);
    let names: BTreeSet<&str> = attacks.iter().map(|attack| attack.name).collect();
    assert_eq!(names.len(), attacks.len(), "two attacks of one name");
    assert!(attacks.len() >= 57, "{} attacks only", attacks.len());
    let mut faults = Vec::new();
    for attack in &attacks {
        let found = xml::decode(&attack.document, &Shape::ANY, &Limits::REPLY)
            .map(drop)
            .map_err(|error| error.fault());
        if found != attack.verdict {
            faults.push(format!("{}: {found:?} instead of {:?}", attack.name, attack.verdict));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_attack_makes_work_that_outgrows_it() {
    let mut faults = Vec::new();
    for attack in attack::all(SIZE) {
        let work = measure(|| {
            let _ = xml::decode(&attack.document, &Shape::ANY, &Limits::REPLY);
        });
        let length = attack.document.len() as u64;
        // What a declaration says is not even looked at, so its length does not matter.
        let times = if attack.verdict == Err(DecodeFault::Doctype) { 0 } else { 1 };
        for (what, counted, most) in [
            ("bytes at once", work.bytes_max, A_LITTLE + times * AT_ONCE * length),
            ("bytes in all", work.bytes_total, A_LITTLE + times * IN_ALL * length),
            ("allocations", work.count_total, A_FEW + times * length),
        ] {
            if counted > most {
                faults.push(format!("{}: {counted} {what} for {length} bytes", attack.name));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn through_a_route_no_attack_is_a_success() {
    for route in ["prime/stop", "acme/stop"] {
        for attack in attack::all(SIZE / 8) {
            for status in [200, 500] {
                let message = format!("{route} {status}\nContent-Type: application/xml\n\n");
                let told = checks::tell(&[message.as_bytes(), &attack.document].concat()).unwrap();
                assert!(told.word().starts_with("502 "), "{route} {status} {}", attack.name);
                assert_eq!(told.text("/outcome"), "unknown", "{route} {status} {}", attack.name);
            }
        }
    }
}

/// What a tree of values needs: the shortest element, four bytes, is a name, a map entry, a place in a list.
const AT_ONCE: u64 = 32;
/// Every growth of a list or a map counted as well.
const IN_ALL: u64 = 48;
/// The scope of the document, a first element, an error with its place.
const A_LITTLE: u64 = 8 * 1024;
const A_FEW: u64 = 100;
