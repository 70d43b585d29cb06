//! What acts do, by example: texts go and seqs stay, links let in as many as they say, what is due happens once.

mod chat;

use kith_machine::{
    channel::read,
    reply::Reply,
    view::{RowKey, row},
};
use kith_wire::{
    act::{Act, Draft, Extra, Gone, Rules, RulesRow, Timer},
    client::{HistoryQuery, Place},
    code::Code,
    id::{NodeId, Seq, Timestamp},
    limit,
    log::{Command, Content, MemberChange, Role},
};

use chat::{ANN, BOB, Chat, EVE, at, edit, forever, seq, user};

#[test]
fn what_was_edited_or_deleted_is_in_no_row_and_the_seqs_stay() {
    let mut chat = Chat::new();
    let said = chat.say(BOB, "first words");
    let first = at(&chat.act(BOB, edit(said, "second words")));
    assert!(!chat.holds("first words"));
    let second = at(&chat.act(BOB, edit(said, "third words")));
    assert!(!chat.holds("second words"), "the record of the first edit is blank");
    assert_eq!(chat.reads(ANN, said), Ok("third words".to_owned()));
    assert_eq!(chat.page(ANN, None, 100).marks.iter().map(|marks| (marks.seq, marks.edited)).collect::<Vec<_>>(), [(said, second)]);
    let deleted = at(&chat.act(ANN, Act::Delete { target: said }));
    assert!(!chat.holds("third words"));
    assert_eq!(chat.reads(BOB, said), Err(Some(Gone::Deleted)));
    assert_eq!([said, first, second, deleted], [2, 3, 4, 5].map(seq), "each is a record with a seq of its own");
    let page = chat.page(BOB, None, 100);
    assert_eq!(page.records.len(), 5);
    assert_eq!(page.head.cnt, 1, "a deleted text counts until it is read past");
    assert_eq!(chat.act(BOB, edit(said, "again")), Reply::Rejected(Code::TextGone));
}

#[test]
fn reactions_have_totals_and_doing_nothing_makes_no_record() {
    let mut chat = Chat::new();
    let said = chat.say(ANN, "hi");
    let react = |on| Act::React { target: said, emoji: "👍".to_owned(), on };
    assert!(matches!(chat.act(ANN, react(true)), Reply::Sent { .. }));
    assert!(matches!(chat.act(BOB, react(true)), Reply::Sent { .. }));
    assert_eq!(chat.act(BOB, react(true)), Reply::Kept { id: 0 });
    let total = |chat: &Chat, who| chat.page(who, None, 100).marks[0].reactions.iter().map(|one| (one.count, one.mine)).collect::<Vec<_>>();
    assert_eq!(total(&chat, BOB), [(2, true)]);
    assert!(matches!(chat.act(BOB, react(false)), Reply::Sent { .. }));
    assert_eq!(total(&chat, BOB), [(1, false)]);
    for number in 0..limit::REACTIONS_MAX - 1 {
        let emoji = format!("r{number}");
        assert!(matches!(chat.act(BOB, Act::React { target: said, emoji, on: true }), Reply::Sent { .. }));
    }
    assert_eq!(chat.act(BOB, Act::React { target: said, emoji: "more".to_owned(), on: true }), Reply::Rejected(Code::TooManyReactions));
    let page = chat.page(BOB, None, 100);
    assert_eq!((page.head.cnt, page.head.seq > seq(20)), (1, true), "reactions are records and no messages");
}

#[test]
fn a_reaction_does_not_read_what_is_unread() {
    let mut chat = Chat::new();
    let said = chat.say(ANN, "one");
    chat.say(ANN, "two");
    chat.act(BOB, Act::React { target: said, emoji: "👍".to_owned(), on: true });
    let overview = read::overview(&chat.script.view, chat.group, user(BOB)).expect("readable").expect("a member");
    assert_eq!(overview.positions.iter().map(|(read, _)| read.seq).min(), Some(Seq::ZERO));
}

#[test]
fn a_thread_hangs_on_a_text_that_is_in_none() {
    let mut chat = Chat::new();
    let root = chat.say(ANN, "root");
    let in_thread = |root| Extra { thread: Some(root), ..Extra::default() };
    let reply = at(&chat.say_with(BOB, "reply", in_thread(root)));
    chat.say(ANN, "elsewhere");
    let other = at(&chat.say_with(ANN, "answer", in_thread(root)));
    assert_eq!(chat.say_with(ANN, "nested", in_thread(reply)), Reply::Rejected(Code::Invalid));
    assert_eq!(chat.say_with(ANN, "nowhere", in_thread(seq(99))), Reply::Rejected(Code::NotFound));
    let page = chat.page(BOB, Some(Place::Thread(root)), 100);
    assert_eq!(page.records.iter().map(|record| record.at.seq).collect::<Vec<_>>(), [root, reply, other]);
    assert_eq!((page.marks[0].replies, page.marks[0].last_reply), (2, other));
    let short = chat.page(BOB, Some(Place::Thread(root)), 2);
    assert_eq!((short.records.len(), short.covered.map(|(_, last)| last)), (2, Some(reply)));
}

#[test]
fn history_is_found_by_time_and_around_a_record() {
    let mut chat = Chat::new();
    for number in 0..20 {
        chat.say(ANN, &number.to_string());
        // Time passes with what is proposed.
        chat.script.step([24, 0, 0, 0, 0, 0, 0, 100]);
    }
    let all = chat.page(ANN, None, 100).records;
    for record in &all {
        let found = chat.page(ANN, Some(Place::At(record.ts)), 1);
        assert!(found.records[0].ts >= record.ts && found.records[0].at.seq <= record.at.seq);
    }
    assert_eq!(chat.page(ANN, Some(Place::At(Timestamp::new(u64::MAX))), 5).records, []);
    let around = chat.page(ANN, Some(Place::Around(seq(10))), 5);
    assert_eq!(around.records.iter().map(|record| record.at.seq.get()).collect::<Vec<_>>(), [8, 9, 10, 11, 12]);
    assert_eq!(around.covered, Some((seq(8), seq(12))));
    assert_eq!(chat.page(ANN, Some(Place::Around(seq(1))), 4).records[0].at.seq, seq(1));
}

#[test]
fn a_link_lets_in_as_many_as_it_says_and_nobody_who_was_removed() {
    let mut chat = Chat::new();
    chat.act(ANN, forever(1, 1));
    assert_eq!(chat.join(EVE, [2; 16]), Reply::Rejected(Code::LinkEnded));
    assert!(matches!(chat.join(EVE, [1; 16]), Reply::Joined { .. }));
    assert!(matches!(chat.join(EVE, [1; 16]), Reply::Joined { .. }), "again is the same");
    assert_eq!(chat.join(4, [1; 16]), Reply::Rejected(Code::LinkEnded), "it is used up");
    chat.act(ANN, forever(3, 0));
    chat.change(ANN, MemberChange::Remove(user(EVE)));
    assert_eq!(chat.join(EVE, [3; 16]), Reply::Rejected(Code::NotAllowed));
    chat.change(BOB, MemberChange::Leave);
    assert!(matches!(chat.join(BOB, [3; 16]), Reply::Joined { .. }), "who left by themselves may come back");
    assert_eq!(chat.act(ANN, Act::Revoke { secret: [3; 16] }), Reply::Kept { id: 0 });
    assert_eq!(chat.join(4, [3; 16]), Reply::Rejected(Code::LinkEnded));
    for number in 0..limit::INVITES_MAX as u8 {
        assert_eq!(chat.act(ANN, forever(100 + number, 0)), Reply::Kept { id: 0 }, "the used-up link makes room");
    }
    assert_eq!(chat.act(ANN, forever(99, 0)), Reply::Rejected(Code::TooManyLinks));
}

#[test]
fn nobody_gets_around_a_mute_or_a_removal_by_a_link() {
    let mut chat = Chat::new();
    chat.act(ANN, Act::SetRules(Rules { invite: Role::Member, ..Rules::default() }));
    chat.act(ANN, forever(1, 0));
    assert_eq!(chat.act(BOB, forever(2, 0)), Reply::Kept { id: 0 });
    chat.act(ANN, Act::Mute { user: user(BOB), until: Timestamp::new(u64::MAX) });
    chat.change(BOB, MemberChange::Leave);
    assert_eq!(chat.join(BOB, [1; 16]), Reply::Rejected(Code::NotAllowed), "who leaves while muted stays out");
    assert!(matches!(chat.change(ANN, MemberChange::Add(user(BOB))), Reply::Sent { .. }));
    chat.change(ANN, MemberChange::Remove(user(BOB)));
    assert_eq!(chat.join(EVE, [2; 16]), Reply::Rejected(Code::LinkEnded), "the links of who was removed end");
    assert!(matches!(chat.join(EVE, [1; 16]), Reply::Joined { .. }));
}

#[test]
fn who_asks_is_let_in_by_an_admin_and_reads_from_where_the_rules_say() {
    let mut chat = Chat::new();
    let old = chat.say(ANN, "before");
    chat.act(ANN, Act::SetRules(Rules { approval: true, from_start: true, ..Rules::default() }));
    chat.act(ANN, forever(1, 0));
    assert_eq!((chat.join(EVE, [1; 16]), chat.join(EVE, [1; 16])), (Reply::Pending, Reply::Pending));
    assert_eq!(row::<RulesRow>(&chat.script.view, &RowKey::Rules(chat.group)).expect("readable").expect("is there").asked.len(), 1);
    assert!(matches!(chat.change(ANN, MemberChange::Add(user(EVE))), Reply::Sent { .. }));
    assert_eq!(chat.reads(EVE, old), Ok("before".to_owned()));
    assert_eq!(chat.act(ANN, Act::Reject { user: user(EVE) }), Reply::Rejected(Code::NotFound), "who is in does not wait any more");
}

#[test]
fn an_edit_of_what_came_before_tells_a_new_member_nothing() {
    let mut chat = Chat::new();
    let old = chat.say(ANN, "before");
    chat.change(ANN, MemberChange::Add(user(EVE)));
    let edited = at(&chat.act(ANN, edit(old, "news of before")));
    let page = chat.page(EVE, None, 100);
    assert!(page.records.iter().all(|record| record.at.seq != edited));
    assert!(page.withheld.contains(&(edited, edited)));
    assert_eq!(chat.reads(BOB, old), Ok("news of before".to_owned()));
}

#[test]
fn who_has_left_reads_no_edit_that_came_after() {
    let mut chat = Chat::new();
    let said = chat.say(ANN, "then");
    chat.change(ANN, MemberChange::Remove(user(BOB)));
    assert_eq!(chat.reads(BOB, said), Ok("then".to_owned()));
    chat.act(ANN, edit(said, "now"));
    assert_eq!(chat.reads(BOB, said), Err(Some(Gone::Changed)));
    assert_eq!(read::beside(&chat.script.view, chat.group, user(BOB)).expect("readable").map(|beside| beside.title), None);
}

#[test]
fn a_scheduled_text_is_sent_once_at_its_time() {
    let mut chat = Chat::new();
    chat.say(ANN, "hi");
    let due = Timestamp::new(50_000);
    let later = |text: &str| Act::Schedule { due, draft: Draft { text: text.to_owned(), ..Draft::default() } };
    let Reply::Kept { id } = chat.act(BOB, later("on time")) else { panic!("kept") };
    let Reply::Kept { id: other } = chat.act(BOB, later("taken back")) else { panic!("kept") };
    assert_eq!(chat.act(BOB, Act::Unschedule { id: other }), Reply::Kept { id: other });
    let timer = Timer::Send { user: user(BOB), id };
    assert_eq!(
        chat.propose(Command::Fire { channel: chat.group, due, timer, refused: None }),
        Reply::Rejected(Code::Busy),
        "too early by the log's clock"
    );
    let said = at(&chat.fire(due, timer));
    assert_eq!(chat.fire(due, timer), Reply::Done, "another leader's command does nothing");
    assert_eq!(chat.reads(ANN, said), Ok("on time".to_owned()));
    assert!(!chat.holds("taken back") && chat.timers().is_empty());
}

#[test]
fn who_may_not_post_any_more_still_edits_and_deletes_what_they_wrote() {
    let mut chat = Chat::new();
    let (kept, gone) = (chat.say(BOB, "a slip"), chat.say(BOB, "in anger"));
    chat.act(ANN, Act::SetRules(Rules { post: Role::Admin, ..Rules::default() }));
    let text = Content::Text { text: "more".to_owned(), reply_to: None, mentions: Vec::new(), extra: None };
    assert_eq!(chat.write(BOB, text), Reply::Rejected(Code::NotAllowed));
    at(&chat.act(BOB, edit(kept, "as it was meant")));
    at(&chat.act(BOB, Act::Delete { target: gone }));
    assert_eq!((chat.reads(ANN, kept), chat.reads(ANN, gone)), (Ok("as it was meant".to_owned()), Err(Some(Gone::Deleted))));
    chat.act(ANN, Act::Mute { user: user(BOB), until: Timestamp::new(u64::MAX) });
    assert_eq!(chat.act(BOB, edit(kept, "something else")), Reply::Rejected(Code::Muted), "that is meant to silence");
}

#[test]
fn a_scheduled_text_that_is_refused_is_shown_to_its_author() {
    let mut chat = Chat::new();
    let due = Timestamp::new(50_000);
    let Reply::Kept { id } = chat.act(BOB, Act::Schedule { due, draft: Draft { text: "x".to_owned(), ..Draft::default() } }) else { panic!("kept") };
    chat.act(ANN, Act::SetRules(Rules { post: Role::Admin, ..Rules::default() }));
    assert_eq!(chat.fire_all(), [Reply::Done]);
    let shown = read::scheduled(&chat.script.view, chat.group, user(BOB)).expect("readable");
    assert_eq!(shown.iter().map(|(id, row)| (*id, row.refused)).collect::<Vec<_>>(), [(id, Some(Code::NotAllowed))]);
    for number in 0..limit::SCHEDULED_MAX as u64 {
        let due = Timestamp::new(60_000 + number);
        let draft = Draft { text: "x".to_owned(), ..Draft::default() };
        assert!(matches!(chat.act(ANN, Act::Schedule { due, draft }), Reply::Kept { .. }));
    }
    let draft = Draft { text: "x".to_owned(), ..Draft::default() };
    assert_eq!(chat.act(ANN, Act::Schedule { due: Timestamp::new(90_000), draft }), Reply::Rejected(Code::TooManyScheduled));
}

#[test]
fn a_text_ends_when_its_author_said_so() {
    let mut chat = Chat::new();
    let extra = Extra { ttl_ms: Some(5_000), ..Extra::default() };
    let said = at(&chat.say_with(ANN, "for a while", extra));
    chat.act(ANN, edit(said, "for a while yet"));
    chat.act(ANN, Act::Pin { target: said, on: true });
    chat.fire_all();
    assert!(!chat.holds("for a while") && chat.timers().is_empty());
    assert_eq!(chat.reads(BOB, said), Err(Some(Gone::Expired)));
}

#[test]
fn a_channel_keeps_nothing_longer_than_its_owner_says() {
    let mut chat = Chat::new();
    for number in 0..300 {
        chat.say(ANN, &format!("old {number}"));
    }
    chat.act(ANN, Act::SetRules(Rules { retention_ms: limit::RETENTION_MS_MIN, ..Rules::default() }));
    let mut sweeps = 0;
    while let Some((due, timer)) = chat.timers().first().copied() {
        chat.fire(due, timer);
        sweeps += 1;
        assert!(sweeps < 20, "it ends");
    }
    assert!(!chat.holds("old "), "every text is gone");
    let page = chat.page(BOB, None, 1_000);
    assert_eq!(page.head.seq, seq(302), "and every seq stays");
    let (first, last) = page.withheld[0];
    assert_eq!((first, last.next()), (seq(1), page.records[0].at.seq), "what is not kept is a stated range");
    let new = chat.say(BOB, "new");
    assert_eq!((chat.reads(ANN, new), chat.timers().len()), (Ok("new".to_owned()), 1), "the next text sets the next sweep");
}

#[test]
fn slow_mode_delays_members_and_uses_no_number() {
    let mut chat = Chat::new();
    chat.act(ANN, Act::SetRules(Rules { slow_ms: 60_000, ..Rules::default() }));
    chat.say(BOB, "one");
    let author = chat.author(BOB);
    let content = Content::Text { text: "two".to_owned(), reply_to: None, mentions: Vec::new(), extra: None };
    assert!(matches!(chat.write(BOB, content), Reply::Slow { ms } if ms > 0 && ms <= 60_000));
    assert_eq!(chat.author(BOB), author, "the number is free");
    let soon = Timestamp::new(50_000);
    let later = Act::Schedule { due: soon, draft: Draft { text: "by itself".to_owned(), ..Draft::default() } };
    assert_eq!(chat.act(BOB, later), Reply::Rejected(Code::NotAllowed), "what is sent by itself would be a way around");
    chat.say(ANN, "an owner");
    chat.say(ANN, "may go on");
}

#[test]
fn the_last_owner_hands_over_and_the_last_member_ends_the_group() {
    let mut chat = Chat::new();
    assert_eq!(chat.change(ANN, MemberChange::Leave), Reply::Rejected(Code::LastOwner));
    assert!(matches!(chat.act(ANN, Act::HandOver { to: user(BOB) }), Reply::Sent { .. }));
    assert!(matches!(chat.change(ANN, MemberChange::Leave), Reply::Sent { .. }));
    assert!(matches!(chat.change(BOB, MemberChange::Leave), Reply::Sent { .. }), "who is alone may go");
    assert_eq!(chat.act(BOB, forever(1, 0)), Reply::Rejected(Code::Dissolved));
}

#[test]
fn a_refusal_that_was_learnt_elsewhere_uses_up_the_number() {
    let mut chat = Chat::new();
    let author = chat.author(BOB);
    let refuse = Command::Refuse { channel: chat.group, author, code: Code::NotFound };
    assert_eq!(chat.propose(refuse.clone()), Reply::Rejected(Code::NotFound));
    assert_eq!(chat.propose(refuse), Reply::Rejected(Code::NotFound), "a retry gets the same");
    assert_eq!(chat.author(BOB).client_seq, author.client_seq.next());
}

#[test]
fn a_page_with_many_marks_is_cut_and_goes_on() {
    let mut chat = Chat::new();
    for number in 0..250 {
        let said = chat.say(ANN, &number.to_string());
        for emoji in 0..limit::REACTIONS_MAX {
            let emoji = format!("{emoji:0>64}");
            chat.act(BOB, Act::React { target: said, emoji, on: true });
        }
    }
    let mut first = seq(1);
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let query = HistoryQuery {
            channel: chat.group,
            first,
            last: seq(u64::MAX),
            newest_first: false,
            limit: 1_000,
            min_seq: Seq::ZERO,
            replica: None,
            linearizable: false,
            place: None,
        };
        let page = read::history(&chat.script.view, user(BOB), &query, NodeId::new(1)).expect("readable").expect("a member");
        let bytes: usize = page.marks.iter().flat_map(|marks| &marks.reactions).map(|one| one.emoji.len()).sum();
        assert!(bytes <= limit::PAGE_MARKS_BYTES_MAX);
        seen.extend(page.records.iter().map(|record| record.at.seq.get()));
        pages += 1;
        match page.covered {
            Some((_, last)) => first = last.next(),
            None => break,
        }
    }
    assert_eq!(seen, (1..=251 + 250 * 20).collect::<Vec<_>>());
    assert!(pages > 6, "{pages}");
}

#[test]
fn texts_of_an_erased_user_are_withheld_at_once_and_in_no_row_in_the_end() {
    let mut chat = Chat::new();
    for number in 0..limit::SWEEP_RECORDS {
        chat.say(if number % 2 == 0 { BOB } else { ANN }, &format!("{number} of many"));
    }
    let (said, answered) = (chat.say(BOB, "secret words"), chat.say(ANN, "an answer"));
    chat.act(BOB, edit(said, "changed words"));
    chat.act(ANN, Act::Pin { target: said, on: true });
    chat.act(ANN, Act::React { target: said, emoji: "+".to_owned(), on: true });
    chat.act(BOB, Act::Schedule { due: Timestamp::new(9_000_000), draft: Draft { text: "later words".to_owned(), ..Draft::default() } });
    let before = chat.page(ANN, None, 1_000).head;
    assert_eq!(chat.propose(Command::Gone { channel: chat.group, user: user(BOB) }), Reply::Done);

    let page = chat.page(ANN, None, 1_000);
    assert_eq!((page.head.seq, page.head.cnt), (before.seq.next(), before.cnt), "one record, no text");
    assert_eq!(page.records.last().map(|record| &record.content), Some(&Content::Erased { user: user(BOB) }));
    assert_eq!(chat.reads(ANN, said), Err(Some(Gone::Erased)), "no row was emptied yet");
    assert!(chat.holds("changed words") && !chat.holds("later words"));
    assert!(page.marks.iter().all(|marks| marks.seq != said || (marks.reactions.is_empty() && !marks.pinned)));
    assert!(page.records.iter().all(|record| !matches!(&record.content, Content::Act(Act::Edit { text, .. }) if !text.is_empty())));
    let preview = kith_machine::channel::refs::ref_for(&chat.script.view, chat.group, user(ANN)).expect("readable").expect("a member").preview;
    assert_eq!(preview, "an answer");
    for act in [Act::React { target: said, emoji: "-".to_owned(), on: true }, Act::Pin { target: said, on: true }] {
        assert!(matches!(chat.act(ANN, act), Reply::Rejected(Code::TextGone) | Reply::Kept { .. }));
    }

    // Two steps: more records than one takes.
    assert_eq!(chat.fire_all().len(), 1);
    assert!(chat.holds("changed words"));
    assert_eq!(chat.fire_all().len(), 1);
    assert!(chat.timers().is_empty());
    assert!(!chat.holds("changed words") && !chat.holds("0 of many"));
    assert!(chat.holds("1 of many"), "others' texts stay");
    assert_eq!(chat.reads(ANN, said), Err(Some(Gone::Erased)));
    assert_eq!(chat.reads(ANN, answered), Ok("an answer".to_owned()));
    let head = chat.page(ANN, None, 1).head;
    assert_eq!(chat.propose(Command::Gone { channel: chat.group, user: user(BOB) }), Reply::Done);
    assert_eq!(chat.page(ANN, None, 1).head, head, "told again it does nothing");
}

#[test]
fn texts_of_who_had_left_before_go_too_and_those_of_a_group_that_has_ended() {
    let mut chat = Chat::new();
    let said = chat.say(BOB, "words before leaving");
    chat.change(BOB, MemberChange::Leave);
    assert_eq!(chat.propose(Command::Gone { channel: chat.group, user: user(BOB) }), Reply::Done);
    assert_eq!(chat.reads(ANN, said), Err(Some(Gone::Erased)));
    chat.fire_all();
    assert!(!chat.holds("words before leaving"));

    let own = chat.say(ANN, "last words");
    chat.change(ANN, MemberChange::Leave);
    assert_eq!(chat.reads(ANN, own), Ok("last words".to_owned()));
    let before = row::<kith_wire::log::ChannelRow>(&chat.script.view, &RowKey::Channel(chat.group)).expect("readable").expect("there").head;
    assert_eq!(chat.propose(Command::Gone { channel: chat.group, user: user(ANN) }), Reply::Done);
    chat.fire_all();
    assert!(!chat.holds("last words"));
    let after = row::<kith_wire::log::ChannelRow>(&chat.script.view, &RowKey::Channel(chat.group)).expect("readable").expect("there");
    assert_eq!((after.head, after.dissolved), (before, true), "nobody is left to be told");
}

#[test]
fn who_is_shut_out_comes_in_neither_by_a_link_nor_by_a_member_until_they_are_let_in() {
    let mut chat = Chat::new();
    chat.act(ANN, forever(1, 0));
    let ban = |who: u8, on| Act::Ban { user: user(who), on };
    assert_eq!(chat.act(BOB, ban(EVE, true)), Reply::Rejected(Code::NotAllowed), "a member");
    assert_eq!(chat.act(ANN, ban(ANN, true)), Reply::Rejected(Code::Invalid), "oneself");
    assert_eq!(chat.act(ANN, ban(EVE, false)), Reply::Rejected(Code::NotFound), "who is not shut out");
    // A stranger, and a member.
    at(&chat.act(ANN, ban(EVE, true)));
    assert_eq!(chat.join(EVE, [1; 16]), Reply::Rejected(Code::BannedHere));
    let said = chat.say(BOB, "before");
    let out = at(&chat.act(ANN, ban(BOB, true)));
    assert!(matches!(chat.act(ANN, ban(BOB, true)), Reply::Kept { .. }), "again");
    assert_eq!(chat.change(ANN, MemberChange::Add(user(BOB))), Reply::Rejected(Code::BannedHere));
    assert_eq!(chat.join(BOB, [1; 16]), Reply::Rejected(Code::BannedHere));
    assert_eq!(chat.page(BOB, None, 99).head.seq, out, "they read that they are out, and nothing after it");
    assert_eq!(chat.reads(BOB, said), Ok("before".to_owned()));
    chat.say(ANN, "after");
    assert_eq!(chat.page(BOB, None, 99).head.seq, out);
    // Let in: as somebody who had left.
    at(&chat.act(ANN, ban(BOB, false)));
    assert!(matches!(chat.join(BOB, [1; 16]), Reply::Joined { .. }));
    // An admin shuts no admin out.
    chat.act(ANN, ban(EVE, false));
    chat.change(ANN, MemberChange::Add(user(EVE)));
    chat.change(ANN, MemberChange::SetRole(user(BOB), Role::Admin));
    chat.change(ANN, MemberChange::SetRole(user(EVE), Role::Admin));
    assert_eq!(chat.act(BOB, ban(EVE, true)), Reply::Rejected(Code::NotAllowed));
    let found = kith_machine::invariant::everything(&chat.script.view, chat.script.view.rows.keys()).expect("readable");
    assert_eq!(found, []);
}

#[test]
fn own_texts_are_found_page_by_page_and_nothing_else_is() {
    let mut chat = Chat::new();
    let mut said = Vec::new();
    for number in 0..40 {
        if number % 3 == 0 {
            said.push(chat.say(BOB, &format!("{number}")));
        } else {
            chat.say(ANN, "not his");
        }
    }
    chat.act(BOB, edit(said[1], "changed"));
    chat.act(BOB, Act::Delete { target: said[2] });
    said.remove(2);
    for newest_first in [false, true] {
        let (mut found, mut first, mut last) = (Vec::new(), seq(1), seq(u64::MAX));
        loop {
            let query = HistoryQuery {
                channel: chat.group,
                first,
                last,
                newest_first,
                limit: 5,
                min_seq: Seq::ZERO,
                replica: None,
                linearizable: false,
                place: Some(Place::Own),
            };
            let page = read::history(&chat.script.view, user(BOB), &query, NodeId::new(1)).expect("readable").expect("a member");
            assert!(page.records.len() <= 5 && page.records.is_sorted_by(|a, b| a.at.seq < b.at.seq));
            found.extend(page.records.iter().map(|record| record.at.seq));
            let Some((from, to)) = page.covered else { break };
            if newest_first {
                last = from.prev()
            } else {
                first = to.next()
            }
            if from == seq(1) && newest_first || to == page.head.seq && !newest_first {
                break;
            }
        }
        found.sort();
        assert_eq!(found, said);
    }
}
