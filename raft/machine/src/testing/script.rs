//! Steps of raw bytes turned into commands, with an eye on the state so far: mostly sensible, often repeated, sometimes hostile.

use bytes::Bytes;
use kith_wire::{
    act::{Act, Draft, Extra, Invite, Rules, Timer},
    code::Code,
    id::{
        ChannelId, ChannelKind, ClientSeq, ClusterId, DeviceId, GroupId, Incarnation, NodeId, OwnerEpoch, RegionId, Seq, StoreId, Timestamp, UserId,
        digest, hash,
    },
    log::{
        Author, Batch, ChannelRow, Command, Content, Debt, DedupRow, EnterDevice, GroupRow, IndexRow, Item, MemberChange, NodeRow, NodeState,
        PeerCheck, Position, Preference, ProfileField, Ref, Role, RosterRow, RunRow, SavedDraft, UserChange,
    },
    secret::Secret,
    upgrade::ClusterVersion,
};

use super::MemoryView;
use crate::{
    Applied,
    channel::refs::ref_for,
    item,
    view::{RowKey, Scan, StateView, row},
};

/// Length of a [`Step`].
pub const STEP_BYTES: usize = 8;
/// One choice of what happens next.
pub type Step = [u8; STEP_BYTES];

/// Users of a script, by number from 0.
const USERS: u8 = 7;
/// Operations that make groups, per user.
const OPS: u8 = 2;

/// Steps from a seed; the same ones for the same seed, for ever.
pub fn random_steps(seed: u64, count: usize) -> Vec<Step> {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..count).map(|_| next().to_le_bytes()).collect()
}

/// A group's life as it is made up: the state after all steps so far, which decides what the next step's bytes mean.
#[derive(Clone, Debug)]
pub struct Script {
    /// The state after all items so far, applied one by one.
    pub view: MemoryView,
    /// What was proposed, one item per batch, in log order.
    pub log: Vec<Batch>,
    /// What came of it.
    pub applied: Vec<Applied>,
    group: GroupId,
    now: u64,
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// A data group that owns all buckets of the first region and whose users exist.
    pub fn new() -> Self {
        let mut script = Self { view: MemoryView::default(), log: Vec::new(), applied: Vec::new(), group: GroupId::new(1), now: 1_000 };
        script.propose(Command::OwnBuckets { region: RegionId::FIRST, first: 0, last: u16::MAX, epoch: OwnerEpoch::new(1) });
        // The last user is never made: refs to them are refused.
        for number in 0..USERS - 1 {
            script.propose(Command::CreateUser { user: Self::user(number), name: format!("user-{number}"), key: digest(&[&[number]]) });
        }
        script
    }

    /// A script of the meta group.
    pub fn meta() -> Self {
        Self { view: MemoryView::default(), log: Vec::new(), applied: Vec::new(), group: GroupId::META, now: 1_000 }
    }

    /// The group that the script is of.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// A user by number.
    pub fn user(number: u8) -> UserId {
        UserId::from_sign_up_key(RegionId::FIRST, &digest(&[b"script user", &[number % USERS]]))
    }

    /// A device of a user; each has two.
    pub fn device(user: UserId, number: u8) -> DeviceId {
        DeviceId::from_nonce(user, &[number % 2; 16])
    }

    /// The index in the log of the last entry.
    pub fn index(&self) -> u64 {
        self.log.len() as u64
    }

    /// Applies one command as an entry of its own.
    pub fn propose(&mut self, command: Command) -> &Applied {
        self.propose_item(item(command))
    }

    /// Applies one item as an entry of its own.
    pub fn propose_item(&mut self, item: Item) -> &Applied {
        let batch = Batch { now: Timestamp::new(self.now), items: vec![item] };
        self.log.push(batch.clone());
        let applied = self.view.apply(self.group, self.index(), batch).expect("rows in memory can be read, and a script raises no version");
        self.applied.push(applied);
        &self.applied[self.applied.len() - 1]
    }

    /// Applies what a step means now.
    pub fn step(&mut self, step: Step) -> &Applied {
        // Mostly forwards; now and then a clock that is behind.
        self.now = if step[7].is_multiple_of(16) { self.now.saturating_sub(500) } else { self.now + u64::from(step[7]) };
        let command = if self.group == GroupId::META { meta_command(step) } else { self.command(step) };
        let mut item = item(command);
        if step == [0xee; STEP_BYTES] {
            item.bucket = None;
        }
        self.propose_item(item)
    }

    /// All channels that a script may name.
    pub fn channels() -> Vec<ChannelId> {
        let users: Vec<_> = (0..USERS).map(Self::user).collect();
        let direct = users.iter().enumerate().flat_map(|(at, a)| users[at..].iter().map(move |b| ChannelId::direct(*a, *b)));
        let groups = users.iter().flat_map(|user| (0..OPS).map(move |op| Self::group_of(*user, op)));
        direct.chain(groups).collect()
    }

    /// All users that a script may name.
    pub fn users() -> Vec<UserId> {
        (0..USERS).map(Self::user).collect()
    }

    fn group_of(creator: UserId, op: u8) -> ChannelId {
        ChannelId::group(RegionId::FIRST, creator, Self::device(creator, 0), u64::from(op % OPS))
    }

    fn channel(pick: u8) -> ChannelId {
        // Two groups get most of the traffic, so that members come and go where something is said.
        match pick % 8 {
            0..=4 => Self::group_of(Self::user(pick % 2), 0),
            5 => Self::group_of(Self::user(pick / 8), pick / 64),
            _ => ChannelId::direct(Self::user(pick / 8), Self::user(pick / 32)),
        }
    }

    fn author(&self, channel: ChannelId, user: UserId, step: Step, content: u64) -> Author {
        let device = Self::device(user, step[3]);
        let last = self.dedup(channel, device).map_or(0, |row| row.last.get());
        let number = match step[4] % 16 {
            0 => last,
            1 => last.saturating_sub(u64::from(step[5] % 40)),
            2 => last + 2 + u64::from(step[5] % 3),
            3 => u64::from(step[5]),
            _ => last + 1,
        };
        let settled = ClientSeq::new(number.saturating_sub(u64::from(step[5] % 12)));
        // A resend has the same bytes, so the same digest; now and then it has not.
        let salt = u64::from(step[4].is_multiple_of(32));
        let digest = hash(&[b"script", &number.to_be_bytes(), &device.get().to_be_bytes(), &salt.to_be_bytes(), &(content & 1).to_be_bytes()]);
        Author { user, device, client_seq: ClientSeq::new(number), settled, digest, key: None }
    }

    fn member(&self, channel: ChannelId, pick: u8) -> Option<UserId> {
        let roster = row::<RosterRow>(&self.view, &RowKey::Roster(channel)).ok().flatten()?;
        let at = usize::from(pick / 4).checked_rem(roster.members.len())?;
        roster.members.get(at).map(|member| member.user)
    }

    fn dedup(&self, channel: ChannelId, device: DeviceId) -> Option<DedupRow> {
        row::<DedupRow>(&self.view, &RowKey::Dedup(channel, device)).ok().flatten().map(|row| row.clone())
    }

    fn head(&self, channel: ChannelId) -> Position {
        row::<ChannelRow>(&self.view, &RowKey::Channel(channel)).ok().flatten().map_or_else(Position::default, |row| row.head)
    }

    fn command(&self, step: Step) -> Command {
        let [kind, pick, who, _, _, a, b, _] = step;
        let channel = Self::channel(pick);
        // Direct channels mostly hear their own users.
        let user = match channel.kind() {
            ChannelKind::Direct(low, high) if who % 16 != 0 => [low, high][usize::from(who) % 2],
            // Groups hear their members, but for some.
            ChannelKind::Group(_) if who % 4 != 0 => self.member(channel, who).unwrap_or_else(|| Self::user(who)),
            _ => Self::user(who),
        };
        let other = Self::user(a);
        let head = self.head(channel);
        match kind % 40 {
            32..=36 => {
                let author = self.author(channel, user, step, 1);
                Command::Act { channel, author, act: self.act(channel, user, step, head.seq) }
            }
            37 => Command::Join { channel, user: Self::user(who), secret: [b % 2; 16] },
            38 | 39 => match self.timer(channel, a) {
                Some((due, channel, timer)) => Command::Fire { channel, due, timer, refused: (b % 8 == 0).then_some(Code::Banned) },
                None if b % 4 == 0 => Command::Refuse { channel, author: self.author(channel, user, step, 0), code: Code::NotFound },
                None => Command::Fire { channel, due: Timestamp::new(self.now), timer: Timer::Sweep, refused: None },
            },
            0..=12 => {
                let author = self.author(channel, user, step, 0);
                Command::Append {
                    channel,
                    author,
                    content: content(step, head.seq),
                    peer: if b % 8 == 0 { PeerCheck::NotAsked } else { PeerCheck::Exists },
                }
            }
            13 | 14 => {
                let count = if a % 16 == 0 { 101 } else { u64::from(a % 5) };
                let mut members: Vec<_> = (0..count.min(5)).map(|at| Self::user(b.wrapping_add(at as u8))).collect();
                members.extend((5..count).map(UserId::new));
                let creator = Self::user(who % 2);
                let (op, device) = (u64::from(pick % OPS), Self::device(creator, 0));
                let id = if b == 0 { channel } else { ChannelId::group(RegionId::FIRST, creator, device, op) };
                Command::CreateGroup { channel: id, creator, device, op, title: format!("group {op}"), members }
            }
            15..=19 => {
                let role = [Role::Member, Role::Admin, Role::Owner][usize::from(b % 3)];
                let change = match a % 8 {
                    3 if b == 7 => MemberChange::Join,
                    0..=3 => MemberChange::Add(Self::user(b)),
                    4 => MemberChange::Remove(Self::user(b)),
                    5 if b % 2 == 0 => MemberChange::Leave,
                    _ => MemberChange::SetRole(Self::user(b / 4), role),
                };
                Command::ChangeMembers { channel, author: self.author(channel, user, step, 1), change }
            }
            20 => {
                let author = self.author(channel, user, step, 0);
                let digest = (a % 2 == 0).then_some(author.digest);
                Command::Void { channel, user, device: author.device, client_seq: author.client_seq, digest }
            }
            21 => Command::Fanned { channel, seq: Seq::new((head.seq.get() + u64::from(a % 3)).saturating_sub(u64::from(b % 4))) },
            22 => {
                let position = |pick: u8| {
                    (!pick.is_multiple_of(4)).then(|| Position { seq: Seq::new(u64::from(pick) % (head.seq.get() + 2)), cnt: u64::from(pick) })
                };
                Command::Receipt { channel, user, read: position(a), delivered: position(b) }
            }
            23 if a % 4 == 0 => Command::Gone { channel, user: Self::user(USERS - 1) },
            23 if a % 4 == 1 => Command::User { user: other, change: account_change(step) },
            23 => Command::RegisterDevice {
                user: other,
                device: DeviceId::new(u64::from(b % 64)),
                login: u64::from(pick % 4),
                issued: Timestamp::new(self.now.saturating_sub(u64::from(who))),
            },
            24..=27 => {
                let picks = [pick, a, b];
                let refs = picks.iter().filter_map(|pick| self.ref_of(Self::channel(*pick), user, step)).collect();
                Command::MergeRefs { user, refs }
            }
            28 => {
                let held = row::<IndexRow>(&self.view, &RowKey::Index(user, channel)).ok().flatten().map_or(head, |row| row.news.head);
                let read = if a % 8 == 0 { Position { seq: Seq::new(1), cnt: u64::from(b) } } else { held };
                Command::MarkRead { user, channel, read }
            }
            29 => match a % 3 {
                0 => Command::CreateUser { user: Self::user(b), name: format!("user-{b}"), key: digest(&[&[b]]) },
                1 => Command::ForbidUser { user: UserId::new(u64::from(b % 4)) },
                _ => Command::CreateUser { user: UserId::new(u64::from(b % 4)), name: "x".to_owned(), key: [b; 32] },
            },
            30 => {
                let (name, user) = (format!("name-{}", a % 4), Self::user(b));
                match pick % 5 {
                    0 | 1 => Command::ReserveName { name, user },
                    2 => Command::ConfirmName { name, user },
                    3 => Command::HoldName { name, user, until: Timestamp::new(self.now + u64::from(a)) },
                    _ => Command::ReleaseName { name, user, since: Timestamp::new(self.now.saturating_sub(u64::from(a) % 4)) },
                }
            }
            _ => Command::OwnBuckets {
                region: RegionId::new(a % 2),
                first: u16::from_be_bytes([b, a]),
                last: u16::from_be_bytes([b.saturating_add(who), a]),
                epoch: OwnerEpoch::new(u64::from(pick % 4)),
            },
        }
    }

    /// A timer of the channel, or of any.
    fn timer(&self, channel: ChannelId, pick: u8) -> Option<(Timestamp, ChannelId, Timer)> {
        let rows = self.view.scan(&Scan::Timers(None), false, usize::MAX).ok()?;
        let all = rows.into_iter().filter_map(|(key, _)| match key {
            RowKey::Timer(due, of, timer) if pick < 64 || of == channel => Some((due, of, timer)),
            _ => None,
        });
        let all: Vec<_> = all.collect();
        usize::from(pick).checked_rem(all.len()).and_then(|at| all.get(at).copied())
    }

    fn act(&self, channel: ChannelId, user: UserId, step: Step, head: Seq) -> Act {
        let [_, pick, who, _, _, a, b, c] = step;
        // Mostly one of the last records: they are the ones that something happens to.
        let target = Seq::new(if pick.is_multiple_of(8) { u64::from(b) } else { head.get().saturating_sub(u64::from(b % 12)) });
        let (on, role) = (c % 3 > 0, [Role::Member, Role::Admin, Role::Owner][usize::from(c % 3)]);
        let draft = || Draft { text: format!("later {b}"), mentions: vec![Self::user(c)], ttl_ms: (c % 4 == 0).then_some(2_000), ..Draft::default() };
        match a % 32 {
            0..=4 => Act::Edit { target, text: format!("edited {c}"), mentions: vec![Self::user(c), Self::user(who)] },
            5..=7 => Act::Delete { target },
            // One who was erased and came back reacts to nothing: what is theirs would hang on how far the sweep is.
            8..=13 if user != Self::user(USERS - 1) => {
                Act::React { target, emoji: ["👍", "🎉", "", "no space"][usize::from(c % 4)].to_owned(), on: b % 4 > 0 }
            }
            14..=16 => Act::Pin { target, on },
            17 => Act::Describe { title: on.then(|| format!("title {c}")), about: (c % 4 > 0).then(|| format!("about {}", c % 8)) },
            18..=19 => Act::SetRules(Rules {
                post: if b % 8 == 0 { role } else { Role::Member },
                invite: role,
                pin: role,
                describe: role,
                from_start: c % 2 == 0,
                approval: c % 5 == 0,
                slow_ms: if b % 4 == 0 { 300 } else { 0 },
                retention_ms: if b % 3 == 0 { 60_000 } else { 0 },
            }),
            20 => Act::HandOver { to: self.member(channel, b).unwrap_or(user) },
            21..=22 => {
                let until = Timestamp::new(if on { self.now + 20 * u64::from(c) } else { 0 });
                Act::Mute { user: self.member(channel, b).unwrap_or_else(|| Self::user(b)), until }
            }
            23..=24 => {
                let until = Timestamp::new(if on { 0 } else { self.now + 50 * u64::from(c) });
                Act::Invite(Invite { secret: [b % 2; 16], until, uses: u32::from(c % 3) })
            }
            25 => Act::Revoke { secret: [b % 2; 16] },
            26 => Act::Reject { user: Self::user(b) },
            27..=29 => Act::Schedule { due: Timestamp::new(self.now + 4 * u64::from(b)), draft: draft() },
            30 => {
                let rows = self.view.scan(&Scan::Scheduled(channel, user), false, 1).unwrap_or_default();
                let id = rows.into_iter().find_map(|(key, _)| if let RowKey::Scheduled(_, _, id) = key { Some(id) } else { None });
                Act::Unschedule { id: id.unwrap_or_else(|| u64::from(b)) }
            }
            _ => Act::Post(draft()),
        }
    }

    /// A ref as the channel's leader would send it, now and then an older one of it.
    fn ref_of(&self, channel: ChannelId, user: UserId, step: Step) -> Option<Ref> {
        let mut news = ref_for(&self.view, channel, user).ok().flatten()?;
        if step[6].is_multiple_of(8) {
            news.head = Position { seq: news.head.seq.prev(), cnt: news.head.cnt.saturating_sub(1) };
            news.mentions.pop();
        }
        if step[6] == 255 {
            news.incarnation = Incarnation::new(1);
        }
        Some(news)
    }
}

fn account_change(step: Step) -> UserChange {
    let [_, pick, who, device, number, _, b, time] = step;
    let (device, digest) = (DeviceId::new(u64::from(device % 8)), |of: u8| [of % 4; 32]);
    let enter = EnterDevice { device, title: format!("device {device}"), refresh: digest(b) };
    let (password, password_rev) = (Secret::new(format!("hash {b}")), u64::from(number % 3));
    let peer = Script::user(number);
    match pick % 24 {
        14 => UserChange::AskContact { peer, asked: !b.is_multiple_of(3) },
        15 => UserChange::MirrorContact { peer, asked: !b.is_multiple_of(3), version: u64::from(who) },
        16 => UserChange::Indexed { version: u64::from(who % 4), words: vec![format!("word-{}", b % 4)] },
        17 => UserChange::SetProfile {
            display: (b % 2 == 0).then(|| format!("Display {b}")),
            about: None,
            avatar: None,
            searchable: (who % 4 == 0).then_some(b % 8 == 0),
            fields: vec![ProfileField { key: format!("key-{}", b % 32), value: "x".repeat(usize::from(who % 2)) }],
        },
        22 => UserChange::BotToken { by: UserId::new(u64::from(who % 2)), enter: (b % 2 == 0).then_some(enter) },
        23 => UserChange::OwnBot { bot: peer, owned: !b.is_multiple_of(3) },
        18..=21 => UserChange::Prefer { channel: Script::channel(number), preference: preference(step) },
        0 | 1 => UserChange::LogIn { password_rev: (who % 2 == 0).then_some(password_rev), enter },
        2..=4 => UserChange::Refresh { device, shown: digest(who), next: digest(b) },
        5 => UserChange::EndDevices { devices: vec![device], all_others: b.is_multiple_of(4) },
        6 => UserChange::SetPassword { password_rev, password, keep: device },
        7 => UserChange::SetRecovery { password_rev, recovery: digest(b) },
        8 => UserChange::IssueReset { code: digest(b), until: Timestamp::new(u64::from(time) * 1_000) },
        9 => UserChange::ResetPassword { shown: digest(who), password, recovery: digest(b) },
        10 => UserChange::Rename { name: format!("name-{}", b % 4), renames: u64::from(number % 3) },
        11 => UserChange::SettleName { name: format!("name-{}", b % 4) },
        12 => UserChange::SetAdmin { admin: b.is_multiple_of(2) },
        // Nobody is erased: the chats of a script go on.
        _ => UserChange::Paid { debt: Debt::Name(format!("name-{}", b % 4)), version: u64::from(number) },
    }
}

fn preference(step: Step) -> Preference {
    let [_, pick, who, _, _, _, b, time] = step;
    match b % 8 {
        0 | 1 => Preference::Pin(who.is_multiple_of(2)),
        2 => Preference::Mute { until: (who % 2 == 0).then_some(Timestamp::new(u64::from(time))) },
        3 => Preference::Archive { seen: who.is_multiple_of(2).then(|| Seq::new(u64::from(pick % 4))) },
        4 | 5 => Preference::Draft(SavedDraft { text: "d".repeat(usize::from(who % 3)), reply_to: None, at: Timestamp::new(u64::from(pick)) }),
        _ => Preference::Clear { seq: Seq::new(u64::from(pick % 4)), cnt: u64::from(who % 4) },
    }
}

fn content(step: Step, head: Seq) -> Content {
    let [_, pick, _, _, _, a, b, _] = step;
    match b {
        0 => Content::Text { text: String::new(), reply_to: None, mentions: Vec::new(), extra: None },
        1 => Content::Members(MemberChange::Leave),
        2 => Content::Unknown { kind: 99, bytes: Bytes::from_static(b"newer") },
        3 => Content::Text { text: "reply".to_owned(), reply_to: Some(Seq::new(u64::from(a))), mentions: Vec::new(), extra: None },
        4 => Content::Text { text: "everyone".to_owned(), reply_to: None, mentions: vec![Script::user(a); 101], extra: None },
        65..=90 => Content::Text {
            text: format!("more {a}"),
            reply_to: None,
            mentions: vec![Script::user(pick)],
            extra: Some(Box::new(Extra {
                thread: (b % 4 > 0).then(|| Seq::new(head.get().saturating_sub(u64::from(a % 6)))),
                ttl_ms: (b % 3 == 0).then_some(1_000),
                origin: None,
            })),
        },
        5..=64 => Content::Text {
            text: format!("hello {a}"),
            reply_to: (head > Seq::ZERO).then_some(head),
            mentions: vec![Script::user(a), Script::user(pick)],
            extra: None,
        },
        _ => Content::Text { text: format!("text {pick} {a} {b}"), reply_to: None, mentions: Vec::new(), extra: None },
    }
}

fn meta_command(step: Step) -> Command {
    let [kind, a, b, c, d, e, ..] = step;
    let node = |pick: u8| NodeId::new(u64::from(pick % 6));
    match kind % 8 {
        0 => Command::InitCluster { cluster: ClusterId::new([a / 128; 16]), version: ClusterVersion::default() },
        1..=3 => Command::PutNode {
            node: NodeRow {
                node: node(a),
                store: (b % 4 != 0).then(|| StoreId::new([b % 4; 16])),
                address: format!("node-{}:{c}", a % 6),
                zone: format!("zone-{}", a % 3),
                capacity: u32::from(d % 3),
                state: NodeState::Up,
                ..NodeRow::default()
            },
        },
        4 | 5 => {
            let replicas = vec![node(b), node(c), node(d)];
            let row = GroupRow {
                group: GroupId::new(u32::from(a % 4)),
                region: RegionId::new(e / 192),
                preference: vec![node(b)],
                replicas,
                conf_epoch: u64::from(e % 8),
            };
            Command::PutGroup { group: row }
        }
        6 => Command::PutRun {
            run: RunRow {
                region: RegionId::new(e / 192),
                first: u16::from_be_bytes([a, b]),
                last: u16::from_be_bytes([c, d]),
                group: GroupId::new(u32::from(e % 4)),
                epoch: OwnerEpoch::new(u64::from(b % 4)),
            },
        },
        // Of no business here.
        _ => Command::ForbidUser { user: UserId::new(u64::from(a)) },
    }
}
