//! Records in memory: those of one instance, gone with it.
//!
//! **Invariants**: never more than its limits, but for answers that are larger than what was set aside for each call under way. Where
//! there is no room, the oldest of those records goes whose outcome is known and which has been kept long enough for everyday
//! repetitions; where there is none, a new key is refused. A call under way, and one of which nobody knows, never goes. Time works
//! by looking at the clock whenever somebody comes: there is no timer and no task.

use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fingerprint::{Fingerprint, Name};
use super::record::{Begun, Kept, Lapsed, Moment, Record, Standing, Ticket};
use super::records::{Census, Records, StoreError, Stored};

/// How much, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Records at once.
    pub records: usize,
    /// What they may take, in bytes.
    pub bytes: usize,
    /// How long an answer is said again.
    pub retention: Duration,
    /// How long an answer is kept in any case; at most the retention.
    pub at_least: Duration,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            records: DEFAULT_RECORDS,
            bytes: DEFAULT_BYTES,
            retention: DEFAULT_RETENTION,
            at_least: DEFAULT_AT_LEAST,
        }
    }
}

/// The store.
#[derive(Debug)]
pub struct Memory {
    limits: MemoryLimits,
    began: Instant,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    records: HashMap<Name, Placed>,
    /// When time changes which record.
    due: BTreeMap<(Moment, u64), Name>,
    /// Records that may be given up, the oldest first.
    known: BTreeMap<(Moment, u64), Name>,
    /// Makes moments distinct.
    serial: u64,
    bytes: usize,
    evicted: u64,
}

/// A record and where the indexes have it.
#[derive(Debug)]
struct Placed {
    record: Record,
    due: (Moment, u64),
    known: Option<(Moment, u64)>,
    bytes: usize,
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        let at_least = limits.at_least.min(limits.retention);
        Self {
            limits: MemoryLimits { at_least, ..limits },
            began: Instant::now(),
            shelf: Mutex::default(),
        }
    }

    /// The shelf as it is now.
    fn shelf(&self) -> (MutexGuard<'_, Shelf>, Moment) {
        // Steps leave the shelf whole: a panic elsewhere says nothing about it.
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.began.elapsed();
        shelf.pass(now, self.limits.retention);
        (shelf, now)
    }

    fn claim(&self, name: Name, fingerprint: Fingerprint, ticket: Ticket, lease: Duration) -> Result<Begun, StoreError> {
        let (mut shelf, now) = self.shelf();
        if let Some(placed) = shelf.records.get(&name) {
            return Ok(placed.record.meet(ticket, fingerprint));
        }
        while shelf.records.len() >= self.limits.records || shelf.bytes + SET_ASIDE > self.limits.bytes {
            if !shelf.evict(now, self.limits.at_least) {
                return Err(StoreError::Full);
            }
        }
        shelf.place(name, Record::claim(ticket, fingerprint, now + lease), now);
        Ok(Begun::Fresh)
    }

    /// One step on a record that is there.
    fn step(&self, name: Name, change: impl FnOnce(&mut Record, Moment) -> Result<(), Lapsed>) -> Result<(), Lapsed> {
        let (mut shelf, now) = self.shelf();
        let mut record = shelf.records.get(&name).ok_or(Lapsed)?.record.clone();
        change(&mut record, now)?;
        shelf.take(name);
        shelf.place(name, record, now);
        while shelf.bytes > self.limits.bytes && shelf.evict(now, self.limits.at_least) {}
        Ok(())
    }
}

impl Records for Memory {
    fn begin(&self, name: Name, fingerprint: Fingerprint, ticket: Ticket, lease: Duration) -> Stored<'_, Begun> {
        Box::pin(ready(self.claim(name, fingerprint, ticket, lease)))
    }

    fn sending(&self, name: Name, ticket: Ticket, lease: Duration) -> Stored<'_, Result<(), Lapsed>> {
        Box::pin(ready(Ok(self.step(name, |record, now| record.send(ticket, now + lease)))))
    }

    fn finish(&self, name: Name, ticket: Ticket, kept: Kept) -> Stored<'_, Result<(), Lapsed>> {
        let retention = self.limits.retention;
        Box::pin(ready(Ok(
            self.step(name, |record, now| record.finish(ticket, kept, now + retention))
        )))
    }

    fn forget(&self, name: Name, ticket: Ticket) -> Stored<'_, Result<(), Lapsed>> {
        let (mut shelf, _) = self.shelf();
        let forgotten = match shelf.records.get(&name) {
            Some(placed) => placed.record.may_be_forgotten_by(ticket),
            None => Err(Lapsed),
        };
        if forgotten.is_ok() {
            shelf.take(name);
        }
        Box::pin(ready(Ok(forgotten)))
    }

    fn reconcile(&self, name: Name, ticket: Ticket, found: Kept) -> Stored<'_, Result<(), Lapsed>> {
        Box::pin(ready(Ok(self.step(name, |record, _| record.reconcile(ticket, found)))))
    }

    fn census(&self) -> Option<Census> {
        let (shelf, _) = self.shelf();
        Some(Census {
            records: shelf.records.len(),
            bytes: shelf.bytes,
            evicted: shelf.evicted,
        })
    }
}

impl Shelf {
    /// Lets time do what it does.
    fn pass(&mut self, now: Moment, retention: Duration) {
        while let Some((&(moment, _), &name)) = self.due.first_key_value() {
            if moment > now {
                return;
            }
            if let Some(record) = self.take(name).and_then(|record| record.at(now, retention)) {
                self.place(name, record, now);
            }
        }
    }

    /// Gives up the oldest record that may go; false where there is none.
    fn evict(&mut self, now: Moment, at_least: Duration) -> bool {
        let Some((&(settled, _), &name)) = self.known.first_key_value() else {
            return false;
        };
        if now.saturating_sub(settled) < at_least {
            return false;
        }
        self.take(name);
        self.evicted += 1;
        true
    }

    fn place(&mut self, name: Name, record: Record, now: Moment) {
        self.serial += 1;
        let due = (record.due(), self.serial);
        let standing = record.standing();
        let known = (standing == Standing::Known).then_some((now, self.serial));
        let bytes = match standing {
            Standing::UnderWay => SET_ASIDE,
            Standing::Known | Standing::Unknown => RECORD_BYTES + record.body_bytes(),
        };
        self.bytes += bytes;
        self.due.insert(due, name);
        if let Some(known) = known {
            self.known.insert(known, name);
        }
        let placed = Placed { record, due, known, bytes };
        self.records.insert(name, placed);
    }

    fn take(&mut self, name: Name) -> Option<Record> {
        let placed = self.records.remove(&name)?;
        self.due.remove(&placed.due);
        if let Some(known) = placed.known {
            self.known.remove(&known);
        }
        self.bytes -= placed.bytes;
        Some(placed.record)
    }
}

/// The draft asks for a published time; a day is what those who offer keys mostly give, and a scheduler's next try is within it.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// More than one key a second over the whole retention.
const DEFAULT_RECORDS: usize = 100_000;
/// As many records with everyday answers, of 450 bytes.
const DEFAULT_BYTES: usize = 64 << 20;
/// Clients repeat within minutes; a flood of other keys must not undo what they were promised meanwhile.
const DEFAULT_AT_LEAST: Duration = Duration::from_secs(15 * 60);
/// A record without its answer: two indexes, a map, names and digests.
const RECORD_BYTES: usize = 320;
/// For a call under way: room for the record and for most answers, so that ending needs no more of it.
const SET_ASIDE: usize = 2048;
