//! A naive chat, written from the protocol and not from the machine: lists instead of ranges, rings and rows. It must agree with the machine
//! on every answer, every recipient, what everyone may see, where everyone stands, and how much is unread.

use std::collections::{BTreeMap, BTreeSet};

use kith_machine::{
    Applied,
    channel::{read, refs::ref_for},
    effect::Effect,
    reply::Reply,
    testing::{MemoryView, STEP_BYTES, Script, Step, random_steps},
    view::{RowKey, row},
};
use kith_wire::{
    client::HistoryQuery,
    code::{Code, Retry},
    id::{ChannelId, ChannelKind, ClientSeq, DeviceId, NodeId, Seq, Timestamp, UserId},
    log::{Author, Batch, Command, Content, IndexRow, MemberChange, PeerCheck, Position, PositionsRow, Role},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

/// What became of a number.
#[derive(Clone)]
struct Used {
    digest: u64,
    reply: Reply,
}

#[derive(Default)]
struct Numbers {
    user: UserId,
    /// All that were used up, from 1.
    used: Vec<Used>,
    /// Those still remembered.
    kept: BTreeSet<u64>,
}

#[derive(Default)]
struct Chat {
    /// Texts, with whom they mention; `None` for records that are no texts.
    records: Vec<Option<Vec<UserId>>>,
    times: Vec<u64>,
    roles: BTreeMap<UserId, Role>,
    joined: BTreeMap<UserId, u64>,
    visible: BTreeMap<UserId, BTreeSet<u64>>,
    own: BTreeMap<UserId, u64>,
    read: BTreeMap<UserId, u64>,
    delivered: BTreeMap<UserId, u64>,
    dissolved: bool,
    /// Users of whom it was said that they never were: what their home still holds is not ours.
    gone: BTreeSet<UserId>,
}

#[derive(Default)]
struct Model {
    now: u64,
    chats: BTreeMap<ChannelId, Chat>,
    numbers: BTreeMap<(ChannelId, DeviceId), Numbers>,
}

/// A record's recipients, each with what they saw before it.
type Recipients = Vec<(UserId, u64)>;

impl Chat {
    fn head(&self) -> u64 {
        self.records.len() as u64
    }
    fn cnt(&self, seq: u64) -> u64 {
        self.records.iter().take(seq as usize).filter(|record| record.is_some()).count() as u64
    }
    fn position(&self, seq: u64) -> Position {
        Position { seq: Seq::new(seq), cnt: self.cnt(seq) }
    }
    fn sent(&self, seq: u64, duplicate: bool) -> Reply {
        Reply::Sent { seq: Seq::new(seq), cnt: self.cnt(seq), ts: Timestamp::new(self.times[seq as usize - 1]), duplicate }
    }
    /// Adds a record that `audience` sees.
    fn push(&mut self, now: u64, sender: UserId, record: Option<Vec<UserId>>, audience: &BTreeSet<UserId>) -> (Reply, Recipients) {
        self.times.push(now.max(self.times.last().copied().unwrap_or(0)));
        self.records.push(record);
        let seq = self.head();
        for positions in [&mut self.own, &mut self.read, &mut self.delivered] {
            positions.insert(sender, seq);
        }
        let mut recipients = Vec::new();
        for user in audience {
            let seen = self.visible.entry(*user).or_default();
            recipients.push((*user, seen.last().copied().unwrap_or(0)));
            seen.insert(seq);
        }
        (self.sent(seq, false), recipients)
    }
    fn members(&self) -> BTreeSet<UserId> {
        self.roles.keys().copied().collect()
    }
    fn owners_besides(&self, user: UserId) -> usize {
        self.roles.iter().filter(|(other, role)| **role == Role::Owner && **other != user).count()
    }
}

impl Model {
    fn apply(&mut self, batch: &Batch) -> Option<(Reply, Recipients)> {
        self.now = self.now.max(batch.now.get());
        let [item] = batch.items.as_slice() else { panic!("one item per batch") };
        // An item without the bucket that its command is for is not looked at.
        item.bucket?;
        match item.command.clone() {
            Command::Append { channel, author, content, peer } => Some(self.append(channel, author, &content, peer)),
            Command::CreateGroup { channel, creator, device, op, title: _, members } => Some(self.create(channel, creator, device, op, &members)),
            Command::ChangeMembers { channel, author, change } => Some(self.change(channel, author, change)),
            Command::Void { channel, user, device, client_seq, digest } => Some((self.void(channel, user, device, client_seq, digest), Vec::new())),
            Command::Receipt { channel, user, read, delivered } => Some((self.receipt(channel, user, read, delivered), Vec::new())),
            Command::Gone { channel, user } => Some((self.gone(channel, user), Vec::new())),
            _ => None,
        }
    }

    /// `Err`: answered by the numbers alone.
    fn number(&self, channel: ChannelId, user: UserId, device: DeviceId, number: u64, digest: Option<u64>) -> Result<(), Reply> {
        let none = Numbers { user, ..Numbers::default() };
        let numbers = self.numbers.get(&(channel, device)).unwrap_or(&none);
        let last = numbers.used.len() as u64;
        if number == 0 {
            return Err(Reply::Rejected(Code::Invalid));
        }
        if numbers.user != user {
            return Err(Reply::Rejected(Code::Conflict));
        }
        if number > last {
            return if number == last + 1 { Ok(()) } else { Err(Reply::OutOfSequence { expected: ClientSeq::new(last + 1) }) };
        }
        if !numbers.kept.contains(&number) {
            return Err(Reply::Rejected(Code::TooOld));
        }
        let used = &numbers.used[number as usize - 1];
        Err(match &used.reply {
            Reply::Voided => Reply::Voided,
            _ if digest.is_some_and(|digest| digest != used.digest) => Reply::Rejected(Code::Conflict),
            Reply::Sent { seq, cnt, ts, .. } => Reply::Sent { seq: *seq, cnt: *cnt, ts: *ts, duplicate: true },
            other => other.clone(),
        })
    }

    fn use_up(&mut self, channel: ChannelId, author: &Author, reply: &Reply) {
        let numbers = self.numbers.entry((channel, author.device)).or_default();
        numbers.user = author.user;
        numbers.used.push(Used { digest: author.digest, reply: reply.clone() });
        numbers.kept.retain(|number| *number >= author.settled.get());
        numbers.kept.insert(author.client_seq.get());
        while numbers.kept.len() > 32 {
            numbers.kept.pop_first();
        }
    }

    fn refuse(&mut self, channel: ChannelId, author: &Author, code: Code) -> (Reply, Recipients) {
        let reply = Reply::Rejected(code);
        if code.retry() == Retry::Never {
            self.use_up(channel, author, &reply);
        }
        (reply, Vec::new())
    }

    fn append(&mut self, channel: ChannelId, author: Author, content: &Content, peer: PeerCheck) -> (Reply, Recipients) {
        if let Err(reply) = self.number(channel, author.user, author.device, author.client_seq.get(), Some(author.digest)) {
            return (reply, Vec::new());
        }
        let head = self.chats.get(&channel).map_or(0, Chat::head);
        let bad = match content {
            Content::Text { text, .. } if text.is_empty() => Some(Code::Invalid),
            Content::Text { mentions, .. } if mentions.len() > 100 => Some(Code::TooLarge),
            Content::Text { reply_to: Some(seq), .. } if seq.get() == 0 || seq.get() > head => Some(Code::Invalid),
            Content::Text { .. } => None,
            Content::Unknown { .. } => Some(Code::Unsupported),
            _ => Some(Code::Invalid),
        };
        let Some(chat) = self.chats.get(&channel) else {
            let code = match channel.kind() {
                ChannelKind::Group(_) => Some(Code::NotMember),
                ChannelKind::Direct(a, b) if author.user != a && author.user != b => Some(Code::NotMember),
                ChannelKind::Direct(a, b) if a != b && peer == PeerCheck::NotAsked => Some(Code::NoSuchUser),
                ChannelKind::Direct(..) => bad,
            };
            if let Some(code) = code {
                return (Reply::Rejected(code), Vec::new());
            }
            let ChannelKind::Direct(a, b) = channel.kind() else { panic!("a direct channel") };
            let roles = [(a, Role::Member), (b, Role::Member)].into_iter().collect();
            self.chats.insert(channel, Chat { roles, ..Chat::default() });
            return self.post(channel, &author, content);
        };
        let code = match () {
            () if chat.dissolved => Some(Code::Dissolved),
            () if !chat.roles.contains_key(&author.user) => Some(Code::NotMember),
            () => bad,
        };
        match code {
            Some(code) => self.refuse(channel, &author, code),
            None => self.post(channel, &author, content),
        }
    }

    fn post(&mut self, channel: ChannelId, author: &Author, content: &Content) -> (Reply, Recipients) {
        let Content::Text { mentions, .. } = content else { panic!("only texts are posted") };
        let chat = self.chats.get_mut(&channel).expect("is there");
        let audience = chat.members();
        let (reply, recipients) = chat.push(self.now, author.user, Some(mentions.clone()), &audience);
        self.use_up(channel, author, &reply);
        (reply, recipients)
    }

    fn create(&mut self, channel: ChannelId, creator: UserId, device: DeviceId, op: u64, members: &[UserId]) -> (Reply, Recipients) {
        if channel != ChannelId::group(channel.region(), creator, device, op) {
            return (Reply::Rejected(Code::Invalid), Vec::new());
        }
        if let Some(chat) = self.chats.get(&channel) {
            return (chat.sent(1, true), Vec::new());
        }
        let mut roles: BTreeMap<UserId, Role> = members.iter().map(|user| (*user, Role::Member)).collect();
        roles.insert(creator, Role::Owner);
        if roles.len() > 100 {
            return (Reply::Rejected(Code::GroupFull), Vec::new());
        }
        let joined = roles.keys().map(|user| (*user, 1)).collect();
        let mut chat = Chat { roles, joined, ..Chat::default() };
        let audience = chat.members();
        let out = chat.push(self.now, creator, None, &audience);
        self.chats.insert(channel, chat);
        out
    }

    fn change(&mut self, channel: ChannelId, author: Author, change: MemberChange) -> (Reply, Recipients) {
        if let Err(reply) = self.number(channel, author.user, author.device, author.client_seq.get(), Some(author.digest)) {
            return (reply, Vec::new());
        }
        let Some(chat) = self.chats.get(&channel) else { return (Reply::Rejected(Code::NotMember), Vec::new()) };
        let me = author.user;
        let change = if change == MemberChange::Remove(me) { MemberChange::Leave } else { change };
        let role = chat.roles.get(&me).copied();
        let is_chief = role > Some(Role::Member);
        let code = match change {
            _ if chat.dissolved => Some(Code::Dissolved),
            _ if role.is_none() => Some(Code::NotMember),
            _ if matches!(channel.kind(), ChannelKind::Direct(..)) => Some(Code::NotAllowed),
            MemberChange::Add(_) if !is_chief => Some(Code::NotAllowed),
            MemberChange::Add(user) if chat.roles.contains_key(&user) => Some(Code::Invalid),
            MemberChange::Add(_) if chat.roles.len() == 100 => Some(Code::GroupFull),
            MemberChange::Remove(_) if !is_chief => Some(Code::NotAllowed),
            MemberChange::Remove(user) if !chat.roles.contains_key(&user) => Some(Code::NotFound),
            MemberChange::Remove(user) if role == Some(Role::Admin) && chat.roles[&user] != Role::Member => Some(Code::NotAllowed),
            MemberChange::Leave if role == Some(Role::Owner) && chat.roles.len() > 1 && chat.owners_besides(me) == 0 => Some(Code::LastOwner),
            MemberChange::SetRole(..) if role != Some(Role::Owner) => Some(Code::NotAllowed),
            MemberChange::SetRole(user, _) if !chat.roles.contains_key(&user) => Some(Code::NotFound),
            MemberChange::SetRole(user, new) if chat.roles[&user] == new => Some(Code::Invalid),
            MemberChange::SetRole(user, _) if chat.roles[&user] == Role::Owner && chat.owners_besides(user) == 0 => Some(Code::LastOwner),
            _ => None,
        };
        if let Some(code) = code {
            return self.refuse(channel, &author, code);
        }
        let chat = self.chats.get_mut(&channel).expect("is there");
        // Those before and those after the change see it.
        let mut audience = chat.members();
        let seq = chat.head() + 1;
        match change {
            MemberChange::Add(user) => {
                chat.roles.insert(user, Role::Member);
                chat.joined.insert(user, seq);
            }
            MemberChange::Remove(user) => drop(chat.roles.remove(&user)),
            MemberChange::Leave => drop(chat.roles.remove(&me)),
            MemberChange::SetRole(user, role) => drop(chat.roles.insert(user, role)),
        }
        audience.extend(chat.members());
        chat.dissolved = chat.roles.is_empty();
        let (reply, recipients) = chat.push(self.now, me, None, &audience);
        self.use_up(channel, &author, &reply);
        (reply, recipients)
    }

    fn void(&mut self, channel: ChannelId, user: UserId, device: DeviceId, client_seq: ClientSeq, digest: Option<u64>) -> Reply {
        if let Err(reply) = self.number(channel, user, device, client_seq.get(), digest) {
            return reply;
        }
        let author = Author { user, device, client_seq, settled: ClientSeq::new(0), digest: digest.unwrap_or(0) };
        self.use_up(channel, &author, &Reply::Voided);
        Reply::Voided
    }

    fn receipt(&mut self, channel: ChannelId, user: UserId, read: Option<Position>, delivered: Option<Position>) -> Reply {
        let Some(chat) = self.chats.get_mut(&channel).filter(|chat| chat.roles.contains_key(&user)) else { return Reply::Rejected(Code::NotMember) };
        let seen =
            |position: Option<Position>| position.and_then(|position| chat.visible.get(&user)?.range(..=position.seq.get()).next_back().copied());
        let (read, delivered) = (seen(read).unwrap_or(0), seen(delivered).unwrap_or(0));
        let has_read = chat.read.entry(user).or_default();
        *has_read = read.max(*has_read);
        let has_got = chat.delivered.entry(user).or_default();
        *has_got = delivered.max(*has_got).max(*has_read);
        Reply::Done
    }

    fn gone(&mut self, channel: ChannelId, user: UserId) -> Reply {
        let Some(chat) = self.chats.get_mut(&channel) else { return Reply::Rejected(Code::NotFound) };
        if chat.roles.remove(&user).is_some() {
            chat.visible.remove(&user);
            for positions in [&mut chat.own, &mut chat.read, &mut chat.delivered] {
                positions.remove(&user);
            }
            chat.gone.insert(user);
            let is_group = matches!(channel.kind(), ChannelKind::Group(_));
            if is_group && !chat.roles.values().any(|role| *role == Role::Owner) {
                let heir =
                    chat.roles.iter().max_by_key(|(user, role)| (**role, std::cmp::Reverse((chat.joined[*user], **user)))).map(|(user, _)| *user);
                match heir {
                    Some(heir) => drop(chat.roles.insert(heir, Role::Owner)),
                    None => chat.dissolved = true,
                }
            }
        }
        Reply::Done
    }
}

fn check_answer(model: &mut Model, batch: &Batch, applied: &Applied) {
    let Some((reply, recipients)) = model.apply(batch) else { return };
    assert_eq!(applied.replies, [reply], "{batch:?}");
    let told: Vec<Recipients> = applied
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Appended { recipients, .. } => Some(recipients.iter().map(|(user, prev)| (*user, prev.get())).collect()),
            _ => None,
        })
        .collect();
    let expected: Vec<Recipients> = if recipients.is_empty() { Vec::new() } else { vec![recipients] };
    assert_eq!(told, expected, "{batch:?}");
}

fn check_state(model: &Model, view: &MemoryView) {
    for channel in Script::channels() {
        let chat = model.chats.get(&channel);
        for user in Script::users() {
            let shown = read::visibility(view, channel, user).expect("readable");
            let shown: BTreeSet<u64> = shown.iter().flat_map(|visible| &visible.ranges).flat_map(|(first, last)| first.get()..=last.get()).collect();
            let expected = chat.and_then(|chat| chat.visible.get(&user)).cloned().unwrap_or_default();
            assert_eq!(shown, expected, "what {user} sees of {channel}");
            let Some(chat) = chat else { continue };
            let stands =
                row::<PositionsRow>(view, &RowKey::Positions(channel, user)).expect("readable").map_or_else(Default::default, |row| row.clone());
            for (name, actual, expected) in
                [("own", stands.own, &chat.own), ("read", stands.read, &chat.read), ("delivered", stands.delivered, &chat.delivered)]
            {
                assert_eq!(actual, chat.position(expected.get(&user).copied().unwrap_or(0)), "{name} of {user} in {channel}");
            }
            check_pages(view, channel, user, &expected);
        }
    }
}

/// History in pages of three, forwards and backwards, gives exactly what the user may see, and states the rest.
fn check_pages(view: &MemoryView, channel: ChannelId, user: UserId, expected: &BTreeSet<u64>) {
    for newest_first in [false, true] {
        let (mut first, mut last) = (Seq::new(1), Seq::new(u64::MAX));
        let (mut seen, mut withheld) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let query = HistoryQuery { channel, first, last, newest_first, limit: 3, min_seq: Seq::ZERO, replica: None, linearizable: false };
            let page = match read::history(view, user, &query, NodeId::new(1)).expect("readable") {
                Ok(page) => page,
                Err(code) => {
                    assert_eq!(code, Code::NotMember);
                    assert!(expected.is_empty());
                    return;
                }
            };
            assert_eq!(page.head.seq.get(), expected.last().copied().unwrap_or(0));
            assert!(page.records.len() <= 3);
            assert!(page.records.is_sorted_by(|a, b| a.at.seq < b.at.seq));
            let Some((from, to)) = page.covered else { break };
            let here: BTreeSet<u64> = page.records.iter().map(|record| record.at.seq.get()).collect();
            let not_here: BTreeSet<u64> = page.withheld.iter().flat_map(|(a, b)| a.get()..=b.get()).collect();
            assert_eq!(here.union(&not_here).copied().collect::<Vec<_>>(), (from.get()..=to.get()).collect::<Vec<_>>(), "covered is dense");
            seen.extend(here);
            withheld.extend(not_here);
            if newest_first { last = from.prev() } else { first = to.next() }
        }
        assert_eq!(&seen, expected);
        assert!(seen.is_disjoint(&withheld));
    }
}

/// After fresh refs of everything, unread is what one would count by hand.
fn check_unread(model: &Model, script: &mut Script) {
    for user in Script::users() {
        let refs: Vec<_> = Script::channels().iter().filter_map(|channel| ref_for(&script.view, *channel, user).expect("readable")).collect();
        let reply = script.propose(Command::MergeRefs { user, refs }).replies.clone();
        if reply == [Reply::Rejected(Code::NoSuchUser)] {
            continue;
        }
        for channel in Script::channels() {
            let Some(chat) = model.chats.get(&channel) else { continue };
            let Some(index) = row::<IndexRow>(&script.view, &RowKey::Index(user, channel)).expect("readable") else { continue };
            if !chat.visible.contains_key(&user) || chat.gone.contains(&user) || index.news.incarnation.get() > 0 {
                continue;
            }
            let (join, read) = (chat.joined.get(&user).copied().unwrap_or(1), index.read.seq.get());
            let visible = &chat.visible[&user];
            let unread = visible.iter().filter(|seq| **seq >= join && **seq > read && chat.records[**seq as usize - 1].is_some()).count();
            assert_eq!(index.unread(), unread as u64, "{user} in {channel}: {index:?}");
            assert!(read >= chat.own.get(&user).copied().unwrap_or(0), "own records are read");
            let mut mentions: Vec<u64> = (1..=chat.head())
                .filter(|seq| chat.records[*seq as usize - 1].as_ref().is_some_and(|mentions| mentions.contains(&user)))
                .filter(|seq| visible.contains(seq))
                .collect();
            mentions.retain(|seq| index.news.mentions.contains(&Seq::new(*seq)));
            assert_eq!(mentions.len(), index.news.mentions.len(), "each mention in the index is one");
        }
    }
}

fn run(steps: &[Step]) {
    let mut model = Model::default();
    let mut script = Script::new();
    script.log.iter().for_each(|batch| drop(model.apply(batch)));
    for step in steps {
        script.step(*step);
        let (batch, applied) = (script.log.last().expect("a step is logged"), script.applied.last().expect("and applied"));
        check_answer(&mut model, batch, applied);
    }
    check_state(&model, &script.view);
    check_unread(&model, &mut script);
}

/// A failing case prints its input and seed, and is kept in a `.seeds` file beside this one: the same command then tries it first.
fn property(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(property(64))]

    #[test]
    fn the_naive_chat_agrees(steps in prop::collection::vec(any::<[u8; STEP_BYTES]>(), 0..200)) {
        run(&steps);
    }
}

#[test]
fn the_naive_chat_agrees_over_long_histories() {
    for seed in 1..=4 {
        println!("seed {seed}");
        run(&random_steps(seed, 2_000));
    }
}
