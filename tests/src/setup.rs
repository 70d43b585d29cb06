//! What a scenario's cluster is like: how many nodes and groups, how short its timers, how small its bounds.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use kith::{
    auth::{issuer::IssuerConfig, reset::ResetConfig},
    cluster::{
        files::{LayoutSettings, PresenceFanout, PresenceSettings},
        upgrade::UpgradeSettings,
    },
};
use kith_raft::{GroupsConfig, Retention, Timers, storage};

/// How a cluster is set up; the default suits a scenario on a small, busy machine.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Nodes, each in a zone of its own.
    pub nodes: u64,
    /// Groups that hold data, besides the meta group; of each region.
    pub groups: u32,
    /// Regions, far from each other; nodes are in them by turns.
    pub regions: u8,
    /// Threads of each node's hot path.
    pub lanes: usize,
    /// Timers and bounds of the groups.
    pub raft: GroupsConfig,
    /// Sizes of the stores.
    pub store: storage::Options,
    /// Sessions of one node.
    pub sessions_max: usize,
    /// Whether clients look for their node as often as a scenario wants that is to see its loss soon; else as an app does.
    pub quick_clients: bool,
    /// Whether the nodes serve the HTTP API.
    pub api: bool,
    /// Whether it is at the port of the same number as QUIC, as in a cluster that is set up by its files: for clients that no UDP gets through to.
    pub api_beside_quic: bool,
    /// Requests of one user a second over HTTP; the usual number unless given.
    pub user_per_s: Option<NonZeroU32>,
    /// Whose tokens let somebody in.
    pub issuers: Vec<IssuerConfig>,
    /// The app's backend that hands on codes, at an address of this machine.
    pub reset: Option<ResetConfig>,
    /// How presence is told; of a grace that a scenario can wait for.
    pub presence: PresenceSettings,
    /// What the cluster moves by itself; nothing is balanced unless a scenario says so.
    pub layout: LayoutSettings,
    /// When the cluster goes to its next version.
    pub upgrade: UpgradeSettings,
    /// Whether the nodes begin as the release before this one; needs fail points.
    pub older: bool,
    /// Bytes that the nodes' disks say are free, of [`Setup::DISK_BYTES`]; half of it unless given.
    pub free_bytes: Option<Arc<AtomicU64>>,
}

impl Default for Setup {
    fn default() -> Self {
        let raft = GroupsConfig { timers: timers(), ..GroupsConfig::default() };
        Self {
            nodes: 3,
            groups: 2,
            regions: 1,
            lanes: 1,
            raft,
            store: store(),
            sessions_max: 1_000,
            quick_clients: true,
            api: false,
            api_beside_quic: false,
            user_per_s: None,
            issuers: Vec::new(),
            reset: None,
            presence: PresenceSettings { grace_s: 4, ..PresenceSettings::default() },
            layout: LayoutSettings { balance: false, move_within_s: 1, ..LayoutSettings::default() },
            upgrade: UpgradeSettings::default(),
            older: false,
            free_bytes: None,
        }
    }
}

impl Setup {
    /// Size of a disk whose free room a scenario says.
    pub const DISK_BYTES: u64 = 100 << 30;

    /// Where a node stands.
    pub fn region_of(&self, node: u64) -> u8 {
        u8::try_from((node - 1) % u64::from(self.regions.max(1))).unwrap_or_default()
    }

    /// Writes the cluster's own settings into its files, as an operator does before the first start.
    pub(crate) fn say(&self, folder: &Path) {
        let path = folder.join("cluster/cluster.toml");
        let text = std::fs::read_to_string(&path).expect("the cluster's file");
        let told = match self.presence.fanout {
            PresenceFanout::Screens => "screens",
            PresenceFanout::All => "all",
        };
        let presence = format!("[presence]\nfanout = \"{told}\"\ngrace_s = {}\n", self.presence.grace_s);
        let LayoutSettings { balance, calm_s, move_within_s, down_after_s } = self.layout;
        let layout = format!("[layout]\nbalance = {balance}\ncalm_s = {calm_s}\nmove_within_s = {move_within_s}\ndown_after_s = {down_after_s}\n");
        let upgrade = format!("[upgrade]\nfinalize = {}\nafter_s = {}\n", self.upgrade.finalize, self.upgrade.after_s);
        std::fs::write(&path, format!("{text}\n{presence}\n{layout}\n{upgrade}")).expect("written");
    }

    /// As the default, with so many nodes.
    pub fn nodes(nodes: u64) -> Self {
        Self { nodes, ..Self::default() }
    }

    /// With the HTTP API, on a port of the system's choice.
    #[must_use]
    pub fn with_api(self) -> Self {
        Self { api: true, ..self }
    }

    /// With the HTTP API at the port of QUIC. Only where no other program takes ports.
    #[must_use]
    pub fn with_api_beside_quic(self) -> Self {
        Self { api_beside_quic: true, ..self.with_api() }
    }

    /// Where a node's API is that takes clients at `quic`.
    pub(crate) fn api_at(&self, quic: SocketAddr) -> Option<SocketAddr> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        self.api.then_some(if self.api_beside_quic { quic } else { any })
    }

    /// Flushes often and keeps next to nothing of the log: who was away for long gets a snapshot.
    #[must_use]
    pub fn purging(mut self) -> Self {
        self.raft.retention =
            Retention { flush_interval: Duration::from_millis(200), keep_entries: 10, keep_bytes: 256 << 20, purge_entries_min: 10 };
        self
    }

    /// So few items may wait at a proposer.
    #[must_use]
    pub fn queue_items_max(mut self, items: usize) -> Self {
        self.raft.proposer.queue_items_max = items;
        self
    }
}

/// A new leader within a second, and none for want of processor time.
fn timers() -> Timers {
    Timers {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_millis(500),
        election_max: Duration::from_millis(1_000),
        append_overdue: Duration::from_millis(500),
        propose_overdue: Duration::from_secs(3),
    }
}

/// Three stores share a machine with the tests.
fn store() -> storage::Options {
    storage::Options {
        block_cache_bytes: 48 << 20,
        write_buffers_bytes: 32 << 20,
        log_memtable_bytes: 16 << 20,
        state_memtable_bytes: 4 << 20,
        row_cache_bytes: 8 << 20,
        ..storage::Options::default()
    }
}
