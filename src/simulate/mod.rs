//! Simulators of the vendors: the five shipped ones with state, and stubs of any other, each behind a loopback port of its own.
//!
//! The only place in this tree where a vendor has a name. They run inside `taskgate demo`, as `taskgate simulate`, and in tests, here and in
//! the pipelines of users.
//!
//! **Shape.** [`Simulators::start`] opens the ports, [`Simulators::environment`] gives the variables that make a gateway call them, and
//! [`Simulators::shutdown`] ends everything. What goes wrong on demand is in [`Fault`]; the same can be asked for over HTTP under
//! `/_simulator/` at each port.
//!
//! **Invariants.** Loopback only. Nothing is read from the environment, nothing is printed, and no task outlives `shutdown`.

mod board;
mod cfw;
mod control;
mod dbss;
mod fault_text;
mod faults;
mod hss;
mod huawei;
mod prime;
mod prime_documents;
mod server;
mod stub;
mod vendor;
mod wire;
mod xml;
mod zstack;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use cfw::{CFW_FIREWALL, CFW_TASK};
pub use dbss::DBSS_INSTANCE;
pub use fault_text::FaultSyntaxError;
pub use faults::{Effect, ErrorBody, Fault, FaultKind, FaultRule};
pub use hss::HSS_TASK;
pub use huawei::{HUAWEI_PROJECT_ID, HUAWEI_TOKEN};
pub use prime::{PRIME_PASSWORD, PRIME_RUNS, PRIME_USER};
pub use server::SeenRequest;
pub use stub::{Exchange, ExpectedBody, StubError, StubReply, StubVendor};
pub use vendor::{TaskView, Vendor, VendorReply, VendorRequest};
pub use zstack::{ZSTACK_SESSION, ZSTACK_TASK};

use server::Desk;

/// Running simulators.
///
/// ```
/// use taskgate::simulate::{SimulatorOptions, Simulators};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let simulators = Simulators::start(SimulatorOptions::default()).await?;
/// assert!(simulators.environment()["PRIME_ENDPOINT"].starts_with("http://127.0.0.1:"));
/// simulators.set_fault("prime", "reset,times=1".parse()?)?;
/// assert_eq!(simulators.calls("prime")?, 0);
/// simulators.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Simulators {
    running: BTreeMap<String, Running>,
    tasks: JoinSet<()>,
    stop: watch::Sender<()>,
}

/// Which vendors to simulate, where, and with which faults.
pub struct SimulatorOptions {
    vendors: Vec<Arc<dyn Vendor>>,
    addresses: BTreeMap<String, SocketAddr>,
    faults: Vec<FaultRule>,
}

/// No simulator has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no simulator is called `{name}`, there are {}", known.join(", "))]
pub struct UnknownVendor {
    /// The name that was asked for.
    pub name: String,
    /// The names that there are.
    pub known: Vec<String>,
}

struct Running {
    address: SocketAddr,
    desk: Arc<Desk>,
}

impl Default for SimulatorOptions {
    /// The five shipped vendors, each on a free port of 127.0.0.1, without faults.
    fn default() -> Self {
        Self::none()
            .vendor(cfw::Cfw::new())
            .vendor(dbss::Dbss::new())
            .vendor(hss::Hss::new())
            .vendor(prime::Prime::new())
            .vendor(zstack::Zstack::new())
    }
}

impl SimulatorOptions {
    /// No vendors; they are added with [`vendor`](Self::vendor).
    #[must_use]
    pub fn none() -> Self {
        Self {
            vendors: Vec::new(),
            addresses: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// One more vendor; it takes the place of one of the same name.
    #[must_use]
    pub fn vendor(mut self, vendor: impl Vendor + 'static) -> Self {
        self.vendors.retain(|known| known.name() != vendor.name());
        self.vendors.push(Arc::new(vendor));
        self
    }

    /// The names of the vendors.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.vendors.iter().map(|vendor| vendor.name().to_owned()).collect()
    }

    /// Only these of the vendors.
    ///
    /// # Errors
    /// [`UnknownVendor`] for a name that is not among them.
    pub fn only(mut self, names: &[String]) -> Result<Self, UnknownVendor> {
        let known = self.names();
        if let Some(name) = names.iter().find(|name| !known.contains(name)) {
            return Err(UnknownVendor { name: name.clone(), known });
        }
        self.vendors.retain(|vendor| names.iter().any(|name| name == vendor.name()));
        Ok(self)
    }

    /// The address for one vendor in place of a free port of 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, vendor: impl Into<String>, address: SocketAddr) -> Self {
        self.addresses.insert(vendor.into(), address);
        self
    }

    /// A fault that is armed from the start; of several for one vendor the last counts.
    #[must_use]
    pub fn fault(mut self, rule: FaultRule) -> Self {
        self.faults.push(rule);
        self
    }
}

impl Simulators {
    /// Opens the ports and starts to answer.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is not loopback, and for an address or a fault of a vendor that is not simulated; otherwise
    /// what the system says about a port. After an error nothing listens.
    pub async fn start(options: SimulatorOptions) -> io::Result<Self> {
        let SimulatorOptions {
            vendors,
            mut addresses,
            faults,
        } = options;
        let (stop, stopped) = watch::channel(());
        let mut simulators = Self {
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            stop,
        };
        let mut listeners = Vec::new();
        for vendor in vendors {
            let name = vendor.name().to_owned();
            let address = addresses.remove(&name).unwrap_or(FREE_PORT);
            let listener = server::bind(address).await?;
            let address = listener.local_addr()?;
            let desk = Arc::new(Desk::new(vendor));
            listeners.push((listener, Arc::clone(&desk)));
            simulators.running.insert(name, Running { address, desk });
        }
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        if let Some(name) = addresses.into_keys().next() {
            return Err(invalid(simulators.unknown(&name)));
        }
        for rule in faults {
            simulators.apply(rule).map_err(invalid)?;
        }
        for (listener, desk) in listeners {
            simulators.tasks.spawn(server::serve(listener, desk, stopped.clone()));
        }
        Ok(simulators)
    }

    /// Where each vendor answers, such as `http://127.0.0.1:40123`, by its name.
    #[must_use]
    pub fn endpoints(&self) -> BTreeMap<String, String> {
        self.running
            .iter()
            .map(|(name, running)| (name.clone(), running.endpoint()))
            .collect()
    }

    /// The environment variables that make a gateway call these simulators: endpoints and demo credentials.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.running
            .values()
            .flat_map(|running| running.desk.vendor.environment(&running.endpoint()))
            .collect()
    }

    /// Arms a fault at one vendor, in place of the one that was armed there.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn set_fault(&self, vendor: &str, fault: Fault) -> Result<(), UnknownVendor> {
        self.find(vendor)?.switch.arm(fault);
        Ok(())
    }

    /// Arms a fault at one vendor or at all of them.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn apply(&self, rule: FaultRule) -> Result<(), UnknownVendor> {
        match rule.vendor {
            Some(vendor) => self.set_fault(&vendor, rule.fault),
            None => {
                for running in self.running.values() {
                    running.desk.switch.arm(rule.fault.clone());
                }
                Ok(())
            }
        }
    }

    /// Disarms the fault at one vendor.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn clear_fault(&self, vendor: &str) -> Result<(), UnknownVendor> {
        self.find(vendor)?.switch.disarm();
        Ok(())
    }

    /// The start state again for all vendors: tasks, effects and counters. Armed faults stay.
    pub fn reset(&self) {
        for running in self.running.values() {
            running.desk.reset();
        }
    }

    /// How many calls a vendor has seen, those that met a fault included.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn calls(&self, vendor: &str) -> Result<u64, UnknownVendor> {
        Ok(self.find(vendor)?.calls())
    }

    /// How often a task really was stopped or retried; 0 for a task that the vendor does not know.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn effects(&self, vendor: &str, task: &str) -> Result<u64, UnknownVendor> {
        let tasks = self.tasks(vendor)?;
        let task = tasks.into_iter().find(|known| known.id == task);
        Ok(task.map_or(0, |task| task.effects))
    }

    /// The tasks of a vendor.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn tasks(&self, vendor: &str) -> Result<Vec<TaskView>, UnknownVendor> {
        Ok(self.find(vendor)?.vendor.tasks())
    }

    /// The latest requests that a vendor has seen, oldest first, 64 at most.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn seen(&self, vendor: &str) -> Result<Vec<SeenRequest>, UnknownVendor> {
        Ok(self.find(vendor)?.seen())
    }

    /// The state of a vendor as `GET /_simulator/state` shows it.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn state(&self, vendor: &str) -> Result<Value, UnknownVendor> {
        Ok(control::state(self.find(vendor)?))
    }

    /// Closes the ports and every connection at once; returns when nothing runs any more.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(());
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_LIMIT, drained).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    fn find(&self, name: &str) -> Result<&Desk, UnknownVendor> {
        match self.running.get(name) {
            Some(running) => Ok(&running.desk),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> UnknownVendor {
        UnknownVendor {
            name: name.to_owned(),
            known: self.running.keys().cloned().collect(),
        }
    }
}

impl Running {
    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Running").field(&self.address).finish()
    }
}

/// Any free port of the loopback interface.
const FREE_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Connections are dropped and not drained, so this is never reached; it bounds what a bug could cost.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);
