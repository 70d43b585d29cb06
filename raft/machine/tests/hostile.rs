//! Nothing that is logged makes apply panic, and whatever it was, the invariants hold afterwards.

use bytes::Bytes;
use kith_machine::{
    ApplyError, Meta, VERSION_LAST, apply, invariant, item,
    key::pack,
    testing::{MemoryView, STEP_BYTES, Script},
    view::RowKey,
};
use kith_wire::{
    act::{Act, Draft, Extra, Gone, Invite, Rules, Timer},
    code::Code,
    id::{
        CallKey, ChannelId, ClientSeq, ClusterId, DeviceId, GroupId, Incarnation, LogIndex, MapEpoch, NodeId, OwnerEpoch, RegionId, Seq, Term,
        Timestamp, UserId,
    },
    layout::LayoutMove,
    log::{Author, Batch, Command, Content, GroupRow, Item, LogId, MemberChange, NodeRow, PeerCheck, Position, Ref, Role, RunRow},
    moving::{BucketRun, MoveChange, MovedRow},
    trust::{JoinToken, TokenId, TrustChange},
    upgrade::ClusterVersion,
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

/// Numbers at the edges.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(2), Just(3), Just(u64::MAX - 1), Just(u64::MAX), any::<u64>()]
}
fn seq() -> impl Strategy<Value = Seq> {
    number().prop_map(Seq::new)
}
fn user() -> BoxedStrategy<UserId> {
    prop_oneof![any::<u8>().prop_map(Script::user), number().prop_map(UserId::new)].boxed()
}
fn device() -> BoxedStrategy<DeviceId> {
    prop_oneof![any::<(u8, u8)>().prop_map(|(user, device)| Script::device(Script::user(user), device)), number().prop_map(DeviceId::new)].boxed()
}
fn channel() -> BoxedStrategy<ChannelId> {
    let known = Script::channels();
    prop_oneof![
        4 => any::<prop::sample::Index>().prop_map(move |at| *at.get(&known)),
        1 => (user(), user()).prop_map(|(a, b)| ChannelId::direct(a, b)),
        1 => (any::<u8>(), user(), device(), number()).prop_map(|(region, user, device, op)| ChannelId::group(RegionId::new(region), user, device, op)),
    ]
    .boxed()
}
fn position() -> impl Strategy<Value = Position> {
    (seq(), number()).prop_map(|(seq, cnt)| Position { seq, cnt })
}
fn author() -> BoxedStrategy<Author> {
    (user(), device(), number(), number(), number(), prop::option::of(call_key()))
        .prop_map(|(user, device, client_seq, settled, digest, key)| Author {
            user,
            device,
            client_seq: ClientSeq::new(client_seq),
            settled: ClientSeq::new(settled),
            digest,
            key,
        })
        .boxed()
}
fn call_key() -> BoxedStrategy<CallKey> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(CallKey::new),
        (number(), any::<u32>()).prop_map(|(now, random)| CallKey::of_node(Timestamp::new(now), random % 3)),
    ]
    .boxed()
}
fn change() -> BoxedStrategy<MemberChange> {
    let role = prop_oneof![Just(Role::Member), Just(Role::Admin), Just(Role::Owner)];
    prop_oneof![
        user().prop_map(MemberChange::Add),
        user().prop_map(MemberChange::Remove),
        Just(MemberChange::Leave),
        (user(), role).prop_map(|(user, role)| MemberChange::SetRole(user, role)),
    ]
    .boxed()
}
fn extra() -> impl Strategy<Value = Option<Box<Extra>>> {
    let parts = (prop::option::of(seq()), prop::option::of(number()));
    prop::option::of(parts.prop_map(|(thread, ttl_ms)| Box::new(Extra { thread, ttl_ms, origin: None })))
}
fn act() -> BoxedStrategy<Act> {
    let role = || prop_oneof![Just(Role::Member), Just(Role::Admin), Just(Role::Owner)];
    let users = || prop::collection::vec(user(), 0..4);
    let time = || number().prop_map(Timestamp::new);
    let draft = || {
        (".{0,9}", prop::option::of(seq()), users(), prop::option::of(seq()), prop::option::of(number()))
            .prop_map(|(text, reply_to, mentions, thread, ttl_ms)| Draft { text, reply_to, mentions, thread, ttl_ms })
    };
    let rules = ((role(), role(), role(), role()), (any::<bool>(), any::<bool>(), number(), number())).prop_map(
        |((post, invite, pin, describe), (from_start, approval, slow_ms, retention_ms))| Rules {
            post,
            invite,
            pin,
            describe,
            from_start,
            approval,
            slow_ms,
            retention_ms,
        },
    );
    prop_oneof![
        draft().prop_map(Act::Post).boxed(),
        (channel(), seq()).prop_map(|(from, seq)| Act::Forward { from, seq }).boxed(),
        (seq(), ".{0,9}", users()).prop_map(|(target, text, mentions)| Act::Edit { target, text, mentions }).boxed(),
        seq().prop_map(|target| Act::Delete { target }).boxed(),
        (seq(), ".{0,9}", any::<bool>()).prop_map(|(target, emoji, on)| Act::React { target, emoji, on }).boxed(),
        (seq(), any::<bool>()).prop_map(|(target, on)| Act::Pin { target, on }).boxed(),
        (time(), draft()).prop_map(|(due, draft)| Act::Schedule { due, draft }).boxed(),
        number().prop_map(|id| Act::Unschedule { id }).boxed(),
        (prop::option::of(".{0,300}"), prop::option::of(".{0,9}")).prop_map(|(title, about)| Act::Describe { title, about }).boxed(),
        rules.prop_map(Act::SetRules).boxed(),
        user().prop_map(|to| Act::HandOver { to }).boxed(),
        (user(), time()).prop_map(|(user, until)| Act::Mute { user, until }).boxed(),
        (any::<u8>(), time(), any::<u32>()).prop_map(|(secret, until, uses)| Act::Invite(Invite { secret: [secret % 2; 16], until, uses })).boxed(),
        any::<u8>().prop_map(|secret| Act::Revoke { secret: [secret % 2; 16] }).boxed(),
        user().prop_map(|user| Act::Reject { user }).boxed(),
    ]
    .boxed()
}
fn content() -> BoxedStrategy<Content> {
    prop_oneof![
        (".*", prop::option::of(seq()), prop::collection::vec(user(), 0..4), extra())
            .prop_map(|(text, reply_to, mentions, extra)| { Content::Text { text, reply_to, mentions, extra } }),
        act().prop_map(Content::Act),
        any::<bool>().prop_map(|counted| Content::Gone { why: Gone::Deleted, counted }),
        (".*", prop::collection::vec(user(), 0..4)).prop_map(|(title, members)| Content::Created { title, members }),
        change().prop_map(Content::Members),
        any::<u32>().prop_map(|kind| Content::Unknown { kind: kind.max(6), bytes: Bytes::from_static(b"?") }),
    ]
    .boxed()
}
fn news() -> BoxedStrategy<Ref> {
    let places = (position(), position(), position(), seq(), prop::option::of(seq()));
    (channel(), any::<u32>(), places, prop::collection::vec(seq(), 0..120), ".{0,300}", ".{0,300}", user())
        .prop_map(|(channel, incarnation, (head, join, own, member_seq, left), mentions, title, preview, head_sender)| Ref {
            channel,
            incarnation: Incarnation::new(incarnation % 3),
            head,
            head_ts: Timestamp::new(head.cnt),
            member_seq,
            join,
            left,
            own,
            mentions,
            title,
            preview,
            head_sender,
        })
        .boxed()
}
fn node() -> impl Strategy<Value = NodeId> {
    number().prop_map(|raw| NodeId::new(raw % 5))
}

/// Moves out of the group and into it, few of which fit together.
fn moves() -> BoxedStrategy<Command> {
    let run =
        || (any::<u8>(), any::<u16>(), any::<u16>()).prop_map(|(region, first, last)| BucketRun { region: RegionId::new(region % 2), first, last });
    let name = || (any::<u32>(), 0..3u64).prop_map(|(from, at)| (GroupId::new(from % 4), LogIndex::new(if at == 0 { u64::MAX } else { at })));
    let keys = || {
        prop::collection::vec(
            prop_oneof![user().prop_map(|user| pack(&RowKey::User(user))), any::<[u8; 12]>().prop_map(|raw| Bytes::copy_from_slice(&raw))],
            0..4,
        )
    };
    let rows = prop::collection::vec(
        (user(), any::<bool>()).prop_map(|(user, gone)| MovedRow { key: pack(&RowKey::Profile(user)), body: (!gone).then(Bytes::new) }),
        0..3,
    );
    prop_oneof![
        (run(), any::<u32>()).prop_map(|(run, to)| MoveChange::Begin { run, to: GroupId::new(to % 4) }),
        (name(), 0..4u64).prop_map(|((_, at), round)| MoveChange::NextRound { at, round }),
        (name(), 0..4u64).prop_map(|((_, at), round)| MoveChange::HandOver { at, round }),
        name().prop_map(|(_, at)| MoveChange::Cancel { at }),
        name().prop_map(|(_, at)| MoveChange::Taken { at }),
        (name(), keys()).prop_map(|((_, at), keys)| MoveChange::Sweep { at, keys }),
        name().prop_map(|(_, at)| MoveChange::End { at }),
        (name(), run(), number()).prop_map(|((from, at), run, epoch)| MoveChange::Stage { from, at, run, epoch: OwnerEpoch::new(epoch) }),
        (name(), number(), any::<bool>(), rows).prop_map(|((from, at), round, last, rows)| MoveChange::Import {
            from,
            at,
            round,
            after: Bytes::new(),
            upto: Bytes::from_static(b"z"),
            last,
            rows,
        }),
        (name(), number()).prop_map(|((from, at), round)| MoveChange::Take { from, at, round }),
        name().prop_map(|(from, at)| MoveChange::Unstage { from, at }),
        (name(), keys()).prop_map(|((from, at), keys)| MoveChange::Drop { from, at, keys }),
        name().prop_map(|(from, at)| MoveChange::EndStage { from, at }),
    ]
    .prop_map(Command::Move)
    .boxed()
}

fn command() -> BoxedStrategy<Command> {
    let peer = prop_oneof![Just(PeerCheck::NotAsked), Just(PeerCheck::Exists)];
    let members = prop_oneof![4 => prop::collection::vec(user(), 0..4), 1 => Just((1..=120).map(UserId::new).collect::<Vec<_>>())];
    let run = || {
        (any::<u8>(), any::<u16>(), any::<u16>(), number())
            .prop_map(|(region, first, last, epoch)| (RegionId::new(region % 2), first, last, OwnerEpoch::new(epoch)))
    };
    let of_channel = prop_oneof![
        (channel(), author(), content(), peer).prop_map(|(channel, author, content, peer)| Command::Append { channel, author, content, peer }),
        (channel(), user(), device(), number(), ".{0,300}", members)
            .prop_map(|(channel, creator, device, op, title, members)| Command::CreateGroup { channel, creator, device, op, title, members }),
        (channel(), author(), change()).prop_map(|(channel, author, change)| Command::ChangeMembers { channel, author, change }),
        (channel(), user(), device(), number(), prop::option::of(number())).prop_map(|(channel, user, device, client_seq, digest)| {
            Command::Void { channel, user, device, client_seq: ClientSeq::new(client_seq), digest }
        }),
        (channel(), author(), act()).prop_map(|(channel, author, act)| Command::Act { channel, author, act }),
        (channel(), author(), any::<u16>()).prop_map(|(channel, author, code)| Command::Refuse { channel, author, code: Code::from_number(code) }),
        (channel(), user(), any::<u8>()).prop_map(|(channel, user, secret)| Command::Join { channel, user, secret: [secret % 2; 16] }),
        (channel(), number(), user(), number(), any::<u8>()).prop_map(|(channel, due, user, id, kind)| Command::Fire {
            channel,
            due: Timestamp::new(due),
            timer: [Timer::Send { user, id }, Timer::Expire(Seq::new(id)), Timer::Sweep, Timer::Erase(user)][usize::from(kind % 4)],
            refused: (kind >= 128).then(|| Code::from_number(u16::from(kind))),
        }),
        (channel(), seq()).prop_map(|(channel, seq)| Command::Fanned { channel, seq }),
        (channel(), user(), prop::option::of(position()), prop::option::of(position()))
            .prop_map(|(channel, user, read, delivered)| Command::Receipt { channel, user, read, delivered }),
        (channel(), user()).prop_map(|(channel, user)| Command::Gone { channel, user }),
    ];
    let of_user = prop_oneof![
        (user(), ".{0,80}", any::<u8>()).prop_map(|(user, name, key)| Command::CreateUser { user, name, key: [key; 32] }),
        user().prop_map(|user| Command::ForbidUser { user }),
        (user(), device(), any::<u8>(), any::<u64>()).prop_map(|(user, device, login, issued)| Command::RegisterDevice {
            user,
            device,
            login: u64::from(login % 3),
            issued: Timestamp::new(issued),
        }),
        (user(), prop::collection::vec(news(), 0..4)).prop_map(|(user, refs)| Command::MergeRefs { user, refs }),
        (user(), channel(), position()).prop_map(|(user, channel, read)| Command::MarkRead { user, channel, read }),
        (user(), call_key(), number()).prop_map(|(user, key, digest)| Command::BeginCall { user, key, digest }),
        (user(), call_key(), any::<bool>()).prop_map(|(user, key, long)| Command::EndCall {
            user,
            key,
            answer: Bytes::from(vec![b'?'; if long { 5_000 } else { 2 }]),
        }),
        (".{0,80}", user()).prop_map(|(name, user)| Command::ReserveName { name, user }),
        (".{0,80}", user()).prop_map(|(name, user)| Command::ConfirmName { name, user }),
        (".{0,80}", user(), any::<u64>()).prop_map(|(name, user, since)| Command::ReleaseName { name, user, since: Timestamp::new(since) }),
    ];
    let of_group = prop_oneof![
        moves(),
        run().prop_map(|(region, first, last, epoch)| Command::OwnBuckets { region, first, last, epoch }),
        any::<bool>().prop_map(|raise| Command::RaiseVersion { version: u32::from(raise) }),
        any::<u8>().prop_map(|raw| Command::InitCluster { cluster: ClusterId::new([raw % 2; 16]), version: ClusterVersion::default() }),
        (node(), any::<u32>()).prop_map(|(node, capacity)| Command::PutNode { node: NodeRow { node, capacity, ..NodeRow::default() } }),
        (any::<u32>(), prop::collection::vec(node(), 0..5), number()).prop_map(|(group, replicas, conf_epoch)| Command::PutGroup {
            group: GroupRow {
                group: GroupId::new(group % 4),
                preference: replicas.iter().take(2).copied().collect(),
                replicas,
                conf_epoch,
                ..GroupRow::default()
            }
        }),
        (any::<u64>(), prop::collection::vec(node(), 0..3), prop::collection::vec(node(), 0..4), number()).prop_map(
            |(at, nodes, replicas, conf_epoch)| {
                Command::ChangeMap {
                    at: MapEpoch::new(at % 16),
                    nodes: nodes.into_iter().map(|node| NodeRow { node, ..NodeRow::default() }).collect(),
                    groups: vec![GroupRow { group: GroupId::new(1), replicas, conf_epoch, ..GroupRow::default() }],
                    moves: vec![LayoutMove { why: "a reason".to_owned(), ..LayoutMove::default() }],
                }
            }
        ),
        (any::<[u8; 2]>(), any::<u64>(), prop::collection::vec(node(), 0..3)).prop_map(|([token, key], at, nodes)| {
            let nodes: Vec<NodeRow> = nodes.into_iter().map(|node| NodeRow { node, ..NodeRow::default() }).collect();
            let (token, node) = ([token % 3; 32], nodes.first().map_or_else(NodeId::default, |row| row.node));
            match key % 4 {
                0 => TrustChange::AddJoin(JoinToken { token, until: Timestamp::new(at), ..JoinToken::default() }),
                1 => TrustChange::RevokeJoin { id: TokenId::of(&token) },
                _ => TrustChange::UseJoin { token, key: [key; 32], node, at: MapEpoch::new(at % 16), nodes, groups: Vec::new() },
            }
            .command()
        }),
        (run(), any::<u32>()).prop_map(|((region, first, last, epoch), group)| Command::PutRun {
            run: RunRow { region, first, last, group: GroupId::new(group % 4), epoch }
        }),
    ];
    // Boxed, or the strategies of all commands lie on the stack at once.
    prop_oneof![4 => of_channel.boxed(), 2 => of_user.boxed(), 2 => of_group.boxed()].boxed()
}

/// A failing case prints its input and seed, and is kept in a `.seeds` file beside this one: the same command then tries it first.
fn property(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(property(64))]

    #[test]
    fn no_command_panics_or_breaks_an_invariant(
        before in prop::collection::vec(any::<[u8; STEP_BYTES]>(), 0..40),
        commands in prop::collection::vec(command(), 1..40),
        now in number(),
        is_meta in any::<bool>(),
    ) {
        let mut script = if is_meta { Script::meta() } else { Script::new() };
        before.into_iter().for_each(|step| drop(script.step(step).clone()));
        let count = commands.len();
        let items: Vec<Item> = commands.into_iter().map(item).collect();
        let mut view = script.view.clone();
        let bytes = Batch { now: Timestamp::new(now), items }.encode();
        let meta = Meta { group: script.group(), id: LogId { term: Term::new(u64::MAX), index: LogIndex::new(u64::MAX) } };
        let applied = apply(&view, &bytes, meta).expect("a command is answered, never an error");
        prop_assert_eq!(applied.replies.len(), count);
        view.commit(applied.writes);
        let found: Vec<_> = invariant::everything(&view, view.rows.keys()).expect("readable").iter().map(ToString::to_string).collect();
        prop_assert_eq!(found, Vec::<String>::new());
        let map = kith_machine::meta::map(&view).expect("readable");
        prop_assert!(map.epoch == MapEpoch::default() || is_meta);
    }

    #[test]
    fn any_bytes_are_a_batch_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let meta = Meta { group: GroupId::new(1), id: LogId::default() };
        match apply(&MemoryView::default(), &Bytes::from(bytes), meta) {
            Ok(_) | Err(ApplyError::Decode { .. } | ApplyError::UnknownVersion { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

#[test]
fn a_version_that_this_build_does_not_know_stops_the_replica_before_anything_is_written() {
    let mut script = Script::new();
    let (group, index) = (script.group(), script.index() + 1);
    let items = vec![item(Command::ForbidUser { user: UserId::new(9) }), item(Command::RaiseVersion { version: VERSION_LAST + 1 })];
    let refused = script.view.apply(group, index, Batch { now: Timestamp::new(1), items });
    assert!(matches!(refused, Err(ApplyError::UnknownVersion { version, last: VERSION_LAST, .. }) if version == VERSION_LAST + 1), "{refused:?}");
    assert!(kith_machine::user::account(&script.view, UserId::new(9)).expect("readable").is_none());
}
