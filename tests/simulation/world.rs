//! What really happened: the vendors' own books, what callers were told, and the log of it all.
//!
//! **Invariants**: nothing here depends on the clock of this machine, on chance or on an id that somebody drew; the log of a seed is
//! always the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use fastrand::Rng;
use http::HeaderMap;

use crate::plan::{CallPlan, Fate, Plan, Service, Trouble};

/// The world of one run, shared by all that are in it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    books: Arc<Mutex<Books>>,
}

/// What is written down.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) log: Vec<String>,
    /// By `<provider>/<id>`.
    pub(crate) tasks: BTreeMap<String, Task>,
    pub(crate) told: Vec<Record>,
    /// Sessions by their token: when they end.
    pub(crate) sessions: BTreeMap<String, u64>,
    /// How many there have been.
    pub(crate) logins: usize,
    /// Jobs by id.
    pub(crate) jobs: BTreeMap<String, Job>,
    /// Keys under which something was done.
    pub(crate) keys: BTreeSet<String>,
    dice: Vec<Rng>,
    /// What gateways left behind, one entry each.
    pub(crate) left_behind: Vec<usize>,
    /// What recovered too late.
    pub(crate) not_recovered: Vec<String>,
    /// What befell requests, and how often.
    pub(crate) troubles: BTreeMap<String, usize>,
}

/// A task at a vendor.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) call: CallPlan,
    /// How often a vendor said that it takes the request, or meant to.
    pub(crate) taken: usize,
    /// When it was acted upon.
    pub(crate) effects: Vec<u64>,
}

/// How a task looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Before,
    Between,
    After,
}

impl Task {
    pub(crate) fn look(&self, now: u64) -> Look {
        match (self.call.fate, self.effects.first()) {
            (Fate::Ended, _) => Look::After,
            (_, None) => Look::Before,
            (_, Some(at)) if now < at + self.call.settles_in => Look::Between,
            (Fate::GivesUp, _) => Look::Before,
            (_, Some(_)) => Look::After,
        }
    }
}

/// A vendor's job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) ready_at: u64,
    /// The session was not valid, so nothing was done.
    pub(crate) expired: bool,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) call: CallPlan,
    pub(crate) key: String,
    pub(crate) gateway: usize,
    /// When its connection was made; the call is the first one where this is when it began.
    pub(crate) opened: u64,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) told: Told,
}

#[derive(Clone, Debug)]
pub(crate) enum Told {
    Answer {
        status: u16,
        headers: HeaderMap,
        body: Bytes,
    },
    /// The connection broke before the answer was there.
    Broken(String),
    /// The caller hung up.
    HungUp,
    /// Nothing came for far longer than it may take.
    Nothing,
    /// There was no connection.
    NotConnected,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut books = Books {
            dice: (0..Service::ALL.len())
                .map(|service| Rng::with_seed(plan.seed.wrapping_mul(31).wrapping_add(service as u64)))
                .collect(),
            ..Books::default()
        };
        for call in plan.callers.iter().flat_map(|caller| &caller.calls) {
            books.add(call.clone());
        }
        Self {
            plan: Arc::new(plan),
            books: Arc::new(Mutex::new(books)),
        }
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// Writes a line, with the time in front.
    pub(crate) fn log(&self, text: &str) {
        self.log_at(now(), text);
    }

    pub(crate) fn log_at(&self, at: u64, text: &str) {
        self.books().log.push(format!("[{:>7.3}] {text}", at as f64 / 1_000.0));
    }

    /// What befalls a request now, by the weather of its service.
    pub(crate) fn trouble(&self, service: Service, now: u64) -> Option<Trouble> {
        let books = &mut *self.books();
        let dice = &mut books.dice[service as usize];
        let spell = self.plan.weather[service as usize]
            .spells
            .iter()
            .find(|spell| spell.window.has(now))?;
        if dice.u8(0..100) >= spell.chance {
            return None;
        }
        let trouble = spell.trouble.unwrap_or_else(|| Trouble::drawn(dice));
        *books.troubles.entry(trouble.name()).or_default() += 1;
        Some(trouble)
    }

    /// A number below this one, by chance.
    pub(crate) fn draw(&self, service: Service, below: u64) -> u64 {
        self.books().dice[service as usize].u64(0..below)
    }
}

impl Books {
    /// Puts the task of a call into the world, and says what it is called.
    pub(crate) fn add(&mut self, call: CallPlan) -> String {
        let key = key(&call);
        let task = Task {
            call,
            taken: 0,
            effects: Vec::new(),
        };
        assert!(self.tasks.insert(key.clone(), task).is_none(), "each call has a task of its own");
        key
    }

    /// How many tasks a vendor took twice.
    pub(crate) fn repeated(&self) -> usize {
        self.tasks.values().filter(|task| task.taken > 1).count()
    }

    /// What has been logged, as one number.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.log.hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.log {
            writeln!(text, "{line}").unwrap();
        }
        text
    }
}

/// The id of a call's task, as its provider wants it.
pub(crate) fn id(call: &CallPlan) -> String {
    let number = call.number;
    match call.verb.service {
        Service::Zstack => format!("{number:032x}"),
        Service::Prime => number.to_string(),
        Service::Steady | Service::Keyed | Service::Fickle => format!("t-{number}"),
        Service::Cfw | Service::Dbss | Service::Hss | Service::Identity => format!("{number:08x}-0000-4000-8000-000000000000"),
    }
}

fn key(call: &CallPlan) -> String {
    format!("{}/{}", call.verb.provider, id(call))
}

/// The time of the simulation in milliseconds, seen from a machine in it.
pub(crate) fn now() -> u64 {
    let elapsed = turmoil::sim_elapsed().expect("asked on a machine of the simulation");
    u64::try_from(elapsed.as_millis()).unwrap()
}

impl Record {
    /// What the caller says in the log.
    pub(crate) fn line(&self) -> String {
        let what = if self.call.is_look { "look" } else { self.call.verb.action };
        let took = self.ended - self.began;
        format!(
            "call {}: {what} {} -> {} after {took} ms",
            self.call.number,
            self.key,
            self.told.word()
        )
    }
}

impl Told {
    /// The outcome, or the kind of what happened in place of an answer.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Answer { body, .. } => {
                let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
                document["outcome"].as_str().unwrap_or("nonsense").to_owned()
            }
            Self::Broken(_) | Self::HungUp | Self::Nothing | Self::NotConnected => "no answer".to_owned(),
        }
    }

    /// `202 accepted`, `503 VENDOR_UNREACHABLE not_done`, or what happened in place of an answer.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Answer { status, body, .. } => {
                let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
                let member = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
                let already = if document["already"] == true { " already" } else { "" };
                format!("{status} {} {}{already}", member("outcome"), member("reason"))
            }
            Self::Broken(why) => format!("the connection broke: {why}"),
            Self::HungUp => "hung up".to_owned(),
            Self::Nothing => "no answer".to_owned(),
            Self::NotConnected => "no connection".to_owned(),
        }
    }
}
