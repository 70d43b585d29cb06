//! Conversations by example: dedup, membership, visibility, receipts, refs.

use kith_machine::{
    channel::{
        read,
        refs::{news, ref_for},
    },
    effect::Effect,
    item,
    reply::Reply,
    testing::Script,
    view::{RowKey, Scan, StateView, row},
};
use kith_wire::{
    client::HistoryQuery,
    code::Code,
    id::{ChannelId, ClientSeq, DeviceId, NodeId, RegionId, Seq, Timestamp, UserId},
    limit,
    log::{Author, Batch, Command, Content, DedupRow, MemberChange, Outcome, PeerCheck, Position, PositionsRow, Role},
};

const ANN: u8 = 0;
const BOB: u8 = 1;
const EVE: u8 = 2;

fn user(number: u8) -> UserId {
    Script::user(number)
}

/// Seqs of a page, and its withheld ranges.
type Shown = (Vec<u64>, Vec<(u64, u64)>);

/// A group's life in short words; each user writes from one device.
struct Chat {
    script: Script,
    channel: ChannelId,
    next: [u64; 3],
}

impl Chat {
    /// Ann's group with these members.
    fn group(members: &[u8]) -> Self {
        let mut chat = Self { script: Script::new(), channel: Self::id(), next: [1; 3] };
        let members = members.iter().map(|number| user(*number)).collect();
        assert_eq!(seq(&chat.create(members)), 1);
        chat
    }
    fn direct(a: u8, b: u8) -> Self {
        Self { script: Script::new(), channel: ChannelId::direct(user(a), user(b)), next: [1; 3] }
    }
    fn id() -> ChannelId {
        ChannelId::group(RegionId::FIRST, user(ANN), Script::device(user(ANN), 0), 7)
    }
    fn create(&mut self, members: Vec<UserId>) -> Reply {
        let (creator, device) = (user(ANN), Script::device(user(ANN), 0));
        self.reply(Command::CreateGroup { channel: Self::id(), creator, device, op: 7, title: "chess".to_owned(), members })
    }
    fn reply(&mut self, command: Command) -> Reply {
        self.script.propose(command).replies[0].clone()
    }
    fn author(who: u8, number: u64) -> Author {
        let user = user(who);
        Author { user, device: Script::device(user, 0), client_seq: ClientSeq::new(number), settled: ClientSeq::new(0), digest: number, key: None }
    }
    fn text(&mut self, who: u8, text: &str) -> Reply {
        self.text_as(Self::author(who, self.next[usize::from(who)]), text, PeerCheck::NotAsked)
    }
    fn text_as(&mut self, author: Author, text: &str, peer: PeerCheck) -> Reply {
        let channel = self.channel;
        let reply = self.reply(Command::Append { channel, author, content: content(text), peer });
        self.count(&author, &reply);
        reply
    }
    fn change(&mut self, who: u8, change: MemberChange) -> Reply {
        let (channel, author) = (self.channel, Self::author(who, self.next[usize::from(who)]));
        let reply = self.reply(Command::ChangeMembers { channel, author, change });
        self.count(&author, &reply);
        reply
    }
    /// Moves a user's number on, as their device would.
    fn count(&mut self, author: &Author, reply: &Reply) {
        if !matches!(reply, Reply::OutOfSequence { .. } | Reply::WrongGroup)
            && let Some(who) = (0..3).find(|who| user(*who) == author.user)
        {
            self.next[usize::from(who)] = self.next[usize::from(who)].max(author.client_seq.get() + 1);
        }
    }
    fn page(&self, who: u8, first: u64, last: u64) -> Result<Shown, Code> {
        let query = HistoryQuery {
            channel: self.channel,
            first: Seq::new(first),
            last: Seq::new(last),
            newest_first: false,
            limit: 1_000,
            min_seq: Seq::ZERO,
            replica: None,
            linearizable: false,
            place: None,
        };
        let page = read::history(&self.script.view, user(who), &query, NodeId::new(1)).expect("readable")?;
        let withheld = page.withheld.iter().map(|(a, b)| (a.get(), b.get())).collect();
        Ok((page.records.iter().map(|record| record.at.seq.get()).collect(), withheld))
    }
    fn recipients(&self) -> Vec<(UserId, u64)> {
        let applied = self.script.applied.last().expect("something was applied");
        let mut found = applied.effects.iter().filter_map(|effect| match effect {
            Effect::Appended { recipients, .. } => Some(recipients.iter().map(|(user, prev)| (*user, prev.get())).collect()),
            _ => None,
        });
        found.next().unwrap_or_default()
    }
    fn is_dirty(&self) -> bool {
        self.script.view.get(&RowKey::Dirty(self.channel)).expect("readable").is_some()
    }
}

fn content(text: &str) -> Content {
    Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: None }
}

fn seq(reply: &Reply) -> u64 {
    match reply {
        Reply::Sent { seq, .. } => seq.get(),
        other => panic!("no record: {other:?}"),
    }
}

fn refused(code: Code) -> Reply {
    Reply::Rejected(code)
}

fn sorted(mut pairs: Vec<(UserId, u64)>) -> Vec<(UserId, u64)> {
    pairs.sort();
    pairs
}

#[test]
fn a_retry_gets_its_seq_again_and_other_bytes_a_conflict() {
    let mut chat = Chat::group(&[BOB]);
    assert_eq!(seq(&chat.text(ANN, "one")), 2);
    let again = chat.text_as(Chat::author(ANN, 1), "one", PeerCheck::NotAsked);
    assert!(matches!(again, Reply::Sent { duplicate: true, cnt: 1, .. }) && seq(&again) == 2, "{again:?}");
    assert!(chat.recipients().is_empty(), "a retry is news to nobody");
    let other = Author { digest: 99, ..Chat::author(ANN, 1) };
    assert_eq!(chat.text_as(other, "two", PeerCheck::NotAsked), refused(Code::Conflict));
    assert_eq!(chat.text_as(Chat::author(ANN, 5), "gap", PeerCheck::NotAsked), Reply::OutOfSequence { expected: ClientSeq::new(2) });
    assert_eq!(seq(&chat.text_as(Chat::author(ANN, 2), "two", PeerCheck::NotAsked)), 3);
}

#[test]
fn a_removed_senders_retry_still_gets_its_seq() {
    let mut chat = Chat::group(&[BOB]);
    assert_eq!(seq(&chat.text(BOB, "hello")), 2);
    assert_eq!(seq(&chat.change(ANN, MemberChange::Remove(user(BOB)))), 3);
    assert_eq!(seq(&chat.text_as(Chat::author(BOB, 1), "hello", PeerCheck::NotAsked)), 2);
    assert_eq!(chat.text(BOB, "more"), refused(Code::NotMember));
}

#[test]
fn a_final_refusal_uses_up_its_number_and_never_appears_later() {
    let mut chat = Chat::group(&[]);
    assert_eq!(chat.text(BOB, "let me in"), refused(Code::NotMember));
    assert_eq!(seq(&chat.change(ANN, MemberChange::Add(user(BOB)))), 2);
    assert_eq!(chat.text_as(Chat::author(BOB, 1), "let me in", PeerCheck::NotAsked), refused(Code::NotMember));
    assert_eq!(seq(&chat.text_as(Chat::author(BOB, 2), "thanks", PeerCheck::NotAsked)), 3);
}

#[test]
fn settled_numbers_are_forgotten_but_never_new_again() {
    let mut chat = Chat::group(&[]);
    for number in 1..=40 {
        let author = Author { settled: ClientSeq::new(number), ..Chat::author(ANN, number) };
        assert_eq!(seq(&chat.text_as(author, "x", PeerCheck::NotAsked)), number + 1);
    }
    assert_eq!(chat.text_as(Chat::author(ANN, 39), "x", PeerCheck::NotAsked), refused(Code::TooOld));
    assert_eq!(seq(&chat.text_as(Chat::author(ANN, 40), "x", PeerCheck::NotAsked)), 41);
    let row = row::<DedupRow>(&chat.script.view, &RowKey::Dedup(chat.channel, Script::device(user(ANN), 0))).expect("readable").expect("is there");
    assert_eq!((row.ring.len(), row.last), (1, ClientSeq::new(40)));
}

#[test]
fn the_ring_holds_32_unsettled_numbers() {
    let mut chat = Chat::group(&[]);
    for number in 1..=33 {
        chat.text_as(Chat::author(ANN, number), "x", PeerCheck::NotAsked);
    }
    assert_eq!(chat.text_as(Chat::author(ANN, 1), "x", PeerCheck::NotAsked), refused(Code::TooOld));
    assert_eq!(seq(&chat.text_as(Chat::author(ANN, 2), "x", PeerCheck::NotAsked)), 3);
}

#[test]
fn a_voided_number_never_appears_even_where_there_was_no_channel() {
    let mut chat = Chat::direct(ANN, BOB);
    let (channel, device) = (chat.channel, Script::device(user(ANN), 0));
    let void = |number, digest| Command::Void { channel, user: user(ANN), device, client_seq: ClientSeq::new(number), digest };
    assert_eq!(chat.reply(void(1, None)), Reply::Voided);
    assert_eq!(chat.text_as(Chat::author(ANN, 1), "late copy", PeerCheck::Exists), Reply::Voided);
    assert_eq!(seq(&chat.text_as(Chat::author(ANN, 2), "first", PeerCheck::Exists)), 1);
    assert_eq!(seq(&chat.reply(void(2, Some(2)))), 1, "what stands with its bytes is told");
    assert_eq!(chat.reply(void(2, Some(3))), refused(Code::Conflict));
    assert_eq!(chat.reply(void(9, None)), Reply::OutOfSequence { expected: ClientSeq::new(3) });
    assert_eq!(chat.reply(Command::Void { channel, user: user(BOB), device, client_seq: ClientSeq::new(3), digest: None }), refused(Code::Conflict));
}

#[test]
fn a_direct_channel_begins_with_a_send_to_a_user_who_exists() {
    let mut chat = Chat::direct(ANN, BOB);
    assert_eq!(chat.text_as(Chat::author(ANN, 1), "hi", PeerCheck::NotAsked), refused(Code::NoSuchUser));
    assert_eq!(chat.text_as(Chat::author(EVE, 1), "hi", PeerCheck::Exists), refused(Code::NotMember));
    assert_eq!(chat.text_as(Chat::author(ANN, 1), "", PeerCheck::Exists), refused(Code::Invalid));
    assert_eq!(chat.page(ANN, 1, 9), Err(Code::NotMember), "nothing was made");
    assert_eq!(seq(&chat.text_as(Chat::author(ANN, 1), "hi", PeerCheck::Exists)), 1);
    assert_eq!(chat.recipients(), sorted(vec![(user(ANN), 0), (user(BOB), 0)]));
    assert_eq!(seq(&chat.text(BOB, "ho")), 2, "once it is there nobody is asked");
    assert_eq!(chat.change(BOB, MemberChange::Add(user(EVE))), refused(Code::NotAllowed));
    let mut notes = Chat::direct(EVE, EVE);
    assert_eq!(seq(&notes.text(EVE, "to self")), 1);
    assert_eq!(notes.recipients(), [(user(EVE), 0)]);
}

#[test]
fn making_a_group_twice_is_one_group_and_nobody_elses_id() {
    let mut chat = Chat::group(&[BOB]);
    chat.text(ANN, "x");
    let again = chat.create(vec![user(EVE)]);
    assert!(matches!(again, Reply::Sent { duplicate: true, .. }) && seq(&again) == 1);
    assert_eq!(chat.page(EVE, 1, 9), Err(Code::NotMember));
    let (creator, device) = (user(BOB), Script::device(user(ANN), 0));
    let stolen = Command::CreateGroup { channel: Chat::id(), creator, device, op: 7, title: String::new(), members: Vec::new() };
    assert_eq!(chat.reply(stolen), refused(Code::Invalid));
}

#[test]
fn the_101st_member_does_not_fit() {
    let mut chat = Chat { script: Script::new(), channel: Chat::id(), next: [1; 3] };
    let many = |count: u64| (1..=count).map(UserId::new).collect::<Vec<_>>();
    assert_eq!(chat.create(many(100)), refused(Code::GroupFull));
    assert_eq!(seq(&chat.create(many(98))), 1);
    assert_eq!(seq(&chat.change(ANN, MemberChange::Add(user(BOB)))), 2);
    assert_eq!(chat.recipients().len(), 100);
    assert_eq!(chat.change(ANN, MemberChange::Add(user(EVE))), refused(Code::GroupFull));
    assert_eq!(seq(&chat.change(ANN, MemberChange::Remove(user(BOB)))), 3);
    assert_eq!(seq(&chat.change(ANN, MemberChange::Add(user(EVE)))), 4);
}

#[test]
fn roles_say_who_may_do_what() {
    let mut chat = Chat::group(&[BOB, EVE]);
    assert_eq!(chat.change(BOB, MemberChange::Add(user(3))), refused(Code::NotAllowed));
    assert_eq!(chat.change(BOB, MemberChange::Remove(user(EVE))), refused(Code::NotAllowed));
    seq(&chat.change(ANN, MemberChange::SetRole(user(BOB), Role::Admin)));
    seq(&chat.change(BOB, MemberChange::Add(user(3))));
    assert_eq!(chat.change(BOB, MemberChange::Remove(user(ANN))), refused(Code::NotAllowed), "an admin removes plain members only");
    assert_eq!(chat.change(BOB, MemberChange::SetRole(user(EVE), Role::Admin)), refused(Code::NotAllowed));
    seq(&chat.change(BOB, MemberChange::Remove(user(EVE))));
    assert_eq!(chat.change(BOB, MemberChange::Remove(user(EVE))), refused(Code::NotFound));
    assert_eq!(chat.change(ANN, MemberChange::SetRole(user(ANN), Role::Member)), refused(Code::LastOwner));
    assert_eq!(chat.change(ANN, MemberChange::Leave), refused(Code::LastOwner));
    seq(&chat.change(ANN, MemberChange::SetRole(user(BOB), Role::Owner)));
    seq(&chat.change(ANN, MemberChange::Leave));
    seq(&chat.change(BOB, MemberChange::Remove(user(3))));
    seq(&chat.change(BOB, MemberChange::Leave));
    assert_eq!(chat.text(BOB, "anyone?"), refused(Code::Dissolved));
    assert!(matches!(chat.create(vec![user(BOB)]), Reply::Sent { duplicate: true, .. }), "the id of a dissolved group is never used again");
}

#[test]
fn a_user_sees_their_stays_and_the_rest_is_withheld() {
    let mut chat = Chat::group(&[BOB]);
    chat.text(ANN, "before"); // 2
    chat.change(ANN, MemberChange::Add(user(EVE))); // 3
    assert_eq!(chat.recipients(), sorted(vec![(user(ANN), 2), (user(BOB), 2), (user(EVE), 0)]));
    chat.text(ANN, "with eve"); // 4
    chat.change(ANN, MemberChange::Remove(user(EVE))); // 5
    assert_eq!(chat.recipients(), sorted(vec![(user(ANN), 4), (user(BOB), 4), (user(EVE), 4)]), "a removal names the removed");
    chat.text(ANN, "without"); // 6
    assert_eq!(chat.recipients(), sorted(vec![(user(ANN), 5), (user(BOB), 5)]));
    assert_eq!(chat.page(EVE, 1, 99), Ok((vec![3, 4, 5], vec![(1, 2)])));
    chat.change(ANN, MemberChange::Add(user(EVE))); // 7
    assert_eq!(chat.recipients(), sorted(vec![(user(ANN), 6), (user(BOB), 6), (user(EVE), 5)]));
    assert_eq!(chat.page(EVE, 1, 99), Ok((vec![3, 4, 5, 7], vec![(1, 2), (6, 6)])));
    assert_eq!(chat.page(EVE, 6, 6), Ok((Vec::new(), vec![(6, 6)])));
    assert_eq!(chat.page(ANN, 2, 3), Ok((vec![2, 3], Vec::new())));
}

#[test]
fn a_channel_is_dirty_until_every_home_has_its_refs() {
    let mut chat = Chat::group(&[BOB, EVE]);
    assert!(chat.is_dirty());
    let channel = chat.channel;
    chat.change(ANN, MemberChange::Remove(user(EVE))); // 2
    chat.text(ANN, "x"); // 3
    let targets = news(&chat.script.view, channel).expect("readable").expect("is there");
    assert_eq!(targets.refs.iter().map(|(user, _)| *user).collect::<Vec<_>>().len(), 3, "the removed one is still to be told");
    let of_eve = ref_for(&chat.script.view, channel, user(EVE)).expect("readable").expect("has been there");
    assert_eq!((of_eve.head.seq, of_eve.left, of_eve.preview.as_str()), (Seq::new(2), Some(Seq::new(2)), ""));
    assert_eq!(chat.reply(Command::Fanned { channel, seq: Seq::new(2) }), Reply::Done);
    assert!(chat.is_dirty());
    assert_eq!(news(&chat.script.view, channel).expect("readable").expect("is there").refs.len(), 2);
    assert_eq!(chat.reply(Command::Fanned { channel, seq: Seq::new(99) }), Reply::Done);
    assert!(!chat.is_dirty());
    assert_eq!(chat.script.view.scan(&Scan::Dirty(None), false, 9).expect("readable").len(), 0);
    chat.text(BOB, "y");
    assert!(chat.is_dirty());
}

#[test]
fn receipts_are_cut_back_to_what_the_member_may_see() {
    let mut chat = Chat::group(&[]);
    chat.text(ANN, "a"); // 2
    chat.change(ANN, MemberChange::Add(user(BOB))); // 3
    chat.text(ANN, "b"); // 4
    let channel = chat.channel;
    let receipt = |read: u64| {
        let position = Position { seq: Seq::new(read), cnt: 77 };
        Command::Receipt { channel, user: user(BOB), read: Some(position), delivered: None }
    };
    let stands = |chat: &Chat| row::<PositionsRow>(&chat.script.view, &RowKey::Positions(channel, user(BOB))).expect("readable").map(|row| row.read);
    assert_eq!(chat.reply(receipt(2)), Reply::Done);
    assert_eq!(stands(&chat), None, "nothing before the stay");
    assert_eq!(chat.reply(receipt(99)), Reply::Done);
    assert_eq!(stands(&chat), Some(Position { seq: Seq::new(4), cnt: 2 }), "the head, with its own count");
    chat.reply(receipt(3));
    assert_eq!(stands(&chat).map(|read| read.seq), Some(Seq::new(4)), "never back");
    assert!(chat.script.applied.last().is_some_and(|applied| applied.effects.is_empty()));
    assert_eq!(chat.reply(Command::Receipt { channel, user: user(EVE), read: None, delivered: None }), refused(Code::NotMember));
}

#[test]
fn texts_are_bounded_in_characters_not_in_bytes() {
    let mut chat = Chat::group(&[]);
    let full = "🎈".repeat(limit::TEXT_CHARS_MAX);
    assert_eq!(seq(&chat.text(ANN, &full)), 2);
    assert_eq!(chat.text(ANN, &format!("{full}x")), refused(Code::TooLarge));
    let mentions = vec![user(BOB); limit::MENTIONS_MAX + 1];
    let (channel, author) = (chat.channel, Chat::author(ANN, 3));
    let content = Content::Text { text: "x".to_owned(), reply_to: None, mentions, extra: None };
    assert_eq!(chat.reply(Command::Append { channel, author, content, peer: PeerCheck::NotAsked }), refused(Code::TooLarge));
}

#[test]
fn a_page_is_bounded_in_bytes_and_always_has_a_record() {
    let mut chat = Chat::group(&[]);
    let full = "🎈".repeat(limit::TEXT_CHARS_MAX);
    for _ in 0..6 {
        chat.text(ANN, &full);
    }
    let (records, _) = chat.page(ANN, 1, 99).expect("a member");
    assert_eq!(records, [1, 2, 3], "two of the largest texts fill a page of 1 MiB");
    let (records, _) = chat.page(ANN, 4, 99).expect("a member");
    assert_eq!(records, [4, 5]);
}

#[test]
fn a_replica_behind_what_the_device_knows_says_so() {
    let chat = Chat::group(&[]);
    let query = HistoryQuery {
        channel: chat.channel,
        first: Seq::new(1),
        last: Seq::new(9),
        newest_first: true,
        limit: 9,
        min_seq: Seq::new(2),
        replica: None,
        linearizable: false,
        place: None,
    };
    let page = read::history(&chat.script.view, user(ANN), &query, NodeId::new(1)).expect("readable");
    assert_eq!(page, Err(Code::Behind));
}

#[test]
fn mentions_are_remembered_for_other_members_only() {
    let mut chat = Chat::group(&[BOB]);
    let (channel, author) = (chat.channel, Chat::author(ANN, 1));
    let content = Content::Text { text: "you".to_owned(), reply_to: None, mentions: vec![user(BOB), user(BOB), user(EVE), user(ANN)], extra: None };
    seq(&chat.reply(Command::Append { channel, author, content, peer: PeerCheck::NotAsked }));
    let mentions = |who| ref_for(&chat.script.view, channel, user(who)).expect("readable").map(|news| news.mentions);
    assert_eq!(mentions(BOB), Some(vec![Seq::new(2)]));
    assert_eq!(mentions(ANN), Some(Vec::new()));
    assert_eq!(mentions(EVE), None);
}

#[test]
fn time_never_goes_back_whatever_the_leaders_clock_says() {
    let mut chat = Chat::group(&[]);
    let (channel, group, index) = (chat.channel, chat.script.group(), chat.script.index());
    for (at, now) in [9_000, 3_000, 9_500].into_iter().enumerate() {
        let author = Chat::author(ANN, at as u64 + 1);
        let batch = Batch {
            now: Timestamp::new(now),
            items: vec![item(Command::Append { channel, author, content: content("t"), peer: PeerCheck::NotAsked })],
        };
        chat.script.view.apply(group, index + 1 + at as u64, batch).expect("applies");
    }
    let query = HistoryQuery {
        channel,
        first: Seq::new(2),
        last: Seq::new(4),
        newest_first: false,
        limit: 9,
        min_seq: Seq::ZERO,
        replica: None,
        linearizable: false,
        place: None,
    };
    let page = read::history(&chat.script.view, user(ANN), &query, NodeId::new(1)).expect("readable").expect("a member");
    assert_eq!(page.records.iter().map(|record| record.ts.get()).collect::<Vec<_>>(), [9_000, 9_000, 9_500]);
}

#[test]
fn a_user_who_never_was_leaves_and_the_group_keeps_an_owner() {
    let mut chat = Chat::group(&[BOB, EVE]);
    let channel = chat.channel;
    seq(&chat.change(ANN, MemberChange::SetRole(user(EVE), Role::Admin)));
    assert_eq!(chat.reply(Command::Gone { channel, user: user(ANN) }), Reply::Done);
    let overview = read::overview(&chat.script.view, channel, user(EVE)).expect("readable").expect("a member");
    let eve = overview.roster.members.iter().find(|member| member.user == user(EVE)).expect("still there");
    assert_eq!(eve.role, Role::Owner);
    assert_eq!(chat.reply(Command::Gone { channel, user: user(ANN) }), Reply::Done);
    chat.reply(Command::Gone { channel, user: user(BOB) });
    chat.reply(Command::Gone { channel, user: user(EVE) });
    assert_eq!(chat.text(EVE, "x"), refused(Code::Dissolved));
}

#[test]
fn an_item_for_a_bucket_that_is_not_owned_is_refused_alone() {
    let mut chat = Chat::group(&[]);
    let mut foreign = item(Command::Fanned { channel: chat.channel, seq: Seq::new(1) });
    foreign.bucket = None;
    assert_eq!(chat.script.propose_item(foreign).replies, [refused(Code::Invalid)]);
    let other_region = ChannelId::group(RegionId::new(3), user(ANN), DeviceId::new(1), 1);
    let create =
        Command::CreateGroup { channel: other_region, creator: user(ANN), device: DeviceId::new(1), op: 1, title: String::new(), members: vec![] };
    assert_eq!(chat.reply(create), Reply::WrongGroup);
    assert_eq!(seq(&chat.text(ANN, "ours")), 2);
}

#[test]
fn a_logged_outcome_is_kept_in_the_ring() {
    let mut chat = Chat::group(&[]);
    chat.text(ANN, "");
    let row = row::<DedupRow>(&chat.script.view, &RowKey::Dedup(chat.channel, Script::device(user(ANN), 0))).expect("readable").expect("is there");
    assert_eq!(row.ring[0].outcome, Outcome::Refused(Code::Invalid));
}
