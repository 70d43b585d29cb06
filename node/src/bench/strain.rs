//! What a load took: processor time of the nodes, of the load beside them and of the whole machine, syncs of the log, how full batches were.
//!
//! In: samples before and after, from `/proc` and from the nodes' own metrics. Out: [`Strain`], and from it the name of the bottleneck.
//! Bounds: none of its own. Not here: what the load achieved.

use serde::Serialize;

use crate::{clock::Stopwatch, usage};

/// Share of all processors from which on they are what limits.
const PROCESSOR_BOUND: f64 = 0.85;
/// Share of all processors that others may use; beyond it wall time says little.
pub const OTHERS_MAX: f64 = 0.2;
/// Share of the time that the log writer syncs, from which on the disk is what limits.
const DISK_BOUND: f64 = 0.6;

/// What was used up to a moment.
#[derive(Clone, Debug)]
pub struct Sample {
    at: Stopwatch,
    node_cpu_s: f64,
    load_cpu_s: f64,
    busy_s: f64,
    /// One for each node that answered.
    nodes: Vec<Counts>,
}

/// Counters of one node.
#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    syncs: f64,
    sync_s: f64,
    sync_jobs: f64,
    batches: f64,
    items: f64,
    writes: f64,
    frames: f64,
    recent_hits: f64,
    recent_misses: f64,
}

/// What was used between two moments.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct Strain {
    /// Seconds between them.
    pub seconds: f64,
    /// Processors of the machine.
    pub processors: usize,
    /// Processor seconds of all nodes.
    pub node_cpu_s: f64,
    /// Processor seconds of the load.
    pub load_cpu_s: f64,
    /// Seconds that processors were busy with anything, these two among them.
    pub busy_s: f64,
    /// Share of all processors that neither used.
    pub others_share: f64,
    /// Syncs of all nodes' logs, a second.
    pub syncs_per_s: f64,
    /// Share of the time that the log writer of the busiest node was in a sync.
    pub sync_share: f64,
    /// Appends that one sync carried.
    pub jobs_per_sync: f64,
    /// Commands that one proposal carried.
    pub items_per_batch: f64,
    /// Frames that one write to a client carried.
    pub frames_per_write: f64,
    /// Share of pulls of history that were served from memory; `None` when there were none.
    pub recent_hit_share: Option<f64>,
}

impl Sample {
    /// What these processes, this process and the machine have used, and what the nodes' metrics say.
    pub fn take(processes: &[u32], metrics: &[String]) -> Self {
        Self {
            at: Stopwatch::start(),
            node_cpu_s: usage::cpu_seconds(processes),
            load_cpu_s: usage::cpu_seconds(&[std::process::id()]),
            busy_s: usage::machine_busy_seconds().unwrap_or_default(),
            nodes: metrics.iter().map(|text| Counts::read(text)).collect(),
        }
    }

    /// What was used since an earlier one.
    pub fn since(&self, earlier: &Self) -> Strain {
        let seconds = earlier.at.elapsed().saturating_sub(self.at.elapsed()).as_secs_f64().max(1e-9);
        let of = |each: fn(&Counts) -> f64| {
            let sum = |sample: &Self| sample.nodes.iter().map(each).sum::<f64>();
            (sum(self) - sum(earlier)).max(0.0)
        };
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let sync_s = self.nodes.iter().zip(&earlier.nodes).map(|(now, then)| now.sync_s - then.sync_s).fold(0.0, f64::max);
        let (hits, misses) = (of(|node| node.recent_hits), of(|node| node.recent_misses));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (node_cpu_s, load_cpu_s, busy_s) =
            (self.node_cpu_s - earlier.node_cpu_s, self.load_cpu_s - earlier.load_cpu_s, self.busy_s - earlier.busy_s);
        Strain {
            seconds,
            processors,
            node_cpu_s,
            load_cpu_s,
            busy_s,
            others_share: ((busy_s - node_cpu_s - load_cpu_s) / seconds / processors as f64).max(0.0),
            syncs_per_s: of(|node| node.syncs) / seconds,
            sync_share: (sync_s / seconds).min(1.0),
            jobs_per_sync: ratio(of(|node| node.sync_jobs), of(|node| node.syncs)),
            items_per_batch: ratio(of(|node| node.items), of(|node| node.batches)),
            frames_per_write: ratio(of(|node| node.frames), of(|node| node.writes)),
            recent_hit_share: (hits + misses > 0.0).then(|| hits / (hits + misses)),
        }
    }
}

/// A figure of a node's metrics, over all its labels; 0 where it is not told.
pub fn told(metrics: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let is_it = rest.starts_with(' ') || rest.starts_with('{');
        rest.rsplit_once(' ').filter(|_| is_it)?.1.parse::<f64>().ok()
    };
    metrics.lines().filter_map(value).sum()
}

impl Counts {
    fn read(metrics: &str) -> Self {
        let value = |name: &str| told(metrics, name);
        Self {
            syncs: value("kith_storage_sync_seconds_count"),
            sync_s: value("kith_storage_sync_seconds_sum"),
            sync_jobs: value("kith_storage_sync_jobs_sum"),
            batches: value("kith_raft_batch_items_count"),
            items: value("kith_raft_batch_items_sum"),
            writes: value("kith_session_frames_per_write_count"),
            frames: value("kith_session_frames_per_write_sum"),
            recent_hits: value("kith_raft_recent_hits_total"),
            recent_misses: value("kith_raft_recent_misses_total"),
        }
    }
}

impl Strain {
    /// What limited the load, in a sentence with the figures that say so.
    pub fn bottleneck(&self) -> String {
        let cores = |seconds: f64| seconds / self.seconds.max(1e-9);
        let (nodes, load, busy) = (cores(self.node_cpu_s), cores(self.load_cpu_s), cores(self.busy_s));
        let others = self.others_share * self.processors as f64;
        let share = busy / self.processors.max(1) as f64;
        let used = format!("nodes {nodes:.2}, load {load:.2}, others {others:.2} of {} processors", self.processors);
        if share >= PROCESSOR_BOUND && self.others_share > OTHERS_MAX {
            format!("others on this machine: {used}")
        } else if share >= PROCESSOR_BOUND {
            format!("processor: {used}")
        } else if self.sync_share >= DISK_BOUND {
            format!("fdatasync: the log writer syncs {:.0} % of the time, {:.0}/s; {used}", self.sync_share * 100.0, self.syncs_per_s)
        } else {
            format!("waiting: syncs {:.0} % of the time; {used}", self.sync_share * 100.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_their_whole_name() {
        let text = "# TYPE x\nkith_storage_sync_seconds_count 40\nkith_storage_sync_seconds_sum 0.5\nkith_storage_sync_seconds_count_other 9\n\
                    kith_raft_batch_items_sum 90\nkith_raft_batch_items_count 30\n";
        let counts = Counts::read(text);
        assert_eq!((counts.syncs, counts.sync_s, counts.items, counts.batches, counts.frames), (40.0, 0.5, 90.0, 30.0, 0.0));
    }

    #[test]
    fn bottleneck_is_what_is_used_up() {
        let strain =
            Strain { seconds: 10.0, processors: 2, node_cpu_s: 12.0, load_cpu_s: 6.0, busy_s: 19.0, others_share: 0.05, ..Strain::default() };
        assert!(strain.bottleneck().starts_with("processor: nodes 1.20, load 0.60, others 0.10 of 2"), "{}", strain.bottleneck());
        let shared = Strain { node_cpu_s: 4.0, others_share: 0.45, ..strain };
        assert!(shared.bottleneck().starts_with("others on this machine: nodes 0.40"), "{}", shared.bottleneck());
        let strain = Strain { busy_s: 8.0, node_cpu_s: 4.0, load_cpu_s: 3.0, sync_share: 0.9, syncs_per_s: 300.0, ..strain };
        assert!(strain.bottleneck().starts_with("fdatasync: the log writer syncs 90 %"), "{}", strain.bottleneck());
        assert!(Strain { sync_share: 0.1, ..strain }.bottleneck().starts_with("waiting"));
    }
}
