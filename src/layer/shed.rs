//! Shed: so many calls at once over all providers, and not one more: it is refused at once instead of waiting, before a byte of its
//! body is read.
//!
//! **Invariants**: a call keeps its place until its future is dropped, wherever it is then. All stages of a process share one [`Room`],
//! whichever table they read.
//!
//! **Errors**: `OVERLOADED`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;

use super::{CallContext, Failed, Reply, Stage};
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// The places for calls.
#[derive(Debug)]
pub struct Room {
    places: usize,
    taken: AtomicUsize,
}

/// One of the places; dropping it frees it.
#[derive(Debug)]
struct Place<'a>(&'a AtomicUsize);

impl Room {
    /// With so many places.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self {
            places,
            taken: AtomicUsize::new(0),
        }
    }

    fn enter(&self) -> Option<Place<'_>> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        // Who finds none gives back what they took too much.
        let place = Place(&self.taken);
        (taken < self.places).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The stage.
#[derive(Debug)]
pub struct Shed<S> {
    inner: S,
    room: Arc<Room>,
}

impl<S> Shed<S> {
    /// As many calls at once as there is room.
    #[must_use]
    pub fn new(room: Arc<Room>, inner: S) -> Self {
        Self { inner, room }
    }
}

impl<S, B> Stage<Box<Request<B>>> for Shed<S>
where
    S: Stage<Box<Request<B>>, Done = Reply, Failed = Box<Failed>>,
    B: Send,
{
    type Done = Reply;
    type Failed = Box<Failed>;

    async fn run(&self, context: &Arc<CallContext>, request: Box<Request<B>>) -> Result<Reply, Box<Failed>> {
        let Some(_place) = self.room.enter() else {
            let detail = "taskgate serves as many calls as it can; nothing was done";
            return Err(GatewayError::new(Reason::Overloaded, detail).with_retry_after(RETRY_AFTER).into());
        };
        self.inner.run(context, request).await
    }
}

/// Calls take milliseconds to seconds: a second later there is room again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_and_come_back() {
        let room = Room::new(2);
        let (one, two) = (room.enter(), room.enter());
        assert!(one.is_some() && two.is_some());
        for _ in 0..3 {
            assert!(room.enter().is_none());
        }
        drop(one);
        let three = room.enter();
        assert!(three.is_some() && room.enter().is_none());
        drop((two, three));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
        assert!(Room::new(0).enter().is_none());
    }
}
