//! The canonical answer: what happened, in the same words for every vendor.
//!
//! **Shape**: `Answer { outcome: Accepted, state: Stopping, .. }` -> `{"task":"tasks/cfw/1dcd…",…,"outcome":"accepted",…}` with status 202.

use serde::Serialize;

use crate::json_text;

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
    /// The name under which the action can be asked for while it is under way: `operations/…`.
    pub operation: Option<String>,
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
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let texts = 2 * (provider.len() + id.len()) + action.map_or(0, str::len) + request_id.len();
        let told = length(&self.name) + length(&self.message) + length(&self.operation) + length(&self.vendor_request_id);
        // The members in the order in which people read them, written at once: every answer goes through here.
        let mut out = String::with_capacity(USUAL_FRAME + texts + told);
        out.push_str("{\"task\":\"tasks/");
        // Both stand there twice, and are escaped once.
        let provider_at = out.len();
        json_text::escaped(&mut out, provider);
        out.push('/');
        let id_at = out.len();
        json_text::escaped(&mut out, id);
        let end = out.len();
        out.push_str("\",\"provider\":\"");
        out.extend_from_within(provider_at..id_at - 1);
        out.push_str("\",\"id\":\"");
        out.extend_from_within(id_at..end);
        out.push_str("\",\"action\":");
        json_text::option(&mut out, action);
        out.push_str(",\"outcome\":");
        // Words of ours hold nothing to escape.
        out.push('"');
        out.push_str(self.success.outcome().as_str());
        out.push_str("\",\"state\":\"");
        out.push_str(self.state.as_str());
        out.push('"');
        if self.already {
            out.push_str(",\"already\":true");
        }
        out.push_str(",\"name\":");
        json_text::option(&mut out, self.name.as_deref());
        out.push_str(",\"message\":");
        json_text::option(&mut out, self.message.as_deref());
        out.push_str(",\"created_at\":");
        json_text::option(&mut out, self.created_at.as_deref());
        out.push_str(",\"updated_at\":");
        json_text::option(&mut out, self.updated_at.as_deref());
        out.push_str(",\"operation\":");
        json_text::option(&mut out, self.operation.as_deref());
        out.push_str(",\"request_id\":");
        json_text::text(&mut out, request_id);
        out.push_str(",\"vendor\":{\"status\":");
        json_text::number(&mut out, self.vendor_status);
        out.push_str(",\"request_id\":");
        json_text::option(&mut out, self.vendor_request_id.as_deref());
        out.push_str("}}");
        out
    }
}

/// What stands in a document beside its texts, with room for two times.
const USUAL_FRAME: usize = 320;

/// A document of plain members as JSON text.
pub(super) fn to_json<T: Serialize>(document: &T) -> String {
    serde_json::to_string(document).expect("members are texts, numbers and booleans, and names are texts")
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The same as a library writes it.
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

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9a-z-]{0,40}",
            "[\\u{0}-\\u{2f}\\u{5b}-\\u{5d}\\u{7e}-\\u{a0}]{0,12}",
            any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn a_document_is_what_a_library_writes(
            (provider, id, action, request_id) in (text(), text(), option::of(text()), text()),
            (name, message, created_at, updated_at) in (option::of(text()), option::of(text()), option::of(text()), option::of(text())),
            (operation, vendor_status, vendor_request_id) in (option::of(text()), any::<u16>(), option::of(text())),
            (done, already, state) in (any::<bool>(), any::<bool>(), prop::sample::select(TaskState::ALL.to_vec())),
        ) {
            let success = if done { Success::Done } else { Success::Accepted };
            let answer = Answer { success, state, already, name, message, created_at, updated_at, operation, vendor_status, vendor_request_id };
            let expected = to_json(&Document {
                task: format!("tasks/{provider}/{id}"),
                provider: &provider,
                id: &id,
                action: action.as_deref(),
                outcome: success.outcome().as_str(),
                state: state.as_str(),
                already,
                name: answer.name.as_deref(),
                message: answer.message.as_deref(),
                created_at: answer.created_at.as_deref(),
                updated_at: answer.updated_at.as_deref(),
                operation: answer.operation.as_deref(),
                request_id: &request_id,
                vendor: Vendor { status: vendor_status, request_id: answer.vendor_request_id.as_deref() },
            });
            prop_assert_eq!(answer.to_document(&provider, &id, action.as_deref(), &request_id), expected);
        }
    }

    #[test]
    fn every_character_is_escaped_as_json_asks() {
        for found in '\0'..='\u{100}' {
            let mut out = String::new();
            json_text::text(&mut out, &format!("a{found}b"));
            assert_eq!(out, json!(format!("a{found}b")).to_string());
        }
        for number in 0..=u16::MAX {
            let mut out = String::new();
            json_text::number(&mut out, number);
            assert_eq!(out, number.to_string());
        }
    }
}
