//! The tasks of one simulated vendor: which phase each is in, and how often it really was acted on.
//!
//! **Shape.** `Ready -> Moving -> Settled`. The action takes a task from `Ready` to `Moving`; the vendor is at work there, and each look
//! brings it nearer to `Settled`. Time passes by looking and not by the clock, so that tests never have to wait.
//!
//! **Invariants.** An effect is counted where the phase changes, under the same lock: the counter cannot disagree with the state.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::vendor::TaskView;

/// Where a task is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The action may be taken.
    Ready,
    /// The action was taken and the vendor is at work.
    Moving,
    /// The effect is there.
    Settled,
}

/// What came of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acted {
    /// The task is not in the phase that the action needs.
    Refused(Phase),
    /// The task has started to move, and the effect is counted.
    Started,
    /// There is no such task.
    Unknown,
}

/// The words for the three phases that a reader of the state sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    pub(super) ready: &'static str,
    pub(super) moving: &'static str,
    pub(super) settled: &'static str,
}

/// A vendor's tasks behind one lock.
#[derive(Debug)]
pub(super) struct Board {
    start: &'static [&'static str],
    words: Words,
    tasks: Mutex<BTreeMap<String, Task>>,
}

#[derive(Debug, Clone, Copy)]
struct Task {
    phase: Phase,
    looks_left: u32,
    effects: u64,
}

impl Board {
    /// A board with the given tasks, all of them ready.
    pub(super) fn new(start: &'static [&'static str], words: Words) -> Self {
        Self {
            start,
            words,
            tasks: Mutex::new(fresh(start)),
        }
    }

    /// Acts on a task that is ready.
    pub(super) fn act(&self, id: &str) -> Acted {
        match self.lock().get_mut(id) {
            None => Acted::Unknown,
            Some(task) if task.phase == Phase::Ready => {
                task.phase = Phase::Moving;
                task.looks_left = LOOKS_UNTIL_SETTLED;
                task.effects += 1;
                Acted::Started
            }
            Some(task) => Acted::Refused(task.phase),
        }
    }

    /// Acts on a task in whatever phase it is, for a vendor that runs a repeated action again; unknown ids are left alone.
    pub(super) fn act_regardless(&self, id: &str) {
        if let Some(task) = self.lock().get_mut(id) {
            task.effects += 1;
            if task.phase == Phase::Ready {
                task.phase = Phase::Moving;
                task.looks_left = LOOKS_UNTIL_SETTLED;
            }
        }
    }

    /// The phase that a look shows; the look itself brings a moving task nearer to settled.
    pub(super) fn look(&self, id: &str) -> Option<Phase> {
        let mut tasks = self.lock();
        let task = tasks.get_mut(id)?;
        if task.phase == Phase::Moving {
            match task.looks_left.checked_sub(1) {
                Some(left) => task.looks_left = left,
                None => task.phase = Phase::Settled,
            }
        }
        Some(task.phase)
    }

    /// Ends the movement of a task, for a vendor whose job has just reported success.
    pub(super) fn settle(&self, id: &str) {
        if let Some(task) = self.lock().get_mut(id) {
            task.phase = Phase::Settled;
        }
    }

    /// Every task, without moving any of them.
    pub(super) fn views(&self) -> Vec<TaskView> {
        let word = |phase| match phase {
            Phase::Ready => self.words.ready,
            Phase::Moving => self.words.moving,
            Phase::Settled => self.words.settled,
        };
        self.lock()
            .iter()
            .map(|(id, task)| TaskView {
                id: id.clone(),
                state: word(task.phase).to_owned(),
                effects: task.effects,
            })
            .collect()
    }

    /// Back to the start.
    pub(super) fn reset(&self) {
        *self.lock() = fresh(self.start);
    }

    /// A panic elsewhere cannot leave a task half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh(start: &[&str]) -> BTreeMap<String, Task> {
    let task = Task {
        phase: Phase::Ready,
        looks_left: 0,
        effects: 0,
    };
    start.iter().map(|id| ((*id).to_owned(), task)).collect()
}

/// How many looks still show a task at work: one, so that every follower meets both the waiting and the end.
const LOOKS_UNTIL_SETTLED: u32 = 1;

/// The words of a task that is stopped.
pub(super) const STOPPING_WORDS: Words = Words {
    ready: "running",
    moving: "stopping",
    settled: "stopped",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_acted_on_once_and_settles_by_looking() {
        let board = Board::new(&["a"], STOPPING_WORDS);
        assert_eq!(board.look("a"), Some(Phase::Ready));
        assert_eq!(board.act("a"), Acted::Started);
        assert_eq!(board.act("a"), Acted::Refused(Phase::Moving));
        assert_eq!(board.look("a"), Some(Phase::Moving));
        assert_eq!(board.look("a"), Some(Phase::Settled));
        assert_eq!(board.act("a"), Acted::Refused(Phase::Settled));
        assert_eq!(
            board.views(),
            [TaskView {
                id: "a".into(),
                state: "stopped".into(),
                effects: 1
            }]
        );
        board.reset();
        assert_eq!(board.act("a"), Acted::Started);
    }

    #[test]
    fn an_unknown_task_has_no_phase() {
        let board = Board::new(&["a"], STOPPING_WORDS);
        assert_eq!(board.act("b"), Acted::Unknown);
        assert_eq!(board.look("b"), None);
    }

    #[test]
    fn a_repeated_action_counts_again_where_the_vendor_runs_it_again() {
        let board = Board::new(&["a"], STOPPING_WORDS);
        board.act_regardless("a");
        board.settle("a");
        board.act_regardless("a");
        board.act_regardless("b");
        assert_eq!(board.views()[0].effects, 2);
        assert_eq!(board.views()[0].state, "stopped");
    }
}
