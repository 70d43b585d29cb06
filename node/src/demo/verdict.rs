//! Judges a run: what was acked against what each receiver saw and what each replica holds.
//!
//! In: for each channel what was [`Sent`], what each receiver [`Seen`], and each replica's history as [`Recorded`]. Out: a [`Verdict`] of counts.
//! Invariants: pure; each count is zero exactly when its promise was kept, and tests below make each of them non-zero.
//! Texts are compared by a digest over their bytes. Not here: reading histories and timing (`driver`), printing (`report`).

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use kith_wire::{
    id::{NodeId, Seq, UserId, hash},
    log::{Content, Record},
};

/// A message that was handed to the SDK. Those of one sender stand in the order of sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// By whom.
    pub sender: UserId,
    /// [`text_digest`] of its text.
    pub text: u64,
    /// When, since the start of the run.
    pub at: Duration,
    /// The ack, when there was one.
    pub ack: Option<Ack>,
}

/// The cluster's answer to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// Its place in the channel.
    pub seq: Seq,
    /// When the ack came, since the start of the run.
    pub at: Duration,
}

/// A record that a receiver's app was shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its place.
    pub seq: Seq,
    /// By whom.
    pub sender: UserId,
    /// [`text_digest`], `None` when it is not a text.
    pub text: Option<u64>,
}

/// A record of a replica's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// What an app would be shown.
    pub seen: Seen,
    /// A digest over every field, to compare replicas.
    pub whole: u64,
}

/// What was found. Everything but `acked` and `delivered` is 0 after a good run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Messages handed to the SDK.
    pub messages_sent: u64,
    /// Messages that got an ack.
    pub acked: u64,
    /// Messages that got none.
    pub unacked: u64,
    /// Texts of others that receivers were shown, each once.
    pub delivered: u64,
    /// Acked texts that a receiver was never shown, or that a history does not have at their seq.
    pub missing: u64,
    /// Texts shown twice, or recorded more often than sent, or two acks with one seq.
    pub duplicate: u64,
    /// Runs of seqs that a history does not have, or that a receiver was never shown although later ones were.
    pub gaps: u64,
    /// Records shown after later ones, texts at another place than acked, seqs that contradict the order of sending.
    pub order_violations: u64,
    /// Channels whose replicas differ, or that a replica could not show.
    pub unequal_channels: u64,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        let Self { messages_sent: _, acked: _, unacked, delivered: _, missing, duplicate, gaps, order_violations, unequal_channels } = *self;
        [unacked, missing, duplicate, gaps, order_violations, unequal_channels].iter().all(|&count| count == 0)
    }

    /// Adds the counts of another part of the run.
    pub fn merge(&mut self, other: &Self) {
        let Self { messages_sent, acked, unacked, delivered, missing, duplicate, gaps, order_violations, unequal_channels } = *other;
        self.messages_sent += messages_sent;
        self.acked += acked;
        self.unacked += unacked;
        self.delivered += delivered;
        self.missing += missing;
        self.duplicate += duplicate;
        self.gaps += gaps;
        self.order_violations += order_violations;
        self.unequal_channels += unequal_channels;
    }

    /// Counts what was sent to one channel, and whether the acks agree with the order of sending.
    pub fn judge_sends(&mut self, sent: &[Sent]) {
        self.messages_sent += sent.len() as u64;
        let mut by_seq: BTreeMap<Seq, &Sent> = BTreeMap::new();
        let mut last_of: HashMap<UserId, Seq> = HashMap::new();
        for message in sent {
            let Some(ack) = message.ack else {
                self.unacked += 1;
                continue;
            };
            self.acked += 1;
            if by_seq.insert(ack.seq, message).is_some() {
                self.duplicate += 1;
            }
            if last_of.insert(message.sender, ack.seq).is_some_and(|before| before > ack.seq) {
                self.order_violations += 1;
            }
        }
        // What was acked before another was sent has the smaller seq: nothing with a smaller seq may have been sent after our ack.
        let mut latest_send = Duration::ZERO;
        for message in by_seq.values() {
            if message.ack.is_some_and(|ack| ack.at < latest_send) {
                self.order_violations += 1;
            }
            latest_send = latest_send.max(message.at);
        }
    }

    /// Compares what one member of a channel was shown, in the order of showing, with what was acked.
    /// They are shown their own messages too, which do not count as delivered.
    pub fn judge_receiver(&mut self, sent: &[Sent], receiver: UserId, shown: &[Seen]) {
        let expected = Expected::new(sent);
        let mut first: HashMap<Seq, Seen> = HashMap::with_capacity(shown.len());
        let mut extra = expected.clone();
        let mut top = Seq::ZERO;
        for record in shown {
            if first.contains_key(&record.seq) {
                self.duplicate += 1;
                continue;
            }
            first.insert(record.seq, *record);
            if record.seq < top {
                self.order_violations += 1;
            }
            top = top.max(record.seq);
            if let Some(text) = record.text {
                let fits = self.judge_text(&mut extra, record.seq, record.sender, text);
                self.delivered += u64::from(fits && record.sender != receiver);
            }
        }
        let mut in_gap = false;
        for (&seq, &(sender, text)) in &expected.acked {
            let is_shown = first.get(&seq).is_some_and(|record| record.sender == sender && record.text == Some(text));
            self.missing += u64::from(!is_shown);
            self.gaps += u64::from(!is_shown && !in_gap && seq < top);
            in_gap = !is_shown;
        }
    }

    /// Compares the whole history of one channel, as each replica told it (`None`: it could not), with what was acked.
    /// Equal histories are judged once.
    pub fn judge_histories(&mut self, sent: &[Sent], replicas: &[(NodeId, Option<Vec<Recorded>>)]) {
        let mut distinct: Vec<&Vec<Recorded>> = Vec::new();
        for history in replicas.iter().filter_map(|(_, history)| history.as_ref()) {
            if !distinct.contains(&history) {
                distinct.push(history);
            }
        }
        if distinct.len() != 1 || replicas.iter().any(|(_, history)| history.is_none()) {
            self.unequal_channels += 1;
        }
        for history in distinct {
            self.judge_history(sent, history);
        }
    }

    fn judge_history(&mut self, sent: &[Sent], history: &[Recorded]) {
        let expected = Expected::new(sent);
        let mut extra = expected.clone();
        let mut found: HashMap<Seq, Seen> = HashMap::with_capacity(history.len());
        let mut before = Seq::ZERO;
        for record in history {
            let seen = record.seen;
            if found.insert(seen.seq, seen).is_some() {
                self.duplicate += 1;
                continue;
            }
            if seen.seq < before {
                self.order_violations += 1;
            } else if seen.seq != before.next() {
                self.gaps += 1;
            }
            before = before.max(seen.seq);
            if let Some(text) = seen.text {
                self.judge_text(&mut extra, seen.seq, seen.sender, text);
            }
        }
        for (seq, &(sender, text)) in &expected.acked {
            if found.get(seq).is_none_or(|record| record.sender != sender || record.text != Some(text)) {
                self.missing += 1;
            }
        }
    }

    /// Judges a text that stands at `seq`: where it was acked, a message whose fate was unknown, a copy, or out of place.
    fn judge_text(&mut self, left: &mut Expected, seq: Seq, sender: UserId, text: u64) -> bool {
        match left.acked.get(&seq) {
            Some(&acked) if acked == (sender, text) => true,
            Some(_) => {
                self.order_violations += 1;
                false
            }
            None => {
                // Nobody was told of this seq. A message without an ack may stand here, once; anything else is a copy.
                match left.unacked.get_mut(&(sender, text)) {
                    Some(count) if *count > 0 => *count -= 1,
                    _ => self.duplicate += 1,
                }
                false
            }
        }
    }
}

/// What a channel should hold: texts at their acked places, and how many of each had no ack.
#[derive(Clone)]
struct Expected {
    acked: BTreeMap<Seq, (UserId, u64)>,
    unacked: HashMap<(UserId, u64), u64>,
}

impl Expected {
    fn new(sent: &[Sent]) -> Self {
        let mut expected = Self { acked: BTreeMap::new(), unacked: HashMap::new() };
        for message in sent {
            match message.ack {
                Some(ack) => {
                    expected.acked.insert(ack.seq, (message.sender, message.text));
                }
                None => *expected.unacked.entry((message.sender, message.text)).or_default() += 1,
            }
        }
        expected
    }
}

/// The digest by which texts are compared.
pub fn text_digest(text: &str) -> u64 {
    hash(&[b"kith/demo/text", text.as_bytes()])
}

/// What an app sees of a record.
pub fn seen(record: &Record) -> Seen {
    let text = match &record.content {
        Content::Text { text, .. } => Some(text_digest(text)),
        _ => None,
    };
    Seen { seq: record.at.seq, sender: record.sender, text }
}

/// A record of a replica's history, with a digest over every field of it.
pub fn recorded(record: &Record) -> Recorded {
    Recorded { seen: seen(record), whole: hash(&[b"kith/demo/record", format!("{record:?}").as_bytes()]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId::new(1);
    const BOB: UserId = UserId::new(2);

    fn sent(sender: UserId, text: &str, at_ms: u64, ack: Option<(u64, u64)>) -> Sent {
        let ack = ack.map(|(seq, at_ms)| Ack { seq: Seq::new(seq), at: Duration::from_millis(at_ms) });
        Sent { sender, text: text_digest(text), at: Duration::from_millis(at_ms), ack }
    }
    fn text(seq: u64, sender: UserId, text: &str) -> Seen {
        Seen { seq: Seq::new(seq), sender, text: Some(text_digest(text)) }
    }
    fn made() -> Seen {
        Seen { seq: Seq::new(1), sender: ANN, text: None }
    }
    fn history(records: &[Seen]) -> Option<Vec<Recorded>> {
        Some(records.iter().map(|&seen| Recorded { seen, whole: seen.seq.get() ^ seen.text.unwrap_or(7) }).collect())
    }
    fn three(history: &Option<Vec<Recorded>>) -> Vec<(NodeId, Option<Vec<Recorded>>)> {
        (1..=3).map(|node| (NodeId::new(node), history.clone())).collect()
    }
    /// Ann and Bob, three messages, everything as promised.
    fn good() -> Vec<Sent> {
        vec![sent(ANN, "one", 0, Some((2, 5))), sent(BOB, "two", 6, Some((3, 9))), sent(ANN, "three", 10, Some((4, 15)))]
    }
    fn good_records() -> [Seen; 4] {
        [made(), text(2, ANN, "one"), text(3, BOB, "two"), text(4, ANN, "three")]
    }
    fn of_receiver(shown: &[Seen]) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.judge_receiver(&good(), BOB, shown);
        verdict
    }
    fn of_histories(replicas: &[(NodeId, Option<Vec<Recorded>>)]) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.judge_histories(&good(), replicas);
        verdict
    }
    fn of_sends(sent: &[Sent]) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.judge_sends(sent);
        verdict
    }

    #[test]
    fn a_good_run_has_no_fault() {
        let mut verdict = of_sends(&good());
        verdict.judge_receiver(&good(), BOB, &good_records());
        verdict.judge_receiver(&good(), ANN, &good_records());
        verdict.judge_histories(&good(), &three(&history(&good_records())));
        assert_eq!(verdict, Verdict { messages_sent: 3, acked: 3, delivered: 3, ..Verdict::default() });
        assert!(verdict.is_good());
    }

    #[test]
    fn a_message_without_ack_is_unacked_and_may_stand_once() {
        let run = [sent(ANN, "one", 0, Some((2, 5))), sent(ANN, "two", 6, None)];
        let mut verdict = of_sends(&run);
        assert_eq!((verdict.unacked, verdict.acked), (1, 1));
        verdict.judge_histories(&run, &three(&history(&[made(), text(2, ANN, "one"), text(3, ANN, "two")])));
        assert_eq!((verdict.duplicate, verdict.missing), (0, 0));
        verdict.judge_histories(&run, &three(&history(&[made(), text(2, ANN, "one"), text(3, ANN, "two"), text(4, ANN, "two")])));
        assert_eq!(verdict.duplicate, 1);
        assert!(!verdict.is_good());
    }

    #[test]
    fn two_acks_with_one_seq_are_a_duplicate() {
        assert_eq!(of_sends(&[sent(ANN, "one", 0, Some((2, 5))), sent(BOB, "two", 0, Some((2, 5)))]).duplicate, 1);
    }

    #[test]
    fn a_senders_messages_out_of_order_are_a_violation() {
        assert_eq!(of_sends(&[sent(ANN, "one", 0, Some((3, 9))), sent(ANN, "two", 1, Some((2, 9)))]).order_violations, 1);
    }

    #[test]
    fn what_was_acked_before_another_was_sent_must_stand_before_it() {
        assert_eq!(of_sends(&[sent(ANN, "one", 0, Some((3, 5))), sent(BOB, "two", 6, Some((2, 9)))]).order_violations, 1);
        assert_eq!(of_sends(&[sent(ANN, "one", 0, Some((3, 7))), sent(BOB, "two", 6, Some((2, 9)))]).order_violations, 0, "both were under way");
    }

    #[test]
    fn a_text_that_a_receiver_never_saw_is_missing_and_a_gap_when_later_ones_came() {
        let [made, _, two, three] = good_records();
        let verdict = of_receiver(&[made, two, three]);
        assert_eq!((verdict.missing, verdict.gaps, verdict.delivered), (1, 1, 1));
        let verdict = of_receiver(&good_records()[..3]);
        assert_eq!((verdict.missing, verdict.gaps), (1, 0));
    }

    #[test]
    fn a_record_shown_twice_is_a_duplicate() {
        let [made, one, two, three] = good_records();
        let verdict = of_receiver(&[made, one, one, two, three]);
        assert_eq!((verdict.duplicate, verdict.delivered, verdict.missing), (1, 2, 0));
    }

    #[test]
    fn records_shown_out_of_order_are_a_violation() {
        let [made, one, two, three] = good_records();
        let verdict = of_receiver(&[made, two, one, three]);
        assert_eq!((verdict.order_violations, verdict.missing), (1, 0));
    }

    #[test]
    fn another_text_than_acked_is_out_of_place_and_the_acked_one_missing() {
        let [made, _, two, three] = good_records();
        let verdict = of_receiver(&[made, text(2, ANN, "other"), two, three]);
        assert_eq!((verdict.order_violations, verdict.missing), (1, 1));
        let verdict = of_histories(&three_of(&[made, text(2, ANN, "other"), two, three]));
        assert_eq!((verdict.order_violations, verdict.missing), (1, 1));
    }

    #[test]
    fn an_acked_text_that_a_history_lacks_is_missing() {
        assert_eq!(of_histories(&three_of(&good_records()[..3])).missing, 1);
    }

    #[test]
    fn a_copy_in_a_history_is_a_duplicate() {
        let [made, one, two, three] = good_records();
        assert_eq!(of_histories(&three_of(&[made, one, two, three, text(5, ANN, "one")])).duplicate, 1);
        assert_eq!(of_histories(&three_of(&[made, one, two, two, three])).duplicate, 1);
    }

    #[test]
    fn a_hole_in_a_history_is_a_gap() {
        let [_, one, two, three] = good_records();
        assert_eq!(of_histories(&three_of(&[one, two, three])).gaps, 1, "histories begin with 1");
        let verdict = of_histories(&three_of(&[made(), one, three]));
        assert_eq!((verdict.gaps, verdict.missing), (1, 1));
    }

    #[test]
    fn a_history_out_of_order_is_a_violation() {
        let [made, one, two, three] = good_records();
        assert!(of_histories(&three_of(&[made, two, one, three])).order_violations > 0);
    }

    #[test]
    fn replicas_that_differ_or_do_not_answer_are_unequal() {
        let good = history(&good_records());
        let mut replicas = three(&good);
        assert_eq!(of_histories(&replicas).unequal_channels, 0);
        replicas[1].1 = None;
        let verdict = of_histories(&replicas);
        assert_eq!((verdict.unequal_channels, verdict.is_good()), (1, false));
        let mut other = history(&good_records()).expect("made above");
        other[2].whole ^= 1;
        replicas[1].1 = Some(other);
        let verdict = of_histories(&replicas);
        assert_eq!((verdict.unequal_channels, verdict.missing), (1, 0), "same texts, another field");
        replicas[1].1 = history(&good_records()[..3]);
        let verdict = of_histories(&replicas);
        assert_eq!((verdict.unequal_channels, verdict.missing), (1, 1));
    }

    fn three_of(records: &[Seen]) -> Vec<(NodeId, Option<Vec<Recorded>>)> {
        three(&history(records))
    }
}
