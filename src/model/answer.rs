//! The canonical answer: what happened, in the same words for every vendor.
//!
//! **Shape**: `Answer { outcome: Accepted, state: Stopping, .. }` -> `{"task":"tasks/cfw/1dcd…",…,"outcome":"accepted",…}` with status 202.

use serde::Serialize;

/// What is known about the effect at the vendor (design: law 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The vendor took the request; the effect is under way.
    Accepted,
    /// The vendor confirms the effect.
    Done,
    /// Nothing happened at the vendor.
    NotDone,
    /// It may have happened: the answer was lost or makes no sense.
    Unknown,
}

impl Outcome {
    /// The word in answers, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Done => "done",
            Self::NotDone => "not_done",
            Self::Unknown => "unknown",
        }
    }
}

/// The canonical states of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Ended with a failure.
    Failed,
    /// Waits to run.
    Pending,
    /// Runs.
    Running,
    /// Was stopped.
    Stopped,
    /// Is being stopped.
    Stopping,
    /// Ended by itself, as planned.
    Succeeded,
    /// The vendor's word for the state is not known.
    Unknown,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::Pending,
        Self::Running,
        Self::Stopped,
        Self::Stopping,
        Self::Succeeded,
        Self::Unknown,
    ];

    /// The word in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Unknown => "unknown",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Is the action confirmed, or only taken?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// 202: taken, under way.
    Accepted,
    /// 200: confirmed.
    Done,
}

impl Success {
    /// The outcome that it is.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Accepted => Outcome::Accepted,
            Self::Done => Outcome::Done,
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Accepted => 202,
            Self::Done => 200,
        }
    }
}

/// What the vendor's answer said about the task, before it is put into words for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Confirmed or taken.
    pub success: Success,
    /// The state of the task as far as the answer tells.
    pub state: TaskState,
    /// Was there nothing left to do when the call came?
    pub already: bool,
    /// The task's name, where the vendor tells it.
    pub name: Option<String>,
    /// The vendor's message, where it has one.
    pub message: Option<String>,
    /// When the task was made (RFC 3339), where that is known for certain.
    pub created_at: Option<String>,
    /// When the task last changed (RFC 3339), where that is known for certain.
    pub updated_at: Option<String>,
    /// The vendor's HTTP status.
    pub vendor_status: u16,
    /// The vendor's id for the exchange.
    pub vendor_request_id: Option<String>,
}

impl Answer {
    /// The document that the caller gets.
    ///
    /// `id` is always the id that the caller asked for, whatever the vendor's answer names (a firewall's id, say). A look
    /// has no action.
    #[must_use]
    pub fn to_document(&self, provider: &str, id: &str, action: Option<&str>, request_id: &str) -> String {
        to_json(&Document {
            task: format!("tasks/{provider}/{id}"),
            provider,
            id,
            action,
            outcome: self.success.outcome().as_str(),
            state: self.state.as_str(),
            already: self.already,
            name: self.name.as_deref(),
            message: self.message.as_deref(),
            created_at: self.created_at.as_deref(),
            updated_at: self.updated_at.as_deref(),
            operation: None,
            request_id,
            vendor: Vendor {
                status: self.vendor_status,
                request_id: self.vendor_request_id.as_deref(),
            },
        })
    }
}

/// The members in the order in which people read them.
#[derive(Serialize)]
struct Document<'a> {
    task: String,
    provider: &'a str,
    id: &'a str,
    action: Option<&'a str>,
    outcome: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already: bool,
    name: Option<&'a str>,
    message: Option<&'a str>,
    created_at: Option<&'a str>,
    updated_at: Option<&'a str>,
    operation: Option<&'a str>,
    request_id: &'a str,
    vendor: Vendor<'a>,
}

#[derive(Serialize)]
struct Vendor<'a> {
    status: u16,
    request_id: Option<&'a str>,
}

/// A document of plain members as JSON text.
pub(super) fn to_json<T: Serialize>(document: &T) -> String {
    serde_json::to_string(document).expect("members are texts, numbers and booleans, and names are texts")
}
