//! Ids of requests that come without a good one: a UUID of version 7.
//!
//! **Shape**: `01989d4b-7c3e-7a51-b1c9-3f0e8a52d7f4`: milliseconds since 1970, a fraction of one, chance.
//!
//! **Invariants**: an id is no secret and opens nothing, so its chance need not be one that nobody can foresee, only one that nobody
//! repeats: each thread has a generator of its own, which begins where the operating system says. What a vendor gets as a key (the
//! uuid of a call) comes from elsewhere.
//!
//! **Source**: RFC 9562 sections 5.7 and 6.2 (method 3).

use std::cell::RefCell;
use std::sync::Arc;

use fastrand::Rng;
use uuid::{Builder, Uuid};

use crate::telemetry::stamp;

/// A fresh id; sorts by time.
pub(super) fn fresh() -> Arc<str> {
    let (milliseconds, nanoseconds) = stamp::unix_time();
    // Twelve bits: steps of a quarter of a microsecond.
    let fraction = u16::try_from((u64::from(nanoseconds) << 12) / 1_000_000).unwrap_or(0);
    let chance = CHANCE.with_borrow_mut(|chance| chance.u64(..));
    let mut rest = [0; 10];
    let (beginning, end) = rest.split_at_mut(2);
    beginning.copy_from_slice(&fraction.to_be_bytes());
    end.copy_from_slice(&chance.to_be_bytes());
    let id = Builder::from_unix_timestamp_millis(milliseconds, &rest).into_uuid();
    Arc::from(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

thread_local! {
    static CHANCE: RefCell<Rng> = RefCell::new({
        // The six bits that every such UUID has meet others that are chance.
        let (one, other) = Uuid::new_v4().as_u64_pair();
        Rng::with_seed(one ^ other)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_of_version_7_sort_by_time_and_do_not_repeat() {
        let before = stamp::unix_time().0;
        let ids: Vec<_> = (0..10_000).map(|_| fresh()).collect();
        let after = stamp::unix_time().0;
        let milliseconds = |id: &str| {
            let uuid = Uuid::parse_str(id).unwrap();
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122), "{id}");
            u64::try_from(uuid.as_u128() >> 80).unwrap()
        };
        for id in &ids {
            assert!((before..=after).contains(&milliseconds(id)), "{id}");
        }
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        // As far as the clock tells them apart: all but the chance.
        let times: Vec<&str> = ids.iter().map(|id| id.get(..18).unwrap()).collect();
        assert!(times.is_sorted());
    }

    #[test]
    fn threads_have_chances_of_their_own() {
        let chance = || fresh().get(19..).unwrap().to_owned();
        let here = chance();
        let there = std::thread::spawn(chance).join().unwrap();
        assert_ne!(here, there);
    }
}
