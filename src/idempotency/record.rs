//! The record of one key: what is known of its call, and what that permits.
//!
//! **Shape**: `begin` -> [`Begun::Fresh`], `sending` -> may act, `finish` -> [`Begun::Replay`] for everybody after.
//!
//! **Invariants**: pure; time comes in as the store's own clock, and only [`Record::at`] says what time alone changes. Only the holder
//! of the ticket moves a record on, so a call that was thought dead changes nothing that was decided meanwhile. From the moment
//! at which something may be sent no path leads back to a permission but that the holder says that nothing was done, or the
//! retention.

use std::time::Duration;

use bytes::Bytes;

use super::fingerprint::Fingerprint;
use crate::model::answer::Outcome;
use crate::model::reason::Reason;

/// Since the store began, by its own clock.
pub(super) type Moment = Duration;

/// Who holds a record: a number that no other call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u128);

/// The first answer of a call, as it is said again.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its HTTP status.
    pub status: u16,
    /// Its document.
    pub body: Bytes,
    /// What is known about the effect.
    pub outcome: Outcome,
    /// Why it did not succeed, where it did not.
    pub reason: Option<Reason>,
}

/// What a key permits.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// The call is the first, and may go ahead.
    Fresh,
    /// The first is under way.
    InFlight,
    /// The first may have been sent, and never reported.
    Lost(Ticket),
    /// The key was given for something else.
    Mismatch,
    /// The first ended like this; where its outcome is unknown, the ticket is good for saying what a look found out.
    Replay(Kept, Ticket),
}

/// The record is not (any more) the caller's to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease of the idempotency key has ended")]
pub struct Lapsed;

/// What is known of the call of one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    fingerprint: Fingerprint,
    ticket: Ticket,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// Begun; nothing was sent. -> (nothing | Sending | Settled)
    Claimed {
        /// The end of the lease.
        until: Moment,
    },
    /// It may have been sent. -> (nothing | Settled | Lost)
    Sending {
        /// The end of the lease.
        until: Moment,
    },
    /// It may have been sent, and its lease has ended. -> (nothing | Settled)
    Lost {
        /// The end of the retention.
        until: Moment,
    },
    /// It was answered. -> (nothing | Settled, once, where the outcome was unknown)
    Settled {
        /// How.
        kept: Kept,
        /// The end of the retention.
        until: Moment,
    },
}

/// What a record is to the store that has to find room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its call is under way.
    UnderWay,
    /// Nobody knows what its call came to: never given up early.
    Unknown,
    /// It only has to be said again.
    Known,
}

impl Record {
    /// The record of a call that begins.
    pub(super) fn claim(ticket: Ticket, fingerprint: Fingerprint, until: Moment) -> Self {
        Self {
            fingerprint,
            ticket,
            state: State::Claimed { until },
        }
    }

    /// What is left of it at this time.
    pub(super) fn at(mut self, now: Moment, retention: Duration) -> Option<Self> {
        if now < self.due() {
            return Some(self);
        }
        match self.state {
            State::Sending { until } => {
                self.state = State::Lost { until: until + retention };
                self.at(now, retention)
            }
            State::Claimed { .. } | State::Lost { .. } | State::Settled { .. } => None,
        }
    }

    /// What it permits to somebody who comes with its key; itself does not change.
    pub(super) fn meet(&self, ticket: Ticket, fingerprint: Fingerprint) -> Begun {
        if self.fingerprint != fingerprint {
            return Begun::Mismatch;
        }
        match &self.state {
            // The same call asks again, as it did not hear the store's answer.
            State::Claimed { .. } if self.ticket == ticket => Begun::Fresh,
            State::Claimed { .. } | State::Sending { .. } => Begun::InFlight,
            State::Lost { .. } => Begun::Lost(self.ticket),
            State::Settled { kept, .. } => Begun::Replay(kept.clone(), self.ticket),
        }
    }

    /// From now on something may be sent; the lease is good until then.
    pub(super) fn send(&mut self, ticket: Ticket, until: Moment) -> Result<(), Lapsed> {
        match self.state {
            State::Claimed { .. } | State::Sending { .. } if self.ticket == ticket => {
                self.state = State::Sending { until };
                Ok(())
            }
            State::Claimed { .. } | State::Lost { .. } | State::Sending { .. } | State::Settled { .. } => Err(Lapsed),
        }
    }

    /// The call was answered like this; said late it is still true.
    pub(super) fn finish(&mut self, ticket: Ticket, kept: Kept, until: Moment) -> Result<(), Lapsed> {
        match self.state {
            State::Claimed { .. } | State::Lost { .. } | State::Sending { .. } if self.ticket == ticket => {
                self.state = State::Settled { kept, until };
                Ok(())
            }
            State::Claimed { .. } | State::Lost { .. } | State::Sending { .. } | State::Settled { .. } => Err(Lapsed),
        }
    }

    /// May the record be given up, as the holder says that nothing was done?
    pub(super) fn may_be_forgotten_by(&self, ticket: Ticket) -> Result<(), Lapsed> {
        match self.state {
            State::Claimed { .. } | State::Lost { .. } | State::Sending { .. } if self.ticket == ticket => Ok(()),
            State::Claimed { .. } | State::Lost { .. } | State::Sending { .. } | State::Settled { .. } => Err(Lapsed),
        }
    }

    /// A look says what became of a call that nobody knew of. The retention goes on.
    pub(super) fn reconcile(&mut self, ticket: Ticket, found: Kept) -> Result<(), Lapsed> {
        let until = match &self.state {
            State::Lost { until } => *until,
            State::Settled { kept, until } if kept.outcome == Outcome::Unknown => *until,
            State::Claimed { .. } | State::Sending { .. } | State::Settled { .. } => return Err(Lapsed),
        };
        if self.ticket != ticket || found.outcome == Outcome::Unknown {
            return Err(Lapsed);
        }
        self.state = State::Settled { kept: found, until };
        Ok(())
    }

    /// When time changes it.
    pub(super) fn due(&self) -> Moment {
        match self.state {
            State::Claimed { until } | State::Lost { until } | State::Sending { until } | State::Settled { until, .. } => until,
        }
    }

    /// What it is to the store.
    pub(super) fn standing(&self) -> Standing {
        match &self.state {
            State::Claimed { .. } | State::Sending { .. } => Standing::UnderWay,
            State::Settled { kept, .. } if kept.outcome != Outcome::Unknown => Standing::Known,
            State::Lost { .. } | State::Settled { .. } => Standing::Unknown,
        }
    }

    /// The bytes of its answer; none while there is none.
    pub(super) fn body_bytes(&self) -> usize {
        match &self.state {
            State::Settled { kept, .. } => kept.body.len(),
            State::Claimed { .. } | State::Lost { .. } | State::Sending { .. } => 0,
        }
    }
}
