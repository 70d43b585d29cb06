//! The metrics of all modules of a node, in one registry: part of the composition root.
//!
//! Invariants, by test: names are `kith_<module>_<noun>[_<unit>]` with `_total` on counters, in seconds and bytes; each has a help text;
//! labels are closed sets, never users, channels or sessions; the list is the one kept in `tests/metrics.txt`.

use std::sync::Arc;

use kith_push::PushMetrics;
use kith_raft::{RaftMetrics, storage::Storage};
use prometheus_client::registry::Registry;

use crate::{
    auth::metrics::AuthMetrics,
    cluster::steward::LayoutMetrics,
    disk::DiskMetrics,
    edge::metrics::EdgeMetrics,
    fanout::metrics::FanoutMetrics,
    hook::HookMetrics,
    http::api::ApiMetrics,
    peer::metrics::PeerMetrics,
    push::WorkerMetrics,
    search::SearchMetrics,
    service::nearest::NearestMetrics,
    session::metrics::{OutboxMetrics, SessionMetrics},
    telemetry::NodeMetrics,
    timer::TimerMetrics,
};

/// One set per node, handed to its modules.
#[derive(Default)]
pub(crate) struct AllMetrics {
    pub(crate) node: NodeMetrics,
    pub(crate) raft: Arc<RaftMetrics>,
    pub(crate) peer: Arc<PeerMetrics>,
    pub(crate) edge: Arc<EdgeMetrics>,
    pub(crate) nearest: Arc<NearestMetrics>,
    pub(crate) session: Arc<SessionMetrics>,
    pub(crate) outbox: Arc<OutboxMetrics>,
    pub(crate) fanout: Arc<FanoutMetrics>,
    pub(crate) timer: Arc<TimerMetrics>,
    pub(crate) auth: Arc<AuthMetrics>,
    pub(crate) hook: Arc<HookMetrics>,
    pub(crate) api: Arc<ApiMetrics>,
    pub(crate) search: Arc<SearchMetrics>,
    pub(crate) push: Arc<PushMetrics>,
    pub(crate) push_worker: Arc<WorkerMetrics>,
    pub(crate) layout: Arc<LayoutMetrics>,
    pub(crate) disk: DiskMetrics,
}

impl AllMetrics {
    pub(crate) fn registry(&self, storage: &Arc<Storage>) -> Registry {
        let mut registry = Registry::default();
        storage.register_metrics(&mut registry);
        self.raft.register(&mut registry);
        self.node.register(&mut registry);
        self.peer.register(&mut registry);
        self.edge.register(&mut registry);
        self.nearest.register(&mut registry);
        self.session.register(&mut registry);
        self.outbox.register(&mut registry);
        self.fanout.register(&mut registry);
        self.timer.register(&mut registry);
        self.auth.register(&mut registry);
        self.hook.register(&mut registry);
        self.api.register(&mut registry);
        self.search.register(&mut registry);
        self.push.register(&mut registry);
        self.push_worker.register(&mut registry);
        self.layout.register(&mut registry);
        self.disk.register(&mut registry);
        registry
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use kith_raft::storage;

    use super::*;

    /// Units and what else may stand last in the name of a histogram.
    const MEASURED: &[&str] = &["seconds", "bytes", "items", "jobs", "round", "write"];
    /// Units that must be written as seconds or bytes.
    const OTHER_UNITS: &[&str] = &["ms", "millis", "us", "micros", "ns", "kb", "mb", "kib", "mib"];
    const MODULES: &[&str] = &[
        "storage", "raft", "node", "peer", "edge", "session", "outbox", "fanout", "timer", "auth", "hook", "http", "search", "push", "layout", "disk",
    ];
    const LABELS: &[&str] = &["class", "reason", "route", "provider", "outcome", "le"];
    /// Series of one node that has just begun. Routes of the API add theirs, a fixed number each.
    const SERIES_MAX: usize = 1_500;
    const KEPT: &str = include_str!("../tests/metrics.txt");

    fn rendered() -> String {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), storage::Options::default()).unwrap();
        let registry = AllMetrics::default().registry(&storage);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        storage.close().unwrap();
        text
    }

    fn after<'a>(line: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
        line.strip_prefix(prefix).and_then(|rest| rest.split_once(' '))
    }

    #[test]
    fn names_units_and_help_texts_follow_the_rules() {
        let text = rendered();
        let helps: BTreeMap<_, _> = text.lines().filter_map(|line| after(line, "# HELP ")).collect();
        let types: Vec<_> = text.lines().filter_map(|line| after(line, "# TYPE ")).collect();
        assert!(types.len() > 60, "the whole list: {}", types.len());
        let mut wrong = Vec::new();
        for (name, kind) in types {
            let words: Vec<_> = name.split('_').collect();
            let well_named = words.len() >= 2 + usize::from(words[0] == "kith") && words[0] == "kith" && MODULES.contains(&words[1]);
            let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let doubled = name.ends_with("_total") || words.iter().any(|word| OTHER_UNITS.contains(word));
            let unit = kind != "histogram" || words.last().is_some_and(|last| MEASURED.contains(last));
            let help = helps.get(name).is_some_and(|help| help.len() > 10 && help.ends_with('.') && !help.ends_with(".."));
            if !(well_named && plain && !doubled && unit && help) {
                wrong.push(format!("{name} ({kind}): {:?}", helps.get(name)));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn labels_are_closed_sets() {
        for line in rendered().lines().filter(|line| !line.starts_with('#')) {
            let Some((_, labels)) = line.split_once('{') else { continue };
            let (labels, _) = labels.split_once('}').unwrap();
            for label in labels.split(',') {
                let (name, value) = label.split_once('=').unwrap();
                let value = value.trim_matches('"');
                let closed = name == "le" || value.bytes().all(|byte| byte.is_ascii_alphabetic());
                assert!(LABELS.contains(&name) && closed, "{line}");
            }
        }
    }

    /// A scrape of a node is a few hundred series, whatever it holds: none is made by a user, a channel or a group.
    #[test]
    fn a_node_has_few_series() {
        let series = rendered().lines().filter(|line| !line.starts_with('#')).count();
        assert!(series < SERIES_MAX, "{series}");
    }

    /// Dashboards and alerts hang on these. A new name is added to the file; one that goes or changes is said in the commit.
    #[test]
    fn the_list_is_the_one_that_is_kept() {
        let mut names = BTreeSet::new();
        for line in rendered().lines().filter(|line| !line.starts_with('#')) {
            let (name, rest) = line.split_once(['{', ' ']).unwrap();
            let labels = rest.split_once('}').filter(|_| line.contains('{')).map_or("", |(labels, _)| labels);
            let labels: Vec<_> = labels.split(',').filter(|label| !label.is_empty() && !label.starts_with("le=")).collect();
            names.insert(if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) });
        }
        let list: String = names.iter().map(|name| format!("{name}\n")).collect();
        assert!(list == KEPT, "tests/metrics.txt should be:\n{list}");
    }
}
