//! A naive chat, written from the protocol and not from the machine: lists instead of ranges, rings and rows. It must agree with the machine
//! on every answer, every recipient, what everyone may see, where everyone stands, and how much is unread.

#[path = "model/acts.rs"]
mod acts;

use std::collections::{BTreeMap, BTreeSet};

use acts::{Beside, Kind};

use kith_machine::{
    Applied,
    channel::{read, refs::ref_for},
    effect::Effect,
    reply::Reply,
    testing::{MemoryView, STEP_BYTES, Script, Step, random_steps},
    view::{RowKey, row},
};
use kith_wire::{
    act::{Act, Gone},
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
    kinds: Vec<Kind>,
    /// Records that a device numbered.
    numbered: BTreeSet<u64>,
    times: Vec<u64>,
    roles: BTreeMap<UserId, Role>,
    joined: BTreeMap<UserId, u64>,
    /// The newest record about each member.
    noted: BTreeMap<UserId, u64>,
    visible: BTreeMap<UserId, BTreeSet<u64>>,
    own: BTreeMap<UserId, u64>,
    read: BTreeMap<UserId, u64>,
    delivered: BTreeMap<UserId, u64>,
    dissolved: bool,
    /// Users of whom it was said that they never were: what their home still holds is not ours.
    gone: BTreeSet<UserId>,
    beside: Beside,
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
        self.kinds.len() as u64
    }
    fn cnt(&self, seq: u64) -> u64 {
        self.kinds.iter().take(seq as usize).filter(|kind| matches!(kind, Kind::Text { .. })).count() as u64
    }
    fn position(&self, seq: u64) -> Position {
        Position { seq: Seq::new(seq), cnt: self.cnt(seq) }
    }
    fn sent(&self, seq: u64, duplicate: bool) -> Reply {
        Reply::Sent { seq: Seq::new(seq), cnt: self.cnt(seq), ts: Timestamp::new(self.times[seq as usize - 1]), duplicate }
    }
    /// Adds a record that `audience` sees.
    /// It is read by who sent it, or not; it has a number of theirs, or none.
    fn push(
        &mut self,
        now: u64,
        sender: UserId,
        (kind, is_read, is_numbered): (Kind, bool, bool),
        audience: &BTreeSet<UserId>,
    ) -> (Reply, Recipients) {
        self.times.push(now.max(self.times.last().copied().unwrap_or(0)));
        self.kinds.push(kind);
        let seq = self.head();
        if is_numbered {
            self.numbered.insert(seq);
        }
        if is_read {
            for positions in [&mut self.own, &mut self.read, &mut self.delivered] {
                positions.insert(sender, seq);
            }
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
            Command::CreateGroup { channel, creator, device, op, title, members } => {
                Some(self.create(channel, (creator, device, op), &title, &members))
            }
            Command::ChangeMembers { channel, author, change } => Some(self.change(channel, author, change)),
            Command::Act { channel, author, act } => {
                let told = self.act(channel, author, &act);
                // The newest record about whom it is about.
                if let (kith_wire::act::Act::HandOver { to }, Reply::Sent { seq, duplicate: false, .. }) = (&act, &told.0) {
                    let chat = self.chats.get_mut(&channel).expect("is there");
                    chat.noted.extend([(*to, seq.get()), (author.user, seq.get())]);
                }
                Some(told)
            }
            Command::Refuse { channel, author, code } => Some(self.refuse_alone(channel, author, code)),
            Command::Join { channel, user, secret } => Some(self.join(channel, user, secret)),
            Command::Fire { channel, due, timer, refused } => Some(self.fire(channel, due, timer, refused.is_some())),
            Command::Void { channel, user, device, client_seq, digest } => Some((self.void(channel, user, device, client_seq, digest), Vec::new())),
            Command::Receipt { channel, user, read, delivered } => Some((self.receipt(channel, user, read, delivered), Vec::new())),
            Command::Gone { channel, user } => Some(self.gone(channel, user)),
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
        let now = self.now;
        let bad = match content {
            Content::Text { text, .. } if text.is_empty() => Some(Code::Invalid),
            Content::Text { mentions, .. } if mentions.len() > 100 => Some(Code::TooLarge),
            Content::Text { .. } => None,
            Content::Unknown { .. } => Some(Code::Unsupported),
            _ => Some(Code::Invalid),
        };
        let Some(chat) = self.chats.get(&channel) else {
            let code = match channel.kind() {
                ChannelKind::Group(_) => Some(Code::NotMember),
                ChannelKind::Direct(a, b) if author.user != a && author.user != b => Some(Code::NotMember),
                ChannelKind::Direct(a, b) if a != b && peer == PeerCheck::NotAsked => Some(Code::NoSuchUser),
                ChannelKind::Direct(..) => {
                    let aims = matches!(content, Content::Text { reply_to, extra, .. }
                        if reply_to.is_some() || extra.as_ref().is_some_and(|extra| extra.thread.is_some()));
                    bad.or_else(|| aims.then_some(Code::NotFound))
                }
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
        if let Some(code) = code {
            return self.refuse(channel, &author, code);
        }
        match chat.may_write(author.user, matches!(channel.kind(), ChannelKind::Group(_)), now, true) {
            Err(Some(code)) => return self.refuse(channel, &author, code),
            Err(None) => {
                let free = chat.times[chat.own[&author.user] as usize - 1] + chat.beside.rules.slow_ms;
                return (Reply::Slow { ms: free - now }, Vec::new());
            }
            Ok(()) => {}
        }
        let Content::Text { reply_to, .. } = content else { panic!("only texts come here") };
        let sees = |seq: Seq| chat.sees(author.user, seq.get());
        let thread = content.extra().and_then(|extra| extra.thread);
        let aimed = match thread {
            _ if reply_to.is_some_and(|seq| !sees(seq)) => Some(Code::NotFound),
            None => None,
            Some(root) if !sees(root) => Some(Code::NotFound),
            Some(root) => match &chat.kinds[root.get() as usize - 1] {
                Kind::Text { gone: true, .. } => Some(Code::TextGone),
                Kind::Text { thread: None, .. } => None,
                _ => Some(Code::Invalid),
            },
        };
        match aimed {
            Some(code) => self.refuse(channel, &author, code),
            None => self.post(channel, &author, content),
        }
    }

    fn post(&mut self, channel: ChannelId, author: &Author, content: &Content) -> (Reply, Recipients) {
        let Content::Text { text, mentions, extra, .. } = content else { panic!("only texts are posted") };
        let chat = self.chats.get_mut(&channel).expect("is there");
        let audience = chat.members();
        let thread = extra.as_ref().and_then(|extra| extra.thread).map(Seq::get);
        let kind = Kind::Text { sender: author.user, text: text.clone(), mentions: mentions.clone(), thread, gone: false };
        let (reply, recipients) = chat.push(self.now, author.user, (kind, true, true), &audience);
        chat.follow(chat.head(), author.user, mentions, extra.as_ref().and_then(|extra| extra.ttl_ms));
        self.use_up(channel, author, &reply);
        (reply, recipients)
    }

    fn create(&mut self, channel: ChannelId, (creator, device, op): (UserId, DeviceId, u64), title: &str, members: &[UserId]) -> (Reply, Recipients) {
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
        let joined: BTreeMap<_, _> = roles.keys().map(|user| (*user, 1)).collect();
        let beside = Beside { title: title.to_owned(), ..Beside::default() };
        let mut chat = Chat { roles, noted: joined.clone(), joined, beside, ..Chat::default() };
        let audience = chat.members();
        let out = chat.push(self.now, creator, (Kind::Other, true, false), &audience);
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
            MemberChange::Join => Some(Code::Invalid),
            MemberChange::Add(_) if role < Some(chat.beside.rules.invite) => Some(Code::NotAllowed),
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
            MemberChange::Add(user) => drop(chat.enter(user)),
            MemberChange::Remove(user) => {
                chat.roles.remove(&user);
                chat.beside.muted.remove(&user);
                chat.beside.links.retain(|link| link.by != user);
                chat.beside.removed.insert(user);
            }
            MemberChange::Leave | MemberChange::Join => {
                chat.roles.remove(&me);
                let was_muted = chat.beside.muted.remove(&me).is_some_and(|until| until > self.now);
                if was_muted {
                    chat.beside.removed.insert(me)
                } else {
                    chat.beside.removed.remove(&me)
                };
            }
            MemberChange::SetRole(user, role) => {
                chat.roles.insert(user, role);
                chat.noted.insert(user, seq);
            }
        }
        audience.extend(chat.members());
        chat.dissolved = chat.roles.is_empty();
        let (reply, recipients) = chat.push(self.now, me, (Kind::Other, true, true), &audience);
        self.use_up(channel, &author, &reply);
        (reply, recipients)
    }

    fn void(&mut self, channel: ChannelId, user: UserId, device: DeviceId, client_seq: ClientSeq, digest: Option<u64>) -> Reply {
        if let Err(reply) = self.number(channel, user, device, client_seq.get(), digest) {
            return reply;
        }
        let author = Author { user, device, client_seq, settled: ClientSeq::new(0), digest: digest.unwrap_or(0), key: None };
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

    fn gone(&mut self, channel: ChannelId, user: UserId) -> (Reply, Recipients) {
        let now = self.now;
        let Some(chat) = self.chats.get_mut(&channel) else { return (Reply::Rejected(Code::NotFound), Vec::new()) };
        let was_member = chat.roles.remove(&user).is_some();
        if !was_member && !chat.visible.contains_key(&user) {
            return (Reply::Done, Vec::new());
        }
        chat.visible.remove(&user);
        chat.beside.forget(user);
        for positions in [&mut chat.own, &mut chat.read, &mut chat.delivered] {
            positions.remove(&user);
        }
        chat.gone.insert(user);
        for seq in 1..=chat.head() {
            if matches!(&chat.kinds[seq as usize - 1], Kind::Text { sender, .. } if *sender == user) {
                chat.gone_text(seq);
            }
        }
        let is_group = matches!(channel.kind(), ChannelKind::Group(_));
        if is_group && !chat.roles.values().any(|role| *role == Role::Owner) {
            let heir = chat.roles.iter().max_by_key(|(user, role)| (**role, std::cmp::Reverse((chat.joined[*user], **user)))).map(|(user, _)| *user);
            match heir {
                Some(heir) => drop(chat.roles.insert(heir, Role::Owner)),
                None => chat.dissolved = true,
            }
        }
        let audience = chat.members();
        if audience.is_empty() {
            return (Reply::Done, Vec::new());
        }
        let (_, recipients) = chat.push(now, user, (Kind::Other, false, false), &audience);
        (Reply::Done, recipients)
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
            let mut expected = chat.and_then(|chat| chat.visible.get(&user)).cloned().unwrap_or_default();
            expected.retain(|seq| chat.is_some_and(|chat| *seq >= chat.beside.kept));
            assert_eq!(shown, expected, "what {user} sees of {channel}");
            let Some(chat) = chat else { continue };
            let stands =
                row::<PositionsRow>(view, &RowKey::Positions(channel, user)).expect("readable").map_or_else(Default::default, |row| row.clone());
            for (name, actual, expected) in
                [("own", stands.own, &chat.own), ("read", stands.read, &chat.read), ("delivered", stands.delivered, &chat.delivered)]
            {
                assert_eq!(actual, chat.position(expected.get(&user).copied().unwrap_or(0)), "{name} of {user} in {channel}");
            }
            let mentioned = chat.beside.mentioned.get(&user).map_or(&[][..], |all| &all[all.len().saturating_sub(100)..]);
            assert_eq!(stands.mentions.iter().map(|seq| seq.get()).collect::<Vec<_>>(), mentioned, "mentions of {user} in {channel}");
            check_pages(view, chat, channel, user, &expected);
        }
    }
}

/// History in pages of three, forwards and backwards, gives exactly what the user may see, and states the rest.
fn check_pages(view: &MemoryView, chat: &Chat, channel: ChannelId, user: UserId, expected: &BTreeSet<u64>) {
    let hidden = chat.beside.hidden.get(&user).cloned().unwrap_or_default();
    let readable: BTreeSet<u64> = expected.difference(&hidden).copied().collect();
    for newest_first in [false, true] {
        let (mut first, mut last) = (Seq::new(1), Seq::new(u64::MAX));
        let (mut seen, mut withheld) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let query =
                HistoryQuery { channel, first, last, newest_first, limit: 3, min_seq: Seq::ZERO, replica: None, linearizable: false, place: None };
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
            page.records.iter().for_each(|record| check_text(chat, user, record));
            let here: BTreeSet<u64> = page.records.iter().map(|record| record.at.seq.get()).collect();
            let not_here: BTreeSet<u64> = page.withheld.iter().flat_map(|(a, b)| a.get()..=b.get()).collect();
            assert_eq!(here.union(&not_here).copied().collect::<Vec<_>>(), (from.get()..=to.get()).collect::<Vec<_>>(), "covered is dense");
            seen.extend(here);
            withheld.extend(not_here);
            if newest_first { last = from.prev() } else { first = to.next() }
        }
        assert!(seen.is_disjoint(&withheld));
        // What was edited away or emptied may be withheld no more.
        assert!(seen.is_superset(&readable), "{readable:?} {seen:?}");
        assert!(seen.is_subset(expected));
    }
}

/// A record says what it says now, to those who were there when it came to say so; what was replaced or deleted is nowhere.
fn check_text(chat: &Chat, user: UserId, record: &kith_wire::log::Record) {
    let seq = record.at.seq.get();
    match (&chat.kinds[seq as usize - 1], &record.content) {
        (Kind::Text { text, gone: false, .. }, Content::Text { text: shown, .. }) => assert_eq!(shown, text, "{seq}"),
        (Kind::Text { gone: false, .. }, Content::Gone { why: Gone::Changed, .. }) => {
            let last = chat.kinds.iter().rposition(|kind| *kind == Kind::Edit(seq)).expect("it was edited") as u64 + 1;
            assert!(!chat.visible[&user].contains(&last), "{user} was there at {last}");
        }
        (Kind::Text { gone: true, .. }, Content::Gone { counted: true, .. }) | (Kind::Other, _) => {}
        (Kind::Edit(target), Content::Act(Act::Edit { text, .. })) => {
            let Kind::Text { text: said, gone, .. } = &chat.kinds[*target as usize - 1] else { panic!("an edit of no text") };
            assert!(text.is_empty() || (text == said && !gone), "the edit at {seq} tells what it should not");
            assert!(text.is_empty() || chat.visible[&user].contains(target), "the edit at {seq} tells {user} of {target}");
        }
        (kind, content) => panic!("{kind:?} is shown as {content:?}"),
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
            let unread =
                visible.iter().filter(|seq| **seq >= join && **seq > read && matches!(chat.kinds[**seq as usize - 1], Kind::Text { .. })).count();
            assert_eq!(index.unread(), unread as u64, "{user} in {channel}: {index:?}");
            assert!(read >= chat.own.get(&user).copied().unwrap_or(0), "own records are read");
            let all = chat.beside.mentioned.get(&user).cloned().unwrap_or_default();
            let unread = all.iter().rev().take(100).filter(|seq| **seq > read).count();
            assert_eq!(index.unread_mentions(), unread, "mentions of {user} in {channel}");
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
