//! The cluster's version: it rises by one, past nobody, and never falls; a node comes only with a build that serves it.
#![allow(clippy::unwrap_used)]

use kith_machine::{
    ApplyError, Meta, VERSION_FIRST, VERSION_MOVES, apply_batch, group_state, item,
    meta::{map, version},
    reply::Reply,
    testing::MemoryView,
    version_in,
};
use kith_wire::{
    code::Code,
    id::{ClusterId, GroupId, LogIndex, NodeId, Term, Timestamp},
    log::{Batch, Command, LogId, NodeRow, NodeState},
    upgrade::{BUILD, ClusterVersion},
};

fn row(id: u64, version: u32) -> NodeRow {
    NodeRow { node: NodeId::new(id), address: format!("h{id}:1"), version: ClusterVersion::new(version), ..NodeRow::default() }
}

struct Cluster {
    view: MemoryView,
    index: u64,
}

impl Cluster {
    fn at(version: u32) -> Self {
        let mut cluster = Self { view: MemoryView::default(), index: 0 };
        cluster.done(Command::InitCluster { cluster: ClusterId::new([7; 16]), version: ClusterVersion::new(version) });
        cluster
    }
    fn ask(&mut self, command: Command) -> Reply {
        self.index += 1;
        let batch = Batch { now: Timestamp::new(1), items: vec![item(command)] };
        self.view.apply(GroupId::META, self.index, batch).unwrap().replies.pop().unwrap()
    }
    fn done(&mut self, command: Command) {
        assert_eq!(self.ask(command), Reply::Done);
    }
    fn put(&mut self, id: u64, version: u32) -> Reply {
        self.ask(Command::PutNode { node: row(id, version) })
    }
    fn raise(&mut self, to: u32) -> Reply {
        self.ask(Command::RaiseCluster { to: ClusterVersion::new(to) })
    }
    fn version(&self) -> u32 {
        map(&self.view).unwrap().version.or_first().get()
    }
}

#[test]
fn it_rises_by_one_when_every_node_knows_the_next_and_never_falls() {
    let mut c = Cluster::at(0);
    assert_eq!(c.version(), 1, "from before it was kept");
    assert_eq!([c.put(1, 2), c.put(2, 1), c.put(3, 0)], [Reply::Done, Reply::Done, Reply::Done]);
    let epoch = map(&c.view).unwrap().epoch;
    assert_eq!(version::ahead(&map(&c.view).unwrap()), Some(NodeId::new(1)));
    for (id, found) in [(3, vec![2, 3]), (2, vec![2])] {
        assert_eq!(c.raise(2), Reply::Rejected(Code::NotAllowed));
        assert_eq!(version::behind(&map(&c.view).unwrap(), ClusterVersion::new(2)).map(|row| row.node.get()).collect::<Vec<_>>(), found);
        assert_eq!(c.put(id, 2), Reply::Done);
    }
    assert_eq!(c.raise(3), Reply::Rejected(Code::Invalid), "none is skipped");
    assert_eq!([c.raise(2), c.raise(2), c.raise(1)], [Reply::Done, Reply::Done, Reply::Done]);
    assert_eq!(c.version(), 2);
    assert!(map(&c.view).unwrap().epoch > epoch, "every node hears of it");
}

#[test]
fn who_has_left_is_in_nobodys_way_and_what_is_not_told_stays() {
    let mut c = Cluster::at(1);
    c.put(1, 2);
    c.put(2, 1);
    c.done(Command::PutNode { node: NodeRow { state: NodeState::Left, ..row(2, 1) } });
    // Labels change; the build is told by the node itself.
    c.done(Command::PutNode { node: NodeRow { zone: "b".to_owned(), ..row(1, 0) } });
    assert_eq!(map(&c.view).unwrap().nodes[&NodeId::new(1)].version.get(), 2);
    assert_eq!(c.raise(2), Reply::Done);
}

#[test]
fn a_node_comes_only_with_a_build_that_serves_the_cluster() {
    let mut c = Cluster::at(3);
    assert_eq!(c.version(), 3, "a new cluster begins where its first leader's build is");
    for (version, told) in
        [(1, Reply::Rejected(Code::VersionMismatch)), (2, Reply::Rejected(Code::VersionMismatch)), (3, Reply::Done), (4, Reply::Done)]
    {
        assert_eq!(c.put(u64::from(version), version), told, "{version}");
    }
    assert_eq!(c.put(5, 5), Reply::Rejected(Code::VersionMismatch), "it skips a version");
}

#[test]
fn groups_are_raised_no_further_than_the_cluster_allows_builds_to_read() {
    assert_eq!(version_in(ClusterVersion::default()), VERSION_FIRST);
    assert_eq!(version_in(ClusterVersion::FIRST), VERSION_FIRST);
    assert_eq!(version_in(ClusterVersion::MOVES), VERSION_MOVES);
    let beyond = version_in(BUILD) + 1;
    let id = LogId { term: Term::new(1), index: LogIndex::new(1) };
    let batch = Batch { now: Timestamp::new(1), items: vec![item(Command::RaiseVersion { version: beyond })] };
    let view = MemoryView::default();
    let refused = apply_batch(&view, batch, Meta { group: GroupId::new(1), id });
    assert!(matches!(refused, Err(ApplyError::UnknownVersion { version, .. }) if version == beyond), "{refused:?}");
    assert_eq!(group_state(&view).unwrap().version, VERSION_FIRST);
}
