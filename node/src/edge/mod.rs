//! The client face of a node: who may connect, and one session for each who did.
//!
//! In: attempts to connect ([`Edge::admit`], before any crypto), connections with ALPN `kith/1` ([`Edge::serve`]), those with `h3` ([`webtransport`]), and WebSockets ([`websocket`]). Out:
//! sessions that run until they end. On drain: sessions are told to move, spread over the time, then ended with a reason. Bounds: [`admission`].
//! Not here: the UDP endpoint and TLS (`peer`, which shares the port), the session itself (`session`).

pub(crate) mod accept;
pub mod admission;
pub(crate) mod join;
pub mod metrics;
pub mod websocket;
pub mod webtransport;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::extract::ws::WebSocket;
use kith_wire::{
    client::{Refusal, ToClient},
    code::Code,
    id::{BootEpoch, Timestamp},
};
use prometheus_client::metrics::gauge::Gauge;
use quinn::{Connection, Incoming, VarInt};
use tokio::{runtime::Handle, sync::watch};

use self::{
    admission::{Admission, AdmissionOptions, Decision, Handshake, Slot},
    metrics::EdgeMetrics,
};
use crate::{
    pages::Pages,
    router::{refuse, refuse_for},
    service::nearest::Nearest,
    session::{
        Web,
        driver::{self, SessionParts},
    },
    supervise::Tasks,
};

/// A handshake must be over within this.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// For those that are slow to move.
const MOVE_GRACE: Duration = Duration::from_secs(10);
/// What one whom a full node sent away waits before it comes here again.
const FULL_RETRY_MS: u32 = 10_000;
/// Between two looks whether the sessions have gone.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// The client face.
pub struct Edge {
    admission: Arc<Admission>,
    parts: Arc<SessionParts>,
    tasks: Tasks,
    trace: AtomicU64,
    refuses: AtomicBool,
    elsewhere: Option<Nearest>,
    pages: Arc<Pages>,
    metrics: Arc<EdgeMetrics>,
}

impl Edge {
    /// Takes sessions at once, of browsers those of these pages. They run among `tasks`.
    pub fn new(options: AdmissionOptions, parts: SessionParts, pages: Pages, boot: BootEpoch, tasks: Tasks, metrics: Arc<EdgeMetrics>) -> Self {
        // Names of requests differ between nodes and starts: node, start and session in the upper bits.
        let trace = (parts.identity.node.get() << 48) ^ (boot.get() << 36);
        Self {
            admission: Arc::new(Admission::new(options, metrics.clone())),
            parts: Arc::new(parts),
            tasks,
            trace: AtomicU64::new(trace),
            refuses: AtomicBool::new(false),
            elsewhere: None,
            pages: Arc::new(pages),
            metrics,
        }
    }
    /// The same, which says where to go to whom it does not take.
    #[must_use]
    pub fn with_elsewhere(self, nearest: Nearest) -> Self {
        Self { elsewhere: Some(nearest), ..self }
    }
    /// Decides over an attempt to connect, by a client or a node: the two are not told apart before the handshake, except that nobody but
    /// clients comes from where there is no node (`is_peer`). `None`: it was answered; else hold the [`Handshake`] until the handshake is over,
    /// at most [`HANDSHAKE_WITHIN`].
    pub fn admit(&self, incoming: Incoming, is_peer: bool) -> Option<(Incoming, Handshake)> {
        let now = self.parts.clock.instant();
        match self.admission.admit(incoming.remote_address().ip(), incoming.remote_address_validated(), is_peer, now) {
            Decision::Accept(handshake) => return Some((incoming, handshake)),
            Decision::Retry => {
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Decision::Refuse => incoming.refuse(),
            Decision::Ignore => incoming.ignore(),
        }
        None
    }
    /// Decides over a client that asks for a WebSocket: its address is proven by TCP. `None`: it is not let in; else hold the [`Handshake`] until
    /// it is open.
    pub fn admit_socket(&self, from: IpAddr) -> Option<Handshake> {
        match self.admission.admit(from, true, false, self.parts.clock.instant()) {
            Decision::Accept(handshake) => Some(handshake),
            Decision::Retry | Decision::Refuse | Decision::Ignore => None,
        }
    }
    /// Runs a client's session as a task of the edge, on the lane that its connection lives on. Returns at once.
    pub fn serve(&self, conn: Connection, lane: &Handle) {
        match self.take_slot() {
            Err(refusal) => {
                // As a session would be told; what does not fit the packet is cut off, and then the number alone says why.
                let code = VarInt::from_u32(u32::from(refusal.code.number()));
                conn.close(code, &ToClient::Bye(Refusal { text: String::new(), ..refusal }).encode());
            }
            Ok(slot) => {
                let (parts, trace) = (self.parts.clone(), self.next_trace());
                self.tasks.on(lane).spawn("session", async move {
                    driver::run(parts, conn, trace).await;
                    drop(slot);
                });
            }
        }
    }
    /// As [`Edge::serve`], for a page's WebTransport.
    pub(crate) fn serve_web(&self, web: Web, lane: &Handle) {
        let parts = self.parts.clone();
        match self.take_slot() {
            Err(refusal) => {
                let now = parts.clock.instant();
                self.tasks.on(lane).spawn("session.refused", driver::refuse_web(web, refusal, now));
            }
            Ok(slot) => {
                let trace = self.next_trace();
                let counted = Counted::new(&self.metrics.web_transports);
                self.tasks.on(lane).spawn("session", async move {
                    driver::run_web(parts, web, trace).await;
                    drop((slot, counted));
                });
            }
        }
    }
    /// As [`Edge::serve`], for a client's WebSocket.
    pub fn serve_socket(&self, socket: WebSocket, from: IpAddr, lane: &Handle) {
        let parts = self.parts.clone();
        match self.take_slot() {
            Err(refusal) => {
                let now = parts.clock.instant();
                self.tasks.on(lane).spawn("session.refused", driver::refuse_socket(socket, from, refusal, now));
            }
            Ok(slot) => {
                let trace = self.next_trace();
                let counted = Counted::new(&self.metrics.web_sockets);
                self.tasks.on(lane).spawn("session", async move {
                    driver::run_socket(parts, socket, from, trace).await;
                    drop((slot, counted));
                });
            }
        }
    }
    /// Sessions and connections that have not said Hello.
    pub fn connections(&self) -> usize {
        self.tasks.len()
    }
    /// While the watch is true: refuses every new session, tells those that are there to move, spread over `within`, and ends those that have not
    /// a while later. Goes on until dropped.
    pub async fn empty_while(self: Arc<Self>, mut on: watch::Receiver<bool>, within: Duration) {
        loop {
            let is_on = *on.borrow_and_update();
            self.refuses.store(is_on, Ordering::Relaxed);
            if is_on {
                self.parts.sessions.go_away(within);
                // Cancel safe.
                let is_off = tokio::time::timeout(within + MOVE_GRACE, on.wait_for(|on| !*on)).await.is_ok();
                if is_off {
                    continue;
                }
                self.parts.sessions.close_all(&refuse(Code::Draining));
            }
            if on.changed().await.is_err() {
                return;
            }
        }
    }
    /// Takes no new session, tells all to move, waits for them, then ends the rest with a reason. Takes at most `within`, and no longer than
    /// the last client that is there needs.
    pub async fn drain(&self, within: Duration) {
        self.parts.draining.cancel();
        let wait = within / 2;
        tracing::info!(sessions = self.tasks.len(), "edge.drain");
        self.parts.sessions.go_away(wait);
        if !self.gone(wait).await {
            self.parts.sessions.close_all(&refuse(Code::Draining));
            self.gone(within - wait).await;
        }
        self.tasks.close(Duration::from_secs(1)).await;
    }
    /// Wall-clock time.
    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
    /// Which pages may come.
    pub fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }
    /// Counters.
    pub fn metrics(&self) -> &EdgeMetrics {
        &self.metrics
    }

    /// A place for a session, or what is told to whom there is none for.
    fn take_slot(&self) -> Result<Slot, Refusal> {
        let refuses = self.parts.draining.is_cancelled() || self.refuses.load(Ordering::Relaxed);
        let slot = if refuses { Err(Code::Draining) } else { self.admission.take_slot().ok_or(Code::Busy) };
        slot.map_err(|code| {
            let refusal = if code == Code::Busy { refuse_for(code, FULL_RETRY_MS) } else { refuse(code) };
            refusal.or_at(self.elsewhere.as_ref().map(Nearest::elsewhere).unwrap_or_default())
        })
    }
    fn next_trace(&self) -> u64 {
        self.trace.fetch_add(1 << 12, Ordering::Relaxed)
    }
    async fn gone(&self, within: Duration) -> bool {
        let until = self.parts.clock.instant() + within;
        while !self.tasks.is_empty() {
            if self.parts.clock.instant() >= until {
                return false;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        true
    }
}

/// Counts a connection of a browser, however it ends.
struct Counted(Gauge);
impl Counted {
    fn new(open: &Gauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}
impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("parts", &self.parts).finish_non_exhaustive()
    }
}
