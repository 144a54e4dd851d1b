//! Idempotency keys: a caller who cannot know whether a call arrived sends it again with the same key, and it is one call.
//!
//! **Shape**: header -> [`IdempotencyKey`]; caller and route -> [`Scope`]; what is asked -> [`Fingerprint`]; [`Keeper::begin`] -> [`Entry`]: the
//! call may go ahead ([`Claim`]), or the first answer is said again ([`Kept`]), or nobody knows what the first came to ([`Doubt`]).
//!
//! ```text
//!            begin            sending              finish
//!  (nothing) ─────> claimed ──────────> sending ─────────────> settled ──retention──> (nothing)
//!      ^               │ forget, or        │ its lease ended      ^
//!      └───────────────┘ its lease ended   v                      │ finish, or a look
//!                                        lost ────────────────────┘
//! ```
//!
//! **Invariants**
//! - Between two permissions to send under one key lies a statement that the first did nothing, or the whole retention.
//! - What may have been sent and was not reported is unknown, and stays so until a look or a late report says more.
//! - A key says nothing outside its scope, and no store holds a key or a request: only digests of both.
//!
//! **Source**: draft-ietf-httpapi-idempotency-key-header-07, AIP-155.

mod fingerprint;
#[cfg(test)]
mod interleavings;
mod keeper;
mod key;
mod memory;
mod record;
mod records;
#[cfg(test)]
mod tests;

pub use fingerprint::{Fingerprint, Name, Scope};
pub use keeper::{Claim, Doubt, Entry, Keeper, Settled, is_said_again};
pub use key::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, IdempotencyKey, MAX_KEY_CHARS};
pub use memory::{DEFAULT_RETENTION, Memory, MemoryLimits};
pub use record::{Begun, Kept, Lapsed, Ticket};
pub use records::{Census, Records, StoreError, Stored};
