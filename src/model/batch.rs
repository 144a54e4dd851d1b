//! The answer to a batch: what became of each task, in the order of the request.
//!
//! **Shape**: `{"results":[{"task":"tasks/prime/15",…,"outcome":"accepted",…},{"task":"tasks/prime/99",…,"outcome":"not_done","state":null,…,
//! "error":{…}}],"summary":{"done":0,"accepted":1,"not_done":1,"unknown":0},"request_id":"…"}` with status 207.
//!
//! **Invariants**: a result has the members of a single answer; one that is no success has no state, and the problem document that a
//! single call would get. 200 only where all are done, 202 only where all succeeded.

use super::answer::Outcome;
use crate::json_text;

/// How many tasks came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The vendor confirms the effect.
    pub done: usize,
    /// The vendor took the request.
    pub accepted: usize,
    /// Nothing happened.
    pub not_done: usize,
    /// It may have happened.
    pub unknown: usize,
}

/// One task of a batch that is no success.
#[derive(Clone, Copy, Debug)]
pub struct Unsuccessful<'a> {
    /// The provider as the caller named it.
    pub provider: &'a str,
    /// The id that the caller asked for.
    pub id: &'a str,
    /// The verb.
    pub action: &'a str,
    /// What is known about the effect.
    pub outcome: Outcome,
    /// The vendor's status and request id, where there is an answer of it.
    pub vendor: Option<(u16, Option<&'a str>)>,
    /// After how many seconds another try makes sense.
    pub retry_after: Option<u64>,
    /// The problem document of a single call.
    pub problem: &'a str,
}

impl Summary {
    /// One more came to this.
    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Accepted => self.accepted += 1,
            Outcome::Done => self.done += 1,
            Outcome::NotDone => self.not_done += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }

    /// The HTTP status of the answer: 207 (RFC 4918) says that one has to look inside.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.outcome() {
            Outcome::Done => 200,
            Outcome::Accepted => 202,
            Outcome::NotDone | Outcome::Unknown => 207,
        }
    }

    /// All of it in one word: what can be said of the worst of them.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.unknown > 0 {
            Outcome::Unknown
        } else if self.not_done > 0 {
            Outcome::NotDone
        } else if self.accepted > 0 {
            Outcome::Accepted
        } else {
            Outcome::Done
        }
    }

    /// The document that the caller gets; `results` are those of [`Unsuccessful::to_document`] and of single answers.
    #[must_use]
    pub fn to_document(&self, results: &[String], request_id: &str) -> String {
        let length: usize = results.iter().map(|result| result.len() + 1).sum();
        let mut out = String::with_capacity(length + request_id.len() + USUAL_FRAME);
        out.push_str("{\"results\":[");
        for (at, result) in results.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(result);
        }
        out.push_str("],\"summary\":");
        out.push_str(&self.counts());
        out.push_str(",\"request_id\":");
        json_text::text(&mut out, request_id);
        out.push('}');
        out
    }

    /// `{"done":0,"accepted":1,"not_done":1,"unknown":0}`.
    #[must_use]
    pub fn counts(&self) -> String {
        let mut out = String::from("{");
        for (at, (name, count)) in [
            ("done", self.done),
            ("accepted", self.accepted),
            ("not_done", self.not_done),
            ("unknown", self.unknown),
        ]
        .into_iter()
        .enumerate()
        {
            out.push_str(if at > 0 { ",\"" } else { "\"" });
            out.push_str(name);
            out.push_str("\":");
            json_text::number(&mut out, count);
        }
        out.push('}');
        out
    }
}

impl Unsuccessful<'_> {
    /// Its result in the answer.
    #[must_use]
    pub fn to_document(&self, request_id: &str) -> String {
        let mut out = String::with_capacity(self.problem.len() + 2 * (self.provider.len() + self.id.len()) + USUAL_FRAME);
        out.push_str("{\"task\":\"tasks/");
        json_text::escaped(&mut out, self.provider);
        out.push('/');
        json_text::escaped(&mut out, self.id);
        out.push_str("\",\"provider\":");
        json_text::text(&mut out, self.provider);
        out.push_str(",\"id\":");
        json_text::text(&mut out, self.id);
        out.push_str(",\"action\":");
        json_text::text(&mut out, self.action);
        out.push_str(",\"outcome\":");
        json_text::text(&mut out, self.outcome.as_str());
        out.push_str(
            ",\"state\":null,\"name\":null,\"message\":null,\"created_at\":null,\"updated_at\":null,\"operation\":null,\"request_id\":",
        );
        json_text::text(&mut out, request_id);
        out.push_str(",\"vendor\":");
        match self.vendor {
            Some((status, id)) => {
                out.push_str("{\"status\":");
                json_text::number(&mut out, status);
                out.push_str(",\"request_id\":");
                json_text::option(&mut out, id);
                out.push('}');
            }
            None => out.push_str("null"),
        }
        if let Some(after) = self.retry_after {
            out.push_str(",\"retry_after\":");
            json_text::number(&mut out, after);
        }
        out.push_str(",\"error\":");
        out.push_str(self.problem);
        out.push('}');
        out
    }
}

/// What stands in a document beside its texts.
const USUAL_FRAME: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_status_is_that_of_the_worst() {
        use Outcome::{Accepted, Done, NotDone, Unknown};
        for (outcomes, status, outcome) in [
            (&[Done, Done][..], 200, Done),
            (&[Done, Accepted], 202, Accepted),
            (&[Accepted], 202, Accepted),
            (&[Done, NotDone, Accepted], 207, NotDone),
            (&[NotDone], 207, NotDone),
            (&[NotDone, Unknown, Done], 207, Unknown),
        ] {
            let mut summary = Summary::default();
            outcomes.iter().for_each(|outcome| summary.count(*outcome));
            assert_eq!((summary.status(), summary.outcome()), (status, outcome), "{outcomes:?}");
            let document: Value = serde_json::from_str(&summary.to_document(&["1".to_owned(), "{}".to_owned()], "r\"1")).unwrap();
            let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
            let counts = json!({ "done": count(Done), "accepted": count(Accepted), "not_done": count(NotDone), "unknown": count(Unknown) });
            assert_eq!(document, json!({ "results": [1, {}], "summary": counts, "request_id": "r\"1" }));
        }
    }

    #[test]
    fn a_result_without_success_has_the_members_of_an_answer_and_the_problem() {
        let result = Unsuccessful {
            provider: "a\"cme",
            id: "\u{1}\\",
            action: "stop",
            outcome: Outcome::Unknown,
            vendor: Some((200, Some("v"))),
            retry_after: Some(5),
            problem: "{\"reason\":\"X\"}",
        };
        let document: Value = serde_json::from_str(&result.to_document("r")).unwrap();
        let expected = json!({ "task": "tasks/a\"cme/\u{1}\\", "provider": "a\"cme", "id": "\u{1}\\", "action": "stop", "outcome": "unknown",
            "state": null, "name": null, "message": null, "created_at": null, "updated_at": null, "operation": null, "request_id": "r",
            "vendor": { "status": 200, "request_id": "v" }, "retry_after": 5, "error": { "reason": "X" } });
        assert_eq!(document, expected);
        let result = Unsuccessful {
            vendor: None,
            retry_after: None,
            ..result
        };
        let document: Value = serde_json::from_str(&result.to_document("r")).unwrap();
        assert_eq!((&document["vendor"], document.get("retry_after")), (&Value::Null, None));
    }
}
