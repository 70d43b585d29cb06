//! A running node: everything put together, started in order and ended in the reverse one.
//!
//! In: settings, the cluster's files, time, links' policy. Out: a node that serves until it is shut down. Order of the end (`shutdown`):
//! stop admission, end the API, hand over leaderships, drain outboxes, close sessions with a reason, stop groups, close links, flush and close the
//! databases, end the lanes; each step has a deadline.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::http::Extensions;
use kith_machine::mutant::Quirk;
use kith_push::Push;
use kith_raft::{
    FailPoints, Groups, GroupsConfig, GroupsOptions, Lanes, OpenError,
    storage::{self, Storage},
};
use kith_wire::{hello::Features, id::NodeId};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::{runtime::Handle, sync::watch, task::JoinError};
use tokio_util::sync::CancellationToken;

use crate::{
    adapt::{AddressDoor, ClusterTokens, RouterHomes, ServiceRequests, TypingHints},
    auth::{TokenKey, gate::Gate, issuer::Issuers, reset},
    clock::{SharedClock, SystemClock},
    cluster::{
        ClusterFiles,
        controller::{Controller, ControllerDuty},
        drain::Drain,
        files::FilesError,
        hand::Hands,
        load::{OwnLoad, SessionCount},
        map::{Keep, Maps},
        mover::Mover,
        replica::Replicas,
        steward::Steward,
        survey::Survey,
    },
    config::{Config, Setting},
    debt::DebtDuty,
    disk::{self, Disk},
    edge::{Edge, accept, admission::AdmissionOptions, join::Registrar, websocket::Sockets},
    fanout::{Fanout, FanoutOptions, FanoutParts, LocalSessions, seat::FanoutDuty},
    hook::{HookDuty, post::Poster},
    http::{
        self, Health,
        api::{ApiParts, PeerAddress},
        listen::ListenParts,
        open,
        ready::{self, NodeReady},
    },
    inbound::Dispatch,
    leadership::Duty,
    metrics::AllMetrics,
    pages::Pages,
    peer::{
        AllLinks, Fenced, Known, LinkPolicy, Me, Peers, PeersOptions, Release, endpoint,
        renew::Renewal,
        tls::{Identity, Signer, TlsError},
    },
    pulse::Pulse,
    push::{self, PushDuty, sender::Sender},
    router::{LocalOps, Router},
    search::{Search, SearchOptions},
    service::{Service, desk::Desk, local::Local, search::Searches},
    session::{self, Door, Sessions, Tokens, driver::SessionParts},
    supervise::{Tasks, until_alone},
    telemetry::Log,
    timer::TimerDuty,
};

/// What a node is started with.
pub struct NodeOptions {
    /// Its settings.
    pub config: Config,
    /// Time.
    pub clock: SharedClock,
    /// Which links carry traffic; a harness cuts them here.
    pub links: Arc<dyn LinkPolicy>,
    /// Timers and bounds of the groups.
    pub groups: GroupsConfig,
    /// Sizes of the store.
    pub store: storage::Options,
    /// Fail points; an empty value without the feature.
    pub failpoints: FailPoints,
    /// What is wrong with this node; an empty value without the feature.
    pub quirk: Quirk,
    /// The bound socket, when the starter has one; else the configured address is bound.
    pub socket: Option<UdpSocket>,
    /// How room on the disk is asked for.
    pub probe: disk::Probe,
    /// Logging of the process, where this node is all of it.
    pub log: Option<Log>,
    /// Its settings with where each is from, for who supports it.
    pub settings: Vec<Setting>,
}

impl NodeOptions {
    /// As in production.
    pub fn new(config: Config) -> Self {
        Self {
            groups: GroupsConfig { retention: config.raft.retention(), ..GroupsConfig::default() },
            config,
            clock: Arc::new(SystemClock),
            links: Arc::new(AllLinks),
            store: storage::Options::default(),
            failpoints: Default::default(),
            quirk: Quirk::default(),
            socket: None,
            probe: disk::probe(),
            log: None,
            settings: Vec::new(),
        }
    }
}

/// A node could not be started; nothing of it runs.
#[derive(Debug, Error)]
pub enum StartError {
    /// The cluster's files cannot be used.
    #[error("cannot use the cluster's files")]
    Cluster(#[from] FilesError),
    /// A file of the node cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("cannot use the node's tls files")]
    Tls(#[from] TlsError),
    /// The system gives no threads.
    #[error("cannot start threads")]
    Lanes(#[source] io::Error),
    /// The app's backend for lost passwords cannot be told.
    #[error("cannot use the settings in [auth.reset]")]
    Reset(#[from] reset::ResetError),
    /// No push could ever be sent so.
    #[error("cannot use the settings in [push]")]
    Push(#[from] kith_push::OpenError),
    /// The data directory cannot be opened.
    #[error("cannot open the data directory {path}")]
    Storage {
        /// Which.
        path: PathBuf,
        /// Why.
        source: storage::OpenError,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A group cannot be opened.
    #[error("cannot open a group")]
    Group(#[from] OpenError),
    /// A starting task panicked.
    #[error("a starting task failed")]
    Task(#[from] JoinError),
}

/// A running node.
pub struct Node {
    id: NodeId,
    client_addr: SocketAddr,
    http_addr: Option<SocketAddr>,
    api_addr: Option<SocketAddr>,
    api_plain_addr: Option<SocketAddr>,
    groups: Arc<Groups>,
    service: Service,
    edge: Arc<Edge>,
    peers: Peers,
    endpoint: quinn::Endpoint,
    storage: Arc<Storage>,
    lanes: Arc<Lanes>,
    tasks: Tasks,
    admission: Tasks,
    http_tasks: Tasks,
    api_tasks: Tasks,
    search: Search,
    search_tasks: Tasks,
    push: Arc<Push>,
    failed: watch::Receiver<Option<String>>,
    registry: Arc<Registry>,
    token_key: TokenKey,
    hands: Hands,
    health: Arc<NodeReady>,
    renew: Arc<tokio::sync::Notify>,
    _ops: Arc<dyn LocalOps>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.id)
    }
}

impl Node {
    /// Starts a node; returns when it takes connections, not when its groups have leaders. Call it on an ordinary runtime: HTTP runs there.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: NodeOptions) -> Result<Self, StartError> {
        let election_max = options.groups.timers.election_max;
        let NodeOptions { config, clock, links, groups: groups_config, mut store, failpoints, quirk, socket, probe, log, settings } = options;
        store.quirk = quirk;
        store.steps = failpoints.steps();
        let files = ClusterFiles::load(&config.cluster.folder)?;
        let id = NodeId::new(config.node.id);
        let first_map = files.first_map();
        let key = read(&config.node.key)?;
        let identity = Arc::new(Identity::from_pem(&files.ca_pem, &read(&config.node.cert)?, &key)?);
        let (server, dialler) = (identity.server()?, identity.dialler()?);
        let https = Arc::new(identity.https()?);

        let (failed, failed_seen) = watch::channel(None);
        let storage = open_storage(config.node.data.clone(), store).await?;
        storage.on_fatal(Box::new(move |error| {
            failed.send_replace(Some(error.to_string()));
        }));
        let lanes = Arc::new(config.node.lanes.map_or_else(Lanes::start_default, Lanes::start).map_err(StartError::Lanes)?);
        let lane = lanes.handle(lanes.of_number(0)).clone();
        let tasks = Tasks::new(lane.clone());
        let metrics = AllMetrics::default();
        let disk = Disk::new(config.node.data.clone(), config.disk, clock.clone(), probe, metrics.disk.clone());
        let pulse = Pulse::start(&lanes, clock.clone(), &tasks);
        let (renewal_clock, joins_clock) = (clock.clone(), clock.clone());
        let seen = disk.clone();
        tokio::task::spawn_blocking(move || seen.look()).await?;
        let admission = tasks.child();

        let endpoint = open_endpoint(&config, socket, server, key, &lane).await?;
        let client_addr = endpoint.local_addr().map_err(|source| StartError::Listen { address: config.node.listen, source })?;
        let release = Release::new(&storage);
        let kept_map = local(&storage, MAP_KEY).or_else(|| files.map.clone());
        let maps = Maps::new(first_map.clone(), kept_map.as_deref(), keeper(&storage, MAP_KEY)).serving(release.clone());
        let store_identity = storage.identity();
        let registry = Arc::new(metrics.registry(&storage));
        let peers = Peers::new(PeersOptions {
            me: Me { node: id, cluster: files.id, store: store_identity.store, boot: store_identity.boot },
            endpoint: endpoint.clone(),
            dialler,
            clock: clock.clone(),
            policy: links,
            known: Known::new(&local(&storage, KNOWN_KEY).unwrap_or_default(), keeper(&storage, KNOWN_KEY), quirk),
            tasks: tasks.child(),
            lanes: lanes.clone(),
            metrics: metrics.peer.clone(),
            release,
            synced: synced(&storage),
        });

        let groups = Groups::new(GroupsOptions {
            node: id,
            cluster: files.id.to_string(),
            storage: storage.clone(),
            transport: Arc::new(peers.clone()),
            lanes: lanes.clone(),
            config: groups_config,
            now: {
                let clock = clock.clone();
                Arc::new(move || clock.now())
            },
            metrics: metrics.raft.clone(),
            failpoints: FailPoints::clone(&failpoints),
        });
        let router = Router::new(id, maps.clone(), groups.clone(), peers.clone(), clock.clone());
        let load = OwnLoad {
            groups: groups.clone(),
            maps: maps.clone(),
            peers: peers.clone(),
            drain: Drain::default(),
            data: config.node.data.clone(),
            sessions_max: config.limits.sessions_max as u64,
            sessions: Arc::default(),
        };
        let survey = Survey::new(load.clone(), clock.clone(), files.layout.down_after(), files.upgrade);
        let gate = Gate::new(files.token_key.clone(), files.id, clock.clone());
        let poster = Poster::new(&config.hooks);
        let providers = Arc::new(Push::open(config.push.clone(), Arc::new(|name| std::env::var(name).ok()), metrics.push.clone()).await?);
        let sender = Sender::new(providers.clone(), clock.clone());
        let settled = (survey.clone(), files.layout, Signer::new(identity.clone(), clock.clone()));
        let local_ops = Local::new(router.clone(), gate.clone(), poster.clone(), sender.clone(), settled, disk.clone());
        let ops: Arc<dyn LocalOps> = Arc::new(local_ops.clone());
        router.attach(&ops);
        let fanout = Fanout::new(FanoutParts {
            node: id,
            boot: store_identity.boot,
            links: Arc::new(peers.clone()),
            homes: Arc::new(RouterHomes(router.clone())),
            clock: clock.clone(),
            options: FanoutOptions { quirk, presence: files.presence, ..FanoutOptions::default() },
            fail_points: failpoints.clone(),
            metrics: metrics.fanout.clone(),
        });
        local_ops.attach(Arc::new(TypingHints(fanout.clone())));
        let sessions: SessionCount = {
            let fanout = fanout.clone();
            Arc::new(move || fanout.local().len() as u64)
        };
        // Nobody else sets it.
        let _ = load.sessions.set(sessions);
        let options = SearchOptions {
            folder: config.search.enabled.then(|| config.node.data.join("search")),
            store: store_identity.store,
            bounds: config.search.bounds(),
            commit_every: config.search.commit_every(),
            quirk,
        };
        let search = Search::new(id, groups.clone(), maps.clone(), clock.clone(), options, metrics.search.clone());
        let searches = Searches::new(router.clone(), search.clone(), metrics.search.clone());
        let issuers = Arc::new(Issuers::new(config.auth.issuers.clone(), clock.clone(), tasks.on(&Handle::current()), &metrics.auth));
        let backend = config.auth.reset.as_ref().map(|reset| reset::Backend::new(reset, config.hooks.allow_private)).transpose()?;
        let told = (survey.clone(), metrics.nearest.clone());
        let service = Service::new(router.clone(), gate.clone(), (issuers, backend.is_some()), poster.clone(), searches, told, registry.clone());
        let door: Arc<dyn Door> = Arc::new(AddressDoor::new(clock.clone()));
        let tokens: Arc<dyn Tokens> = Arc::new(ClusterTokens::new(&files, clock.clone(), &service));
        let local_sessions: Arc<dyn Sessions> = Arc::new(LocalSessions(fanout.clone()));
        let api_tasks = Tasks::new(Handle::current());
        let health = Arc::new(NodeReady { service: service.clone(), disk: disk.clone(), pulse });
        let api = ApiParts {
            health: health.clone(),
            service: service.clone(),
            tokens: tokens.clone(),
            door: door.clone(),
            sessions: local_sessions.clone(),
            outbox_metrics: metrics.outbox.clone(),
            clock: clock.clone(),
            metrics: metrics.api.clone(),
            gate: gate.clone(),
            secret: files.token_key.derive(&[b"kith/http-api/1"]),
            ending: api_tasks.cancelled(),
            options: open::api_options(&config.api),
        };
        let hands = Hands::new(peers.clone(), load.drain.clone(), clock.clone(), files.layout, metrics.layout.clone());
        let parts = SessionParts {
            identity: session::machine::Identity { cluster: files.id, node: id, features: Features::default() },
            clock: clock.clone(),
            requests: Arc::new(ServiceRequests(service.clone(), fanout.clone())),
            tokens,
            door,
            sessions: local_sessions,
            draining: CancellationToken::new(),
            session_metrics: metrics.session.clone(),
            outbox_metrics: metrics.outbox.clone(),
        };
        let admitted = AdmissionOptions {
            handshakes_max: config.limits.handshakes_max,
            connections_max: config.limits.sessions_max,
            ..AdmissionOptions::default()
        };
        let pages = Pages::new(config.api.origins.clone(), maps.places(), identity.browsers(), client_addr);
        let edge = Edge::new(admitted, parts, pages, store_identity.boot, tasks.child(), metrics.edge.clone());
        let edge = Arc::new(edge.with_elsewhere(service.nearest().clone()));

        peers.start(Arc::new(Dispatch {
            groups: groups.clone(),
            service: service.clone(),
            local: local_ops,
            fanout: fanout.clone(),
            search: search.clone(),
            load: load.clone(),
            tasks: tasks.clone(),
        }));
        let controller = Controller {
            node: id,
            identity: (store_identity.store, store_identity.boot),
            first_map: Arc::new(first_map),
            groups: groups.clone(),
            peers: peers.clone(),
            maps: maps.clone(),
            hands: hands.clone(),
            steward: Steward { survey, settings: files.layout, metrics: metrics.layout.clone() },
            mover: Mover { router: router.clone(), fail_points: failpoints.clone(), metrics: metrics.layout.clone() },
            tasks: tasks.child(),
        };
        let fanout_duty = FanoutDuty { fanout: fanout.clone(), groups: groups.clone(), tasks: tasks.child() };
        let worker = push::Worker {
            router: router.clone(),
            fanout: fanout.clone(),
            sender,
            clock,
            grace: Duration::from_secs(files.presence.grace_s),
            fail_points: failpoints,
            metrics: metrics.push_worker.clone(),
        };
        let duties: Arc<[Arc<dyn Duty>]> = Arc::new([
            Arc::new(ControllerDuty::new(controller.clone())),
            Arc::new(fanout_duty),
            Arc::new(DebtDuty::new(router.clone(), tasks.child())),
            Arc::new(TimerDuty::new(router.clone(), tasks.child(), metrics.timer.clone())),
            Arc::new(HookDuty::new(router.clone(), poster, Desk::new(router.clone(), gate.clone()), tasks.child(), metrics.hook.clone())),
            Arc::new(PushDuty::new(worker, tasks.on(&Handle::current()))),
            Arc::new(reset::ResetDuty::new(router.clone(), gate, backend, tasks.child(), metrics.auth.clone())),
        ]);
        peers.follow(&maps.current());
        let replicas = Replicas {
            node: id,
            groups: groups.clone(),
            maps: maps.clone(),
            peers: peers.clone(),
            controller: controller.clone(),
            duties,
            metrics: metrics.layout.clone(),
            patience: 2 * election_max,
            tasks: tasks.clone(),
        };
        replicas.open_all().await?;
        replicas.start();
        controller.start();
        tasks.on(&Handle::current()).spawn("push.reload", push::reload(providers.clone()));
        tasks.spawn("cluster.drain", load.drain.clone().follow(id, maps.clone()));
        tasks.spawn("edge.empty", edge.clone().empty_while(load.drain.watch(), files.layout.move_within()));
        tasks.spawn("service.receipts", service.clone().run_receipts());
        let renewal = Renewal {
            whose: (id, files.id),
            files: (config.node.cert.clone(), config.node.key.clone()),
            cluster: config.cluster.folder.clone(),
            identity,
            clock: renewal_clock,
            ends: metrics.node.certificate_end_seconds.clone(),
            authorities: metrics.node.authorities.clone(),
        };
        let renew = Arc::new(tokio::sync::Notify::new());
        tasks.on(&Handle::current()).spawn("peer.renew", renewal.run(renew.clone()));
        tasks.on(&Handle::current()).spawn("disk.watch", disk.watch());
        tasks.spawn("telemetry.node", ready::show(metrics.node, health.clone()));
        tasks.spawn("fanout.keep_looking", fanout.clone().keep_looking());
        tasks.spawn("fanout.keep_registered", fanout.keep_registered());
        let registrar = Registrar {
            cluster: files.id,
            folder: config.cluster.folder.clone(),
            service: service.clone(),
            endpoint: endpoint.clone(),
            clock: joins_clock,
            metrics: metrics.edge.clone(),
            room: Registrar::room(),
        };
        let faces = (peers.clone(), edge.clone(), Arc::new(registrar));
        admission.spawn("edge.accept", accept::run(endpoint.clone(), faces, tasks.clone(), lanes.clone()));

        let listen = |(address, source)| StartError::Listen { address, source };
        let http_tasks = Tasks::new(Handle::current());
        let http_addr = open::health(config.node.http, health.clone(), registry.clone(), &http_tasks).await.map_err(listen)?;
        let face = http::local::Local { health: health.clone(), registry: registry.clone(), service: service.clone(), log, settings };
        open::local(&config.node.data, face, &http_tasks);
        let address: fn(&Extensions) -> Option<IpAddr> = |found| found.get::<PeerAddress>().map(|PeerAddress(address)| *address);
        let sockets = Sockets::new(edge.clone(), lanes.clone(), address);
        let routes = http::api::router(api).merge(sockets.routes()).merge(http::page::routes(edge.pages()));
        let api_face = |tls| ListenParts {
            tls,
            routes: routes.clone(),
            connections_max: config.api.connections_max,
            metrics: metrics.api.clone(),
            tasks: api_tasks.clone(),
        };
        let api_addr = open::api(config.api.listen, api_face(Some(https))).await.map_err(listen)?;
        let api_plain_addr = edge.pages().served_at(open::api(config.api.plain, api_face(None)).await.map_err(listen)?);
        let search_tasks = Tasks::new(Handle::current());
        search.start(&search_tasks);
        tracing::info!(node = %id, cluster = %files.id, address = %client_addr, "node started");
        Ok(Self {
            id,
            client_addr,
            http_addr,
            api_addr,
            api_plain_addr,
            groups,
            service,
            edge,
            peers,
            endpoint,
            storage,
            lanes,
            tasks,
            admission,
            http_tasks,
            api_tasks,
            search,
            search_tasks,
            push: providers,
            failed: failed_seen,
            registry,
            token_key: files.token_key,
            hands,
            health,
            renew,
            _ops: ops,
        })
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.id
    }
    /// Where its QUIC endpoint listens.
    pub fn client_addr(&self) -> SocketAddr {
        self.client_addr
    }
    /// Where its HTTP face listens.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http_addr
    }
    /// Where its HTTP API listens, with TLS.
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api_addr
    }
    /// Where its HTTP API listens in the clear: on this machine only.
    pub fn api_plain_addr(&self) -> Option<SocketAddr> {
        self.api_plain_addr
    }
    /// Its operations.
    pub fn service(&self) -> &Service {
        &self.service
    }
    /// Its groups.
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }
    /// Its search.
    pub fn search(&self) -> &Search {
        &self.search
    }
    /// Its links.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }
    /// Becomes `Some` when it must stop: its data directory is not the one that its peers know, or its build does not go with its cluster.
    pub fn fenced(&self) -> watch::Receiver<Option<Fenced>> {
        self.peers.fenced()
    }
    /// Has the node read its certificate again, if its files have changed; it does so within seconds by itself.
    pub fn renew_certificate(&self) {
        self.renew.notify_one();
    }
    /// What `/livez` and `/readyz` say.
    pub fn health(&self) -> Arc<dyn Health> {
        self.health.clone()
    }
    /// Its metrics.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }
    /// The cluster's key for tokens.
    pub fn token_key(&self) -> &TokenKey {
        &self.token_key
    }
    /// Becomes `Some` when the disk has failed: the node must be shut down, the other replicas take over.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }

    /// Ends the node in order: nobody waits for it longer than they must.
    pub async fn shutdown(self) {
        let id = self.id;
        tracing::info!(node = %id, "node.shutdown: begins");
        step("stop admission", self.admission.close(STEP_MAX)).await;
        step("end the api", self.api_tasks.close(STEP_MAX)).await;
        step("hand over leaderships", self.hand_over()).await;
        // Drains outboxes, tells clients to go, then closes what is left with a reason.
        self.edge.drain(STEP_MAX).await;
        self.end().await;
        tracing::info!(node = %id, "node.shutdown: done");
    }

    /// Ends the node as a crash would, as far as one process can: nothing is handed over, nobody is told.
    pub async fn abort(self) {
        self.admission.close(STEP_MAX).await;
        self.api_tasks.close(STEP_MAX).await;
        self.end().await;
    }

    async fn end(self) {
        step("stop groups", async {
            self.groups.shutdown().await;
            true
        })
        .await;
        step("close links", self.peers.close(STEP_MAX)).await;
        step("end tasks", self.tasks.close(STEP_MAX)).await;
        step("end pushes", async {
            self.push.close().await;
            true
        })
        .await;
        step("end http", self.http_tasks.close(STEP_MAX)).await;
        step("end search", self.search_tasks.close(STEP_MAX)).await;
        self.endpoint.close(quinn::VarInt::from_u32(u32::from(kith_wire::code::Code::Draining.number())), b"shutting down");
        // Only so long that the close frames leave; a dial that nobody answers would take seconds to be forgotten.
        let _ = tokio::time::timeout(CLOSE_FRAMES_MAX, self.endpoint.wait_idle()).await;
        let (storage, lanes) = (self.storage.clone(), self.lanes.clone());
        drop(self);
        // Both block; nothing else of this node runs by now.
        let closed = tokio::task::spawn_blocking(move || {
            lanes.stop();
            drop(lanes);
            let held = until_alone(&storage, STEP_MAX);
            let closed = storage.close();
            if held > 0 {
                tracing::error!(held, "node.shutdown: the databases are still held");
            }
            closed
        });
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(cause = %error, "node.shutdown: the databases were not closed in order"),
            Err(error) => tracing::error!(cause = %error, "node.shutdown: closing the databases panicked"),
        }
    }

    /// Gives each group that this node leads to another replica that is alive. Says whether all were taken.
    async fn hand_over(&self) -> bool {
        let led = self.groups.all().into_iter().filter(|group| group.leadership().leader == Some(self.id));
        let map = self.service.router().maps().current();
        futures_util::future::join_all(led.map(|group| self.hands.leave(group, &map))).await.into_iter().all(|taken| taken)
    }
}

async fn step(what: &'static str, step: impl Future<Output = bool>) {
    match tokio::time::timeout(STEP_MAX, step).await {
        Ok(true) => tracing::debug!(step = what, "node.shutdown: done"),
        Ok(false) | Err(_) => tracing::warn!(step = what, "node.shutdown: went on without the end of a step"),
    }
}

fn read(path: &PathBuf) -> Result<String, StartError> {
    fs::read_to_string(path).map_err(|source| StartError::File { path: path.clone(), source })
}

async fn open_storage(path: PathBuf, options: storage::Options) -> Result<Arc<Storage>, StartError> {
    let opened = tokio::task::spawn_blocking({
        let path = path.clone();
        move || Storage::open(&path, options)
    });
    opened.await?.map_err(|source| StartError::Storage { path, source })
}

async fn open_endpoint(
    config: &Config,
    socket: Option<UdpSocket>,
    server: quinn::ServerConfig,
    secret: String,
    lane: &Handle,
) -> Result<quinn::Endpoint, StartError> {
    let address = config.node.listen;
    let listen = |source| StartError::Listen { address, source };
    let socket = match socket {
        Some(socket) => socket,
        None => endpoint::bind_socket(address).map_err(listen)?,
    };
    // Its driver runs where it is made.
    let distances = config.demo.distances();
    lane.spawn(async move { endpoint::open(socket, server, secret.as_bytes(), distances) }).await?.map_err(listen)
}

fn local(storage: &Storage, key: &str) -> Option<Vec<u8>> {
    storage.local_get(key).unwrap_or_else(|error| {
        tracing::error!(key, cause = %error, "node.start: a kept value cannot be read; going on without it");
        None
    })
}

fn synced(storage: &Arc<Storage>) -> Arc<dyn Fn() -> u64 + Send + Sync> {
    let storage = Arc::downgrade(storage);
    Arc::new(move || storage.upgrade().map_or(0, |storage| storage.position()))
}

fn keeper(storage: &Arc<Storage>, key: &'static str) -> Keep {
    let storage = storage.clone();
    Arc::new(move |value| {
        if let Err(error) = storage.local_put(key, value) {
            tracing::error!(key, cause = %error, "node: a value cannot be kept");
        }
    })
}

/// Key of the kept map.
const MAP_KEY: &str = "map";
/// Key of the nodes met.
const KNOWN_KEY: &str = "peers/3";
/// For close frames to leave.
const CLOSE_FRAMES_MAX: Duration = Duration::from_millis(250);
/// One step of a shutdown.
const STEP_MAX: Duration = Duration::from_secs(5);
