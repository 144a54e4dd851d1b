//! What a store of idempotency records has to do, wherever it is.
//!
//! **Invariants**: each method is one atomic step; `begin` on two instances at the same instant gives one of them [`Begun::Fresh`].
//! Times are given as lengths, and a store measures them by its own clock, so instances need not agree on the time. A step that
//! fails may have happened: every one of them can be said again with the same ticket.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use super::fingerprint::{Fingerprint, Name};
use super::record::{Begun, Kept, Lapsed, Ticket};

/// What a store answers with.
pub type Stored<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store of records. In memory for one instance ([`super::Memory`]); a fleet shares one.
pub trait Records: Debug + Send + Sync + 'static {
    /// A call comes with a key. Where it is the first, it is given a record with a lease of this length: if nothing is heard of it until
    /// then, nothing was sent, and the record is gone.
    fn begin(&self, name: Name, fingerprint: Fingerprint, ticket: Ticket, lease: Duration) -> Stored<'_, Begun>;

    /// From now on something may be sent. The lease is as long from now: if nothing is heard of the call until then, what it came to
    /// is unknown.
    fn sending(&self, name: Name, ticket: Ticket, lease: Duration) -> Stored<'_, Result<(), Lapsed>>;

    /// The call was answered like this, which is kept for the store's retention.
    fn finish(&self, name: Name, ticket: Ticket, kept: Kept) -> Stored<'_, Result<(), Lapsed>>;

    /// The call did nothing: the key is free.
    fn forget(&self, name: Name, ticket: Ticket) -> Stored<'_, Result<(), Lapsed>>;

    /// A look found out what became of a call of which nobody knew. `ticket` is the one that [`Begun`] came with.
    fn reconcile(&self, name: Name, ticket: Ticket, found: Kept) -> Stored<'_, Result<(), Lapsed>>;

    /// How full it is, where this instance is the one to say so.
    fn census(&self) -> Option<Census> {
        None
    }
}

/// How full a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Records.
    pub records: usize,
    /// What they take, in bytes.
    pub bytes: usize,
    /// Records that were given up before their time, since the store began.
    pub evicted: u64,
}

/// Why a store did not do a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no room for another key, and nothing that may be given up.
    #[error("there is no room for another idempotency key")]
    Full,
    /// It did not answer in time, or not in a way that can be understood.
    #[error("the store of idempotency keys does not answer")]
    Unavailable,
}
