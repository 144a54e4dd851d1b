//! The typed mirror of `limits`, of a provider, its `task` and its actions, and of the shared `quotas`.
//!
//! **Shape**: `limits: { in_flight: 5, queue: { length: 8, wait: 1s }, rate: 20/s, burst: 5, quotas: acme, breaker: none }` -> [`Limits`];
//! `acme: { rate: 4/m, burst: 2 }` -> [`Quota`].

use std::time::Duration;

use crate::config::fields::{self, Fields, Item, Keys};
use crate::config::file::{Decoder, NAME_RULE};
use crate::config::place::{Place, Spanned};
use crate::config::yaml::{Key, NodeValue};
use crate::mapping::fault::StatusPattern;
use crate::route::{DEFAULT_BURST, Rate};

/// The limits of a provider that the file names; the others have defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once.
    pub in_flight: Option<Spanned<usize>>,
    /// Who comes when there are that many.
    pub queue: Queue,
    /// What every call respects.
    pub calls: CallLimits,
    /// When the provider is left alone.
    pub breaker: Breaker,
    /// For one connection attempt.
    pub connect_timeout: Option<Spanned<Duration>>,
    /// For one vendor call.
    pub timeout: Option<Spanned<Duration>>,
    /// A larger answer is not read.
    pub max_reply_bytes: Option<Spanned<usize>>,
    /// Keep the connection or close it.
    pub connection: Option<Spanned<Connection>>,
}

/// What happens to a connection after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It is closed.
    Close,
    /// It is kept for the next one.
    KeepAlive,
}

/// The calls that wait for a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many.
    pub length: Option<Spanned<usize>>,
    /// How long.
    pub wait: Option<Spanned<Duration>>,
}

/// How many calls in a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// A rate of its own.
    pub rate: Option<Spanned<Rate>>,
    /// Names of `quotas`.
    pub quotas: Vec<Spanned<String>>,
}

/// When the provider is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Never: `breaker: none`.
    pub none: bool,
    /// Calls in a row without an answer.
    pub consecutive: Option<Spanned<u32>>,
    /// Percent of the calls in a window that fail.
    pub share: Option<Spanned<u32>>,
    /// The least number of calls in a window.
    pub calls: Option<Spanned<u32>>,
    /// The window.
    pub window: Option<Spanned<Duration>>,
    /// The first pause.
    pub pause: Option<Spanned<Duration>>,
    /// The longest one.
    pub longest_pause: Option<Spanned<Duration>>,
    /// The answers that are failures.
    pub status: Option<Spanned<StatusPattern>>,
}

/// One of `quotas`: a rate that several share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Its name.
    pub name: Spanned<String>,
    /// Where it stands.
    pub place: Place,
    /// How much; nothing only after a fault.
    pub rate: Option<Spanned<Rate>>,
}

impl Decoder<'_> {
    /// One of `quotas`.
    pub(crate) fn quota(&mut self, key: &Key, item: Item) -> Quota {
        let name = self.name(key, &item.place.path, NAME_RULE);
        let mut fields = Fields::open(item, &QUOTA_KEYS, self.faults);
        Quota {
            name,
            rate: self.rate(&mut fields),
            place: fields.place,
        }
    }

    /// The key `limits` of a provider.
    pub(crate) fn limits(&mut self, item: Item) -> Limits {
        let mut fields = Fields::open(item, &LIMITS_KEYS, self.faults);
        let connection = [("keep-alive", Connection::KeepAlive), ("close", Connection::Close)];
        Limits {
            in_flight: fields.integer("in_flight", (1, MAX_IN_FLIGHT), self.faults),
            queue: fields.take("queue").map(|item| self.queue(item)).unwrap_or_default(),
            calls: self.calls(&mut fields),
            breaker: fields.take("breaker").map(|item| self.breaker(item)).unwrap_or_default(),
            connect_timeout: fields.duration("connect_timeout", MAX_TIMEOUT, self.faults),
            timeout: fields.duration("timeout", MAX_TIMEOUT, self.faults),
            max_reply_bytes: fields.integer("max_reply_bytes", (1, MAX_REPLY_BYTES), self.faults),
            connection: fields.word("connection", &connection, self.faults),
        }
    }

    /// The key `limits` of a `task` or an action.
    pub(crate) fn call_limits(&mut self, item: Item) -> CallLimits {
        let mut fields = Fields::open(item, &CALL_LIMITS_KEYS, self.faults);
        self.calls(&mut fields)
    }

    fn calls(&mut self, fields: &mut Fields) -> CallLimits {
        let rate = self.rate(fields);
        let names = match fields.take("quotas") {
            Some(item) if matches!(item.node.value, NodeValue::List(_)) => fields::items(item, self.faults),
            one => one.into_iter().collect(),
        };
        let mut quotas: Vec<Spanned<String>> = Vec::new();
        for item in names {
            let path = item.place.path.clone();
            let Some(name) = fields::take_text(item, self.faults) else {
                continue;
            };
            if quotas.iter().any(|known| known.value == name.value) {
                self.faults
                    .fault(name.span, &path, format!("`{}` stands there twice", name.value.escape_debug()));
            } else {
                quotas.push(name);
            }
        }
        CallLimits { rate, quotas }
    }

    /// The keys `rate` and `burst`.
    fn rate(&mut self, fields: &mut Fields) -> Option<Spanned<Rate>> {
        let item = fields.take("rate");
        let burst_span = fields.span_of("burst");
        let burst = fields.integer::<u32>("burst", (1, MAX_CALLS), self.faults);
        let Some(Item { place, node }) = item else {
            if let Some(span) = burst_span.filter(|_| !fields.is_unusable()) {
                self.faults
                    .fault(span, &fields.place.path.key("burst"), "`burst` without `rate`")
                    .hint("`rate` says how many calls in a time, `burst` how many of them at once");
            }
            return None;
        };
        let text = match &node.value {
            NodeValue::Refused => return None,
            NodeValue::Text(text) => text.as_str(),
            NodeValue::Bool(_) | NodeValue::Int(_) | NodeValue::List(_) | NodeValue::Map(_) | NodeValue::Null => "",
        };
        match parse_rate(text) {
            Some((calls, per)) if (1..=MAX_CALLS).contains(&calls) => {
                let rate = Rate {
                    calls: u32::try_from(calls).ok()?,
                    per,
                    burst: burst.map_or(DEFAULT_BURST, |burst| burst.value),
                };
                Some(Spanned::new(rate, node.span))
            }
            Some(_) => {
                let message = format!("expected a rate of 1 to {MAX_CALLS} calls, found {}", node.describe());
                self.faults.fault(node.span, &place.path, message);
                None
            }
            None => {
                self.faults
                    .fault(node.span, &place.path, format!("expected a rate, found {}", node.describe()))
                    .hint("a rate is a whole number and a unit: `20/s`, `5/m`, `100/h`");
                None
            }
        }
    }

    fn queue(&mut self, item: Item) -> Queue {
        let mut fields = Fields::open(item, &QUEUE_KEYS, self.faults);
        Queue {
            length: fields.integer("length", (0, MAX_QUEUE), self.faults),
            wait: fields.duration("wait", MAX_WAIT, self.faults),
        }
    }

    /// `none`, or a mapping.
    fn breaker(&mut self, item: Item) -> Breaker {
        if item.node.as_text().is_some() {
            return Breaker {
                none: fields::take_word(item, &[("none", ())], self.faults).is_some(),
                ..Breaker::default()
            };
        }
        let mut fields = Fields::open(item, &BREAKER_KEYS, self.faults);
        let breaker = Breaker {
            none: false,
            consecutive: fields.integer("consecutive", (1, MAX_CONSECUTIVE), self.faults),
            share: fields.take("share").and_then(|item| self.share(&item)),
            calls: fields.integer("calls", (1, MAX_WINDOW_CALLS), self.faults),
            window: fields.duration("window", MAX_PAUSE, self.faults),
            pause: fields.duration("pause", MAX_PAUSE, self.faults),
            longest_pause: fields.duration("longest_pause", MAX_PAUSE, self.faults),
            status: self.status(&mut fields),
        };
        let path = &fields.place.path;
        if let (Some(first), Some(longest)) = (breaker.pause, breaker.longest_pause)
            && longest.value < first.value
        {
            let message = "the longest pause is shorter than the first one";
            self.faults.fault(longest.span, &path.key("longest_pause"), message);
        }
        if let Some(status) = breaker.status.as_ref().filter(|status| !is_trouble(&status.value)) {
            self.faults
                .fault(
                    status.span,
                    &path.key("status"),
                    "a vendor that answers with less than 500 is not in trouble",
                )
                .hint("write `5xx` or a list such as `[500, 502, 504]`");
        }
        breaker
    }

    /// `50%`.
    fn share(&mut self, Item { place, node }: &Item) -> Option<Spanned<u32>> {
        if node.is_refused() {
            return None;
        }
        let percent = node
            .as_text()
            .and_then(|text| text.strip_suffix('%'))
            .and_then(|digits| digits.parse().ok());
        let share = percent.filter(|percent| (1..=100).contains(percent));
        if share.is_none() {
            self.faults
                .fault(node.span, &place.path, format!("expected a share, found {}", node.describe()))
                .hint("a share is a whole number of percent from `1%` to `100%`");
        }
        share.map(|share| Spanned::new(share, node.span))
    }
}

/// `20/s`, `5/m`, `100/h`.
fn parse_rate(text: &str) -> Option<(i128, Duration)> {
    let (number, unit) = text.split_once('/')?;
    let calls: i128 = number.parse().ok()?;
    let per = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some((calls, Duration::from_secs(per)))
}

fn is_trouble(pattern: &StatusPattern) -> bool {
    pattern.ranges.iter().all(|(first, _)| *first >= 500)
}

/// The `limits` of a provider.
pub const LIMITS_KEYS: Keys = Keys {
    what: "`limits`",
    required: &[],
    optional: &[
        "in_flight",
        "queue",
        "rate",
        "burst",
        "quotas",
        "breaker",
        "connect_timeout",
        "timeout",
        "max_reply_bytes",
        "connection",
    ],
};
/// The `limits` of a `task` or an action.
pub const CALL_LIMITS_KEYS: Keys = Keys {
    what: "`limits` of one kind of call",
    required: &[],
    optional: &["rate", "burst", "quotas"],
};
/// The `queue` of a provider's `limits`.
pub const QUEUE_KEYS: Keys = Keys {
    what: "`queue`",
    required: &[],
    optional: &["length", "wait"],
};
/// The `breaker` of a provider's `limits`.
pub const BREAKER_KEYS: Keys = Keys {
    what: "`breaker`",
    required: &[],
    optional: &["consecutive", "share", "calls", "window", "pause", "longest_pause", "status"],
};
/// One of `quotas`.
pub const QUOTA_KEYS: Keys = Keys {
    what: "a quota",
    required: &["rate"],
    optional: &["burst"],
};

/// More calls at once than any vendor's management interface bears; a larger number is a slip.
const MAX_IN_FLIGHT: i128 = 10_000;
/// As many as may be under way; each holds some tens of KiB.
const MAX_QUEUE: i128 = 10_000;
/// A caller waits half a minute for an answer by default; who waited longer here would be refused by then.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// A million in a second is no limit of any vendor.
const MAX_CALLS: i128 = 1_000_000;
/// More failures in a row than that are never seen before a share of them is.
const MAX_CONSECUTIVE: i128 = 1_000;
/// As `MAX_IN_FLIGHT`, and no more: a window counts what came to an end in it.
const MAX_WINDOW_CALLS: i128 = 10_000;
/// A provider that is left alone for longer should be taken out of the file.
const MAX_PAUSE: Duration = Duration::from_secs(3600);
/// A caller does not wait longer for one call.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// 64 MiB: replies are held in memory.
const MAX_REPLY_BYTES: i128 = 64 << 20;
