//! The tasks of one simulated vendor: which phase each is in, and how often it really was acted on.
//!
//! **Shape.** `Ready -> Moving -> Settled`. The action takes a task from `Ready` to `Moving`; the vendor is at work there, and each look
//! brings it nearer to `Settled`. Time passes by looking and not by the clock, so that tests never have to wait. A [`Course`] says how many
//! looks that takes and whether it ends well; where there is a way back, it is `Settled -> Returning -> Ready`.
//!
//! **Invariants.** An effect is counted where the phase changes, under the same lock: the counter cannot disagree with the state.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::settings::{Kind, Setting, Settings};
use super::vendor::TaskView;

/// Where a task is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The action may be taken: the task runs, or a scan has failed items.
    Ready,
    /// The action was taken and the vendor is at work.
    Moving,
    /// The effect is there.
    Settled,
    /// The task came to its end by itself.
    Ended,
    /// The vendor was at work and it did not work out.
    Failed,
    /// The task is on its way back to where the action may be taken.
    Returning,
}

/// No phase has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no phase is called `{name}`, there are ready, moving, settled, ended, failed, returning")]
pub struct UnknownPhase {
    /// The name that was asked for.
    pub name: String,
}

impl FromStr for Phase {
    type Err = UnknownPhase;

    /// # Errors
    /// [`UnknownPhase`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "ready" => Ok(Self::Ready),
            "moving" => Ok(Self::Moving),
            "settled" => Ok(Self::Settled),
            "ended" => Ok(Self::Ended),
            "failed" => Ok(Self::Failed),
            "returning" => Ok(Self::Returning),
            name => Err(UnknownPhase { name: name.to_owned() }),
        }
    }
}

/// How a movement goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// How many looks still show it.
    pub(super) looks: u32,
    /// Where it ends.
    pub(super) ending: Phase,
}

impl Course {
    /// The course that the settings `looks` and `ending` ask for.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            looks: settings.count(LOOKS.name),
            ending: settings.word(ENDING.name).parse().unwrap_or(Phase::Settled),
        }
    }
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

/// The words for the three usual phases that a reader of the state sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    pub(super) ready: &'static str,
    pub(super) moving: &'static str,
    pub(super) settled: &'static str,
}

/// A vendor's tasks behind one lock.
#[derive(Debug)]
pub(super) struct Board {
    start: &'static [(&'static str, Phase)],
    words: Words,
    tasks: Mutex<BTreeMap<String, Task>>,
}

#[derive(Debug, Clone, Copy)]
struct Task {
    phase: Phase,
    course: Course,
    effects: u64,
}

impl Board {
    /// A board with the given tasks.
    pub(super) fn new(start: &'static [(&'static str, Phase)], words: Words) -> Self {
        Self {
            start,
            words,
            tasks: Mutex::new(fresh(start)),
        }
    }

    /// More tasks that are ready; those that are there already stay as they are.
    pub(super) fn add(&self, ids: impl IntoIterator<Item = String>) {
        let mut tasks = self.lock();
        for id in ids {
            tasks.entry(id).or_insert_with(|| new(Phase::Ready));
        }
    }

    /// Acts on a task that is ready.
    pub(super) fn act(&self, id: &str, course: Course) -> Acted {
        self.depart(id, course, |phase| (phase == Phase::Ready).then_some(Phase::Moving))
    }

    /// Takes a task that has come to rest back to where it can be acted on.
    pub(super) fn turn_back(&self, id: &str, course: Course) -> Acted {
        let course = Course {
            ending: Phase::Ready,
            ..course
        };
        self.depart(id, course, |phase| match phase {
            Phase::Settled | Phase::Ended | Phase::Failed => Some(Phase::Returning),
            Phase::Ready | Phase::Moving | Phase::Returning => None,
        })
    }

    fn depart(&self, id: &str, course: Course, next: impl Fn(Phase) -> Option<Phase>) -> Acted {
        match self.lock().get_mut(id) {
            None => Acted::Unknown,
            Some(task) => match next(task.phase) {
                Some(phase) => {
                    *task = Task {
                        phase,
                        course,
                        effects: task.effects + 1,
                    };
                    Acted::Started
                }
                None => Acted::Refused(task.phase),
            },
        }
    }

    /// Acts on a task in whatever phase it is, for a vendor that runs a repeated action again; unknown ids are left alone.
    pub(super) fn act_regardless(&self, id: &str, course: Course) {
        if let Some(task) = self.lock().get_mut(id) {
            task.effects += 1;
            if task.phase == Phase::Ready {
                task.phase = Phase::Moving;
                task.course = course;
            }
        }
    }

    /// The phase that a look shows; the look itself brings a moving task nearer to its end.
    pub(super) fn look(&self, id: &str) -> Option<Phase> {
        let mut tasks = self.lock();
        let task = tasks.get_mut(id)?;
        if task.is_moving() {
            match task.course.looks.checked_sub(1) {
                Some(left) => task.course.looks = left,
                None => task.phase = task.course.ending,
            }
        }
        Some(task.phase)
    }

    /// Ends the movement of a task, for a vendor whose job has just reported its end; says how.
    pub(super) fn finish(&self, id: &str) -> Option<Phase> {
        let mut tasks = self.lock();
        let task = tasks.get_mut(id)?;
        if task.is_moving() {
            task.phase = task.course.ending;
        }
        Some(task.phase)
    }

    /// Puts a task into a phase; false when there is no such task.
    pub(super) fn place(&self, id: &str, phase: Phase) -> bool {
        match self.lock().get_mut(id) {
            Some(task) => {
                task.phase = phase;
                true
            }
            None => false,
        }
    }

    /// Every task, without moving any of them.
    pub(super) fn views(&self) -> Vec<TaskView> {
        let word = |phase| match phase {
            Phase::Ready => self.words.ready,
            Phase::Moving => self.words.moving,
            Phase::Settled => self.words.settled,
            Phase::Ended => "ended by itself",
            Phase::Failed => "failed",
            Phase::Returning => "starting",
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

impl Task {
    fn is_moving(&self) -> bool {
        matches!(self.phase, Phase::Moving | Phase::Returning)
    }
}

fn fresh(start: &[(&str, Phase)]) -> BTreeMap<String, Task> {
    start.iter().map(|(id, phase)| ((*id).to_owned(), new(*phase))).collect()
}

fn new(phase: Phase) -> Task {
    Task {
        phase,
        course: Course {
            looks: 0,
            ending: Phase::Settled,
        },
        effects: 0,
    }
}

/// How many looks still show a task at work: one unless told, so that every follower meets both the waiting and the end.
pub(super) const LOOKS: Setting = Setting {
    name: "looks",
    kind: Kind::Count,
    start: "1",
};

/// How movements end.
pub(super) const ENDING: Setting = Setting {
    name: "ending",
    kind: Kind::Words(&["settled", "ended", "failed"]),
    start: "settled",
};

/// How many tasks of other people a list shows before the known ones, so that more than one page is needed.
pub(super) const OTHERS: Setting = Setting {
    name: "others",
    kind: Kind::Count,
    start: "0",
};

/// The words of a task that is stopped.
pub(super) const STOPPING_WORDS: Words = Words {
    ready: "running",
    moving: "stopping",
    settled: "stopped",
};

#[cfg(test)]
mod tests {
    use super::*;

    const COURSE: Course = Course {
        looks: 1,
        ending: Phase::Settled,
    };

    fn board() -> Board {
        Board::new(&[("a", Phase::Ready)], STOPPING_WORDS)
    }

    #[test]
    fn a_task_is_acted_on_once_and_settles_by_looking() {
        let board = board();
        assert_eq!(board.look("a"), Some(Phase::Ready));
        assert_eq!(board.act("a", COURSE), Acted::Started);
        assert_eq!(board.act("a", COURSE), Acted::Refused(Phase::Moving));
        assert_eq!(board.look("a"), Some(Phase::Moving));
        assert_eq!(board.look("a"), Some(Phase::Settled));
        assert_eq!(board.act("a", COURSE), Acted::Refused(Phase::Settled));
        assert_eq!(
            board.views(),
            [TaskView {
                id: "a".into(),
                state: "stopped".into(),
                effects: 1
            }]
        );
        board.reset();
        assert_eq!(board.act("a", COURSE), Acted::Started);
    }

    #[test]
    fn a_movement_ends_as_it_was_told_to_and_may_go_back() {
        let board = board();
        let course = Course {
            looks: 0,
            ending: Phase::Failed,
        };
        assert_eq!(board.turn_back("a", course), Acted::Refused(Phase::Ready));
        assert_eq!(board.act("a", course), Acted::Started);
        assert_eq!(board.look("a"), Some(Phase::Failed));
        assert_eq!(board.turn_back("a", course), Acted::Started);
        assert_eq!(board.finish("a"), Some(Phase::Ready));
        assert!(board.place("a", Phase::Ended) && !board.place("b", Phase::Ended));
        assert_eq!(board.finish("a"), Some(Phase::Ended));
        assert_eq!(board.views()[0].effects, 2);
    }

    #[test]
    fn an_unknown_task_has_no_phase() {
        let board = board();
        assert_eq!(board.act("b", COURSE), Acted::Unknown);
        assert_eq!((board.look("b"), board.finish("b")), (None, None));
    }

    #[test]
    fn a_repeated_action_counts_again_where_the_vendor_runs_it_again() {
        let board = board();
        board.act_regardless("a", COURSE);
        board.finish("a");
        board.act_regardless("a", COURSE);
        board.act_regardless("b", COURSE);
        assert_eq!(board.views()[0].effects, 2);
        assert_eq!(board.views()[0].state, "stopped");
    }
}
