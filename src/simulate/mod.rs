//! Simulators of the vendors: the five shipped ones with state, the identity service of three of them, and stubs of any other, each behind a
//! loopback port of its own.
//!
//! The only place in this tree where a vendor has a name. They run inside `taskgate demo`, as `taskgate simulate`, and in tests, here and in
//! the pipelines of users.
//!
//! **Shape.** [`Simulators::start`] opens the ports, [`Simulators::environment`] gives the variables that make a gateway call them, and
//! [`Simulators::shutdown`] ends everything. What goes wrong on demand is in [`Fault`]; what can be set, and the clock that can be put
//! forward, are methods here as well. The same can be asked for over HTTP under `/_simulator/` at each port.
//!
//! **Invariants.** Loopback only. Nothing is read from the environment, nothing is printed, and no task outlives `shutdown`.

mod board;
mod cfw;
mod clock;
mod cloud;
mod cloud_signature;
mod control;
mod dbss;
mod fault_text;
mod faults;
mod hss;
mod huawei;
mod iam;
mod options;
mod prime;
mod prime_documents;
mod server;
mod settings;
mod stub;
mod throttle;
mod vendor;
mod wire;
mod xml;
mod zstack;
mod zstack_access_key;
mod zstack_documents;
mod zstack_query;
mod zstack_sessions;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use board::{Phase, UnknownPhase};
pub use cfw::{CFW_FIREWALL, CFW_TASK};
pub use cloud::{
    HUAWEI_ACCESS_KEY, HUAWEI_PROJECT_ID, HUAWEI_PROJECT_NAME, HUAWEI_SECRET_KEY, HUAWEI_SECURITY_TOKEN, HUAWEI_TEMPORARY_ACCESS_KEY,
    HUAWEI_TEMPORARY_SECRET_KEY, HUAWEI_TOKEN,
};
pub use dbss::{DBSS_ENCRYPTION_INSTANCE, DBSS_INSTANCE, DBSS_MAINTENANCE_INSTANCE};
pub use fault_text::FaultSyntaxError;
pub use faults::{Effect, ErrorBody, Fault, FaultKind, FaultRule, ThrottledBy};
pub use hss::{HSS_IMAGE_SCAN, HSS_TASK};
pub use iam::{HUAWEI_DOMAIN, HUAWEI_PASSWORD, HUAWEI_USER};
pub use options::SimulatorOptions;
pub use prime::{PRIME_FIRST_OF_MORE, PRIME_PASSWORD, PRIME_RUNS, PRIME_USER};
pub use server::SeenRequest;
pub use settings::SettingError;
pub use stub::{Exchange, ExpectedBody, StubError, StubReply, StubVendor};
pub use vendor::{TaskView, Vendor, VendorReply, VendorRequest};
pub use zstack::{ZSTACK_CDP_TASK, ZSTACK_SESSION, ZSTACK_STOPPED_TASK, ZSTACK_TASK};
pub use zstack_access_key::{ZSTACK_ACCESS_KEY_ID, ZSTACK_ACCESS_KEY_SECRET};
pub use zstack_sessions::{ZSTACK_ACCOUNT, ZSTACK_PASSWORD};

use clock::Clock;
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
    clock: Arc<Clock>,
    tasks: JoinSet<()>,
    stop: watch::Sender<()>,
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

impl Simulators {
    /// Opens the ports and starts to answer.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is not loopback, for an address, a fault or a setting of a vendor that is not simulated, and for a
    /// setting that does not fit; otherwise what the system says about a port. After an error nothing listens.
    pub async fn start(options: SimulatorOptions) -> io::Result<Self> {
        let SimulatorOptions {
            vendors,
            mut addresses,
            faults,
            settings,
            clock,
        } = options;
        let (stop, stopped) = watch::channel(());
        let mut simulators = Self {
            running: BTreeMap::new(),
            clock,
            tasks: JoinSet::new(),
            stop,
        };
        let mut listeners = Vec::new();
        for vendor in vendors {
            let name = vendor.name().to_owned();
            let address = addresses.remove(&name).unwrap_or(FREE_PORT);
            let listener = server::bind(address).await?;
            let address = listener.local_addr()?;
            let desk = Arc::new(Desk::new(vendor, Arc::clone(&simulators.clock)));
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
        for (vendor, name, value) in settings {
            let set = simulators.set(&vendor, &name, &value);
            set.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
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

    /// The environment variables that make a gateway call these simulators: endpoints, and secrets that need no login.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.variables(|vendor, endpoint| vendor.environment(endpoint))
    }

    /// The same with names and passwords for the vendors that have a login; the others have what [`environment`](Self::environment) says.
    #[must_use]
    pub fn login_environment(&self) -> BTreeMap<String, String> {
        self.variables(|vendor, endpoint| vendor.login_environment(endpoint))
    }

    /// The same with access keys for the vendors that take signatures; the others have what [`environment`](Self::environment) says.
    #[must_use]
    pub fn signature_environment(&self) -> BTreeMap<String, String> {
        self.variables(|vendor, endpoint| vendor.signature_environment(endpoint))
    }

    fn variables(&self, of: impl Fn(&dyn Vendor, &str) -> Vec<(String, String)>) -> BTreeMap<String, String> {
        self.running
            .values()
            .flat_map(|running| of(running.desk.vendor.as_ref(), &running.endpoint()))
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

    /// Sets what can be set at one vendor while it runs; `docs/simulators.md` lists the settings.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn set(&self, vendor: &str, name: &str, value: &str) -> Result<(), SettingError> {
        self.find(vendor)?.vendor.set(name, value)
    }

    /// Puts a task into a phase, without an effect; false when the vendor does not know the task.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn place(&self, vendor: &str, task: &str, phase: Phase) -> Result<bool, UnknownVendor> {
        Ok(self.find(vendor)?.vendor.place(task, phase))
    }

    /// Ends every login at all vendors: tokens, sessions, and the secrets that need no login. [`reset`](Self::reset) makes the latter valid
    /// again.
    pub fn revoke(&self) {
        for running in self.running.values() {
            running.desk.vendor.revoke();
        }
    }

    /// Lets time pass at all vendors at once: tokens and sessions expire, locked keys are free again, throttled callers may call.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The logins of a vendor as `GET /_simulator/logins` shows them.
    ///
    /// # Errors
    /// [`UnknownVendor`].
    pub fn logins(&self, vendor: &str) -> Result<Value, UnknownVendor> {
        Ok(self.find(vendor)?.vendor.logins())
    }

    /// The start state again for all vendors: tasks, effects, logins and counters. Armed faults and settings stay, and the clock.
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
