//! One run: the machines of a plan on a simulated network, the storm over them, and the oracle afterwards.

use std::cell::RefCell;
use std::sync::Once;
use std::time::{Duration, SystemTime};

use taskgate::telemetry::metrics as ours;
use tokio_util::sync::CancellationToken;
use turmoil::{Builder, Sim};

use crate::gateway::{self, Mutant};
use crate::oracle::{self, Rule, Violation};
use crate::plan::{CALLERS, GATEWAYS, LinkKind, MACHINES, Plan, Service};
use crate::world::World;
use crate::{caller, vendor};

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) world: World,
    pub(crate) violations: Vec<Violation>,
}

/// Runs a seed.
pub(crate) fn run(seed: u64, mutant: Mutant) -> Outcome {
    note_panics();
    PANICS.with_borrow_mut(Vec::clear);
    let recorder = ours::recorder().unwrap();
    let handle = recorder.handle();
    let _local = metrics::set_default_local_recorder(&recorder);
    let world = World::new(Plan::of(seed));
    let ended = simulate(&world, mutant);
    let gauges: Vec<String> = handle
        .render()
        .lines()
        .filter(|line| is_raised_gauge(line))
        .map(str::to_owned)
        .collect();
    let panics = PANICS.with_borrow_mut(std::mem::take);
    let mut violations = oracle::judge(&world, &gauges, &panics);
    if let Err(text) = ended {
        violations.push(Violation {
            rule: Rule::Recovers,
            text,
        });
    }
    Outcome { world, violations }
}

fn simulate(world: &World, mutant: Mutant) -> Result<(), String> {
    let plan = world.plan.clone();
    let mut sim = Builder::new()
        .tick_duration(Duration::from_millis(plan.tick))
        .max_message_latency(Duration::from_millis(plan.latency))
        .simulation_duration(LONGEST)
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        .tcp_capacity(1024)
        .rng_seed(plan.seed)
        .build();
    for machine in MACHINES {
        let services: Vec<Service> = Service::ALL.into_iter().filter(|service| service.place().0 == machine).collect();
        let world = world.clone();
        sim.host(machine, move || vendor::machine(world.clone(), services.clone()));
    }
    let stop = CancellationToken::new();
    for (number, name) in GATEWAYS.into_iter().enumerate().take(plan.gateways) {
        let (world, stop) = (world.clone(), stop.clone());
        sim.host(name, move || gateway::machine(world.clone(), number, mutant, stop.clone()));
    }
    sim.client(CALLERS, caller::machine(world.clone(), stop));

    let mut turns = turns(&plan).into_iter().peekable();
    loop {
        let at = u64::try_from(sim.elapsed().as_millis()).unwrap();
        while let Some((_, turn)) = turns.next_if(|(due, _)| *due <= at) {
            world.log_at(at, &format!("{turn:?}"));
            turn.take(&mut sim);
        }
        if sim.step().map_err(|error| error.to_string())? {
            return Ok(());
        }
    }
}

/// Something that is done to the world from outside.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Begins(LinkKind, &'static str, &'static str),
    Ends(LinkKind, &'static str, &'static str),
    PowerFails(&'static str),
    PowerReturns(&'static str),
}

impl Turn {
    fn take(self, sim: &mut Sim<'_>) {
        match self {
            Self::Begins(LinkKind::Hold, a, b) => sim.hold(a, b),
            Self::Begins(LinkKind::Lost, a, b) => sim.partition(a, b),
            Self::Begins(LinkKind::LostBack, a, b) => sim.partition_oneway(b, a),
            Self::Begins(LinkKind::LostForth, a, b) => sim.partition_oneway(a, b),
            Self::Ends(LinkKind::Hold, a, b) => sim.release(a, b),
            Self::Ends(LinkKind::Lost, a, b) => sim.repair(a, b),
            Self::Ends(LinkKind::LostBack, a, b) => sim.repair_oneway(b, a),
            Self::Ends(LinkKind::LostForth, a, b) => sim.repair_oneway(a, b),
            Self::PowerFails(machine) => sim.crash(machine),
            Self::PowerReturns(machine) => sim.bounce(machine),
        }
    }
}

/// All turns of a plan, in the order of their times.
fn turns(plan: &Plan) -> Vec<(u64, Turn)> {
    let mut turns = Vec::new();
    for fault in &plan.links {
        let (a, b) = fault.between;
        turns.push((fault.window.from, Turn::Begins(fault.kind, a, b)));
        turns.push((fault.window.to, Turn::Ends(fault.kind, a, b)));
    }
    for (machine, window) in plan.machine_ends.iter().copied() {
        turns.push((window.from, Turn::PowerFails(machine)));
        turns.push((window.to, Turn::PowerReturns(machine)));
    }
    turns.sort_by_key(|(at, _)| *at);
    turns
}

/// `taskgate_vendor_in_flight{provider="prime"} 1`: something is still counted.
fn is_raised_gauge(line: &str) -> bool {
    let counts = line.starts_with("taskgate_in_flight_requests") || line.starts_with("taskgate_vendor_in_flight");
    counts && !line.ends_with(" 0")
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A panic in a task is caught by the runtime; here it is noted, too.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            print(info);
        }));
    });
}

/// No run takes so long, unless something hangs.
const LONGEST: Duration = Duration::from_secs(600);
