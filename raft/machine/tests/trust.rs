//! Join tokens by example: one node for each, however many come with it.

use kith_machine::{
    effect::Effect,
    item,
    meta::{
        map,
        trust::{Offer, joins, offer},
    },
    reply::Reply,
    testing::{MemoryView, Script},
};
use kith_wire::{
    code::Code,
    id::{ClusterId, GroupId, MapEpoch, NodeId, Timestamp},
    limit,
    log::{Batch, Command, NodeRow, NodeState},
    trust::{JoinToken, TokenId, TrustChange},
    upgrade::ClusterVersion,
};

const HOUR: u64 = 3_600_000;

fn node(id: u64) -> NodeRow {
    NodeRow { node: NodeId::new(id), address: format!("host-{id}:7600"), zone: format!("zone-{id}"), capacity: 1, ..NodeRow::default() }
}

fn token(raw: u8, until: u64) -> JoinToken {
    JoinToken { token: [raw; 32], until: Timestamp::new(until), ..JoinToken::default() }
}

fn add(raw: u8, until: u64) -> Command {
    TrustChange::AddJoin(token(raw, until)).command()
}

fn used(raw: u8, key: u8, id: u64, at: u64) -> Command {
    let joining = NodeRow { state: NodeState::Joining, ..node(id) };
    let (node, at) = (NodeId::new(id), MapEpoch::new(at));
    TrustChange::UseJoin { token: [raw; 32], key: [key; 32], node, at, nodes: vec![joining], groups: Vec::new() }.command()
}

struct Meta {
    view: MemoryView,
    index: u64,
    now: u64,
}

impl Meta {
    /// A cluster of one node; its map has the epoch 1.
    fn new() -> Self {
        let mut meta = Self { view: MemoryView::default(), index: 0, now: HOUR };
        meta.all(vec![
            Command::InitCluster { cluster: ClusterId::new([7; 16]), version: ClusterVersion::default() },
            Command::PutNode { node: node(1) },
        ]);
        meta
    }
    fn all(&mut self, commands: Vec<Command>) -> (Vec<Reply>, Vec<Effect>) {
        self.index += 1;
        let batch = Batch { now: Timestamp::new(self.now), items: commands.into_iter().map(item).collect() };
        let applied = self.view.apply(GroupId::META, self.index, batch).expect("applies");
        (applied.replies, applied.effects)
    }
    fn one(&mut self, command: Command) -> Reply {
        self.all(vec![command]).0.remove(0)
    }
    fn epoch(&self) -> u64 {
        map(&self.view).expect("readable").epoch.get()
    }
    fn nodes(&self) -> Vec<u64> {
        map(&self.view).expect("readable").nodes.keys().map(|node| node.get()).collect()
    }
}

#[test]
fn a_token_lets_one_node_in_and_who_comes_again_with_the_same_key_is_told_the_same() {
    let mut meta = Meta::new();
    assert_eq!(meta.one(add(1, 2 * HOUR)), Reply::Done);
    assert_eq!(meta.epoch(), 1, "a token is no change of the map");
    // Two at once: the first in the log has it, and nothing of the other is there.
    let (replies, effects) = meta.all(vec![used(1, 10, 2, 1), used(1, 11, 3, 1)]);
    assert_eq!(replies, [Reply::Kept { id: 2 }, Reply::Rejected(Code::TokenSpent)]);
    assert_eq!(effects, [Effect::MapChanged { epoch: MapEpoch::new(meta.index) }]);
    assert_eq!(meta.nodes(), [1, 2]);
    // Its answer was lost; the leader has changed, and proposes another id at another epoch.
    assert_eq!(meta.one(used(1, 10, 3, 99)), Reply::Kept { id: 2 });
    assert_eq!(meta.one(used(1, 11, 3, meta.epoch())), Reply::Rejected(Code::TokenSpent));
    assert_eq!(meta.nodes(), [1, 2]);
    // It has left since: its id is not given back.
    let left = NodeRow { state: NodeState::Left, ..node(2) };
    meta.one(Command::PutNode { node: left });
    assert_eq!(meta.one(used(1, 10, 3, meta.epoch())), Reply::Rejected(Code::TokenSpent));
}

#[test]
fn a_join_that_the_map_does_not_take_uses_nothing() {
    let mut meta = Meta::new();
    meta.one(add(1, 2 * HOUR));
    assert_eq!(meta.one(used(1, 10, 2, 77)), Reply::Rejected(Code::Conflict), "another map was seen");
    assert_eq!(meta.one(used(1, 10, 1, meta.epoch())), Reply::Rejected(Code::Conflict), "an id that is taken");
    let of_another = TrustChange::UseJoin {
        token: [1; 32],
        key: [10; 32],
        node: NodeId::new(2),
        at: MapEpoch::new(meta.epoch()),
        nodes: vec![node(3)],
        groups: Vec::new(),
    };
    assert_eq!(meta.one(of_another.command()), Reply::Rejected(Code::Conflict));
    assert_eq!(meta.nodes(), [1]);
    assert_eq!(meta.one(used(1, 10, 2, meta.epoch())), Reply::Kept { id: 2 });
}

#[test]
fn a_token_ends_by_its_time_and_by_an_operator() {
    let mut meta = Meta::new();
    meta.all(vec![add(1, 2 * HOUR), add(2, 2 * HOUR)]);
    let id = |raw| TokenId::of(&[raw; 32]);
    assert_eq!(meta.one(TrustChange::RevokeJoin { id: id(2) }.command()), Reply::Done);
    assert_eq!(meta.one(TrustChange::RevokeJoin { id: id(2) }.command()), Reply::Done, "again is no change");
    assert_eq!(meta.one(TrustChange::RevokeJoin { id: id(9) }.command()), Reply::Rejected(Code::NotFound));
    assert_eq!(meta.one(used(2, 10, 2, meta.epoch())), Reply::Rejected(Code::Revoked));
    assert_eq!(meta.one(used(9, 10, 2, meta.epoch())), Reply::Rejected(Code::BadToken));
    meta.now = 2 * HOUR;
    assert_eq!(meta.one(used(1, 10, 2, meta.epoch())), Reply::Rejected(Code::TokenExpired));
    assert_eq!(meta.nodes(), [1]);
}

#[test]
fn what_is_over_makes_room_and_what_is_good_does_not() {
    let mut meta = Meta::new();
    for raw in 0..limit::JOIN_TOKENS_MAX {
        assert_eq!(meta.one(add(u8::try_from(raw).expect("few"), 2 * HOUR)), Reply::Done);
    }
    assert_eq!(meta.one(add(100, 2 * HOUR)), Reply::Rejected(Code::LimitReached));
    assert_eq!(meta.one(add(5, 2 * HOUR)), Reply::Done, "the same again");
    meta.one(TrustChange::RevokeJoin { id: TokenId::of(&[5; 32]) }.command());
    assert_eq!(meta.one(add(100, 3 * HOUR)), Reply::Done);
    meta.now = 2 * HOUR + limit::JOIN_TOKEN_KEPT_MS;
    meta.one(add(101, meta.now + HOUR));
    let kept: Vec<u8> = joins(&meta.view).expect("readable").iter().map(|join| join.token[0]).collect();
    assert_eq!(kept, [100, 101]);
}

#[test]
fn what_a_token_offers_is_said_without_using_it() {
    let tokens = [token(1, 2 * HOUR)];
    let asked = |now| offer(&tokens, &[1; 32], &[10; 32], Timestamp::new(now));
    assert_eq!(asked(HOUR), Ok(Offer::Place(&tokens[0])));
    assert_eq!(asked(2 * HOUR), Err(Code::TokenExpired));
}

#[test]
fn tokens_are_of_no_business_in_other_groups() {
    let mut script = Script::new();
    assert_eq!(script.propose(add(1, 2 * HOUR)).replies, [Reply::WrongGroup]);
}
