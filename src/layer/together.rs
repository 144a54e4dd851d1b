//! Together: the calls of a batch that one vendor request can carry meet before they act, and one of them acts for all.
//!
//! **Shape**: 200 calls with a [`Seat`] each, in a circle of 100 -> two of them get [`Turn::Lead`] with 99 others each, those get
//! [`Turn::Told`].
//!
//! **Invariants**
//! - Nobody waits for who does not come: a seat that is given up, however its call ended, counts as left.
//! - Who leads and breaks down tells the others: they do not know what happened, and say so.
//! - A seat is used once. What a call sends after that it sends alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::errand::Acted;
use super::{Doubt, Failed};
use crate::mapping::request::CallValues;
use crate::model::error::GatewayError;

/// What a call of a batch has beside what every call has.
#[derive(Debug)]
pub struct Member {
    /// How many requests for batches may be under way to the call's provider.
    pub places: Arc<Semaphore>,
    /// Where it meets those that can act together with it.
    pub seat: Option<Seat>,
}

/// Those who can act together, in groups of a size.
#[derive(Debug)]
pub struct Circle {
    most: usize,
    gathering: Mutex<Gathering>,
}

#[derive(Debug, Default)]
struct Gathering {
    /// Those who may still come.
    expected: usize,
    here: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    fellow: Fellow,
    tell: oneshot::Sender<Turn>,
}

/// A call that another one acts for.
#[derive(Debug)]
pub struct Fellow {
    /// The id as the caller wrote it.
    pub id: String,
    /// Its values.
    pub values: CallValues,
}

/// What becomes of somebody who waits.
#[derive(Debug)]
pub enum Turn {
    /// It acts, for these others as well.
    Lead(Box<Led>),
    /// Another one has acted for it.
    Told(Box<Told>),
}

/// What the vendor said of one of many tasks.
pub type Verdict = Result<Acted, Box<Failed>>;

/// What came of acting together.
#[derive(Debug)]
pub struct Told {
    /// What the vendor said of this task.
    pub verdict: Verdict,
    /// What the common request left open.
    pub doubt: Doubt,
}

/// Those for whom somebody acts.
#[derive(Debug)]
pub struct Led {
    /// Their calls.
    pub fellows: Vec<Fellow>,
    tells: Vec<oneshot::Sender<Turn>>,
    /// What the vendor said of each of them, once it has.
    pub verdicts: Option<Vec<Verdict>>,
}

/// A call's place in its circle.
#[derive(Debug)]
pub struct Seat {
    circle: Arc<Circle>,
    used: AtomicBool,
}

impl Circle {
    /// Seats for so many calls, of which so many can act together.
    #[must_use]
    pub fn seats(calls: usize, most: usize) -> Vec<Seat> {
        let circle = Arc::new(Self {
            most: most.max(1),
            gathering: Mutex::new(Gathering {
                expected: calls,
                here: Vec::new(),
            }),
        });
        let seat = |_| Seat {
            circle: Arc::clone(&circle),
            used: AtomicBool::new(false),
        };
        (0..calls).map(seat).collect()
    }

    /// One of those expected has come, or will not.
    fn is_settled(&self, came: Option<Waiting>) {
        let group = {
            let mut gathering = self.lock();
            gathering.expected = gathering.expected.saturating_sub(1);
            gathering.here.extend(came);
            let is_whole = gathering.here.len() >= self.most || gathering.expected == 0;
            if is_whole {
                std::mem::take(&mut gathering.here)
            } else {
                Vec::new()
            }
        };
        let (mut fellows, mut tells): (Vec<_>, Vec<_>) = group.into_iter().map(|waiting| (waiting.fellow, waiting.tell)).unzip();
        // Who has gone away does not lead.
        while !tells.is_empty() {
            let leader = tells.remove(0);
            fellows.remove(0);
            let led = Led {
                fellows,
                tells,
                verdicts: None,
            };
            match leader.send(Turn::Lead(Box::new(led))) {
                Ok(()) | Err(Turn::Told(_)) => return,
                Err(Turn::Lead(led)) => (fellows, tells) = (led.fellows, led.tells),
            }
        }
    }

    /// Every change leaves it whole, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Takes the seat, and hears when it is this call's turn; nothing where it has been taken before.
    pub fn take(&self, fellow: impl FnOnce() -> Fellow) -> Option<oneshot::Receiver<Turn>> {
        if self.used.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (tell, turn) = oneshot::channel();
        let fellow = fellow();
        self.circle.is_settled(Some(Waiting { fellow, tell }));
        Some(turn)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.used.swap(true, Ordering::Relaxed) {
            self.circle.is_settled(None);
        }
    }
}

impl Led {
    /// Tells everybody what came of it: their own verdict, or what went wrong before there were any.
    pub fn tell(self, broken: Option<&GatewayError>, doubt: &Doubt) {
        let Self { fellows, tells, verdicts } = self;
        let verdicts = match (verdicts, broken) {
            (Some(verdicts), _) => verdicts,
            (None, Some(error)) => fellows.iter().map(|_| Err(error.clone().into())).collect(),
            // Who is told nothing knows that something broke.
            (None, None) => Vec::new(),
        };
        for (tell, verdict) in tells.into_iter().zip(verdicts) {
            let doubt = doubt.clone();
            // Who has gone away need not know.
            drop(tell.send(Turn::Told(Box::new(Told { verdict, doubt }))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::request::Fresh;
    use crate::model::reason::Reason;
    use serde_json::{Map, Value};

    fn fellow(id: usize) -> Fellow {
        Fellow {
            id: id.to_string(),
            values: CallValues {
                id: Value::from(id),
                body: Map::new(),
                call: Fresh::nothing(),
                settings: Arc::new(Value::Null),
            },
        }
    }

    /// The ids that the leader of a group acts for, its own first.
    fn group(turns: &mut [Option<oneshot::Receiver<Turn>>], leader: usize) -> Vec<String> {
        match turns[leader].as_mut().unwrap().try_recv().unwrap() {
            Turn::Lead(led) => led.fellows.iter().map(|fellow| fellow.id.clone()).collect(),
            Turn::Told(_) => panic!("{leader} leads"),
        }
    }

    #[test]
    fn groups_are_as_large_as_they_may_be_and_the_last_waits_for_nobody() {
        let seats = Circle::seats(7, 3);
        let mut turns: Vec<_> = seats.iter().enumerate().map(|(id, seat)| seat.take(|| fellow(id))).collect();
        assert_eq!(group(&mut turns, 0), ["1", "2"]);
        assert_eq!(group(&mut turns, 3), ["4", "5"]);
        assert_eq!(group(&mut turns, 6), [""; 0]);
        assert!(seats[0].take(|| fellow(0)).is_none(), "a seat is taken once");
    }

    #[test]
    fn who_does_not_come_is_not_waited_for() {
        let mut seats = Circle::seats(4, 100);
        let (last, gone) = (seats.pop().unwrap(), seats.pop().unwrap());
        let mut turns: Vec<_> = seats.iter().enumerate().map(|(id, seat)| seat.take(|| fellow(id))).collect();
        drop(gone);
        assert!(turns[0].as_mut().unwrap().try_recv().is_err(), "one may still come");
        drop(last);
        assert_eq!(group(&mut turns, 0), ["1"]);
    }

    #[test]
    fn who_left_while_waiting_does_not_lead() {
        let seats = Circle::seats(3, 100);
        let mut turns: Vec<_> = seats
            .iter()
            .take(2)
            .enumerate()
            .map(|(id, seat)| seat.take(|| fellow(id)))
            .collect();
        turns[0] = None;
        drop(seats);
        assert_eq!(group(&mut turns, 1), [""; 0]);
    }

    #[test]
    fn those_who_are_led_hear_their_verdict_or_that_something_broke() {
        for broken in [Some(GatewayError::new(Reason::VendorTimeout, "")), None] {
            let seats = Circle::seats(2, 2);
            let mut turns: Vec<_> = seats
                .iter()
                .enumerate()
                .map(|(id, seat)| seat.take(|| fellow(id)).unwrap())
                .collect();
            let Turn::Lead(led) = turns[0].try_recv().unwrap() else {
                panic!("the first leads")
            };
            led.tell(broken.as_ref(), &Doubt::default());
            match (turns[1].try_recv(), broken) {
                (Ok(Turn::Told(told)), Some(_)) => assert_eq!(told.verdict.unwrap_err().error.reason, Reason::VendorTimeout),
                (Err(oneshot::error::TryRecvError::Closed), None) => {}
                (turn, _) => panic!("{turn:?}"),
            }
        }
    }
}
