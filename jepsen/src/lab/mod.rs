//! The lab: a cluster of the built binary, each node in a network namespace and on a disk of its own, and a namespace for the clients.
//!
//! In: a folder, how many nodes, the binary. Out: nodes that can be started, killed, cut off and unplugged.
//! Invariants: nothing outside the namespaces and images that it made is touched; what it made is noted in `/run/kith-jepsen` first, so that the next
//! start, or `kith-jepsen clean`, removes what a crash left. Bounds: 9 nodes. Not here: when faults come (`nemesis`), what clients do (`workload`).

mod block;
mod disk;
mod drive;
mod limit;
mod net;
mod node;
mod sector;
pub(crate) mod shell;
mod switch;
mod sys;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::name::Nemesis;
use crate::plan::Plan;
use crate::workload;

pub use block::serve as serve_disk;
pub use disk::{Before, Disk};
pub use limit::Limit;
pub use net::Place;
pub use node::Node;
pub(crate) use node::{HTTP_PORT, PORT};
pub use switch::{Counters, Moves, Rule, Switch};

/// Where runs are noted.
const NOTES: &str = "/run/kith-jepsen";
/// Tools that the lab needs.
const TOOLS: &[&str] = &["ip", "nft", "nsenter", "mount", "umount", "losetup", "mkfs.ext4", "e2fsck"];
/// Raft groups that hold data: few, so that they share logs, links and lanes.
const GROUPS: u32 = 8;
/// The library that shifts wall clocks.
pub(crate) const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Names the binary of the release before the one under test; without it `kith-fault` is told to be that.
pub(crate) const PREVIOUS: &str = "KITH_PREVIOUS";

/// Last byte of the clients' address, and of those that rebinding moves them to.
const CLIENTS_LAST: u8 = 100;
const CLIENTS_ELSEWHERE: std::ops::RangeInclusive<u8> = 101..=104;

/// What this machine lacks; none if it has all that a run needs.
pub fn lacks() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root is needed, for network namespaces and mounts".to_owned());
    }
    let paths: Vec<PathBuf> = std::env::var_os("PATH").map(|paths| std::env::split_paths(&paths).collect()).unwrap_or_default();
    let is_there = |tool: &&&str| !paths.iter().any(|path| path.join(tool).is_file());
    let missing: Vec<&str> = TOOLS.iter().filter(is_there).copied().collect();
    if !missing.is_empty() {
        return Some(format!("these tools are missing: {} (packages iproute2, nftables, util-linux, e2fsprogs)", missing.join(", ")));
    }
    let probe = format!("{}probe{}", net::PREFIX, std::process::id());
    let made = shell::run("ip", ["netns", "add", &probe]).and_then(|_| {
        let done = shell::feed("nsenter", [&format!("--net=/run/netns/{probe}"), "nft", "-f", "-"], "add table inet jep\n");
        shell::run("ip", ["netns", "del", &probe])?;
        done
    });
    made.err().map(|error| format!("this machine gives no network namespaces with nftables: {error:#}"))
}

/// Whether disks can be served by a program here.
pub fn can_serve_disks() -> bool {
    Path::new("/dev/fuse").exists()
}

/// Whether wall clocks can be shifted here.
pub fn can_shift_clocks() -> bool {
    Path::new(FAKETIME).exists()
}

/// What a lab is made with, beyond nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Setup {
    /// Wall clocks can be shifted.
    pub shifts_clocks: bool,
    /// Packets go through a switch of the harness instead of a bridge of the kernel.
    pub is_switched: bool,
    /// Clients may go over TCP where no datagram gets through.
    pub has_tcp: bool,
    /// Disks are served by programs, so that they can tear and be slow.
    pub serves_disks: bool,
    /// `section.key=value`, for every node.
    pub settings: Vec<&'static str>,
    /// Added to the cluster's file before the first start.
    pub cluster_settings: String,
    /// Nodes begin as the release before the one under test.
    pub begins_older: bool,
}

impl Setup {
    /// What a plan needs.
    pub fn of(plan: &Plan) -> Self {
        let required = plan.required();
        Self {
            shifts_clocks: required.contains(&Nemesis::Clock) && can_shift_clocks(),
            is_switched: required.iter().any(|one| matches!(one, Nemesis::Packet | Nemesis::Rebind)),
            has_tcp: required.contains(&Nemesis::NoUdp),
            serves_disks: required.iter().any(|one| one.needs_served_disks()) && can_serve_disks(),
            settings: workload::settings(plan),
            cluster_settings: workload::cluster_settings(plan),
            begins_older: required.contains(&Nemesis::Upgrade),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Note {
    process: u32,
    /// Tells this process from a later one of the same number.
    started: String,
    folder: PathBuf,
}

/// A cluster's surroundings. [`Lab::remove`] ends them; [`Standing`] does so in any case.
#[derive(Debug)]
pub struct Lab {
    run: String,
    folder: PathBuf,
    /// The binary under test.
    pub binary: PathBuf,
    /// By id.
    pub nodes: Vec<Node>,
    /// Where the clients are.
    pub clients: Place,
    /// The harness's own switch, where the run has one.
    pub switch: Option<Switch>,
    /// Whether clients may go over TCP where no datagram gets through.
    pub has_tcp: bool,
}

impl Lab {
    /// Makes it; nothing runs yet.
    ///
    /// # Errors
    /// This machine refuses something; what was made until then is removed.
    pub fn make(folder: &Path, nodes: u8, binary: &Path, setup: Setup) -> anyhow::Result<Self> {
        let run = format!("{:06x}", (u64::from(std::process::id()) ^ crate::record::unix_ms()) & 0xff_ffff);
        fs::create_dir_all(NOTES).with_context(|| format!("making {NOTES}"))?;
        let note = Note { process: std::process::id(), started: started(std::process::id()).unwrap_or_default(), folder: folder.to_owned() };
        fs::write(Path::new(NOTES).join(&run), serde_json::to_vec(&note)?).context("noting the run")?;
        Self::make_noted(&run, folder, nodes, binary, setup).inspect_err(|_| sweep(&run, folder))
    }

    fn make_noted(run: &str, folder: &Path, count: u8, binary: &Path, setup: Setup) -> anyhow::Result<Self> {
        let cluster = folder.join("cluster");
        let logs = folder.join("logs");
        fs::create_dir_all(&logs).context("making the folder of logs")?;
        let (places, clients, switch) = if setup.is_switched { switched(run, count)? } else { bridged(run, count)? };
        let list: Vec<String> = places.iter().enumerate().map(|(at, place)| format!("{}={}:{PORT}", at + 1, place.address)).collect();
        let nodes_arg = list.join(",");
        let groups = GROUPS.to_string();
        let out = cluster.display().to_string();
        let args = ["cluster", "make", "--nodes", &nodes_arg, "--groups", &groups, "--out", &out];
        shell::run(&binary.display().to_string(), args).context("making the cluster")?;
        if !setup.cluster_settings.is_empty() {
            let file = cluster.join("cluster/cluster.toml");
            let made = fs::read_to_string(&file).context("reading the cluster's file")?;
            fs::write(&file, made + &setup.cluster_settings).context("writing the cluster's file")?;
        }
        let mut nodes = Vec::new();
        for (at, place) in places.into_iter().enumerate() {
            let id = at as u64 + 1;
            let clock = setup.shifts_clocks.then(|| folder.join(format!("clock-n{id}")));
            if let Some(clock) = &clock {
                fs::write(clock, "+0\n").context("making a clock's file")?;
            }
            nodes.push(Node {
                id,
                place,
                disk: Disk::make(&folder.join("disks"), &format!("n{id}"), setup.serves_disks)?,
                binary: binary.to_owned(),
                member: Mutex::new((id, cluster.join(format!("node-{id}/node.toml")))),
                log: logs.join(format!("n{id}.log")),
                clock,
                orders: Mutex::new(None),
                older: AtomicBool::new(setup.begins_older),
                settings: setup.settings.iter().map(|one| (*one).to_owned()).collect(),
                running: Mutex::new(None),
            });
        }
        Ok(Self { run: run.to_owned(), folder: folder.to_owned(), binary: binary.to_owned(), nodes, clients, switch, has_tcp: setup.has_tcp })
    }

    /// The harness's own switch.
    ///
    /// # Errors
    /// The run has none.
    pub fn switch(&self) -> anyhow::Result<&Switch> {
        self.switch.as_ref().context("this run's packets do not go through a switch of the harness")
    }

    /// An address at which nodes may see the clients, other than their own.
    pub fn elsewhere(&self, draw: u64) -> std::net::Ipv4Addr {
        let count = u64::from(CLIENTS_ELSEWHERE.end() - CLIENTS_ELSEWHERE.start()) + 1;
        let [a, b, c, _] = self.clients.address.octets();
        std::net::Ipv4Addr::new(a, b, c, CLIENTS_ELSEWHERE.start() + (draw % count) as u8)
    }

    /// Moves this thread, and those that it starts, to where the clients are.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> anyhow::Result<()> {
        sys::enter(&net::file(&self.clients.namespace)).context("entering the clients' namespace")
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The cluster's folder, for its own command line.
    pub fn cluster(&self) -> PathBuf {
        self.folder.join("cluster")
    }

    /// Runs the product's command line against the cluster; gives its JSON.
    ///
    /// # Errors
    /// It fails or takes longer.
    pub async fn kith(&self, args: &[&str], within: std::time::Duration) -> anyhow::Result<serde_json::Value> {
        let mut command = tokio::process::Command::new(&self.binary);
        command.args(args).arg("--json").arg("--cluster").arg(self.cluster()).kill_on_drop(true).stdin(std::process::Stdio::null());
        let Ok(output) = tokio::time::timeout(within, command.output()).await else { bail!("kith {args:?} took longer than {within:?}") };
        let output = output.context("running kith")?;
        if !output.status.success() {
            bail!("kith {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("reading what kith printed")
    }

    /// The node that leads most groups, by place in `nodes`; none while nobody answers.
    pub async fn leader(&self) -> Option<usize> {
        let status = self.kith(&["status"], std::time::Duration::from_secs(3)).await.ok()?;
        let groups = status.get("groups")?.as_array()?;
        let leads =
            |node: &Node| groups.iter().filter(|group| group.get("leader").and_then(serde_json::Value::as_u64) == Some(node.member())).count();
        (0..self.nodes.len()).filter(|at| leads(&self.nodes[*at]) > 0).max_by_key(|at| leads(&self.nodes[*at]))
    }

    /// Ends all nodes and removes namespaces, mounts and images, whoever still holds this. Once is enough.
    pub fn remove(&self) {
        for node in &self.nodes {
            if let Err(error) = node.kill() {
                eprintln!("warning: {error:#}");
            }
        }
        let disks: Vec<Disk> = self.nodes.iter().map(|node| node.disk.clone()).collect();
        sweep(&self.run, &self.folder);
        disks.iter().for_each(Disk::remove);
    }
}

/// A lab that is removed when this is dropped: at a run's end, at its failure, at a panic.
#[derive(Debug)]
pub struct Standing(Arc<Lab>);

impl Standing {
    /// Of a lab.
    pub fn new(lab: Lab) -> Self {
        Self(Arc::new(lab))
    }
    /// The lab, to share.
    pub fn lab(&self) -> &Arc<Lab> {
        &self.0
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.remove();
    }
}

type Wired = (Vec<Place>, Place, Option<Switch>);

fn bridged(run: &str, count: u8) -> anyhow::Result<Wired> {
    let bridge = net::make_bridge(run)?;
    let clients = net::make_place(run, &bridge, "cl", CLIENTS_LAST)?;
    let places = (1..=count).map(|id| net::make_place(run, &bridge, &format!("n{id}"), id)).collect::<Result<Vec<_>, _>>()?;
    Ok((places, clients, None))
}

fn switched(run: &str, count: u8) -> anyhow::Result<Wired> {
    let (clients, clients_port) = net::make_place_on_switch(run, "cl", CLIENTS_LAST)?;
    CLIENTS_ELSEWHERE.clone().try_for_each(|last| clients.also_at(last))?;
    let made = (1..=count).map(|id| net::make_place_on_switch(run, &format!("n{id}"), id)).collect::<Result<Vec<_>, _>>()?;
    let (places, ports) = made.into_iter().unzip();
    let switch = Switch::start(ports, clients_port, clients.address)?;
    Ok((places, clients, Some(switch)))
}

/// Removes what runs left whose process is gone. Gives how many there were.
pub fn clean() -> usize {
    let mut count = 0;
    for entry in fs::read_dir(NOTES).into_iter().flatten().flatten() {
        let note: Option<Note> = fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(note) = note else { continue };
        if started(note.process).is_some_and(|started| started == note.started) {
            continue;
        }
        count += 1;
        sweep(&entry.file_name().to_string_lossy(), &note.folder);
    }
    count
}

fn sweep(run: &str, folder: &Path) {
    net::remove(run);
    let disks = folder.join("disks");
    limit::sweep(folder);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter(|line| line.contains(" ext4 ")).filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(&disks)) {
        if let Err(error) = disk::unmount(Path::new(point)) {
            eprintln!("warning: {error:#}");
        }
    }
    drive::sweep(&disks);
    // Its file was made first.
    let _ = fs::remove_file(Path::new(NOTES).join(run));
}

/// When a process began, in the kernel's ticks; none if there is none.
fn started(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}
