//! Results per id: a reply that lists which tasks succeeded and which did not.
//!
//! **Shape**: `{"success":[{"id":2}],"failure":[{"id":12,"message":"…"}]}` -> task `2` succeeded, task `12` is `ACTION_FAILED`, any other
//! one is not mentioned: `BAD_VENDOR_RESPONSE`.
//!
//! **Invariants**: an id succeeded only where it stands among the successes once and nowhere else. A reply for many tasks is read once,
//! and means for each of them what it would mean for that one alone.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::bindings::Bound;
use super::document::Document;
use super::expression::Bindings;
use super::fault::clean;
use super::reply::{MAX_TEXT_CHARS, Told};
use super::template::{Placeholder, Template};
use crate::model::error::{GatewayError, VendorFault};
use crate::model::reason::Reason;

/// Results per id.
#[derive(Debug)]
pub struct Items {
    /// The entries that succeeded.
    pub done: Placeholder,
    /// The entries that failed.
    pub failed: Placeholder,
    /// An entry's id, over `item`.
    pub id: Template,
    /// An entry's message, over `item`.
    pub message: Option<Template>,
    /// What an entry of `failed` means.
    pub reason: Reason,
    /// Does anything of it read the call? Then each call has to search for itself.
    pub reads_call: bool,
}

/// What the list of results says about one id: the messages of its entries.
#[derive(Clone, Debug, Default)]
struct Found {
    done: Vec<Option<String>>,
    failed: Vec<Option<String>>,
}

/// A list of results by id; nothing where it cannot be read.
type Index = Option<HashMap<String, Found>>;

/// What of a reply is the same for all calls that it tells of.
#[derive(Debug, Default)]
pub(super) struct Shared {
    misfit: OnceCell<Option<String>>,
    /// By the rule's place; a route has few.
    indexes: RefCell<Vec<(*const Items, Rc<Index>)>>,
}

impl Shared {
    /// Why the body does not fit its schema; looked at once.
    pub(super) fn misfit(&self, look: impl FnOnce() -> Option<String>) -> Option<String> {
        self.misfit.get_or_init(look).clone()
    }

    fn index(&self, items: &Items, bindings: &Bindings<'_>) -> Rc<Index> {
        let mut indexes = self.indexes.borrow_mut();
        if let Some((_, index)) = indexes.iter().find(|(known, _)| std::ptr::eq(*known, items)) {
            return Rc::clone(index);
        }
        let index = Rc::new(items.index(bindings));
        indexes.push((items, Rc::clone(&index)));
        index
    }
}

impl Items {
    /// The message of the id's entry, where it is among those that succeeded, and only there.
    ///
    /// # Errors
    /// The rule's reason where it is among those that failed, and only there; `BAD_VENDOR_RESPONSE` otherwise.
    pub(super) fn verdict(&self, told: &Told<'_>, id: &str) -> Result<Option<String>, Box<GatewayError>> {
        let unclear = |detail: &str| Err(Box::new(told.bad(detail)));
        let found = match told.shared.filter(|_| !self.reads_call) {
            Some(shared) => {
                let index = shared.index(self, told.bindings);
                index.as_ref().as_ref().map(|index| index.get(id).cloned().unwrap_or_default())
            }
            None => self.find(id, told.bindings).ok(),
        };
        let Some(found) = found else {
            return unclear("the vendor's list of results cannot be read");
        };
        match (found.done.as_slice(), found.failed.as_slice()) {
            ([message], []) => Ok(message.clone()),
            ([], [message]) => {
                let fault = told.fault();
                let fault = VendorFault {
                    message: message.clone().or(fault.message),
                    ..fault
                };
                let detail = "the vendor lists the task among the failures";
                Err(Box::new(GatewayError::new(self.reason, detail).with_vendor(fault)))
            }
            ([], []) => unclear("the vendor's answer does not mention the task"),
            _ => unclear("the vendor's answer mentions the task more than once"),
        }
    }

    fn find(&self, id: &str, bindings: &Bindings<'_>) -> Result<Found, ()> {
        let mut found = Found::default();
        let Found { done, failed } = &mut found;
        for (list, messages) in [(&self.done, done), (&self.failed, failed)] {
            self.each(list, bindings, |entry, message| {
                if entry == id {
                    messages.push(message());
                }
            })?;
        }
        Ok(found)
    }

    fn index(&self, bindings: &Bindings<'_>) -> Index {
        let mut index: HashMap<String, Found> = HashMap::new();
        let of_done: fn(&mut Found) -> &mut Vec<Option<String>> = |found| &mut found.done;
        let of_failed: fn(&mut Found) -> &mut Vec<Option<String>> = |found| &mut found.failed;
        for (list, part) in [(&self.done, of_done), (&self.failed, of_failed)] {
            self.each(list, bindings, |entry, message| {
                part(index.entry(entry.to_owned()).or_default()).push(message());
            })
            .ok()?;
        }
        Some(index)
    }

    /// Id and message of every entry of a list.
    fn each(&self, list: &Placeholder, bindings: &Bindings<'_>, visit: impl FnMut(&str, &dyn Fn() -> Option<String>)) -> Result<(), ()> {
        match list.expression.items(bindings) {
            Some(Ok(items)) => {
                let items: Vec<Document<'_>> = items.map(Document::from).collect();
                return self.each_of(&items, bindings, visit);
            }
            Some(Err(_)) if list.optional => return Ok(()),
            Some(Err(_)) => return Err(()),
            None => {}
        }
        let Some(list) = list.evaluate(bindings).map_err(drop)? else {
            return Ok(());
        };
        self.each_of(list.as_array().ok_or(())?, bindings, visit)
    }

    fn each_of<'i, T>(
        &self,
        items: &'i [T],
        bindings: &Bindings<'i>,
        mut visit: impl FnMut(&str, &dyn Fn() -> Option<String>),
    ) -> Result<(), ()>
    where
        &'i T: Into<Bound<'i>>,
    {
        let mut bindings = bindings.over_items("item");
        for item in items {
            bindings.set_item(item);
            let id = self.id.text(&bindings).map_err(drop)?.ok_or(())?;
            let message = || {
                let message = self.message.as_ref().and_then(|message| message.text(&bindings).ok().flatten());
                message.and_then(|message| clean(&message, MAX_TEXT_CHARS))
            };
            visit(&id, &message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, LazyLock};

    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use crate::codec::Limits;
    use crate::codec::xml::read_flat;
    use crate::config::compile::compile;
    use crate::config::environment::Environment;
    use crate::config::shipped;
    use crate::mapping::reply::ReplyBody;
    use crate::mapping::request::{CallValues, Fresh};
    use crate::model::call::UpstreamReply;
    use crate::route::Route;

    /// A route whose vendor takes lists.
    static ROUTE: LazyLock<Arc<Route>> = LazyLock::new(|| {
        let table = compile(&shipped::sources(), shipped::ROUTES_FILE, &Environment::default())
            .unwrap()
            .table;
        let mut routes = table.providers.values().flat_map(|provider| provider.actions.values());
        Arc::clone(routes.find(|route| route.batch.is_some()).unwrap())
    });

    fn entries(name: &str, ids: &[i64]) -> String {
        let entry = |id: &i64| format!("<{name}><id>{id}</id><message>{name} {id}</message></{name}>");
        let inside: String = ids.iter().map(entry).collect();
        format!("<{name}>{inside}</{name}>")
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn a_reply_for_many_means_for_each_what_it_means_for_one(
            done in prop::collection::vec(0..8_i64, 0..6),
            failed in prop::collection::vec(0..8_i64, 0..4),
            (status, broken) in (prop::sample::select(vec![200_u16, 200, 200, 404, 503]), prop::sample::select(vec!["", "", "", "<x/>", "<id>x</id>"])),
        ) {
            let route = &*ROUTE;
            let results = format!("{}{}{broken}", entries("failure", &failed), entries("success", &done));
            let body = format!("<mgmtResponse><operationResult>{results}</operationResult></mgmtResponse>");
            let reply = UpstreamReply { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: body.into() };
            let ReplyBody::Xml(shape) = &route.reply.body else { unreachable!() };
            prop_assert!(read_flat(&reply.body, shape, &Limits::REPLY).is_some());
            // A comment leaves it to the careful reader, which makes it a value.
            let commented = UpstreamReply { body: [&reply.body[..], b"<!---->"].concat().into(), ..reply.clone() };
            let calls: Vec<(CallValues, String)> = (0..8_i64).map(|id| {
                let values = CallValues { id: id.into(), body: Map::new(), call: Fresh::nothing(), settings: Arc::new(Value::Null) };
                (values, id.to_string())
            }).collect();
            let together = route.reply.normalize_each(calls.iter().map(|(values, id)| (values, id.as_str())), &reply);
            prop_assert_eq!(together.len(), calls.len());
            for (reading, (values, id)) in together.iter().zip(&calls) {
                let alone = route.reply.normalize(values, id, &reply);
                prop_assert_eq!((&reading.result, reading.drift, &reading.job), (&alone.result, alone.drift, &alone.job));
                let carefully = route.reply.normalize(values, id, &commented);
                prop_assert_eq!((&alone.result, alone.drift, &alone.job), (&carefully.result, carefully.drift, &carefully.job));
                let id: i64 = id.parse().unwrap();
                let times = |list: &[i64]| list.iter().filter(|listed| **listed == id).count();
                if status == 200 && broken.is_empty() {
                    prop_assert_eq!(reading.result.is_ok(), (times(&done), times(&failed)) == (1, 0));
                }
            }
        }
    }
}
