//! A machine with a gateway: the real server, stack and ways to the vendors, on a network that is simulated.
//!
//! **Shape**: routes under an environment that points at the simulated machines, compiled once per process and scheme.
//!
//! **Invariants**: nothing of the gateway is replaced but its network and its listener; a mutant stands in front of the ways to the
//! vendors, and only there.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::shipped::{self, ROUTES_FILE};
use taskgate::config::sources::Sources;
use taskgate::layer::dispatch::Dispatch;
use taskgate::layer::{Exchange, Outbound};
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::route::RouteTable;
use taskgate::server::{self, Listener, ServerLimits};
use taskgate::stack::{self, Gateway, StackLimits};
use taskgate::upstream::credentials::Keyring;
use taskgate::upstream::health::Gates;
use taskgate::upstream::network::{Network, NetworkFuture, Transport};
use taskgate::upstream::policy::ProviderService;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tower::util::BoxCloneSyncService;
use turmoil::net::{TcpListener, TcpStream};

use crate::plan::{GATEWAYS, GatewayEnd, Plan, Scheme, Service as VendorService};
use crate::product::{FIXED_SESSION, FIXED_TOKEN};
use crate::world::{World, now};

/// Where callers come in.
pub(crate) const PORT: u16 = 8080;

/// What is wrong with the gateway, so that the oracle has something to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing: it is the real one.
    None,
    /// Sends once more whatever failed without saying that nothing was done.
    Repeats,
    /// Calls an answer that got lost a request that was not sent.
    CallsLostUnsent,
    /// Says that the vendor took what it only may have taken.
    CallsLostAccepted,
    /// Keeps a task running for each call.
    Leaks,
    /// Waits for an answer that got lost.
    Stalls,
}

/// Runs until the token of the run is cancelled; ends and begins anew where the plan says so.
pub(crate) async fn machine(world: World, gateway: usize, mutant: Mutant, stop: CancellationToken) -> turmoil::Result {
    let name = GATEWAYS[gateway];
    loop {
        let mut ends = world.plan.gateway_ends.iter();
        let end = ends.find(|end| end.gateway == gateway && now() < end.window.from);
        let house = House::build(&world.plan, gateway, mutant);
        house.live(&world, end, &stop).await;
        house.fall().await;
        let Some(end) = end.filter(|_| !stop.is_cancelled()) else { break };
        sleep(Duration::from_millis(end.window.to.saturating_sub(now()))).await;
        world.log(&format!("{name}: begins anew"));
    }
    // What still runs belongs to nobody.
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let _ = timeout(LEFT_OVER, async {
        while tasks() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let left = tasks();
    world.log(&format!("{name}: stopped, {left} tasks left"));
    world.books().left_behind.push(left);
    Ok(())
}

/// In every other run connections hold no buffers while nothing is asked on them, as if there were many.
fn limits(plan: &Plan) -> ServerLimits {
    let limits = ServerLimits::default();
    ServerLimits {
        kept: if plan.seed.is_multiple_of(2) { 0 } else { limits.kept },
        ..limits
    }
}

/// A gateway and what it holds.
struct House {
    gateway: Gateway<Incoming>,
    keyring: Keyring,
    /// A map drops its values in an order that is left to chance, and so would be that of the last packets.
    ways: Vec<ProviderService>,
}

impl House {
    fn build(plan: &Arc<Plan>, gateway: usize, mutant: Mutant) -> Self {
        let table = table(plan.scheme);
        let limits = StackLimits {
            deadline: Duration::from_millis(plan.deadline),
            ..StackLimits::default()
        };
        let via = &limits.admit.via;
        let network = Arc::new(Simulated {
            plan: Arc::clone(plan),
            gateway,
        });
        let keyring = Keyring::new(&table, via, network).unwrap();
        let gates = Gates::new(&table);
        let mut ways = Vec::new();
        let mut by_name: HashMap<String, Way> = HashMap::new();
        for (name, provider) in &table.providers {
            let way = ProviderService::with_keyring(name, &provider.connection, &provider.limits, via, &keyring).unwrap();
            let way = way.through(gates.gate(name).unwrap().clone());
            ways.push(way.clone());
            by_name.insert(
                name.clone(),
                match mutant {
                    Mutant::None => BoxCloneSyncService::new(way),
                    _ => BoxCloneSyncService::new(Mutated { way, mutant }),
                },
            );
        }
        Self {
            gateway: stack::build(table, &limits, Dispatch::new(by_name)),
            keyring,
            ways,
        }
    }

    /// Serves until all is over, or this gateway's time has come.
    async fn live(&self, world: &World, end: Option<&GatewayEnd>, stop: &CancellationToken) {
        let shutdown = stop.child_token();
        let serving = self.serve(limits(&world.plan), shutdown.clone(), Duration::from_millis(world.plan.drain()));
        tokio::pin!(serving);
        let Some(end) = end else { return serving.await };
        if timeout(Duration::from_millis(end.window.from - now()), &mut serving).await.is_ok() {
            return;
        }
        let name = GATEWAYS[end.gateway];
        if end.clean {
            world.log(&format!("{name}: asked to end"));
            shutdown.cancel();
            serving.await;
            world.log(&format!("{name}: ended"));
        } else {
            // Not the simulator's own crash: that ends tasks in an order which is not always the same.
            world.log(&format!("{name}: killed"));
        }
    }

    async fn serve(&self, limits: ServerLimits, shutdown: CancellationToken, drain: Duration) {
        let door = Door(TcpListener::bind(("0.0.0.0", PORT)).await.unwrap());
        let gateway = self.gateway.clone();
        let service = service_fn(move |request| gateway.clone().call(request));
        server::run(door, service, limits, shutdown, drain).await;
        self.keyring.log_out(LOGOUT).await;
    }

    /// Nothing of it remains.
    async fn fall(self) {
        let Self { gateway, keyring, ways } = self;
        // Tasks that were told to end do so first.
        sleep(Duration::from_millis(1)).await;
        drop(gateway);
        drop(keyring);
        drop(ways);
    }
}

/// The routes that run: all shipped ones, and those of `own.yaml`.
fn table(scheme: Scheme) -> Arc<RouteTable> {
    static TABLES: [LazyLock<Arc<RouteTable>>; 3] = [
        LazyLock::new(|| compiled(Scheme::Fixed)),
        LazyLock::new(|| compiled(Scheme::Login)),
        LazyLock::new(|| compiled(Scheme::Signature)),
    ];
    Arc::clone(&TABLES[scheme as usize])
}

fn compiled(scheme: Scheme) -> Arc<RouteTable> {
    let shipped = shipped::sources();
    let mut routes = shipped.read(ROUTES_FILE).unwrap() + include_str!("own.yaml");
    // Few calls a minute, and tokens that live for seconds as only these do: no call would find a turn and a token at the same time.
    for scarce in ["{ rate: 4/m, burst: 2 }", "{ rate: 3/m, burst: 3 }"] {
        assert!(routes.contains(scarce), "`{scarce}` is not there");
        routes = routes.replace(scarce, "{ rate: 1000/s, burst: 1000 }");
    }
    let schemas = shipped.list("schemas");
    let schemas = schemas.iter().map(|path| (path.clone(), shipped.read(path).unwrap()));
    let own = [
        ("own.request.json", r#"{ "type": "object", "additionalProperties": false }"#),
        ("own.reply.json", r#"{ "type": "object" }"#),
    ];
    let own = own.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let sources = Sources::memory(schemas.chain(own).chain([(ROUTES_FILE.to_owned(), routes)]));
    match compile(&sources, ROUTES_FILE, &environment(scheme)) {
        Ok(compiled) => compiled.table,
        Err(rejected) => panic!("{}", rejected.faults.render(&rejected.files)),
    }
}

fn environment(scheme: Scheme) -> Environment {
    let address = |service: VendorService| {
        let (machine, port) = service.place();
        format!("http://{machine}:{port}")
    };
    let endpoints = VendorService::ALL
        .iter()
        .filter(|service| **service != VendorService::Identity)
        .map(|service| (format!("{}_ENDPOINT", service.name().to_uppercase()), address(*service)));
    let everywhere = [
        ("HUAWEI_PROJECT_ID", "project"),
        ("PRIME_USER", "somebody"),
        ("PRIME_PASSWORD", "made-up-password"),
    ];
    let identity = address(VendorService::Identity);
    let of_the_scheme: &[(&str, &str)] = match scheme {
        Scheme::Fixed => &[("HUAWEI_TOKEN", FIXED_TOKEN), ("ZSTACK_SESSION", FIXED_SESSION)],
        Scheme::Login => &[
            ("HUAWEI_IAM_ENDPOINT", &identity),
            ("HUAWEI_USER", "somebody"),
            ("HUAWEI_PASSWORD", "made-up-password"),
            ("HUAWEI_DOMAIN", "somewhere"),
            ("ZSTACK_ACCOUNT", "somebody"),
            ("ZSTACK_PASSWORD", "made-up-password"),
        ],
        Scheme::Signature => &[
            ("HUAWEI_ACCESS_KEY", "made-up-key"),
            ("HUAWEI_SECRET_KEY", "a-secret-key-that-opens-nothing"),
            ("ZSTACK_ACCESS_KEY_ID", "made-up-key"),
            ("ZSTACK_ACCESS_KEY_SECRET", "another-that-opens-nothing"),
            ("ZSTACK_TIME_ZONE", "UTC"),
        ],
    };
    let environment: Environment = endpoints.collect();
    environment.with(everywhere).with(of_the_scheme.iter().copied())
}

/// The listener of the simulation.
struct Door(TcpListener);

impl Listener for Door {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        Ok(self.0.accept().await?.0)
    }
}

/// The network of the simulation, as one gateway sees it.
#[derive(Debug)]
struct Simulated {
    plan: Arc<Plan>,
    gateway: usize,
}

impl Network for Simulated {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
        Box::pin(async move {
            if self.plan.names_fail.is_some_and(|window| window.has(now())) {
                return Err(io::Error::other("the resolver does not answer"));
            }
            let mut addresses = vec![SocketAddr::new(turmoil::lookup(host), port)];
            // Half of the gateways know an address that nobody has any more.
            if self.plan.stale_names && self.gateway == 0 {
                addresses.insert(0, SocketAddr::from(([192, 0, 2, 1], port)));
            }
            Ok(addresses)
        })
    }

    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, Box<dyn Transport>> {
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Transport>) })
    }

    fn seed(&self) -> u64 {
        self.plan.seed
    }
}

type Way = BoxCloneSyncService<Outbound, Exchange, GatewayError>;

/// A way to a vendor that is broken on purpose.
#[derive(Clone)]
struct Mutated {
    way: ProviderService,
    mutant: Mutant,
}

impl Service<Outbound> for Mutated {
    type Response = Exchange;
    type Error = GatewayError;
    type Future = Pin<Box<dyn Future<Output = Result<Exchange, GatewayError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        let Self { way, mutant } = self.clone();
        Box::pin(async move {
            if mutant == Mutant::Leaks {
                drop(tokio::spawn(std::future::pending::<()>()));
            }
            let again = outbound.clone();
            let error = match way.send(outbound).await {
                Err(error) if matches!(error.reason, Reason::VendorConnectionLost | Reason::VendorTimeout) => error,
                result => return result,
            };
            match mutant {
                Mutant::None | Mutant::Leaks => Err(error),
                Mutant::Repeats => way.send(again).await,
                Mutant::Stalls => std::future::pending().await,
                Mutant::CallsLostUnsent => Err(GatewayError::new(Reason::VendorUnreachable, "it was probably not sent")),
                Mutant::CallsLostAccepted => Ok(Exchange {
                    reply: taskgate::model::call::UpstreamReply {
                        status: http::StatusCode::OK,
                        headers: http::HeaderMap::new(),
                        body: bytes::Bytes::new(),
                    },
                    elapsed: Duration::ZERO,
                }),
            }
        })
    }
}

/// As the real program.
const LOGOUT: Duration = Duration::from_secs(3);
/// A login may be on its way when everything else has ended, and ends by itself.
const LEFT_OVER: Duration = Duration::from_secs(30);
