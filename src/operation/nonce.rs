//! Nonces of tokens: 96 bits of chance each, drawn from the library's generator many at a time, as one draw costs as much as all the rest
//! of a token.
//!
//! **Invariants**: a nonce is given out once: it is taken out of its thread's store before it is used, and stores are filled by the
//! cryptographic generator and shared by nobody. So nonces are what single draws would be, chance that is independent of all others, on
//! whatever instance and after whatever restart; what [`keys`](super::keys) says of 2^32 messages holds. A counter in its place would have to
//! be agreed on by all instances that share a key.
//!
//! The time is mixed in: chance that is not known beforehand, mixed with whatever does not depend on it, is chance of the same kind. It is
//! there for the one case where a store is two: a machine that is copied while it runs would give out the rest of it twice, at another time.
//! A process that forks would as well; this one does not.

use std::cell::RefCell;

use jiff::Timestamp;

/// Fills bytes with chance; nothing where the machine has none to offer.
pub(super) type Draw = fn(&mut [u8]) -> Option<()>;

/// A nonce that nobody else has, given out `now`; nothing where there is no chance.
pub(super) fn fresh(draw: Draw, now: Timestamp) -> Option<[u8; NONCE_BYTES]> {
    let mut nonce = STORE.with_borrow_mut(|store| store.take(draw))?;
    let now = now.as_nanosecond().to_le_bytes();
    nonce.iter_mut().zip(now).for_each(|(byte, time)| *byte ^= time);
    Some(nonce)
}

/// What has been drawn and not been given out.
struct Store {
    nonces: [[u8; NONCE_BYTES]; DRAWN],
    left: usize,
}

impl Store {
    fn take(&mut self, draw: Draw) -> Option<[u8; NONCE_BYTES]> {
        if self.left == 0 {
            draw(self.nonces.as_flattened_mut())?;
            self.left = DRAWN;
        }
        self.left -= 1;
        // Once it is out, it is not there any more.
        self.nonces.get_mut(self.left).map(std::mem::take)
    }
}

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store { nonces: [[0; NONCE_BYTES]; DRAWN], left: 0 }) };
}

/// Of AES-GCM.
pub(super) const NONCE_BYTES: usize = 12;
/// In six cache lines; drawing so many costs little more than drawing one.
const DRAWN: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn draw(bytes: &mut [u8]) -> Option<()> {
        fastrand::fill(bytes);
        Some(())
    }

    #[test]
    fn without_chance_there_is_no_nonce_and_nothing_is_taken_for_one() {
        let mut store = Store {
            nonces: [[0; NONCE_BYTES]; DRAWN],
            left: 0,
        };
        assert_eq!((store.take(|_| None), store.left), (None, 0));
        assert!(store.take(draw).is_some());
    }

    #[test]
    fn every_nonce_is_another_one_on_every_thread() {
        let some = || Vec::from_iter((0..20 * DRAWN + 1).map(|_| fresh(draw, Timestamp::UNIX_EPOCH).unwrap()));
        let threads = Vec::from_iter((0..4).map(|_| std::thread::spawn(some)));
        let mut all = some();
        all.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
        assert_eq!(BTreeSet::from_iter(&all).len(), all.len());
    }

    #[test]
    fn what_is_given_out_is_gone_and_a_store_is_filled_anew() {
        let mut store = Store {
            nonces: [[0; NONCE_BYTES]; DRAWN],
            left: 0,
        };
        let mut all = BTreeSet::new();
        for taken in 1..=3 * DRAWN {
            all.insert(store.take(draw).unwrap());
            let gone = store.nonces.iter().filter(|nonce| **nonce == [0; NONCE_BYTES]).count();
            assert_eq!(
                (all.len(), gone, store.left),
                (taken, DRAWN - store.left, (3 * DRAWN - taken) % DRAWN)
            );
        }
    }
}
