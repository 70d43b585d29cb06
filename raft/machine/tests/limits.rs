//! What clients can grow, at its bound: the last that fits, the typed refusal of the next one, and that what goes makes room again.

use kith_machine::{
    invariant,
    reply::Reply,
    testing::Script,
    user,
    view::{RowKey, row},
};
use kith_wire::{
    act::{Act, Draft, Invite, Rules},
    code::Code,
    id::{CallKey, ChannelId, ClientSeq, DeviceId, Incarnation, RegionId, Seq, Timestamp, UserId},
    limit,
    log::{Author, Batch, Command, Content, DedupRow, MemberChange, PeerCheck, Position, Preference, Ref, UserChange},
};

const ANN: UserId = UserId::new(71);
/// Who is in no account of the script: the machine's channels ask for none.
const fn other(number: u32) -> UserId {
    UserId::new(1_000 + number as u64)
}

struct World {
    script: Script,
    now: u64,
    index: u64,
}

impl World {
    fn new() -> Self {
        let script = Script::new();
        let index = script.index();
        let mut world = Self { script, now: 1_000_000, index };
        let made = UserChange::SignUp { name: "ann".to_owned(), key: [7; 32], password: None, recovery: None, enter: None };
        assert_eq!(world.apply(made.of(ANN)), Reply::Account { created: true });
        world
    }
    fn apply_all(&mut self, commands: Vec<Command>) -> Vec<Reply> {
        self.index += 1;
        let batch = Batch { now: Timestamp::new(self.now), items: commands.into_iter().map(kith_machine::item).collect() };
        self.script.view.apply(self.script.group(), self.index, batch).expect("applies").replies
    }
    fn apply(&mut self, command: Command) -> Reply {
        self.apply_all(vec![command]).remove(0)
    }
    /// Does so many of these; all are taken.
    fn fill(&mut self, count: u32, of: impl Fn(u32) -> Command) {
        for number in 0..count {
            let reply = self.apply(of(number));
            assert!(!matches!(reply, Reply::Rejected(_)), "{number}: {reply:?}");
        }
    }
    fn holds(&self) {
        let found = invariant::everything(&self.script.view, self.script.view.rows.keys()).expect("readable");
        assert!(found.is_empty(), "{found:?}");
    }
}

const REACHED: Reply = Reply::Rejected(Code::LimitReached);

#[test]
fn contacts_and_blocks() {
    let mut world = World::new();
    let ask = |number: u32, asked| UserChange::AskContact { peer: other(number), asked }.of(ANN);
    world.fill(limit::CONTACTS_MAX, |number| ask(number, true));
    assert_eq!(world.apply(ask(limit::CONTACTS_MAX, true)), REACHED);
    assert_eq!(world.apply(ask(0, true)), Reply::Done, "one that is there needs no room");
    assert_eq!(world.apply(ask(0, false)), Reply::Done);
    assert_eq!(world.apply(ask(limit::CONTACTS_MAX, true)), Reply::Done, "what is taken back makes room");

    let block = |number: u32, blocked| UserChange::Block { peer: other(10_000 + number), blocked }.of(ANN);
    world.fill(limit::BLOCKS_MAX, |number| block(number, true));
    assert_eq!(world.apply(block(limit::BLOCKS_MAX, true)), REACHED);
    assert_eq!(world.apply(block(0, false)), Reply::Done);
    assert_eq!(world.apply(block(limit::BLOCKS_MAX, true)), Reply::Done);
    world.holds();
}

fn group(number: u32) -> ChannelId {
    ChannelId::group(RegionId::FIRST, other(1), DeviceId::new(1), u64::from(number))
}

/// Ann's news of a group: she is in it, or has left.
fn news(channel: ChannelId, left: bool) -> Command {
    let at = |seq| Position { seq: Seq::new(seq), cnt: seq };
    let seq = if left { 2 } else { 1 };
    let news = Ref {
        channel,
        incarnation: Incarnation::default(),
        head: at(seq),
        head_ts: Timestamp::new(seq),
        member_seq: Seq::new(seq),
        join: Position { seq: Seq::new(1), cnt: 0 },
        left: left.then_some(Seq::new(2)),
        own: Position::default(),
        mentions: Vec::new(),
        title: "g".to_owned(),
        preview: String::new(),
        head_sender: other(1),
    };
    Command::MergeRefs { user: ANN, refs: vec![news] }
}

#[test]
fn groups_that_a_user_is_in() {
    let mut world = World::new();
    let has_room = |world: &World| user::has_room(&world.script.view, ANN).expect("readable");
    world.fill(limit::GROUPS_MAX - 1, |number| news(group(number), false));
    assert!(has_room(&world), "one more fits");
    world.apply(news(group(limit::GROUPS_MAX), false));
    assert!(!has_room(&world), "the next is TooManyGroups");
    world.apply(news(ChannelId::direct(ANN, other(1)), false));
    world.apply(news(group(0), true));
    assert!(has_room(&world), "one that was left makes room, and a direct channel takes none");
    assert!(user::has_room(&world.script.view, other(1)).expect("readable"), "of nobody, nothing is known");
    world.holds();
}

#[test]
fn what_is_pinned_and_drafted_in_the_list() {
    let mut world = World::new();
    let all = limit::PINNED_MAX.max(limit::DRAFTS_MAX) + 1;
    world.fill(all, |number| news(group(number), false));
    let prefer = |number: u32, preference: Preference| UserChange::Prefer { channel: group(number), preference }.of(ANN);
    let draft = |text: &str| Preference::Draft(kith_wire::log::SavedDraft { text: text.to_owned(), ..Default::default() });
    world.fill(limit::PINNED_MAX, |number| prefer(number, Preference::Pin(true)));
    assert_eq!(world.apply(prefer(limit::PINNED_MAX, Preference::Pin(true))), REACHED);
    world.apply(prefer(0, Preference::Pin(false)));
    assert!(matches!(world.apply(prefer(limit::PINNED_MAX, Preference::Pin(true))), Reply::Merged { .. }));
    world.fill(limit::DRAFTS_MAX, |number| prefer(number, draft("so far")));
    assert_eq!(world.apply(prefer(limit::DRAFTS_MAX, draft("one more"))), REACHED);
    assert!(matches!(world.apply(prefer(0, draft("longer"))), Reply::Merged { .. }), "one that is there needs no room");
    world.apply(prefer(0, draft("")));
    assert!(matches!(world.apply(prefer(limit::DRAFTS_MAX, draft("one more"))), Reply::Merged { .. }));
    assert_eq!(world.apply(prefer(1, draft(&"x".repeat(limit::DRAFT_CHARS_MAX + 1)))), Reply::Rejected(Code::TooLarge));
    world.holds();
}

/// A group of one owner, who can be anybody's.
struct Room {
    world: World,
    id: ChannelId,
}

impl Room {
    fn new() -> Self {
        let (mut world, id) = (World::new(), ChannelId::group(RegionId::FIRST, ANN, DeviceId::new(ANN.get()), 5));
        let create =
            Command::CreateGroup { channel: id, creator: ANN, device: DeviceId::new(ANN.get()), op: 5, title: "g".to_owned(), members: vec![] };
        assert!(matches!(world.apply(create), Reply::Sent { .. }));
        Self { world, id }
    }
    fn author(&self, user: UserId) -> Author {
        let device = DeviceId::new(user.get());
        let last = row::<DedupRow>(&self.world.script.view, &RowKey::Dedup(self.id, device)).expect("readable").map_or(0, |row| row.last.get());
        let client_seq = ClientSeq::new(last + 1);
        Author { user, device, client_seq, settled: client_seq, digest: last, key: None }
    }
    fn act(&mut self, user: UserId, act: Act) -> Reply {
        let author = self.author(user);
        self.world.apply(Command::Act { channel: self.id, author, act })
    }
    fn say(&mut self, user: UserId) -> Seq {
        let (author, content) = (self.author(user), Content::Text { text: "hi".to_owned(), reply_to: None, mentions: Vec::new(), extra: None });
        match self.world.apply(Command::Append { channel: self.id, author, content, peer: PeerCheck::NotAsked }) {
            Reply::Sent { seq, .. } => seq,
            refused => panic!("{refused:?}"),
        }
    }
    fn change(&mut self, user: UserId, change: MemberChange) -> Reply {
        let author = self.author(user);
        self.world.apply(Command::ChangeMembers { channel: self.id, author, change })
    }
    /// A link without an end.
    fn open(&mut self) {
        let invite = Invite { secret: [1; 16], until: Timestamp::new(0), uses: 0 };
        assert!(matches!(self.act(ANN, Act::Invite(invite)), Reply::Kept { .. }));
    }
    fn join(&mut self, user: UserId) -> Reply {
        self.world.apply(Command::Join { channel: self.id, user, secret: [1; 16] })
    }
}

#[test]
fn members_of_a_group() {
    let mut room = Room::new();
    room.open();
    for number in 1..limit::MEMBERS_MAX as u32 {
        assert!(matches!(room.join(other(number)), Reply::Joined { .. }), "{number}");
    }
    let full = Reply::Rejected(Code::GroupFull);
    assert_eq!(room.join(other(500)), full, "by a link");
    assert_eq!(room.change(ANN, MemberChange::Add(other(500))), full, "by an admin");
    assert!(matches!(room.change(other(1), MemberChange::Leave), Reply::Sent { .. }));
    assert!(matches!(room.join(other(500)), Reply::Joined { .. }));
    room.world.holds();
}

#[test]
fn who_waits_to_be_let_in_and_the_links_that_let_in() {
    let mut room = Room::new();
    room.open();
    assert!(matches!(room.act(ANN, Act::SetRules(Rules { approval: true, ..Rules::default() })), Reply::Sent { .. }));
    for number in 0..limit::JOIN_REQUESTS_MAX as u32 {
        assert_eq!(room.join(other(number)), Reply::Pending, "{number}");
    }
    assert_eq!(room.join(other(500)), Reply::Rejected(Code::TooManyAsk));
    assert_eq!(room.join(other(0)), Reply::Pending, "one who waits is told so again");
    assert!(matches!(room.act(ANN, Act::Reject { user: other(0) }), Reply::Kept { .. }));
    assert_eq!(room.join(other(500)), Reply::Pending);

    // One is there.
    let link = |number: u8| Act::Invite(Invite { secret: [number; 16], until: Timestamp::new(0), uses: 0 });
    for number in 2..=limit::INVITES_MAX as u8 {
        assert!(matches!(room.act(ANN, link(number)), Reply::Kept { .. }), "{number}");
    }
    assert_eq!(room.act(ANN, link(200)), Reply::Rejected(Code::TooManyLinks));
    assert!(matches!(room.act(ANN, Act::Revoke { secret: [2; 16] }), Reply::Kept { .. }));
    assert!(matches!(room.act(ANN, link(200)), Reply::Kept { .. }));
    room.world.holds();
}

#[test]
fn reactions_on_a_text_former_members_included() {
    let mut room = Room::new();
    room.open();
    let target = room.say(ANN);
    // Later members read it too.
    room.act(ANN, Act::SetRules(Rules { from_start: true, ..Rules::default() }));
    let react = |emoji: &str, on| Act::React { target, emoji: emoji.to_owned(), on };
    for number in 0..limit::REACTION_USERS_MAX as u32 {
        assert!(matches!(room.join(other(number)), Reply::Joined { .. }), "{number}");
        assert!(matches!(room.act(other(number), react("+", true)), Reply::Sent { .. }), "{number}");
        assert!(matches!(room.change(other(number), MemberChange::Leave), Reply::Sent { .. }), "{number}");
    }
    let too_many = Reply::Rejected(Code::TooManyReactions);
    assert_eq!(room.act(ANN, react("+", true)), too_many);
    for number in 1..limit::REACTIONS_MAX {
        assert!(matches!(room.act(ANN, react(&format!("{number}"), true)), Reply::Sent { .. }), "{number}");
    }
    assert_eq!(room.act(ANN, react("one-more", true)), too_many);
    assert!(matches!(room.act(ANN, react("1", false)), Reply::Sent { .. }));
    assert!(matches!(room.act(ANN, react("one-more", true)), Reply::Sent { .. }));
    // Those who left are in transit until their homes know: the next waits.
    room.join(other(500));
    assert_eq!(room.change(other(500), MemberChange::Leave), Reply::Rejected(Code::Busy));
    room.world.holds();
}

#[test]
fn pins_of_a_channel_and_texts_for_later() {
    let mut room = Room::new();
    let mut pinned = Vec::new();
    for _ in 0..limit::PINS_MAX {
        let target = room.say(ANN);
        assert!(matches!(room.act(ANN, Act::Pin { target, on: true }), Reply::Sent { .. }));
        pinned.push(target);
    }
    let target = room.say(ANN);
    assert_eq!(room.act(ANN, Act::Pin { target, on: true }), Reply::Rejected(Code::TooManyPins));
    assert!(matches!(room.act(ANN, Act::Pin { target: pinned[0], on: false }), Reply::Sent { .. }));
    assert!(matches!(room.act(ANN, Act::Pin { target, on: true }), Reply::Sent { .. }));

    let later =
        |room: &Room| Act::Schedule { due: Timestamp::new(room.world.now + 60_000), draft: Draft { text: "later".to_owned(), ..Draft::default() } };
    let mut ids = Vec::new();
    for _ in 0..limit::SCHEDULED_MAX {
        let act = later(&room);
        match room.act(ANN, act) {
            Reply::Kept { id } => ids.push(id),
            refused => panic!("{refused:?}"),
        }
    }
    let act = later(&room);
    assert_eq!(room.act(ANN, act.clone()), Reply::Rejected(Code::TooManyScheduled));
    assert!(matches!(room.act(ANN, Act::Unschedule { id: ids[0] }), Reply::Kept { .. }));
    assert!(matches!(room.act(ANN, act), Reply::Kept { .. }));
    room.world.holds();
}

#[test]
fn keys_of_a_caller() {
    let mut world = World::new();
    let key = |now: u64, number: u32| {
        CallKey::new({
            let mut bytes = [0; 16];
            bytes[..6].copy_from_slice(&now.to_be_bytes()[2..]);
            (bytes[6], bytes[8]) = (0x70, 0x80);
            bytes[12..].copy_from_slice(&number.to_be_bytes());
            bytes
        })
    };
    let begin = |user, key| Command::BeginCall { user, key, digest: 1 };
    let now = world.now;
    world.fill(limit::HOME_CALLS_MAX, |number| begin(ANN, key(now, number)));
    assert_eq!(world.apply(begin(ANN, key(now, limit::HOME_CALLS_MAX))), Reply::Rejected(Code::Busy));
    // An operator's token of nobody has keys of its own, and more of them.
    world.fill(limit::HOME_CALLS_MAX + 1, |number| begin(UserId::new(0), key(now, number)));
    world.now += limit::CALL_KEPT_MS + 1;
    assert_eq!(world.apply(begin(ANN, key(world.now, 1))), Reply::Call { answer: None }, "those that are over make room");
    world.holds();
}
