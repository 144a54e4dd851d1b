//! Many calls that are checked and not made: what is said of each task, and the vendor requests that would carry them.
//!
//! **Shape**: `{"validate_only":true,"outcome":"not_done","results":[{"task":"tasks/prime/15",…},{"task":"tasks/prime/x",…,"error":{…}}],
//! "vendor_requests":[{"tasks":["tasks/prime/15"],"request":{…}}],"rules":{"prime":{…}},"summary":{…},"request_id":"…"}`.
//!
//! **Invariants**: every task has its result, in the order of the request; each that is valid stands in one vendor request, and no other
//! one does. What applies to all calls of a provider is said once.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Checked, Preview, Request, Rules, written};
use crate::layer::CallContext;
use crate::model::answer::Outcome;
use crate::model::batch::Summary;
use crate::model::error::GatewayError;

/// What is shown of many calls.
#[derive(Debug, Default)]
pub struct Many {
    results: Vec<String>,
    requests: Vec<String>,
    rules: BTreeMap<String, String>,
    /// Would one of them fail?
    fails: bool,
}

/// A request, and for which tasks it is.
#[derive(Serialize)]
struct VendorRequest<'a> {
    tasks: Vec<String>,
    request: Request<'a>,
}

impl Many {
    /// One request to a vendor for these tasks.
    ///
    /// # Errors
    /// Where it could not be sent.
    pub fn request(&mut self, preview: &Preview, context: &CallContext, together: &[&Checked]) -> Result<(), GatewayError> {
        let shown = preview.shown(context, together)?;
        self.requests.push(written(&VendorRequest {
            tasks: together.iter().map(|checked| checked.name()).collect(),
            request: Request::of(&shown),
        }));
        Ok(())
    }

    /// The next task would be acted on.
    pub fn valid(&mut self, checked: &Checked) {
        let (provider, route) = (&checked.call.provider, &checked.call.route);
        if !self.rules.contains_key(&provider.name) {
            self.rules.insert(provider.name.clone(), written(&Rules::of(provider, route)));
        }
        self.results.push(written(&checked.valid()));
    }

    /// The next task would not be: its result as the batch would have it.
    pub fn refused(&mut self, result: String) {
        self.fails = true;
        self.results.push(result);
    }

    /// 200 where all would be sent; 207 where one has to look inside.
    #[must_use]
    pub fn status(&self) -> u16 {
        if self.fails { 207 } else { 200 }
    }

    /// The answer.
    #[must_use]
    pub fn to_document(&self, summary: &Summary, request_id: &str) -> String {
        let rules = Vec::from_iter(self.rules.iter().map(|(provider, rules)| format!("{}:{rules}", written(provider))));
        format!(
            "{{\"validate_only\":true,\"outcome\":{},\"results\":[{}],\"vendor_requests\":[{}],\"rules\":{{{}}},\"summary\":{},\"request_id\":{}}}",
            written(&Outcome::NotDone.as_str()),
            self.results.join(","),
            self.requests.join(","),
            rules.join(","),
            summary.counts(),
            written(&request_id),
        )
    }
}
