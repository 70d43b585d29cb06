//! Invariants hold after every step of any script, and each one is proven to notice a row that was broken on purpose.

use std::sync::Arc;

use kith_machine::{
    invariant,
    testing::{MemoryView, STEP_BYTES, Script, random_steps},
    view::{Row, RowKey, RowValue},
};
use kith_wire::{
    act::{Act, Draft, MarksRow, Pin, Reaction, RulesRow, ScheduledRow, Timer},
    code::Code,
    id::{ChannelId, ClientSeq, DeviceId, GroupId, NodeId, OwnerEpoch, RegionId, Seq, Timestamp, UserId, UserRev},
    log::{
        Author, ChannelRow, ClusterRow, Command, Content, DedupEntry, DedupRow, DeviceRow, FormerRow, GroupRow, IndexRow, MemberChange, Outcome,
        OwnedRow, PeerCheck, Position, PositionsRow, Record, Role, RosterRow, RunRow, UserRow,
    },
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

fn violations(view: &MemoryView) -> Vec<String> {
    let mut found: Vec<_> =
        invariant::everything(view, view.rows.keys()).expect("rows in memory can be read").iter().map(|v| v.to_string()).collect();
    found.extend(view.rows.iter().filter(|(key, row)| !invariant::kinds_agree(key, row)).map(|(key, _)| format!("kind of {key:?}")));
    found
}

/// A failing case prints its input and seed, and is kept in a `.seeds` file beside this one: the same command then tries it first.
fn property(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(property(48))]

    #[test]
    fn invariants_hold_after_every_step(steps in prop::collection::vec(any::<[u8; STEP_BYTES]>(), 0..120), is_meta in any::<bool>()) {
        let mut script = if is_meta { Script::meta() } else { Script::new() };
        for step in steps {
            script.step(step);
            prop_assert_eq!(violations(&script.view), Vec::<String>::new(), "after {:?}", script.log.last());
        }
    }
}

/// A long history from a fixed seed: rings are full, members come and go many times.
#[test]
fn invariants_hold_over_a_long_history() {
    let mut script = Script::new();
    for (at, step) in random_steps(20_261_121, 6_000).into_iter().enumerate() {
        script.step(step);
        if at % 500 == 0 {
            assert_eq!(violations(&script.view), Vec::<String>::new(), "at step {at} of seed 20261121");
        }
    }
    assert_eq!(violations(&script.view), Vec::<String>::new());
    let longest = script.view.rows.values().filter_map(|row| ChannelRow::of(row)).map(|row| row.head.seq.get()).max();
    assert!(longest > Some(200), "the generator makes channels grow: {longest:?}");
}

// ---------------------------------------------------------------- each invariant notices

const ANN: u8 = 0;
const BOB: u8 = 1;
const EVE: u8 = 2;

/// An invariant's name, and a damage that it must notice.
type Breakage<'b> = (&'b str, &'b dyn Fn(&mut World));

struct World {
    script: Script,
    group: ChannelId,
    direct: ChannelId,
}

impl World {
    /// A group of Ann (owner) and Bob in which Eve was added and removed, and a direct channel.
    fn new() -> Self {
        let [ann, bob, eve] = [ANN, BOB, EVE].map(Script::user);
        let mut script = Script::new();
        let device = Script::device(ann, 0);
        let group = ChannelId::group(RegionId::FIRST, ann, device, 0);
        script.propose(Command::CreateGroup { channel: group, creator: ann, device, op: 0, title: "trio".to_owned(), members: vec![bob] });
        script.propose(Command::Fanned { channel: group, seq: Seq::new(1) });
        let author =
            |number: u64| Author { user: ann, device, client_seq: ClientSeq::new(number), settled: ClientSeq::new(1), digest: number, key: None };
        let text = |text: &str| Content::Text { text: text.to_owned(), reply_to: None, mentions: vec![bob], extra: None };
        script.propose(Command::ChangeMembers { channel: group, author: author(1), change: MemberChange::Add(eve) });
        script.propose(Command::Append { channel: group, author: author(2), content: text("one"), peer: PeerCheck::NotAsked });
        script.propose(Command::ChangeMembers { channel: group, author: author(3), change: MemberChange::Remove(eve) });
        script.propose(Command::Append { channel: group, author: author(4), content: text("two"), peer: PeerCheck::NotAsked });
        let direct = ChannelId::direct(ann, bob);
        script.propose(Command::Append { channel: direct, author: author(1), content: text("psst"), peer: PeerCheck::Exists });
        for user in [ann, bob, eve] {
            let refs =
                [group, direct].iter().filter_map(|c| kith_machine::channel::refs::ref_for(&script.view, *c, user).expect("readable")).collect();
            script.propose(Command::MergeRefs { user, refs });
            script.propose(Command::RegisterDevice { user, device: Script::device(user, 0), login: 0, issued: Timestamp::new(1) });
        }
        assert_eq!(violations(&script.view), Vec::<String>::new());
        Self { script, group, direct }
    }

    fn edit<T: RowValue + Clone + Into<Row>>(&mut self, key: RowKey, change: impl FnOnce(&mut T)) {
        let row = self.script.view.rows.get(&key).unwrap_or_else(|| panic!("{key:?} is there"));
        let mut value = T::of(row).expect("of its kind").clone();
        change(&mut value);
        self.put(key, value);
    }

    fn put(&mut self, key: RowKey, value: impl Into<Row>) {
        self.script.view.rows.insert(key, Arc::new(value.into()));
    }

    /// The invariant is noticed by name.
    fn noticed(&self, name: &str) {
        let found = violations(&self.script.view);
        assert!(found.iter().any(|text| text.starts_with(name)), "{name} was not noticed, only {found:?}");
    }
}

#[test]
fn each_channel_invariant_notices_a_broken_row() {
    let [ann, bob, eve] = [ANN, BOB, EVE].map(Script::user);
    let group = World::new().group;
    let broken: &[Breakage] = &[
        ("log_is_dense", &|w| drop(w.script.view.rows.remove(&RowKey::Record(group, Seq::new(2))))),
        ("log_is_dense", &|w| w.edit::<Record>(RowKey::Record(group, Seq::new(2)), |r| r.at.seq = Seq::new(3))),
        ("log_is_dense", &|w| w.edit::<ChannelRow>(RowKey::Channel(group), |r| r.head.seq = r.head.seq.next())),
        ("counts_follow_texts", &|w| w.edit::<Record>(RowKey::Record(group, Seq::new(3)), |r| r.at.cnt += 1)),
        ("counts_follow_texts", &|w| w.edit::<ChannelRow>(RowKey::Channel(group), |r| r.head.cnt += 1)),
        ("time_never_goes_back", &|w| w.edit::<Record>(RowKey::Record(group, Seq::new(3)), |r| r.ts = Timestamp::new(1))),
        ("dirty_exactly_while_news_are_out", &|w| drop(w.script.view.rows.remove(&RowKey::Dirty(group)))),
        ("dirty_exactly_while_news_are_out", &|w| w.edit::<ChannelRow>(RowKey::Channel(group), |r| r.fanned = r.head.seq)),
        ("dirty_exactly_while_news_are_out", &|w| w.edit::<ChannelRow>(RowKey::Channel(group), |r| r.fanned = r.head.seq.next())),
        ("roster_is_well_formed", &|w| w.edit::<RosterRow>(RowKey::Roster(group), |r| r.members.reverse())),
        ("roster_is_well_formed", &|w| {
            w.edit::<RosterRow>(RowKey::Roster(group), |r| {
                let model = r.members[0].clone();
                r.members = (1..=101).map(|id| kith_wire::log::Member { user: UserId::new(id), ..model.clone() }).collect();
            });
        }),
        ("roster_is_well_formed", &|w| w.edit::<RosterRow>(RowKey::Roster(w.direct), |r| r.members[1].user = UserId::new(u64::MAX))),
        ("group_has_an_owner", &|w| w.edit::<RosterRow>(RowKey::Roster(group), |r| r.members.iter_mut().for_each(|m| m.role = Role::Member))),
        ("group_has_an_owner", &|w| w.edit::<ChannelRow>(RowKey::Channel(group), |r| r.dissolved = true)),
        ("stays_are_rising", &|w| w.edit::<RosterRow>(RowKey::Roster(group), |r| r.members[0].stays[0].left = Some(Seq::new(2)))),
        ("stays_are_rising", &|w| w.edit::<RosterRow>(RowKey::Roster(group), |r| r.members[0].stays.clear())),
        ("positions_are_of_visible_records", &|w| w.edit::<PositionsRow>(RowKey::Positions(group, ann), |r| r.own.cnt += 1)),
        ("positions_are_of_visible_records", &|w| w.edit::<PositionsRow>(RowKey::Positions(group, ann), |r| r.read = Position::default())),
        ("positions_are_of_visible_records", &|w| w.edit::<PositionsRow>(RowKey::Positions(group, bob), |r| r.mentions.reverse())),
        ("departing_are_former_members", &|w| drop(w.script.view.rows.remove(&RowKey::Former(group, eve)))),
        ("departing_are_former_members", &|w| w.put(RowKey::Former(group, ann), FormerRow::default())),
        ("former_is_closed", &|w| w.edit::<FormerRow>(RowKey::Former(group, eve), |r| r.stays[0].left = None)),
        ("ring_is_dense", &|w| drop_from_ring(w, group, ann, 1)),
        ("ring_is_dense", &|w| w.edit::<DedupRow>(ring(group, ann), |r| r.last = r.last.next())),
        ("ring_is_dense", &|w| w.edit::<DedupRow>(ring(group, ann), |r| r.ring[1].outcome = r.ring[0].outcome)),
        ("ring_is_dense", &|w| {
            w.edit::<DedupRow>(ring(group, ann), |r| {
                let entry = |n| DedupEntry { client_seq: ClientSeq::new(n), digest: 0, outcome: Outcome::Refused(Code::Invalid) };
                (r.ring, r.last) = ((1..=33).map(entry).collect(), ClientSeq::new(33));
            });
        }),
    ];
    for (name, damage) in broken {
        let mut world = World::new();
        damage(&mut world);
        world.noticed(name);
    }
}

#[test]
fn each_invariant_of_what_stands_beside_the_log_notices_a_broken_row() {
    let (ann, group, said) = (Script::user(ANN), World::new().group, Seq::new(3));
    let edit = || Content::Act(Act::Edit { target: said, text: "not what it says".to_owned(), mentions: Vec::new() });
    let scheduled = || ScheduledRow { due: Timestamp::new(9), device: DeviceId::new(1), draft: Draft::default(), refused: None };
    let by = |users: Vec<UserId>| MarksRow { reactions: vec![Reaction { emoji: "x".to_owned(), users }], ..MarksRow::default() };
    let pinned = |seq| RulesRow { pins: vec![Pin { seq, by: ann }], ..RulesRow::default() };
    let broken: &[Breakage] = &[
        ("edits_are_what_is_said", &|w| w.edit::<Record>(RowKey::Record(group, Seq::new(5)), |r| r.content = edit())),
        ("rules_are_bounded", &|w| w.edit::<ChannelRow>(RowKey::Channel(group), |r| r.ruled = true)),
        ("rules_are_bounded", &|w| w.put(RowKey::Rules(group), pinned(said))),
        ("rules_are_bounded", &|w| {
            w.edit::<ChannelRow>(RowKey::Channel(group), |r| r.ruled = true);
            w.put(RowKey::Rules(group), pinned(Seq::new(1)));
        }),
        ("marks_are_bounded", &|w| w.put(RowKey::Marks(group, said), by(Vec::new()))),
        ("marks_are_bounded", &|w| w.put(RowKey::Marks(group, Seq::new(1)), by(vec![ann]))),
        ("scheduled_has_a_timer", &|w| w.put(RowKey::Scheduled(group, ann, 1), scheduled())),
        ("timer_is_of_something", &|w| w.put(RowKey::Timer(Timestamp::new(9), group, Timer::Sweep), Row::Timer)),
        ("timer_is_of_something", &|w| w.put(RowKey::Timer(Timestamp::new(9), group, Timer::Expire(Seq::new(99))), Row::Timer)),
    ];
    for (name, damage) in broken {
        let mut world = World::new();
        damage(&mut world);
        world.noticed(name);
    }
}

fn ring(channel: ChannelId, user: UserId) -> RowKey {
    RowKey::Dedup(channel, Script::device(user, 0))
}

fn drop_from_ring(world: &mut World, channel: ChannelId, user: UserId, at: usize) {
    world.edit::<DedupRow>(ring(channel, user), |row| {
        row.ring.remove(at);
    });
}

#[test]
fn each_user_invariant_notices_a_broken_row() {
    let ann = Script::user(ANN);
    let group = World::new().group;
    let broken: &[Breakage] = &[
        ("index_order_is_bijective", &|w| w.edit::<IndexRow>(RowKey::Index(ann, group), |r| r.rev = UserRev::new(9))),
        ("index_order_is_bijective", &|w| w.put(RowKey::IndexByRev(ann, UserRev::new(7)), group)),
        ("index_row_is_found_by_rev", &|w| drop(w.script.view.rows.remove(&RowKey::IndexByRev(ann, UserRev::new(1))))),
        ("revs_are_below_the_users", &|w| w.edit::<UserRow>(RowKey::User(ann), |r| r.rev = UserRev::ZERO)),
        ("mentions_are_bounded", &|w| w.edit::<IndexRow>(RowKey::Index(ann, group), |r| r.news.mentions = vec![Seq::new(2), Seq::new(1)])),
        ("mentions_are_bounded", &|w| w.edit::<IndexRow>(RowKey::Index(ann, group), |r| r.read = Position::default())),
        ("devices_are_bounded", &|w| (1..=33).for_each(|id| w.put(RowKey::Device(ann, DeviceId::new(id)), DeviceRow::default()))),
    ];
    for (name, damage) in broken {
        let mut world = World::new();
        damage(&mut world);
        world.noticed(name);
    }
}

#[test]
fn each_group_invariant_notices_a_broken_row() {
    let region = RegionId::FIRST;
    let run = |first, last| RunRow { region, first, last, group: GroupId::new(1), epoch: OwnerEpoch::new(1) };
    let group = |replicas| GroupRow { group: GroupId::new(1), region, replicas, preference: Vec::new(), conf_epoch: 1 };
    let broken: &[Breakage] = &[
        ("owned_runs_do_not_overlap", &|w| w.put(RowKey::Owned(region, 7), OwnedRow { last: 9, epoch: OwnerEpoch::new(1), to: None })),
        ("map_runs_do_not_overlap", &|w| {
            w.put(RowKey::Run(region, 0), run(0, 9));
            w.put(RowKey::Run(region, 9), run(9, 12));
        }),
        ("map_names_known_nodes", &|w| {
            w.put(RowKey::Cluster, ClusterRow::default());
            w.put(RowKey::Group(GroupId::new(1)), group(vec![NodeId::new(1)]));
        }),
        ("map_names_known_nodes", &|w| {
            w.put(RowKey::Cluster, ClusterRow::default());
            w.put(RowKey::Run(region, 0), run(0, 9));
        }),
    ];
    for (name, damage) in broken {
        let mut world = World::new();
        damage(&mut world);
        world.noticed(name);
    }
}
