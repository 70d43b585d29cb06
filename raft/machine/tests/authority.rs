//! Who may do what in a group, as apply checks it: every operation × every kind of asker → the answer. An operation that is added without
//! a row does not compile ([`name`]) or fails ([`every_operation_has_a_row`]).

use std::collections::BTreeSet;

use kith_machine::{reply::Reply, testing::Script};
use kith_wire::{
    act::{Act, Draft, Invite, Rules},
    code::Code,
    id::{ChannelId, ClientSeq, DeviceId, RegionId, Seq, Timestamp, UserId},
    log::{Author, Command, Content, MemberChange, PeerCheck, Role},
};

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    Owner,
    Admin,
    Member,
    Muted,
    Removed,
    Stranger,
    /// Shut out of the group.
    Banned,
}

const ASKERS: [Asker; 7] = [Asker::Owner, Asker::Admin, Asker::Member, Asker::Muted, Asker::Removed, Asker::Stranger, Asker::Banned];

impl Asker {
    fn user(self) -> UserId {
        // The script has no user left for the last one.
        if self == Self::Banned { UserId::new(4_711) } else { Script::user(self as u8) }
    }
}

/// What is asked: an operation of the machine with an author.
#[derive(Clone, Debug)]
enum Operation {
    Text(Content),
    Change(MemberChange),
    Act(Act),
    Join,
    Read,
    Search,
    Receipt,
}

/// Names an operation. A new act or change of members has to be named here, and then needs a row.
fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Text(_) => "text",
        Operation::Join => "join",
        Operation::Read => "read",
        Operation::Search => "search",
        Operation::Receipt => "receipt",
        Operation::Change(change) => match change {
            MemberChange::Add(_) => "add",
            MemberChange::Remove(_) => "remove",
            MemberChange::Leave => "leave",
            MemberChange::SetRole(..) => "set_role",
            MemberChange::Join => "join_unasked",
        },
        Operation::Act(act) => match act {
            Act::Post(_) => "post",
            Act::Forward { .. } => "forward",
            Act::Edit { .. } => "edit",
            Act::Delete { .. } => "delete",
            Act::React { .. } => "react",
            Act::Pin { .. } => "pin",
            Act::Schedule { .. } => "schedule",
            Act::Unschedule { .. } => "unschedule",
            Act::Describe { .. } => "describe",
            Act::SetRules(_) => "set_rules",
            Act::HandOver { .. } => "hand_over",
            Act::Mute { .. } => "mute",
            Act::Invite(_) => "invite",
            Act::Revoke { .. } => "revoke",
            Act::Reject { .. } => "reject",
            Act::Ban { .. } => "ban",
        },
    }
}

const NAMES: [&str; 26] = [
    "text",
    "join",
    "read",
    "search",
    "receipt",
    "add",
    "remove",
    "leave",
    "set_role",
    "join_unasked",
    "post",
    "forward",
    "edit",
    "delete",
    "react",
    "pin",
    "schedule",
    "unschedule",
    "describe",
    "set_rules",
    "hand_over",
    "mute",
    "invite",
    "revoke",
    "reject",
    "ban",
];

const GUEST: u8 = 6;
const SECRET: [u8; 16] = [7; 16];

/// Seqs of the group's texts: one by the owner, one by the muted member before they were.
const OWNERS_TEXT: Seq = Seq::new(2);

struct World {
    script: Script,
    group: ChannelId,
    numbers: u64,
}

impl World {
    /// A group of an owner, an admin, two members, one of them muted, and somebody who was removed; with a text, a link and a request.
    fn new() -> Self {
        let mut script = Script::new();
        let owner = Asker::Owner.user();
        let device = Script::device(owner, 0);
        let group = ChannelId::group(RegionId::FIRST, owner, device, 77);
        let members = vec![Asker::Admin.user(), Asker::Member.user(), Asker::Muted.user(), Asker::Removed.user()];
        script.propose(Command::CreateGroup { channel: group, creator: owner, device, op: 77, title: "table".to_owned(), members });
        let mut world = Self { script, group, numbers: 0 };
        assert!(matches!(world.ask(Asker::Owner, &Operation::Text(text("by the owner"))), Reply::Sent { seq: OWNERS_TEXT, .. }));
        let steps = [
            Operation::Change(MemberChange::SetRole(Asker::Admin.user(), Role::Admin)),
            Operation::Change(MemberChange::Remove(Asker::Removed.user())),
            Operation::Act(Act::Ban { user: Asker::Banned.user(), on: true }),
            Operation::Act(Act::Mute { user: Asker::Muted.user(), until: Timestamp::new(u64::MAX) }),
            Operation::Act(Act::SetRules(Rules { pin: Role::Admin, approval: true, ..Rules::default() })),
            Operation::Act(Act::Invite(Invite { secret: SECRET, until: Timestamp::new(0), uses: 0 })),
        ];
        for step in steps {
            let reply = world.ask(Asker::Owner, &step);
            assert!(matches!(reply, Reply::Sent { .. } | Reply::Kept { .. }), "{step:?}: {reply:?}");
        }
        let asks = Command::Join { channel: group, user: Script::user(GUEST), secret: SECRET };
        assert_eq!(world.script.propose(asks).replies, [Reply::Pending]);
        world
    }

    fn ask(&mut self, asker: Asker, operation: &Operation) -> Reply {
        let (channel, user) = (self.group, asker.user());
        self.numbers += 1;
        // A device of its own for each: the number is always the first.
        let device = DeviceId::new(1_000 + self.numbers);
        let author = Author { user, device, client_seq: ClientSeq::new(1), settled: ClientSeq::new(1), digest: 0, key: None };
        let command = match operation.clone() {
            Operation::Text(content) => Command::Append { channel, author, content, peer: PeerCheck::NotAsked },
            Operation::Change(change) => Command::ChangeMembers { channel, author, change },
            Operation::Act(act) => Command::Act { channel, author, act },
            Operation::Join => Command::Join { channel, user, secret: SECRET },
            Operation::Receipt => {
                let read = Some(kith_wire::log::Position { seq: OWNERS_TEXT, cnt: 1 });
                Command::Receipt { channel, user, read, delivered: None }
            }
            Operation::Search => {
                // All that an index could propose.
                let seqs: Vec<Seq> = (1..=self.head().get()).map(Seq::new).collect();
                let shown = kith_machine::channel::pick::pick(&self.script.view, channel, user, &seqs).expect("readable");
                return if shown.len() == seqs.len() { Reply::Done } else { Reply::Rejected(Code::NotMember) };
            }
            Operation::Read => {
                let shown = kith_machine::channel::read::record(&self.script.view, channel, user, self.head()).expect("readable");
                return if shown.is_some() { Reply::Done } else { Reply::Rejected(Code::NotMember) };
            }
        };
        self.script.propose(command).replies[0].clone()
    }

    fn head(&self) -> Seq {
        use kith_machine::view::{RowKey, row};
        row::<kith_wire::log::ChannelRow>(&self.script.view, &RowKey::Channel(self.group)).expect("readable").expect("is there").head.seq
    }
}

fn text(text: &str) -> Content {
    Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: None }
}

/// What is expected: done, or refused so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Yes,
    No(Code),
}
use Expected::{No, Yes};

const DENIED: Expected = No(Code::NotAllowed);
const OUT: Expected = No(Code::NotMember);
const HUSHED: Expected = No(Code::Muted);
const SHUT: Expected = No(Code::BannedHere);

/// A row: the operation, then what the owner, an admin, a member, a muted member, a removed one, a stranger and one who is shut out are told.
fn rows() -> Vec<(Operation, [Expected; 7])> {
    let act = Operation::Act;
    let owners = OWNERS_TEXT;
    let draft = || Draft { text: "later".to_owned(), ..Draft::default() };
    let kept = Rules { retention_ms: 60_000, ..Rules::default() };
    let unsupported = [No(Code::Unsupported), No(Code::Unsupported), No(Code::Unsupported), No(Code::Unsupported), OUT, OUT, OUT];
    vec![
        (Operation::Text(text("hi")), [Yes, Yes, Yes, HUSHED, OUT, OUT, OUT]),
        (Operation::Read, [Yes, Yes, Yes, Yes, OUT, OUT, OUT]),
        (Operation::Search, [Yes, Yes, Yes, Yes, OUT, OUT, OUT]),
        (Operation::Receipt, [Yes, Yes, Yes, Yes, OUT, OUT, OUT]),
        (Operation::Join, [Yes, Yes, Yes, Yes, DENIED, Yes, SHUT]),
        (Operation::Change(MemberChange::Add(Script::user(GUEST))), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
        (Operation::Change(MemberChange::Remove(Asker::Muted.user())), [Yes, Yes, DENIED, Yes, OUT, OUT, OUT]),
        (Operation::Change(MemberChange::Remove(Asker::Admin.user())), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
        (Operation::Change(MemberChange::Remove(Asker::Owner.user())), [No(Code::LastOwner), DENIED, DENIED, DENIED, OUT, OUT, OUT]),
        (Operation::Change(MemberChange::Leave), [No(Code::LastOwner), Yes, Yes, Yes, OUT, OUT, OUT]),
        (Operation::Change(MemberChange::SetRole(Asker::Member.user(), Role::Admin)), [Yes, DENIED, DENIED, DENIED, OUT, OUT, OUT]),
        (Operation::Change(MemberChange::Join), [No(Code::Invalid), No(Code::Invalid), No(Code::Invalid), No(Code::Invalid), OUT, OUT, OUT]),
        // Texts when they come to the log: a leader proposes them as such.
        (act(Act::Post(draft())), unsupported),
        (act(Act::Forward { from: ChannelId::direct(UserId::new(1), UserId::new(2)), seq: owners }), unsupported),
        (act(Act::Edit { target: owners, text: "new".to_owned(), mentions: Vec::new() }), [Yes, DENIED, DENIED, HUSHED, OUT, OUT, OUT]),
        (act(Act::Delete { target: owners }), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::React { target: owners, emoji: "👍".to_owned(), on: true }), [Yes, Yes, Yes, HUSHED, OUT, OUT, OUT]),
        (act(Act::Pin { target: owners, on: true }), [Yes, Yes, DENIED, HUSHED, OUT, OUT, OUT]),
        (act(Act::Schedule { due: Timestamp::new(1_000_000), draft: draft() }), [Yes, Yes, Yes, HUSHED, OUT, OUT, OUT]),
        (act(Act::Unschedule { id: 1 }), [No(Code::NotFound), No(Code::NotFound), No(Code::NotFound), No(Code::NotFound), OUT, OUT, OUT]),
        (act(Act::Describe { title: Some("new".to_owned()), about: None }), [Yes, Yes, DENIED, HUSHED, OUT, OUT, OUT]),
        (act(Act::SetRules(Rules { post: Role::Admin, ..Rules::default() })), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::SetRules(kept)), [Yes, DENIED, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::HandOver { to: Asker::Member.user() }), [Yes, DENIED, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::Mute { user: Asker::Member.user(), until: Timestamp::new(9_000_000) }), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::Mute { user: Asker::Admin.user(), until: Timestamp::new(9_000_000) }), [Yes, DENIED, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::Invite(Invite { secret: [1; 16], until: Timestamp::new(0), uses: 1 })), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::Revoke { secret: SECRET }), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::Ban { user: Asker::Member.user(), on: true }), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::Ban { user: Asker::Admin.user(), on: true }), [Yes, No(Code::Invalid), DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::Ban { user: Asker::Banned.user(), on: false }), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
        (Operation::Change(MemberChange::Add(Asker::Banned.user())), [SHUT, SHUT, DENIED, DENIED, OUT, OUT, OUT]),
        (act(Act::Reject { user: Script::user(GUEST) }), [Yes, Yes, DENIED, DENIED, OUT, OUT, OUT]),
    ]
}

#[test]
fn each_asker_is_told_what_the_table_says() {
    for (operation, expected) in rows() {
        for (asker, expected) in ASKERS.into_iter().zip(expected) {
            let mut world = World::new();
            let before = world.head();
            let told = match world.ask(asker, &operation) {
                Reply::Rejected(code) => No(code),
                Reply::Sent { .. } | Reply::Kept { .. } | Reply::Joined { .. } | Reply::Pending | Reply::Done => Yes,
                other => panic!("{asker:?} {operation:?}: {other:?}"),
            };
            assert_eq!(told, expected, "{asker:?} asks for {operation:?}");
            assert!(told == Yes || world.head() == before, "{asker:?}: what is refused makes no record");
        }
    }
}

/// Somebody who shows a device that is another's does nothing by it, whoever they are.
#[test]
fn with_the_device_of_somebody_else_nothing_is_done() {
    for (operation, _) in rows() {
        let mut world = World::new();
        let device = DeviceId::new(9_999);
        let of =
            |user, client_seq: u64| Author { user, device, client_seq: ClientSeq::new(client_seq), settled: ClientSeq::new(1), digest: 0, key: None };
        let channel = world.group;
        let own = Command::Append { channel, author: of(Asker::Member.user(), 1), content: text("mine"), peer: PeerCheck::NotAsked };
        assert!(matches!(world.script.propose(own).replies[0], Reply::Sent { .. }));
        let before = world.head();
        for asker in ASKERS.into_iter().filter(|asker| *asker != Asker::Member) {
            for number in [1, 2] {
                let author = of(asker.user(), number);
                let command = match operation.clone() {
                    Operation::Text(content) => Command::Append { channel, author, content, peer: PeerCheck::NotAsked },
                    Operation::Change(change) => Command::ChangeMembers { channel, author, change },
                    Operation::Act(act) => Command::Act { channel, author, act },
                    // These have no device.
                    Operation::Join | Operation::Receipt | Operation::Read | Operation::Search => continue,
                };
                assert_eq!(world.script.propose(command).replies, [Reply::Rejected(Code::Conflict)], "{asker:?} asks for {operation:?}");
            }
        }
        assert_eq!(world.head(), before);
    }
}

/// A block lies with who blocks: in a group, who is blocked is told what any member is.
#[test]
fn who_is_blocked_is_told_what_any_member_is() {
    for (operation, expected) in rows() {
        let mut world = World::new();
        let block = kith_wire::log::UserChange::Block { peer: Asker::Member.user(), blocked: true };
        assert_eq!(world.script.propose(block.of(Asker::Owner.user())).replies, [Reply::Done]);
        let told = match world.ask(Asker::Member, &operation) {
            Reply::Rejected(code) => No(code),
            _ => Yes,
        };
        assert_eq!(told, expected[Asker::Member as usize], "{operation:?}");
    }
}

#[test]
fn every_operation_has_a_row() {
    let with_rows: BTreeSet<_> = rows().iter().map(|(operation, _)| name(operation)).collect();
    assert_eq!(with_rows, BTreeSet::from(NAMES));
}

/// What a group's rules open to members is open, and nothing else.
#[test]
fn rules_open_and_close_what_they_name() {
    let open = Rules { post: Role::Admin, invite: Role::Member, pin: Role::Member, describe: Role::Member, ..Rules::default() };
    let mut world = World::new();
    assert!(matches!(world.ask(Asker::Owner, &Operation::Act(Act::SetRules(open))), Reply::Sent { .. }));
    let told = |world: &mut World, operation| match world.ask(Asker::Member, &operation) {
        Reply::Rejected(code) => No(code),
        _ => Yes,
    };
    assert_eq!(told(&mut world, Operation::Text(text("hi"))), DENIED);
    let scheduled = Act::Schedule { due: Timestamp::new(1_000_000), draft: Draft { text: "x".to_owned(), ..Draft::default() } };
    assert_eq!(told(&mut world, Operation::Act(scheduled)), DENIED);
    assert_eq!(told(&mut world, Operation::Act(Act::React { target: OWNERS_TEXT, emoji: "🎉".to_owned(), on: true })), Yes);
    assert_eq!(told(&mut world, Operation::Change(MemberChange::Add(Script::user(GUEST)))), Yes);
    assert_eq!(told(&mut world, Operation::Act(Act::Pin { target: OWNERS_TEXT, on: true })), Yes);
    assert_eq!(told(&mut world, Operation::Act(Act::Describe { title: None, about: Some("ours".to_owned()) })), Yes);
    let link = Invite { secret: [9; 16], until: Timestamp::new(0), uses: 0 };
    assert_eq!(told(&mut world, Operation::Act(Act::Invite(link))), Yes);
    assert_eq!(told(&mut world, Operation::Act(Act::Revoke { secret: [9; 16] })), Yes, "one's own link");
    assert_eq!(told(&mut world, Operation::Act(Act::Revoke { secret: SECRET })), DENIED, "another's");
}
