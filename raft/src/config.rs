//! Settings of a node's groups: timers, bounds, when to flush and purge. Typed, with defaults for production.
//!
//! Not here: where they come from (the node's configuration).

use std::{sync::Arc, time::Duration};

use openraft::{Config, SnapshotPolicy};

use crate::recent::RecentLimits;

/// Raft's timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// A leader's heartbeat. Each replica ticks twice as often, together with all others of its lane: that is what an idle group costs.
    pub heartbeat: Duration,
    /// A follower holds its vote for `election_max` after the last beat (the lease), waits a random time between this ...
    pub election_min: Duration,
    /// ... and this, and only then stands for election: fail-over takes between `election_max + election_min` and twice this.
    pub election_max: Duration,
    /// An append session with data on its way and no answer for this long is given up (at least two heartbeats).
    pub append_overdue: Duration,
    /// A proposed entry that is not applied after this long is `Unknown` to its proposers.
    pub propose_overdue: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            election_min: Duration::from_millis(600),
            election_max: Duration::from_millis(1_200),
            append_overdue: Duration::from_secs(1),
            propose_overdue: Duration::from_secs(6),
        }
    }
}

impl Timers {
    /// Short ones, for tests in one process.
    pub fn fast() -> Self {
        Self {
            heartbeat: Duration::from_millis(60),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            append_overdue: Duration::from_millis(400),
            propose_overdue: Duration::from_millis(2_000),
        }
    }
    /// From one tick to the next.
    pub(crate) fn tick(&self) -> Duration {
        self.heartbeat / 2
    }
    /// What openraft takes for a heartbeat: it looks at each tick whether one is due, and a tick that came late must not put the next one off.
    fn heartbeat_due(&self) -> Duration {
        self.heartbeat * 7 / 8
    }
    pub(crate) fn append_deadline(&self) -> Duration {
        self.append_overdue.max(2 * self.heartbeat)
    }
    /// Below half of the shortest election timeout, so that elections never live-lock on their own votes.
    pub(crate) fn vote_deadline(&self) -> Duration {
        self.election_min * 9 / 20
    }
}

/// A proposer's bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProposerLimits {
    /// Items that wait; one more is `Busy`.
    pub queue_items_max: usize,
    /// Bytes that wait, about; one more item is `Busy`.
    pub queue_bytes_max: usize,
    /// How long a batch waits for company, only after a batch of more than one item.
    pub linger: Duration,
}

impl Default for ProposerLimits {
    fn default() -> Self {
        Self { queue_items_max: 8_192, queue_bytes_max: 16 * 1024 * 1024, linger: Duration::from_millis(2) }
    }
}

/// When state is flushed and logs are purged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Time between two flushes of the state database.
    pub flush_interval: Duration,
    /// Entries kept in each log behind the flushed state, for followers that come back.
    pub keep_entries: u64,
    /// Bytes of them in the log's files, about: long texts leave fewer entries.
    pub keep_bytes: u64,
    /// Fewest entries worth a purge.
    pub purge_entries_min: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { flush_interval: Duration::from_secs(30), keep_entries: 20_000, keep_bytes: 256 << 20, purge_entries_min: 2_000 }
    }
}

/// All settings of a node's groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupsConfig {
    /// Raft's timers.
    pub timers: Timers,
    /// Bounds of each group's proposer.
    pub proposer: ProposerLimits,
    /// Bounds of each group's recent history.
    pub recent: RecentLimits,
    /// When state is flushed and logs are purged.
    pub retention: Retention,
}

/// Entries of one append; bytes are capped as well, in `log_store`.
pub(crate) const APPEND_ENTRIES_MAX: u64 = 512;

impl GroupsConfig {
    /// openraft's settings.
    ///
    /// # Errors
    /// The timers contradict each other.
    pub(crate) fn openraft(&self, cluster: &str) -> Result<Arc<Config>, openraft::ConfigError> {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let timers = &self.timers;
        let config = Config {
            cluster_name: cluster.to_owned(),
            heartbeat_interval: ms(timers.heartbeat_due()),
            heartbeat_min_interval: Some(ms(timers.heartbeat_due())),
            election_timeout_min: ms(timers.election_min),
            election_timeout_max: ms(timers.election_max),
            // The transport has its own deadlines; this one only bounds the whole transfer.
            install_snapshot_timeout: 600_000,
            max_payload_entries: APPEND_ENTRIES_MAX,
            // Snapshots are pointers to flushed state, taken by the node's flusher and by nothing else.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: self.retention.keep_entries,
            purge_batch_size: self.retention.purge_entries_min.max(1),
            enable_pre_vote: Some(true),
            // The state database loses its tail in a crash: an old leader must learn what is committed by a new term.
            enable_leader_restore: Some(false),
            quorum_loss_probe_interval: Some(2 * ms(timers.election_max)),
            backoff: "50ms 100ms 200ms ...1s".to_owned(),
            ..Config::default()
        };
        Ok(Arc::new(config.validate()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_timers_we_ship_are_valid() {
        for timers in [Timers::default(), Timers::fast()] {
            let config = GroupsConfig { timers, ..GroupsConfig::default() };
            let openraft = config.openraft("test").expect("valid");
            assert_eq!(openraft.enable_pre_vote, Some(true));
            assert!(timers.vote_deadline() < timers.election_min / 2);
            // A follower that had entries just before a heartbeat was due gets none then, but the one after it.
            assert!(timers.tick() < timers.heartbeat_due() && 2 * timers.heartbeat < timers.election_min);
        }
    }
}
