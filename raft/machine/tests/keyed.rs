//! Calls under a key: by example, and against a naive model that remembers everything.

use std::collections::BTreeMap;

use bytes::Bytes;
use kith_machine::{invariant, item, reply::Reply, testing::Script};
use kith_wire::{
    act::{Act, Draft},
    code::Code,
    id::{CallKey, ChannelId, ClientSeq, DeviceId, Timestamp, UserId},
    limit,
    log::{Author, Batch, Command, Content, MemberChange, PeerCheck},
};
use proptest::prelude::*;

const HOUR_MS: u64 = 3_600_000;
/// When the histories begin.
const START: u64 = 1_700_000_000_000;

/// A direct channel of two users, and the time.
struct Talk {
    script: Script,
    index: u64,
    now: u64,
}

impl Talk {
    fn new() -> Self {
        let script = Script::new();
        Self { index: script.index(), script, now: START }
    }
    fn reply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let batch = Batch { now: Timestamp::new(self.now), items: vec![item(command)] };
        let group = self.script.group();
        let applied = self.script.view.apply(group, self.index, batch).expect("rows in memory can be read");
        applied.replies[0].clone()
    }
    fn send(&mut self, who: u8, key: CallKey, text: &str) -> Reply {
        let user = Script::user(who);
        let content = Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: None };
        let author = author(user, key, text.len() as u64);
        self.reply(Command::Append { channel: channel(), author, content, peer: PeerCheck::Exists })
    }
    fn begin(&mut self, key: CallKey, digest: u64) -> Reply {
        self.reply(Command::BeginCall { user: Script::user(0), key, digest })
    }
    fn end(&mut self, key: CallKey, answer: &'static [u8]) -> Reply {
        self.reply(Command::EndCall { user: Script::user(0), key, answer: Bytes::from_static(answer) })
    }
    fn check(&self) {
        let found = invariant::everything(&self.script.view, self.script.view.rows.keys()).expect("readable");
        assert!(found.is_empty(), "{found:?}");
    }
}

fn channel() -> ChannelId {
    ChannelId::direct(Script::user(0), Script::user(1))
}
fn author(user: UserId, key: CallKey, digest: u64) -> Author {
    Author { user, device: DeviceId::new(1), client_seq: ClientSeq::new(0), settled: ClientSeq::new(0), digest, key: Some(key) }
}
/// A caller's key, dated.
fn key(ms: u64, number: u8) -> CallKey {
    let mut raw = [0; 16];
    raw[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    (raw[6], raw[8], raw[15]) = (0x70, 0x80, number);
    CallKey::new(raw)
}
fn seq(reply: &Reply) -> u64 {
    match reply {
        Reply::Sent { seq, .. } => seq.get(),
        other => panic!("not sent: {other:?}"),
    }
}

#[test]
fn a_retry_gets_the_first_answer_and_other_bytes_are_a_conflict() {
    let mut talk = Talk::new();
    let (first, second) = (key(START, 1), key(START, 2));
    assert_eq!(seq(&talk.send(0, first, "hi")), 1);
    assert_eq!(seq(&talk.send(0, second, "hi")), 2, "another key is another message, in whatever order they come");
    let again = talk.send(0, first, "hi");
    assert!(matches!(again, Reply::Sent { duplicate: true, .. }) && seq(&again) == 1, "{again:?}");
    assert_eq!(talk.send(0, first, "other"), Reply::Rejected(Code::Conflict));
    assert_eq!(seq(&talk.send(1, first, "mine")), 3, "a key is its caller's own");
    talk.check();
}

#[test]
fn a_final_refusal_is_remembered_and_a_passing_one_is_not() {
    let mut talk = Talk::new();
    talk.send(0, key(START, 1), "hi");
    assert_eq!(talk.send(0, key(START, 2), ""), Reply::Rejected(Code::Invalid));
    let author = author(Script::user(0), key(START, 3), 9);
    let leave = Command::ChangeMembers { channel: channel(), author, change: MemberChange::Leave };
    let refused = talk.reply(leave.clone());
    assert!(matches!(refused, Reply::Rejected(_)), "nobody leaves a direct channel: {refused:?}");
    assert_eq!(talk.reply(leave), refused);
    talk.check();
}

#[test]
fn a_key_is_remembered_for_a_day_and_never_new_again() {
    let mut talk = Talk::new();
    let old = key(START, 1);
    talk.send(0, old, "hi");
    talk.now += 24 * HOUR_MS;
    assert_eq!(seq(&talk.send(0, old, "hi")), 1);
    talk.now += 2 * HOUR_MS;
    assert_eq!(seq(&talk.send(0, key(talk.now, 2), "later")), 2);
    assert_eq!(talk.send(0, old, "hi"), Reply::Rejected(Code::TooOld), "forgotten, and known to be");
    assert_eq!(talk.send(0, key(talk.now + 2 * HOUR_MS, 3), "ahead"), Reply::Rejected(Code::Invalid));
    talk.check();
}

#[test]
fn a_nodes_own_key_is_forgotten_sooner_and_bars_nothing() {
    let mut talk = Talk::new();
    let own = CallKey::of_node(Timestamp::new(talk.now), 7);
    assert_eq!(seq(&talk.send(0, own, "hi")), 1);
    assert_eq!(seq(&talk.send(0, own, "hi")), 1);
    let old = key(talk.now - HOUR_MS, 1);
    talk.now += limit::CALL_OF_NODE_KEPT_MS + 1;
    assert_eq!(seq(&talk.send(0, CallKey::of_node(Timestamp::new(talk.now), 8), "more")), 2);
    assert_eq!(seq(&talk.send(0, old, "dated earlier")), 3, "the floor is of callers' keys only");
    assert_eq!(seq(&talk.send(0, CallKey::of_node(Timestamp::new(talk.now + 5), 9), "more")), 4);
    talk.check();
}

#[test]
fn a_call_is_done_by_one_at_a_time_and_answered_alike_ever_after() {
    let mut talk = Talk::new();
    let call = key(START, 1);
    assert_eq!(talk.begin(call, 5), Reply::Call { answer: None });
    assert_eq!(talk.begin(call, 5), Reply::Rejected(Code::Busy), "someone is at it");
    assert_eq!(talk.begin(call, 6), Reply::Rejected(Code::Conflict));
    talk.now += limit::CALL_RUNS_MS;
    assert_eq!(talk.begin(call, 5), Reply::Call { answer: None }, "whoever was at it has given up");
    assert_eq!(talk.end(call, b""), Reply::Done);
    assert_eq!(talk.begin(call, 5), Reply::Call { answer: None }, "and has said so");
    assert_eq!(talk.end(call, b"first"), Reply::Done);
    assert_eq!(talk.end(call, b"second"), Reply::Done);
    assert_eq!(talk.begin(call, 5), Reply::Call { answer: Some(Bytes::from_static(b"first")) });
    assert_eq!(talk.end(key(START, 2), b"never begun"), Reply::Rejected(Code::NotFound));
    talk.now += 26 * HOUR_MS;
    assert_eq!(talk.begin(key(talk.now, 3), 5), Reply::Call { answer: None });
    assert_eq!(talk.begin(call, 5), Reply::Rejected(Code::TooOld));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is retried when: a key makes at most one record, its answer never changes, and what was forgotten is never new.
    #[test]
    fn a_key_makes_one_record(steps in prop::collection::vec((0..2u8, 0..40u64, 0..4u8, 1..4usize, 0..6u64), 1..120)) {
        let mut talk = Talk::new();
        let mut made: BTreeMap<(u8, CallKey), (usize, u64)> = BTreeMap::new();
        let mut records = 0;
        for (who, dated, number, bytes, pass) in steps {
            talk.now += pass * HOUR_MS;
            let key = key(START + dated * 4 * HOUR_MS, number);
            let reply = talk.send(who, key, &"x".repeat(bytes));
            match (reply, made.get(&(who, key))) {
                (Reply::Sent { seq, duplicate, .. }, Some((same, first))) => {
                    prop_assert!(duplicate && *same == bytes && seq.get() == *first);
                }
                (Reply::Sent { seq, duplicate, .. }, None) => {
                    records += 1;
                    prop_assert!(!duplicate && seq.get() == records);
                    made.insert((who, key), (bytes, seq.get()));
                }
                (Reply::Rejected(Code::Conflict), Some((other, _))) => prop_assert_ne!(*other, bytes),
                (Reply::Rejected(Code::TooOld), known) => {
                    prop_assert!(known.is_none() || key.time().get() + limit::CALL_KEPT_MS < talk.now, "kept for its time");
                }
                (Reply::Rejected(Code::Invalid), None) => prop_assert!(key.time().get() > talk.now + limit::CALL_AHEAD_MS),
                (other, known) => prop_assert!(false, "{other:?} to {known:?}"),
            }
        }
        talk.check();
    }
}

#[test]
fn each_key_has_a_scheduled_text_of_its_own() {
    let mut talk = Talk::new();
    talk.send(0, key(START, 1), "now");
    let later = |number, digest| {
        let draft = Draft { text: "later".to_owned(), ..Draft::default() };
        let act = Act::Schedule { due: Timestamp::new(START + HOUR_MS), draft };
        Command::Act { channel: channel(), author: author(Script::user(0), key(START, number), digest), act }
    };
    let (one, two) = (talk.reply(later(2, 5)), talk.reply(later(3, 5)));
    assert!(matches!((&one, &two), (Reply::Kept { id: a }, Reply::Kept { id: b }) if a != b), "{one:?} {two:?}");
    assert_eq!(talk.reply(later(2, 5)), one, "a retry is the same text");
    talk.check();
}
