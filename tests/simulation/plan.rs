//! What a run will be: every choice of a simulation, drawn from one number before anything begins.
//!
//! **Shape**: `Plan::of(17)` -> gateways, callers with their calls, and the storm: what goes wrong where and when.
//!
//! **Invariants**: the same seed gives the same plan. Times are milliseconds of the simulation. After [`Plan::calm`] nothing goes wrong.

use fastrand::Rng;

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Window {
    pub(crate) fn has(self, at: u64) -> bool {
        (self.from..self.to).contains(&at)
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

/// One simulated run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) gateways: usize,
    pub(crate) scheme: Scheme,
    /// The stack's own deadline.
    pub(crate) deadline: u64,
    /// How finely the network moves.
    pub(crate) tick: u64,
    /// The slowest message on a healthy link.
    pub(crate) latency: u64,
    /// How long a session of the identity services lives.
    pub(crate) token_life: u64,
    pub(crate) callers: Vec<CallerPlan>,
    pub(crate) links: Vec<LinkFault>,
    pub(crate) gateway_ends: Vec<GatewayEnd>,
    /// Machines of vendors that lose power, and come back.
    pub(crate) machine_ends: Vec<(&'static str, Window)>,
    /// What the services do, in the order of [`Service::ALL`].
    pub(crate) weather: Vec<Weather>,
    /// No name has an address.
    pub(crate) names_fail: Option<Window>,
    /// Names have an address in front where nobody is.
    pub(crate) stale_names: bool,
    /// The end of the storm.
    pub(crate) calm: u64,
}

/// How taskgate proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Fixed,
    Login,
    Signature,
}

#[derive(Clone, Debug)]
pub(crate) struct CallerPlan {
    pub(crate) gateway: usize,
    /// HTTP/2, with all calls on one connection.
    pub(crate) multiplexed: bool,
    pub(crate) calls: Vec<CallPlan>,
}

#[derive(Clone, Debug)]
pub(crate) struct CallPlan {
    pub(crate) number: usize,
    pub(crate) at: u64,
    pub(crate) verb: &'static Verb,
    pub(crate) is_look: bool,
    pub(crate) fate: Fate,
    /// `Prefer: wait`, in seconds.
    pub(crate) wait: Option<u64>,
    /// The caller has enough after so long.
    pub(crate) hangs_up: Option<u64>,
    /// How long the vendor takes to end the task.
    pub(crate) settles_in: u64,
    /// The vendor makes a job of it, where it can.
    pub(crate) by_job: bool,
}

/// What is the matter with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It ends when it is told to.
    Ends,
    /// It had ended before.
    Ended,
    /// It begins to end, and then runs on.
    GivesUp,
    /// There is no such task.
    Missing,
}

/// Something that can be asked of a provider.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verb {
    pub(crate) provider: &'static str,
    pub(crate) action: &'static str,
    pub(crate) service: Service,
    /// There is a way to look at tasks.
    pub(crate) shows: bool,
    /// The vendor knows what has ended, and what is not there.
    pub(crate) knows: bool,
}

const fn verb(provider: &'static str, action: &'static str, service: Service, shows: bool, knows: bool) -> Verb {
    Verb {
        provider,
        action,
        service,
        shows,
        knows,
    }
}

pub(crate) const VERBS: [Verb; 13] = [
    verb("cfw", "stop", Service::Cfw, true, true),
    verb("dbss", "stop", Service::Dbss, true, true),
    verb("dbss-encrypt", "stop", Service::Dbss, false, false),
    verb("dbss-om", "stop", Service::Dbss, false, false),
    verb("hss", "retry", Service::Hss, true, true),
    verb("hss-image", "stop", Service::Hss, false, false),
    verb("zstack", "stop", Service::Zstack, true, true),
    verb("zstack", "retry", Service::Zstack, true, true),
    verb("zstack-cdp", "stop", Service::Zstack, false, false),
    verb("prime", "stop", Service::Prime, true, true),
    // The test's own: what may be sent again, what may be with its key, and what may not.
    verb("steady", "stop", Service::Steady, false, false),
    verb("keyed", "stop", Service::Keyed, false, false),
    verb("fickle", "stop", Service::Fickle, false, false),
];

/// A vendor's interface, or an identity service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Cfw,
    Dbss,
    Hss,
    Identity,
    Zstack,
    Prime,
    Steady,
    Keyed,
    Fickle,
}

impl Service {
    pub(crate) const ALL: [Self; 9] = [
        Self::Cfw,
        Self::Dbss,
        Self::Hss,
        Self::Identity,
        Self::Zstack,
        Self::Prime,
        Self::Steady,
        Self::Keyed,
        Self::Fickle,
    ];

    /// The machine and the port.
    pub(crate) fn place(self) -> (&'static str, u16) {
        match self {
            Self::Cfw => ("cloud", 8001),
            Self::Dbss => ("cloud", 8002),
            Self::Hss => ("cloud", 8003),
            Self::Identity => ("identity", 8004),
            Self::Zstack => ("premises", 8005),
            Self::Prime => ("premises", 8006),
            Self::Steady => ("abroad", 8007),
            Self::Keyed => ("abroad", 8008),
            Self::Fickle => ("abroad", 8009),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cfw => "cfw",
            Self::Dbss => "dbss",
            Self::Hss => "hss",
            Self::Identity => "identity",
            Self::Zstack => "zstack",
            Self::Prime => "prime",
            Self::Steady => "steady",
            Self::Keyed => "keyed",
            Self::Fickle => "fickle",
        }
    }
}

/// The machines that vendors run on.
pub(crate) const MACHINES: [&str; 4] = ["abroad", "cloud", "identity", "premises"];
/// The machines that gateways run on.
pub(crate) const GATEWAYS: [&str; 2] = ["gate-1", "gate-2"];
/// The machine of all callers.
pub(crate) const CALLERS: &str = "callers";

/// What a service does to those who ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) spells: Vec<Spell>,
    /// The process has ended: connections break, and new ones are refused.
    pub(crate) down: Option<Window>,
    /// All sessions are forgotten at this time.
    pub(crate) forgets: Option<u64>,
}

/// For a while, requests meet trouble.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spell {
    pub(crate) window: Window,
    /// One kind all the time, or any.
    pub(crate) trouble: Option<Trouble>,
    /// In percent.
    pub(crate) chance: u8,
}

/// What befalls one request. Where there is a flag, it says whether the vendor acts nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection ends without an answer.
    Close(bool),
    /// The answer comes byte by byte.
    Drip,
    /// Says goodbye after the answer without having announced it.
    Goodbye,
    /// No answer, ever.
    Hang(bool),
    /// A part of the head, then the end.
    HalfHead(bool),
    /// Interim answers come first.
    Interim,
    /// Takes its time, and acts at the end of it.
    Late,
    /// Something that is no HTTP.
    Noise(bool),
    /// Some proxy's page, as a success.
    Page(bool),
    /// An error without a word of the vendor.
    Plain(u16, bool),
    /// The connection is reset.
    Reset(bool),
    /// The vendor says in its own words that it broke, which leaves open how far it came.
    Broke(bool),
    /// Acts, and takes its time to say so.
    Slow,
    /// Too many requests.
    Throttled,
    /// Less of the answer than was announced.
    Truncated(bool),
    /// The vendor says in its own words that it takes nothing for now.
    Unavailable,
    /// Whatever proves who asks is not accepted.
    Unauthorized,
}

impl Trouble {
    /// `Hang`, whether it acts or not.
    pub(crate) fn name(self) -> String {
        let name = format!("{self:?}");
        name.split('(').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn drawn(dice: &mut Rng) -> Self {
        let acts = dice.bool();
        match dice.u8(0..17) {
            0 => Self::Close(acts),
            1 => Self::Drip,
            2 => Self::Goodbye,
            3 => Self::Hang(acts),
            4 => Self::HalfHead(acts),
            5 => Self::Interim,
            6 => Self::Late,
            7 => Self::Noise(acts),
            8 => Self::Page(acts),
            9 => Self::Plain(*pick(dice, &[408, 500, 502, 503, 504]), acts),
            10 => Self::Reset(acts),
            11 => Self::Broke(acts),
            12 => Self::Slow,
            13 => Self::Throttled,
            14 => Self::Truncated(acts),
            15 => Self::Unavailable,
            _ => Self::Unauthorized,
        }
    }
}

/// A fault of the network between two machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkFault {
    pub(crate) between: (&'static str, &'static str),
    pub(crate) window: Window,
    pub(crate) kind: LinkKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkKind {
    /// What is sent is kept, and arrives at the end.
    Hold,
    /// What is sent gets lost, both ways.
    Lost,
    /// What the second sends to the first gets lost.
    LostBack,
    /// What the first sends to the second gets lost.
    LostForth,
}

/// A gateway ends and comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GatewayEnd {
    pub(crate) gateway: usize,
    pub(crate) window: Window,
    /// It lets what is under way finish.
    pub(crate) clean: bool,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let dice = &mut Rng::with_seed(seed);
        let gateways = dice.usize(1..=2);
        let calm = dice.u64(6_000..14_000);
        let links = links(dice, gateways, calm);
        let mut gateway_ends = Vec::new();
        for gateway in 0..gateways {
            if dice.u8(0..100) < 30 {
                let clean = dice.bool();
                let window = window(dice, calm, 200..2_000);
                gateway_ends.push(GatewayEnd { gateway, window, clean });
            }
        }
        let mut machine_ends = Vec::new();
        for machine in MACHINES {
            if dice.u8(0..100) < 10 {
                machine_ends.push((machine, window(dice, calm, 500..4_000)));
            }
        }
        let weather = Service::ALL.iter().map(|service| weather(dice, *service, calm)).collect();
        let names_fail = (dice.u8(0..100) < 10).then(|| window(dice, calm, 200..2_000));
        Self {
            seed,
            gateways,
            scheme: *pick(dice, &[Scheme::Fixed, Scheme::Login, Scheme::Login, Scheme::Signature]),
            deadline: *pick(dice, &[2_000, 5_000, 5_000, 8_000, 12_000, 30_000]),
            tick: *pick(dice, &[10, 20, 20]),
            latency: *pick(dice, &[1, 20, 100]),
            token_life: *pick(dice, &[3_000, 20_000, 3_600_000]),
            callers: callers(dice, gateways, calm),
            links,
            gateway_ends,
            machine_ends,
            weather,
            names_fail,
            stale_names: dice.u8(0..100) < 10,
            calm,
        }
    }
}

impl Plan {
    /// How long a gateway that is asked to end may take: as long as any call, so that none is broken.
    pub(crate) fn drain(&self) -> u64 {
        self.deadline + MAX_WAIT_MS + 2_000
    }
}

fn callers(dice: &mut Rng, gateways: usize, calm: u64) -> Vec<CallerPlan> {
    let mut number = 0;
    let mut callers = Vec::new();
    for _ in 0..dice.usize(4..=7) {
        let multiplexed = dice.u8(0..100) < 30;
        let burst = multiplexed && dice.bool();
        let favourite = (dice.u8(0..100) < 30).then(|| pick(dice, &VERBS));
        let mut at = dice.u64(0..calm / 2);
        let mut calls = Vec::new();
        for _ in 0..dice.usize(3..=8) {
            number += 1;
            let verb = favourite.unwrap_or_else(|| pick(dice, &VERBS));
            let fate = match dice.u8(0..100) {
                0..8 if verb.knows => Fate::Ended,
                8..12 if verb.knows => Fate::Missing,
                12..18 if verb.knows && verb.service != Service::Zstack => Fate::GivesUp,
                _ => Fate::Ends,
            };
            calls.push(CallPlan {
                number,
                at,
                verb,
                is_look: verb.shows && dice.u8(0..100) < 10,
                fate,
                wait: (dice.u8(0..100) < 25).then(|| dice.u64(1..=MAX_WAIT_MS / 1_000)),
                hangs_up: (dice.u8(0..100) < 8).then(|| dice.u64(0..1_500)),
                settles_in: dice.u64(100..3_000),
                by_job: dice.bool(),
            });
            at = (at + if burst { dice.u64(0..5) } else { dice.u64(0..2_000) }).min(calm - 1);
        }
        callers.push(CallerPlan {
            gateway: dice.usize(0..gateways),
            multiplexed,
            calls,
        });
    }
    callers
}

/// At most one fault at a time per link.
fn links(dice: &mut Rng, gateways: usize, calm: u64) -> Vec<LinkFault> {
    let mut faults = Vec::new();
    for gateway in &GATEWAYS[..gateways] {
        for other in MACHINES.iter().chain([&CALLERS]) {
            if dice.u8(0..100) < 20 {
                let kind = *pick(dice, &[LinkKind::Hold, LinkKind::Lost, LinkKind::LostBack, LinkKind::LostForth]);
                faults.push(LinkFault {
                    between: (gateway, other),
                    window: window(dice, calm, 50..4_000),
                    kind,
                });
            }
        }
    }
    faults
}

fn weather(dice: &mut Rng, service: Service, calm: u64) -> Weather {
    let mut spells = Vec::new();
    for _ in 0..dice.usize(0..=4) {
        spells.push(Spell {
            window: window(dice, calm, 500..8_000),
            trouble: dice.bool().then(|| Trouble::drawn(dice)),
            chance: dice.u8(20..=100),
        });
    }
    let logs_in = matches!(service, Service::Identity | Service::Zstack);
    Weather {
        spells,
        down: (dice.u8(0..100) < 15).then(|| window(dice, calm, 100..4_000)),
        forgets: (logs_in && dice.bool()).then(|| dice.u64(0..calm)),
    }
}

/// A stretch of the storm.
fn window(dice: &mut Rng, calm: u64, length: std::ops::Range<u64>) -> Window {
    let from = dice.u64(0..calm);
    let to = (from + dice.u64(length)).min(calm);
    Window { from, to }
}

fn pick<'a, T>(dice: &mut Rng, all: &'a [T]) -> &'a T {
    &all[dice.usize(0..all.len())]
}

/// The longest that a caller wants to wait.
const MAX_WAIT_MS: u64 = 6_000;
