//! The map by example: what changes it, and when its epoch moves.

use kith_machine::{
    effect::Effect,
    item,
    meta::{map, plan::first_placement},
    own::Owned,
    reply::Reply,
    testing::{MemoryView, Script},
};
use kith_wire::{
    code::Code,
    id::{BootEpoch, Bucket, ClusterId, GroupId, MapEpoch, NodeId, OwnerEpoch, RegionId, StoreId, Timestamp},
    layout::LayoutMove,
    log::{Batch, Command, GroupRow, NodeRow, NodeState},
    upgrade::ClusterVersion,
};

fn node(id: u64) -> NodeRow {
    NodeRow { node: NodeId::new(id), zone: format!("zone-{id}"), address: format!("host-{id}:4400"), capacity: 1, ..NodeRow::default() }
}

/// Everything that makes a cluster of three.
fn bootstrap() -> Vec<Command> {
    let nodes = [node(1), node(2), node(3)];
    let plan = first_placement(&nodes, 3);
    let mut commands = vec![Command::InitCluster { cluster: ClusterId::new([7; 16]), version: ClusterVersion::default() }];
    commands.extend(nodes.into_iter().map(|node| Command::PutNode { node }));
    commands.extend(plan.groups.into_iter().map(|group| Command::PutGroup { group }));
    commands.extend(plan.runs.into_iter().map(|run| Command::PutRun { run }));
    commands
}

fn apply(view: &mut MemoryView, index: u64, commands: Vec<Command>) -> (Vec<Reply>, Vec<Effect>) {
    let batch = Batch { now: Timestamp::new(1), items: commands.into_iter().map(item).collect() };
    let applied = view.apply(GroupId::META, index, batch).expect("applies");
    (applied.replies, applied.effects)
}

#[test]
fn a_cluster_is_made_once_and_making_it_again_changes_nothing() {
    let mut view = MemoryView::default();
    let (replies, effects) = apply(&mut view, 1, bootstrap());
    assert!(replies.iter().all(|reply| *reply == Reply::Done), "{replies:?}");
    assert_eq!(effects, [Effect::MapChanged { epoch: MapEpoch::new(1) }]);
    let first = map(&view).expect("readable");
    assert_eq!((first.nodes.len(), first.groups.len(), first.runs.len()), (3, 4, 3));
    assert_eq!(first.group_of(Bucket { region: RegionId::FIRST, index: 0 }), Some(GroupId::new(1)));

    let (replies, effects) = apply(&mut view, 2, bootstrap());
    assert!(replies.iter().all(|reply| *reply == Reply::Done), "{replies:?}");
    assert!(effects.is_empty(), "no visible change");
    assert_eq!(map(&view).expect("readable"), first);
    assert_eq!(
        apply(&mut view, 3, vec![Command::InitCluster { cluster: ClusterId::new([8; 16]), version: ClusterVersion::default() }]).0,
        [Reply::Rejected(Code::WrongCluster)]
    );
}

#[test]
fn the_epoch_is_the_index_of_the_last_visible_change() {
    let mut view = MemoryView::default();
    apply(&mut view, 1, bootstrap());
    let moved = NodeRow { address: "elsewhere:1".to_owned(), ..node(2) };
    assert_eq!(apply(&mut view, 9, vec![Command::PutNode { node: moved.clone() }]).1, [Effect::MapChanged { epoch: MapEpoch::new(9) }]);
    assert!(apply(&mut view, 10, vec![Command::PutNode { node: moved }]).1.is_empty());
    assert_eq!(map(&view).expect("readable").epoch, MapEpoch::new(9));
}

#[test]
fn a_node_is_bound_to_its_data_directory() {
    let mut view = MemoryView::default();
    apply(&mut view, 1, bootstrap());
    let with_store = |raw: u8| NodeRow { store: Some(StoreId::new([raw; 16])), ..node(1) };
    assert_eq!(apply(&mut view, 2, vec![Command::PutNode { node: with_store(1) }]).0, [Reply::Done]);
    assert_eq!(apply(&mut view, 3, vec![Command::PutNode { node: with_store(2) }]).0, [Reply::Rejected(Code::NotAllowed)]);
    apply(&mut view, 4, vec![Command::PutNode { node: node(1) }]);
    assert_eq!(map(&view).expect("readable").nodes[&NodeId::new(1)].store, Some(StoreId::new([1; 16])), "what is known stays known");
}

#[test]
fn a_group_changes_with_a_higher_conf_epoch_and_a_run_with_a_higher_owner_epoch() {
    let mut view = MemoryView::default();
    apply(&mut view, 1, bootstrap());
    let before = map(&view).expect("readable");
    let mut group = before.groups[&GroupId::new(1)].clone();
    group.preference.reverse();
    assert_eq!(apply(&mut view, 2, vec![Command::PutGroup { group: group.clone() }]).0, [Reply::Rejected(Code::Conflict)]);
    group.conf_epoch += 1;
    assert_eq!(apply(&mut view, 3, vec![Command::PutGroup { group: group.clone() }]).0, [Reply::Done]);
    group.replicas.push(NodeId::new(99));
    group.conf_epoch += 1;
    assert_eq!(apply(&mut view, 4, vec![Command::PutGroup { group }]).0, [Reply::Rejected(Code::NotFound)], "an unknown node");

    let mut run = before.runs[&(RegionId::FIRST, 0)];
    (run.group, run.last) = (GroupId::new(2), 9);
    assert_eq!(apply(&mut view, 5, vec![Command::PutRun { run }]).0, [Reply::Rejected(Code::Conflict)]);
    run.epoch = OwnerEpoch::new(2);
    assert_eq!(apply(&mut view, 6, vec![Command::PutRun { run }]).0, [Reply::Done]);
    let after = map(&view).expect("readable");
    let owner = |index| after.group_of(Bucket { region: RegionId::FIRST, index });
    assert_eq!((owner(9), owner(10)), (Some(GroupId::new(2)), Some(GroupId::new(1))));
}

fn moved(bytes: u64) -> LayoutMove {
    LayoutMove { group: GroupId::new(1), what: "a move".to_owned(), why: "a reason".to_owned(), bytes }
}

#[test]
fn what_was_moved_last_is_kept_with_its_reason_through_other_changes() {
    let mut view = MemoryView::default();
    apply(&mut view, 1, bootstrap());
    let change = |at: u64, moves| Command::ChangeMap { at: MapEpoch::new(at), nodes: vec![node(4 + at)], groups: Vec::new(), moves };
    let many: Vec<LayoutMove> = (0..120).map(moved).collect();
    assert_eq!(apply(&mut view, 2, vec![change(1, many)]).0, [Reply::Done]);
    assert_eq!(apply(&mut view, 3, vec![change(1, vec![moved(500)])]).0, [Reply::Rejected(Code::Conflict)]);
    assert_eq!(apply(&mut view, 4, vec![change(2, vec![moved(200), moved(201)]), Command::PutNode { node: node(9) }]).0, [Reply::Done, Reply::Done]);
    let kept: Vec<u64> = kith_machine::meta::moves(&view).expect("readable").iter().map(|one| one.bytes).collect();
    assert_eq!((kept.len(), &kept[..4]), (100, &[201, 200, 119, 118][..]));
}

#[test]
fn a_change_of_the_map_is_made_whole_and_only_by_who_has_seen_the_map() {
    let mut view = MemoryView::default();
    apply(&mut view, 1, bootstrap());
    let before = map(&view).expect("readable");
    let draining = NodeRow { state: NodeState::Draining, ..before.nodes[&NodeId::new(2)].clone() };
    let mut group = before.groups[&GroupId::new(1)].clone();
    group.replicas = vec![NodeId::new(1), NodeId::new(3), NodeId::new(4)];
    group.preference = vec![NodeId::new(4), NodeId::new(1), NodeId::new(3)];
    group.conf_epoch += 1;
    let change = |at: u64, nodes: &[&NodeRow], group: &GroupRow| Command::ChangeMap {
        at: MapEpoch::new(at),
        nodes: nodes.iter().map(|node| (*node).clone()).collect(),
        groups: vec![group.clone()],
        moves: vec![moved(at)],
    };
    let refused = |view: &mut MemoryView, index, command| {
        let (replies, effects) = apply(view, index, vec![command]);
        assert_eq!(map(view).expect("readable"), before, "nothing of it");
        assert!(effects.is_empty());
        replies[0].clone()
    };
    assert_eq!(refused(&mut view, 2, change(0, &[&draining, &node(4)], &group)), Reply::Rejected(Code::Conflict), "another map was seen");
    assert_eq!(refused(&mut view, 3, change(1, &[&draining], &group)), Reply::Rejected(Code::NotFound), "a node that nobody knows");
    let stale = GroupRow { conf_epoch: 1, ..group.clone() };
    assert_eq!(refused(&mut view, 4, change(1, &[&draining, &node(4)], &stale)), Reply::Rejected(Code::Conflict), "an old row of the group");

    // The second of one batch has not seen what the first has changed.
    let twice = vec![change(1, &[&draining, &node(4)], &group), change(1, &[&node(5)], &group)];
    assert_eq!(apply(&mut view, 5, twice).0, [Reply::Done, Reply::Rejected(Code::Conflict)]);
    let after = map(&view).expect("readable");
    assert_eq!((after.epoch, after.nodes.len(), after.groups[&GroupId::new(1)].clone()), (MapEpoch::new(5), 4, group));
    assert_eq!(after.nodes[&NodeId::new(2)].state, NodeState::Draining);

    // A start is noted without the state being touched, whatever its noter believed the state to be.
    let seen = NodeRow { boot: BootEpoch::new(3), ..before.nodes[&NodeId::new(2)].clone() };
    let noted = Command::ChangeMap { at: before.epoch, nodes: vec![seen], groups: Vec::new(), moves: Vec::new() };
    assert_eq!(apply(&mut view, 6, vec![noted]).0, [Reply::Rejected(Code::Conflict)]);
    assert_eq!(map(&view).expect("readable").nodes[&NodeId::new(2)].state, NodeState::Draining);
}

#[test]
fn meta_commands_are_of_no_business_in_other_groups_and_nothing_comes_before_the_cluster() {
    let mut script = Script::new();
    assert_eq!(script.propose(Command::PutNode { node: node(1) }).replies, [Reply::WrongGroup]);
    let mut view = MemoryView::default();
    assert_eq!(apply(&mut view, 1, vec![Command::PutNode { node: node(1) }]).0, [Reply::Rejected(Code::NotFound)]);
}

#[test]
fn a_group_takes_buckets_at_a_higher_epoch_only() {
    let mut script = Script::meta();
    let own = |first, last, epoch| Command::OwnBuckets { region: RegionId::FIRST, first, last, epoch: OwnerEpoch::new(epoch) };
    assert_eq!(script.propose(own(10, 20, 2)).effects, [Effect::OwnershipChanged]);
    assert!(script.propose(own(10, 20, 2)).effects.is_empty(), "again is no change");
    assert_eq!(script.propose(own(12, 13, 1)).replies, [Reply::Rejected(Code::Conflict)]);
    assert_eq!(script.propose(own(9, 8, 3)).replies, [Reply::Rejected(Code::Invalid)]);
    let owned = Owned::read(&script.view).expect("readable");
    let holds = |region: u8, index| owned.holds(Bucket { region: RegionId::new(region), index });
    assert_eq!([holds(0, 9), holds(0, 10), holds(0, 20), holds(0, 21), holds(1, 10)], [false, true, true, false, false]);
}
