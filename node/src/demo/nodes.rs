//! The demo's nodes: child processes of this same binary.
//!
//! In: a folder, how many nodes and groups. Out: processes that run, can be killed and started again, and are gone at the end.
//! Invariants: each child ends when its standard input closes, so a killed parent leaves none behind; each is in a process group of its own,
//! so that Ctrl-C reaches the parent only, which then stops them in order.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use kith_wire::id::NodeId;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, ChildStdin, Command},
    time::{Instant, sleep, timeout},
};

use super::regions::{distances, node_address};
use crate::cluster::{ClusterFiles, ClusterSpec, NodeSpec, bootstrap, bootstrap::BootstrapError, files::FilesError};
use crate::usage::resident_bytes;

/// How long a node may take from its start until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a node may take to stop cleanly; then it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// Time between two looks at whether a node is ready.
const READY_POLL: Duration = Duration::from_millis(50);
/// Lines of a node's log that are shown when it fails.
const LOG_TAIL_LINES: usize = 20;

/// The demo's cluster could not be run.
#[derive(Debug, Error)]
pub enum NodesError {
    /// The cluster could not be made.
    #[error("making the cluster")]
    Bootstrap(#[from] BootstrapError),
    /// The folder's cluster could not be read.
    #[error("reading the cluster's files")]
    Files(#[from] FilesError),
    /// A process, socket or file could not be made.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A node ended although nobody told it to.
    #[error("node {node} ended by itself ({status}). The end of its log:\n{log}")]
    Ended {
        /// Which.
        node: NodeId,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// A node did not become ready.
    #[error("node {node} was not ready within {} s: {answer}. The end of its log:\n{log}", READY_WITHIN.as_secs())]
    NotReady {
        /// Which.
        node: NodeId,
        /// What it said last.
        answer: String,
        /// The end of its log.
        log: String,
    },
}

/// The processes of a cluster on this machine.
#[derive(Debug)]
pub struct Nodes {
    folder: PathBuf,
    binary: PathBuf,
    spec: ClusterSpec,
    /// Where each node serves the web chat in the clear, if it does.
    pages: Vec<SocketAddr>,
    running: Mutex<Vec<Option<Running>>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Held open: the child ends when it closes.
    _alive: Option<ChildStdin>,
}

impl Nodes {
    /// Makes a cluster in the folder, or takes the one that is there. Nothing runs yet.
    ///
    /// # Errors
    /// There are no free ports, or the folder cannot be written or read.
    pub fn prepare(folder: &Path, nodes: usize, groups: u32) -> Result<Self, NodesError> {
        Self::prepare_in(folder, nodes, groups, 1)
    }

    /// As [`Nodes::prepare`]; with several regions there are so many nodes and groups in each of them, and they are far from each other.
    ///
    /// # Errors
    /// As [`Nodes::prepare`].
    pub fn prepare_in(folder: &Path, nodes: usize, groups: u32, regions: u8) -> Result<Self, NodesError> {
        let shared = folder.join("cluster");
        if !shared.join("cluster.toml").exists() {
            let specs = specs(nodes, regions).map_err(|source| NodesError::Io { what: "looking for free ports".into(), source })?;
            bootstrap(folder, &ClusterSpec { groups, nodes: specs.clone() })?;
            for spec in specs.iter().filter(|_| regions > 1) {
                let path = folder.join(format!("node-{}/node.toml", spec.id));
                let far = format!("\n[demo]\nregions_ms = {:?}\n", distances(spec.region, regions));
                let written = fs::read_to_string(&path).and_then(|text| fs::write(&path, text + &far));
                written.map_err(|source| NodesError::Io { what: format!("writing {}", path.display()), source })?;
            }
        }
        let spec = ClusterFiles::load(&shared)?.spec;
        let binary = std::env::current_exe().map_err(|source| NodesError::Io { what: "finding this program's own file".into(), source })?;
        let running = Mutex::new(spec.nodes.iter().map(|_| None).collect());
        Ok(Self { folder: folder.to_owned(), binary, spec, pages: Vec::new(), running })
    }

    /// The same, with another program as the nodes: a test is not the binary.
    #[must_use]
    pub fn with_binary(self, binary: PathBuf) -> Self {
        Self { binary, ..self }
    }

    /// The same, where each node serves the web chat in the clear too: to whoever sits before this machine.
    ///
    /// # Errors
    /// There are no free ports.
    pub fn with_pages(self) -> io::Result<Self> {
        // Well-known ones, so that a link works again tomorrow; else any. All are held until all are drawn.
        let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let held: Vec<TcpListener> = (PAGE_PORT..).take(self.spec.nodes.len()).map(free).collect::<io::Result<_>>()?;
        let pages = held.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        Ok(Self { pages, ..self })
    }
    /// Links to the web chat, one for each node that serves it.
    pub fn page_links(&self) -> Vec<String> {
        self.pages.iter().map(|page| format!("http://{page}/")).collect()
    }

    /// How the cluster was made.
    pub const fn spec(&self) -> &ClusterSpec {
        &self.spec
    }
    /// The nodes' ids.
    pub fn ids(&self) -> Vec<NodeId> {
        self.spec.nodes.iter().map(|node| NodeId::new(node.id)).collect()
    }

    /// Starts every node and waits until all are ready.
    ///
    /// # Errors
    /// A process cannot be started, ends, or does not become ready in time.
    pub async fn start_all(&self) -> Result<(), NodesError> {
        for node in self.ids() {
            self.start(node)?;
        }
        for node in self.ids() {
            self.wait_ready(node).await?;
        }
        Ok(())
    }

    /// Starts a node that does not run.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(&self, node: NodeId) -> Result<(), NodesError> {
        let io = |what: &str| {
            let what = format!("{what} node {node}");
            move |source| NodesError::Io { what, source }
        };
        let folder = self.node_folder(node);
        let log: File = OpenOptions::new().create(true).append(true).open(folder.join("log")).map_err(io("opening the log of"))?;
        let log_too = log.try_clone().map_err(io("opening the log of"))?;
        let page = self.position(node).and_then(|at| self.pages.get(at));
        let mut child = Command::new(&self.binary)
            .args(["start", "--until-stdin-closes", "--config"])
            .arg(folder.join("node.toml"))
            .args(page.iter().flat_map(|page| ["--api-plain".to_owned(), page.to_string()]))
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(log_too)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(io("starting"))?;
        let alive = child.stdin.take();
        if let Some(slot) = self.position(node).and_then(|at| self.lock().get_mut(at).map(|slot| slot.replace(Running { child, _alive: alive }))) {
            drop(slot);
        }
        Ok(())
    }

    /// Waits until a node is ready for clients.
    ///
    /// # Errors
    /// It ends, or takes too long.
    pub async fn wait_ready(&self, node: NodeId) -> Result<(), NodesError> {
        let address = self.position(node).map(|at| self.spec.nodes[at].http.clone()).unwrap_or_default();
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let answer = match timeout(Duration::from_secs(2), get(&address, "/readyz?verbose")).await {
                Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => return Ok(()),
                Ok(Ok(answer)) => answer.lines().last().unwrap_or_default().to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            self.check()?;
            if Instant::now() > deadline {
                return Err(NodesError::NotReady { node, answer, log: self.log_tail(node) });
            }
            sleep(READY_POLL).await;
        }
    }

    /// Whether every node that was started still runs.
    ///
    /// # Errors
    /// One ended by itself.
    pub fn check(&self) -> Result<(), NodesError> {
        for (slot, spec) in self.lock().iter_mut().zip(&self.spec.nodes) {
            let ended = slot.as_mut().and_then(|running| running.child.try_wait().ok().flatten());
            if let Some(status) = ended {
                *slot = None;
                let node = NodeId::new(spec.id);
                return Err(NodesError::Ended { node, status, log: self.log_tail(node) });
            }
        }
        Ok(())
    }

    /// Kills a node (SIGKILL) and waits until it is gone.
    pub async fn kill(&self, node: NodeId) {
        let running = self.position(node).and_then(|at| self.lock().get_mut(at).and_then(Option::take));
        if let Some(Running { mut child, .. }) = running {
            // It fails only when the process has ended already.
            let _ = child.kill().await;
        }
    }

    /// Stops every node cleanly; one that takes too long is killed.
    pub async fn stop_all(&self) {
        let running: Vec<Running> = self.lock().iter_mut().filter_map(Option::take).collect();
        // Closing their standard input tells all of them at once.
        let children: Vec<Child> = running.into_iter().map(|running| running.child).collect();
        let deadline = Instant::now() + STOP_WITHIN;
        for mut child in children {
            if tokio::time::timeout_at(deadline, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }

    /// Process of each node that runs.
    pub fn processes(&self) -> Vec<(NodeId, u32)> {
        let running = self.lock();
        running.iter().zip(&self.spec.nodes).filter_map(|(slot, spec)| Some((NodeId::new(spec.id), slot.as_ref()?.child.id()?))).collect()
    }

    /// Resident memory of each node that runs, in bytes.
    pub fn memory_bytes(&self) -> Vec<(NodeId, u64)> {
        self.processes().into_iter().filter_map(|(node, process)| Some((node, resident_bytes(process)?))).collect()
    }

    /// The metrics of each node that answers, as Prometheus would read them.
    pub async fn metrics(&self) -> Vec<String> {
        let ask = |spec: &NodeSpec| {
            let address = spec.http.clone();
            async move { timeout(Duration::from_secs(2), get(&address, "/metrics")).await.ok()?.ok() }
        };
        join_all(self.spec.nodes.iter().map(ask)).await.into_iter().flatten().collect()
    }

    /// The end of a node's log, for a person.
    pub fn log_tail(&self, node: NodeId) -> String {
        let text = fs::read_to_string(self.node_folder(node).join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    fn node_folder(&self, node: NodeId) -> PathBuf {
        self.folder.join(format!("node-{node}"))
    }
    fn position(&self, node: NodeId) -> Option<usize> {
        self.spec.nodes.iter().position(|spec| spec.id == node.get())
    }
    fn lock(&self) -> MutexGuard<'_, Vec<Option<Running>>> {
        // Each change is one assignment, so a panic elsewhere leaves the list whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nodes on loopback with free ports: so many in each region, in three zones by turns.
fn specs(nodes: usize, regions: u8) -> io::Result<Vec<NodeSpec>> {
    const ZONES: [&str; 3] = ["a", "b", "c"];
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    // All are held until all are drawn, so that none is drawn twice.
    let mut held = Vec::new();
    for region in 0..regions.max(1) {
        for at in 0..nodes {
            let address = if regions > 1 { node_address(region, u8::try_from(at + 1).unwrap_or(u8::MAX)) } else { any.ip() };
            held.push((client_port((address, 0).into())?, TcpListener::bind(any)?));
        }
    }
    let spec = |(at, ((quic, _), http)): (usize, &((UdpSocket, TcpListener), TcpListener))| {
        Ok(NodeSpec {
            id: at as u64 + 1,
            address: quic.local_addr()?.to_string(),
            http: http.local_addr()?.to_string(),
            region: u8::try_from(at / nodes.max(1)).unwrap_or_default(),
            zone: ZONES[at % nodes.max(1) % ZONES.len()].to_owned(),
            host: String::new(),
        })
    };
    held.iter().enumerate().map(spec).collect()
}

/// A port that is free for QUIC (UDP) and for the API (TCP).
fn client_port(any: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = PORT_TRIES;
    loop {
        let quic = UdpSocket::bind(any)?;
        match TcpListener::bind(quic.local_addr()?) {
            Ok(api) => return Ok((quic, api)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => tries -= 1,
        }
    }
}

/// Ports of UDP that are tried until the same one of TCP is free too.
const PORT_TRIES: u32 = 20;

/// Of the first node's web chat.
const PAGE_PORT: u16 = 7681;

/// The whole answer to a GET over HTTP/1.1.
async fn get(address: &str, path: &str) -> io::Result<String> {
    const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nodes_get_different_ports_and_three_zones() {
        let nodes = specs(5, 1).unwrap();
        assert_eq!(nodes.iter().map(|node| node.zone.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "a", "b"]);
        assert_eq!(nodes.iter().map(|node| &node.address).collect::<HashSet<_>>().len(), 5);
        assert_eq!(nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let nodes = specs(2, 3).unwrap();
        assert_eq!(
            nodes.iter().map(|node| (node.region, node.zone.as_str())).collect::<Vec<_>>(),
            [(0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a"), (2, "b")]
        );
        assert!(nodes[3].address.starts_with("127.0.1.2:"), "{nodes:?}");
    }
}
