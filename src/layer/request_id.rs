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
    let id = made_of(stamp::unix_time(), CHANCE.with_borrow_mut(|chance| chance.u64(..)));
    Arc::from(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

/// The id of this moment (milliseconds since 1970, and nanoseconds beyond them) and chance.
fn made_of((milliseconds, nanoseconds): (u64, u32), chance: u64) -> Uuid {
    // Twelve bits: steps of a quarter of a microsecond.
    let fraction = u16::try_from((u64::from(nanoseconds) << 12) / 1_000_000).unwrap_or(0);
    let mut rest = [0; 10];
    let (beginning, end) = rest.split_at_mut(2);
    beginning.copy_from_slice(&fraction.to_be_bytes());
    end.copy_from_slice(&chance.to_be_bytes());
    Builder::from_unix_timestamp_millis(milliseconds, &rest).into_uuid()
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
    fn ids_are_of_version_7_and_sort_by_time() {
        let moments = [(0, 0), (0, 999_999), (1, 0), (1, 245), (1, 500_000), (1_795_272_739_123, 0)];
        let ids: Vec<Uuid> = moments
            .iter()
            .flat_map(|moment| [made_of(*moment, 0), made_of(*moment, u64::MAX)])
            .collect();
        for id in &ids {
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122), "{id}");
        }
        assert!(ids.is_sorted(), "{ids:?}");
        let last = ids.last().map(|id| id.as_u128() >> 80);
        assert_eq!(last, Some(1_795_272_739_123));
    }

    #[test]
    fn ids_do_not_repeat() {
        let ids: BTreeSet<_> = (0..10_000).map(|_| fresh()).collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn threads_have_chances_of_their_own() {
        let chance = || fresh().get(19..).unwrap().to_owned();
        let here = chance();
        let there = std::thread::spawn(chance).join().unwrap();
        assert_ne!(here, there);
    }
}
