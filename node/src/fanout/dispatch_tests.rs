//! Dispatch and registries over links that lose, delay, repeat and reorder, while leaders change and commits fail.

use std::collections::{HashMap, HashSet};

use kith_wire::{
    id::{ClientSeq, DeviceId, Incarnation, RegionId, Timestamp},
    log::Content,
};
use proptest::prelude::*;

use super::*;
use crate::fanout::registry::{self, Merged};

const SOURCE: GroupId = GroupId::new(9);

#[derive(Default)]
struct Rows {
    channels: BTreeMap<ChannelId, Channel>,
}
#[derive(Clone, Default)]
struct Channel {
    head: u64,
    fanned: u64,
    members: Vec<UserId>,
}
impl Source for Rows {
    fn dirty(&self, after: Option<ChannelId>, limit: usize) -> Result<Vec<ChannelId>, ViewError> {
        let dirty = self.channels.iter().filter(|(id, channel)| channel.fanned < channel.head && after.is_none_or(|after| **id > after));
        Ok(dirty.map(|(id, _)| *id).take(limit).collect())
    }
    fn news(&self, channel: ChannelId, wanted: &mut dyn FnMut(Seq, UserId) -> bool) -> Result<Option<News>, ViewError> {
        let Some(row) = self.channels.get(&channel) else { return Ok(None) };
        let head = Seq::new(row.head);
        let refs = row.members.iter().filter(|user| wanted(head, **user)).map(|user| (*user, a_ref(channel, row.head))).collect();
        Ok(Some(News { head, fanned: Seq::new(row.fanned), refs }))
    }
}

fn a_ref(channel: ChannelId, head: u64) -> Ref {
    Ref {
        channel,
        incarnation: Incarnation::default(),
        head: Position { seq: Seq::new(head), cnt: head },
        head_ts: Timestamp::new(0),
        member_seq: Seq::new(1),
        join: Position::default(),
        left: None,
        own: Position::default(),
        mentions: vec![],
        title: String::new(),
        preview: String::new(),
        head_sender: UserId::new(1),
    }
}
fn a_record(seq: u64, text: &str) -> Record {
    Record {
        at: Position { seq: Seq::new(seq), cnt: seq },
        incarnation: Incarnation::default(),
        sender: UserId::new(1),
        device: DeviceId::new(1),
        client_seq: ClientSeq::new(seq),
        ts: Timestamp::new(0),
        content: Content::Text { text: text.into(), reply_to: None, mentions: vec![], extra: None },
    }
}
fn channel_id(n: u64) -> ChannelId {
    ChannelId::group(RegionId::FIRST, UserId::new(n), DeviceId::new(1), 1)
}

/// Users of even ids live in group 1, the others in group 2.
struct Places {
    leaders: BTreeMap<GroupId, (NodeId, Term)>,
}
impl Homes for Places {
    fn home(&self, user: UserId) -> Option<GroupId> {
        Some(GroupId::new(1 + (user.get() % 2) as u32))
    }
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)> {
        self.leaders.get(&group).copied()
    }
    fn map_version(&self) -> MapVersion {
        MapVersion::new(1)
    }
    fn alive(&self, _: NodeId) -> bool {
        true
    }
    fn nodes(&self) -> Vec<NodeId> {
        Vec::new()
    }
    fn groups(&self) -> Vec<GroupId> {
        Vec::new()
    }
}

#[derive(Clone)]
enum Letter {
    Refs(NodeId, RefFrame),
    Kept(RefsKept),
}

struct World {
    now: Instant,
    rows: Rows,
    places: Places,
    dispatch: Dispatch,
    homes: BTreeMap<(GroupId, NodeId), registry::Home>,
    wire: Vec<Letter>,
    /// What home groups hold for their users: replicated, so that no change of leader loses it.
    committed: HashMap<(UserId, ChannelId), u64>,
    joined: HashMap<(ChannelId, UserId), u64>,
    term: u64,
}

impl World {
    fn new() -> Self {
        let metrics = Arc::new(FanoutMetrics::default());
        let leaders = [1, 2].map(|group| (GroupId::new(group), (NodeId::new(u64::from(group)), Term::new(1)))).into();
        let mut world = Self {
            now: Instant::now(),
            rows: Rows::default(),
            places: Places { leaders },
            dispatch: Dispatch::new(SOURCE, Term::new(1), metrics),
            homes: BTreeMap::new(),
            wire: Vec::new(),
            committed: HashMap::new(),
            joined: HashMap::new(),
            term: 1,
        };
        for group in [1, 2] {
            world.open_home(GroupId::new(group));
        }
        world
    }
    fn open_home(&mut self, group: GroupId) {
        let (node, term) = self.places.leaders[&group];
        let home = registry::Home::new(group, term, &Default::default(), Arc::default(), Instant::now());
        self.homes.insert((group, node), home);
    }
    fn lead_home(&mut self, group: u32, node: u64) {
        self.term += 1;
        let group = GroupId::new(group);
        self.places.leaders.insert(group, (NodeId::new(node), Term::new(self.term)));
        self.open_home(group);
    }
    fn new_source_leader(&mut self) {
        self.term += 1;
        self.dispatch = Dispatch::new(SOURCE, Term::new(self.term), Arc::default());
    }
    fn append(&mut self, n: u64, user: u64) {
        let channel = channel_id(n);
        let row = self.rows.channels.entry(channel).or_default();
        row.head += 1;
        if !row.members.contains(&UserId::new(user)) {
            row.members.push(UserId::new(user));
            self.joined.insert((channel, UserId::new(user)), row.head);
        }
        let recipients: Vec<_> = row.members.iter().map(|user| (*user, Seq::new(row.head - 1))).collect();
        self.dispatch.handle_appended(channel, &a_record(row.head, "hi"), &recipients, &self.places, self.now);
    }
    /// Lets the source do what is due. What it proposes is checked: this is the invariant.
    fn step(&mut self, ms: u64, proposals_succeed: bool) {
        self.now += Duration::from_millis(ms);
        let frames = self.dispatch.poll_frames(&self.rows, &self.places, self.now).unwrap();
        self.wire.extend(frames.into_iter().map(|(node, frame)| Letter::Refs(node, frame)));
        let commands = self.dispatch.poll_proposals(self.now);
        if commands.is_empty() {
            return;
        }
        for command in &commands {
            let Command::Fanned { channel, seq } = command else { panic!("unexpected {command:?}") };
            for user in &self.rows.channels[channel].members.clone() {
                let held = self.committed.get(&(*user, *channel)).copied().unwrap_or_default();
                // A member who came after this record is owed nothing by it.
                let owed = self.joined[&(*channel, *user)] <= seq.get();
                assert!(!owed || held >= seq.get(), "{user} holds {held}, fanned says {seq}");
            }
            if proposals_succeed {
                let row = self.rows.channels.get_mut(channel).unwrap();
                row.fanned = row.fanned.max(seq.get());
            }
        }
        self.dispatch.handle_proposed(if proposals_succeed { vec![] } else { commands }, self.now);
    }
    fn deliver(&mut self, letter: Letter) {
        match letter {
            Letter::Kept(kept) => self.dispatch.handle_kept(&kept, self.now),
            Letter::Refs(node, frame) => {
                for news in frame.channels {
                    if let Some(home) = self.homes.get_mut(&(news.home, node)) {
                        home.handle_refs(NodeId::new(7), frame.source, news, self.now);
                    }
                }
            }
        }
    }
    /// Every leader of a home commits a round, except for users that fail; an old leader commits nothing.
    fn commit(&mut self, fails: impl Fn(UserId) -> bool) {
        for ((group, node), home) in &mut self.homes {
            let Some(round) = home.poll_round(self.now) else { continue };
            let leads = self.places.leaders.get(group).is_some_and(|(leader, _)| leader == node);
            let mut outcome = HashMap::new();
            for (user, refs) in round {
                let kept = leads && !fails(user);
                if kept {
                    for new in refs {
                        let held = self.committed.entry((user, new.channel)).or_default();
                        *held = (*held).max(new.head.seq.get());
                    }
                }
                outcome.insert(user, if kept { Merged::Kept } else { Merged::Failed });
            }
            let kept = home.handle_round_done(&outcome, self.now);
            self.wire.extend(kept.into_iter().map(|(_, kept)| Letter::Kept(kept)));
        }
    }
    fn deliver_all(&mut self) {
        for letter in std::mem::take(&mut self.wire) {
            self.deliver(letter);
        }
    }
    fn is_clean(&self) -> bool {
        self.rows.channels.values().all(|row| row.fanned == row.head)
    }
    fn settle(&mut self) {
        for _ in 0..5_000 {
            if self.is_clean() && self.dispatch.tracked() == 0 {
                return;
            }
            self.step(20, true);
            self.deliver_all();
            self.commit(|_| false);
        }
        panic!("not fanned out after 100 s: {:?}", self.dispatch);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(u64, u64),
    Step(u64, bool),
    Deliver(usize),
    Lose(usize),
    Repeat(usize),
    Commit(u64),
    LeadHome(u32, u64),
    NewTerm,
    Lag,
}
fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..5u64, 0..8u64).prop_map(|(channel, user)| Op::Append(channel, user)),
        10 => (1..400u64, any::<bool>()).prop_map(|(ms, ok)| Op::Step(ms, ok)),
        1 => (1_000..12_000u64).prop_map(|ms| Op::Step(ms, true)),
        10 => any::<usize>().prop_map(Op::Deliver),
        2 => any::<usize>().prop_map(Op::Lose),
        2 => any::<usize>().prop_map(Op::Repeat),
        6 => (0..9u64).prop_map(Op::Commit),
        1 => (1..3u32, 1..4u64).prop_map(|(group, node)| Op::LeadHome(group, node)),
        1 => Just(Op::NewTerm),
        1 => Just(Op::Lag),
    ];
    prop::collection::vec(op, 0..250)
}

proptest! {
    #[test]
    fn fanned_never_passes_what_a_home_has_not_committed_and_gets_there_in_the_end(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            match op {
                Op::Append(channel, user) => world.append(channel, user),
                Op::Step(ms, ok) => world.step(ms, ok),
                Op::Deliver(n) => if !world.wire.is_empty() {
                    let letter = world.wire.remove(n % world.wire.len());
                    world.deliver(letter);
                },
                Op::Lose(n) => if !world.wire.is_empty() {
                    world.wire.remove(n % world.wire.len());
                },
                Op::Repeat(n) => if !world.wire.is_empty() {
                    let letter = world.wire[n % world.wire.len()].clone();
                    world.deliver(letter);
                },
                Op::Commit(fails) => world.commit(|user| user.get() == fails),
                Op::LeadHome(group, node) => world.lead_home(group, node),
                Op::NewTerm => world.new_source_leader(),
                Op::Lag => world.dispatch.handle_lagged(),
            }
        }
        world.settle();
        for (channel, row) in &world.rows.channels {
            for user in &row.members {
                prop_assert_eq!(world.committed.get(&(*user, *channel)).copied(), Some(row.head), "{} of {}", user, channel);
            }
        }
    }
}

#[test]
fn a_new_leader_walks_what_is_dirty_in_pages() {
    let mut world = World::new();
    for n in 0..1_000 {
        let row = Channel { head: 3, fanned: 1, members: vec![UserId::new(n), UserId::new(n + 1)] };
        world.joined.extend(row.members.iter().map(|user| ((channel_id(n), *user), 1)));
        world.rows.channels.insert(channel_id(n), row);
    }
    world.new_source_leader();
    world.settle();
    assert_eq!(world.committed.len(), 2_000);
}

#[test]
fn a_home_without_a_leader_holds_up_only_its_own_users() {
    let mut world = World::new();
    world.places.leaders.remove(&GroupId::new(2));
    world.append(0, 1);
    world.append(0, 2);
    for _ in 0..100 {
        world.step(20, true);
        world.deliver_all();
        world.commit(|_| false);
    }
    assert_eq!(world.committed.get(&(UserId::new(2), channel_id(0))), Some(&2), "the home with a leader has all");
    assert_eq!(world.committed.get(&(UserId::new(1), channel_id(0))), None);
    assert_eq!(world.rows.channels[&channel_id(0)].fanned, 0, "and the other is still owed");
    world.lead_home(2, 3);
    world.settle();
}

#[test]
fn a_node_gets_a_frame_with_each_body_once_at_most_every_five_milliseconds() {
    let mut world = World::new();
    for n in 0..20 {
        world.append(0, n % 8);
    }
    let frames = world.dispatch.poll_frames(&world.rows, &world.places, world.now).unwrap();
    assert_eq!(frames.len(), 2, "one for each node");
    for (_, frame) in &frames {
        let seqs: Vec<_> =
            frame.channels[0].bodies.iter().map(|live| if let DeliveryBody::Whole(record) = &live.body { record.at.seq.get() } else { 0 }).collect();
        assert!(seqs.is_sorted(), "{seqs:?}");
        assert_eq!(seqs.len(), seqs.iter().collect::<HashSet<_>>().len());
    }
    world.append(0, 1);
    world.now += FRAME_EVERY / 2;
    assert!(world.dispatch.poll_frames(&world.rows, &world.places, world.now).unwrap().is_empty());
    world.now += FRAME_EVERY;
    assert_eq!(world.dispatch.poll_frames(&world.rows, &world.places, world.now).unwrap().len(), 2);
}

#[test]
fn a_large_text_travels_as_a_stub() {
    let record = a_record(4, &"x".repeat(limit::STUB_BYTES + 1));
    assert_eq!(live_body(&record).0, DeliveryBody::Stub { at: record.at });
    let record = a_record(4, "x");
    assert_eq!(live_body(&record).0, DeliveryBody::Whole(record));
}

#[test]
fn live_records_for_a_node_are_bounded() {
    let mut world = World::new();
    world.append(0, 2);
    let recipients = [(UserId::new(2), Seq::ZERO)];
    let text = "x".repeat(limit::STUB_BYTES);
    for seq in 2..3_000 {
        world.dispatch.handle_appended(channel_id(0), &a_record(seq, &text), &recipients, &world.places, world.now);
    }
    let live: usize = world.dispatch.nodes.values().map(|outgoing| outgoing.live_bytes).sum();
    assert!(live <= LIVE_BYTES_MAX, "{live}");
}

#[test]
fn a_user_that_is_gone_is_told_to_the_channel() {
    let mut world = World::new();
    world.append(0, 2);
    world.step(10, true);
    let kept = RefsKept { source: SOURCE, home: GroupId::new(1), kept: vec![(channel_id(0), Seq::new(1), vec![UserId::new(2)])] };
    world.dispatch.handle_kept(&kept, world.now);
    let commands = world.dispatch.poll_proposals(world.now + FANNED_EVERY);
    assert_eq!(
        commands,
        [Command::Gone { channel: channel_id(0), user: UserId::new(2) }, Command::Fanned { channel: channel_id(0), seq: Seq::new(1) }]
    );
}

#[test]
fn a_home_that_acks_late_is_not_made_to_wait_any_longer() {
    let mut world = World::new();
    world.append(0, 2);
    world.step(20, true);
    for _ in 0..8 {
        // Each time the acks come only after the refs were taken back.
        world.step(u64::try_from(ACK_WITHIN.as_millis()).unwrap() + 100, true);
    }
    world.append(1, 4);
    world.step(120, true);
    world.deliver_all();
    world.step(60, true);
    world.commit(|_| false);
    world.deliver_all();
    world.step(60, true);
    world.deliver_all();
    world.step(60, true);
    world.commit(|_| false);
    assert_eq!(world.committed.get(&(UserId::new(4), channel_id(1))), Some(&1));
}

#[test]
fn a_home_that_was_silent_for_minutes_gets_refs_within_seconds_once_it_answers() {
    let mut world = World::new();
    world.append(0, 2);
    for _ in 0..600 {
        world.step(500, true);
        world.wire.clear();
    }
    // It answers from just after refs were lost once more: the longest wait.
    while world.wire.is_empty() {
        world.step(500, true);
    }
    world.wire.clear();
    let begun = world.now;
    world.settle();
    assert!(world.now - begun < Duration::from_secs(15), "{:?}", world.now - begun);
}
