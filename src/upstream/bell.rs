//! Tells a wake-up that is news from one that is an echo: futures that are polled by one task and wake one another up through their
//! channels would have that task polled again in vain, with all that it does.
//!
//! **Shape**: a [`Bell`] is the waker of what is polled inside; [`Bell::answer`] before polling it, [`Bell::listen`] for who has to be
//! told. While it is [held](Bell::hold), it rings for nobody, and [`Bell::release`] says whether it has rung.
//!
//! **Invariants**: no ring is lost. It is noted before its owner is looked for, and `release` lets it ring again before it asks, so
//! whoever rings is heard by one of the two.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use pin_project_lite::pin_project;

/// A waker between a task and a part of it.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: AtomicBool,
    held: AtomicBool,
    owner: AtomicWaker,
}

impl Bell {
    /// A bell that has rung, as what was never polled has to be.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            rung: AtomicBool::new(true),
            held: AtomicBool::new(false),
            owner: AtomicWaker::new(),
        })
    }

    /// Tells the task of `cx` from here on.
    pub(crate) fn listen(&self, cx: &Context<'_>) {
        self.owner.register(cx.waker());
    }

    /// Has it rung since the last time?
    pub(crate) fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }

    /// Rings for nobody from here on. What has rung before is answered with this.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
        self.rung.store(false, Ordering::SeqCst);
    }

    /// Rings again; whether it would have rung since it was held.
    pub(crate) fn release(&self) -> bool {
        self.held.store(false, Ordering::SeqCst);
        self.rung.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if !self.held.load(Ordering::SeqCst) {
            self.owner.wake();
        }
    }
}

/// The waker of a bell, made once.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    pub(crate) bell: Arc<Bell>,
    pub(crate) waker: Waker,
}

impl Rope {
    pub(crate) fn new() -> Self {
        let bell = Bell::new();
        let waker = Waker::from(Arc::clone(&bell));
        Self { bell, waker }
    }
}

/// Works unless there is a signal: nothing is begun after it. It is polled only when it has rung, `work` whenever somebody has: who waits
/// for what comes once in a connection's life does not pay for it at every step.
pub(crate) fn unless<S: Future, W: Future>(signal: S, work: W) -> Unless<S, W> {
    Unless {
        signal,
        work,
        rope: Rope::new(),
        work_first: false,
    }
}

/// As [`unless`], but what the work can do at the moment of the signal is still done.
pub(crate) fn unless_at_last<S: Future, W: Future>(signal: S, work: W) -> Unless<S, W> {
    Unless {
        work_first: true,
        ..unless(signal, work)
    }
}

pin_project! {
    /// The work, or the signal that ended it. Written out, as an `async fn` would hold each of the two twice.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Unless<S, W> {
        #[pin]
        signal: S,
        #[pin]
        work: W,
        rope: Rope,
        work_first: bool,
    }
}

impl<S: Future, W: Future> Future for Unless<S, W> {
    type Output = Result<W::Output, S::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if *this.work_first
            && let Poll::Ready(output) = this.work.as_mut().poll(cx)
        {
            return Poll::Ready(Ok(output));
        }
        this.rope.bell.listen(cx);
        if this.rope.bell.answer()
            && let Poll::Ready(told) = this.signal.poll(&mut Context::from_waker(&this.rope.waker))
        {
            return Poll::Ready(Err(told));
        }
        if *this.work_first {
            Poll::Pending
        } else {
            this.work.poll(cx).map(Ok)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test(start_paused = true)]
    async fn a_signal_is_asked_when_it_calls() {
        let asked = AtomicUsize::new(0);
        let sleep = |ms| tokio::time::sleep(std::time::Duration::from_millis(ms));
        let mut timer = pin!(sleep(55));
        let signal = poll_fn(|cx| {
            asked.fetch_add(1, Ordering::Relaxed);
            timer.as_mut().poll(cx)
        });
        let work = async {
            for _ in 0..100 {
                sleep(1).await;
            }
        };
        assert_eq!(unless(signal, work).await, Err(()));
        assert_eq!(asked.load(Ordering::Relaxed), 2, "once to begin and once to end");
        assert_eq!(unless(std::future::pending::<()>(), sleep(1)).await, Ok(()));
        let ready = std::future::ready;
        assert_eq!(unless(ready(1), ready(2)).await, Err(1));
        assert_eq!(unless_at_last(ready(1), ready(2)).await, Ok(2));
        assert_eq!(unless_at_last(ready(1), std::future::pending::<()>()).await, Err(1));
    }

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn no_ring_is_lost_and_none_is_heard_twice() {
        let told = Arc::new(Counted::default());
        let owner = Waker::from(Arc::clone(&told));
        let rope = Rope::new();
        let listen = || rope.bell.listen(&Context::from_waker(&owner));
        let heard = || told.0.load(Ordering::Relaxed);
        assert!(rope.bell.answer(), "what was never polled has to be");
        assert!(!rope.bell.answer());
        listen();
        rope.waker.wake_by_ref();
        assert_eq!((heard(), rope.bell.answer()), (1, true));
        listen();
        rope.bell.hold();
        assert!(!rope.bell.release());
        rope.bell.hold();
        rope.waker.wake_by_ref();
        assert_eq!(heard(), 1, "while it is held");
        assert!(rope.bell.release());
        rope.waker.wake_by_ref();
        assert_eq!(heard(), 2);
    }
}
