//! What is to be simulated: which vendors, where, how set, and with which faults from the start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::clock::Clock;
use super::cloud::Cloud;
use super::faults::FaultRule;
use super::vendor::Vendor;
use super::{UnknownVendor, cfw, dbss, hss, iam, prime, zstack};

/// Which vendors to simulate, where, and with which faults.
pub struct SimulatorOptions {
    pub(super) vendors: Vec<Arc<dyn Vendor>>,
    pub(super) addresses: BTreeMap<String, SocketAddr>,
    pub(super) faults: Vec<FaultRule>,
    pub(super) settings: Vec<(String, String, String)>,
    pub(super) clock: Arc<Clock>,
}

impl Default for SimulatorOptions {
    /// The five shipped vendors and the identity service of three of them, each on a free port of 127.0.0.1, without faults.
    fn default() -> Self {
        let options = Self::none();
        let clock = Arc::clone(&options.clock);
        let cloud = Arc::new(Cloud::new(Arc::clone(&clock)));
        options
            .vendor(cfw::Cfw::new(Arc::clone(&cloud)))
            .vendor(dbss::Dbss::new(Arc::clone(&cloud)))
            .vendor(hss::Hss::new(Arc::clone(&cloud)))
            .vendor(iam::Iam::new(cloud))
            .vendor(prime::Prime::new())
            .vendor(zstack::Zstack::new(clock))
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
            settings: Vec::new(),
            clock: Arc::new(Clock::new()),
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

    /// The names of the environment variables by which these vendors are called, whatever the way to log in.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<String> {
        let of = |vendor: &Arc<dyn Vendor>| {
            [
                vendor.environment(""),
                vendor.login_environment(""),
                vendor.signature_environment(""),
            ]
        };
        self.vendors.iter().flat_map(of).flatten().map(|(name, _)| name).collect()
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

    /// Every task shows its end at the first look after it was stopped or retried.
    #[must_use]
    pub fn settling_at_once(self) -> Self {
        ["cfw", "dbss", "hss", "prime", "zstack"]
            .into_iter()
            .fold(self, |options, vendor| options.set(vendor, "looks", "0"))
    }

    /// A setting from the start, such as `("iam", "lifetime", "30s")`; it is checked when the simulators start.
    #[must_use]
    pub fn set(mut self, vendor: impl Into<String>, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((vendor.into(), name.into(), value.into()));
        self
    }
}
