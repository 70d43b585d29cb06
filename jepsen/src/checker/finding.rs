//! What was found, and the verdict that follows from it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! anomalies {
    ($($Variant:ident $name:literal $text:literal;)*) => {
        /// A promise that was broken.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Anomaly {
            $(#[doc = $text] $Variant,)*
        }
        impl Anomaly {
            /// All of them.
            pub const ALL: &'static [Anomaly] = &[$(Anomaly::$Variant,)*];
            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Anomaly::$Variant => $name,)* }
            }
            /// What it means.
            pub fn text(self) -> &'static str {
                match self { $(Anomaly::$Variant => $text,)* }
            }
        }
    };
}

anomalies! {
    LostWrite "lost_write" "an acked send is missing from every final read that covers it, or a later read skips it";
    Vanished "vanished" "seen by a reader, not in the final log";
    FinalDivergence "final_divergence" "final reads of one channel differ between devices or replicas";
    SlowConvergence "slow_convergence" "replicas still differed when the time that they have after heal was over";
    SeqConflict "seq_conflict" "one seq, two messages";
    DuplicateMessage "duplicate_message" "one message at two seqs";
    Gap "gap" "a hole in a read or in the final log, or a log that does not start at its base";
    OrderDisagreement "order_disagreement" "two readers saw a pair in opposite orders";
    UnsortedRead "unsorted_read" "a read whose seqs do not strictly rise";
    Phantom "phantom" "seen, but nobody sent it";
    CrossChannel "cross_channel" "seen in a channel that it was not sent to";
    CorruptValue "corrupt_value" "other bytes than were sent";
    FutureRead "future_read" "seen before it was sent";
    AbortedRead "aborted_read" "every attempt failed for certain, or one was refused for good, yet it is there";
    NonmonotonicRead "nonmonotonic_read" "a device's read misses what the device has seen";
    NonmonotonicEvent "nonmonotonic_event" "a device's stream repeats or goes back";
    EventGap "event_gap" "a device's stream jumps over what the device never read";
    ReadYourWrites "read_your_writes" "a device's read misses the device's own acked send";
    RealtimeOrder "realtime_order" "acked or seen before another was sent, yet it stands after it";
    DeviceOrder "device_order" "a device's messages do not stand in the order of the device's numbers";
    StaleRead "stale_read" "a linearizable read misses what was acked or seen before it began";
    AckWithoutSeq "ack_without_seq" "an ack without a position";
    BadFrom "bad_from" "a read returns what is below the seq asked for";
    OversizeAccepted "oversize_accepted" "a text over the limit was accepted";
    CursorBackwards "cursor_backwards" "a read position went back";
    CursorLost "cursor_lost" "an acked read position is not there";
    CursorPhantom "cursor_phantom" "a read position that nobody set";
    UnreadWrong "unread_wrong" "a device shows another number of unread texts than its log has above its position, after heal";
    MembershipNotLinearizable "membership_not_linearizable" "no order of the membership operations explains their answers";
    ReadPastRemoval "read_past_removal" "a removed member read what came after the removal";
    EditBackwards "edit_backwards" "an older version of a text than was read before, or a text that had been taken away";
    EditLost "edit_lost" "an acked edit or deletion is not there";
    EditPhantom "edit_phantom" "a version of a text that nobody wrote";
    SearchLost "search_lost" "a text is not found by the words that it has, over some node, after heal";
    SearchStale "search_stale" "a text is found by words that were edited or taken away, after heal";
    SearchTwice "search_twice" "a search that is gone through to its end gives one text twice";
    SearchLeak "search_leak" "somebody found a text that they may not read";
    NameShared "name_shared" "one name, two accounts";
    NameLost "name_lost" "a name that was given to somebody is nobody's, or was refused to all and is nobody's";
    LaterTwice "later_twice" "a text that was to be sent later is there more than once";
    LaterLost "later_lost" "a text that was to be sent later is not there after its time";
    LaterAnyway "later_anyway" "a text that was taken back in time was sent";
    HookLost "hook_lost" "a webhook was never told of an acked message";
    HookBackwards "hook_backwards" "a webhook was told of a message for the first time after a later one";
    PresenceDivergence "presence_divergence" "nodes differ on who is online, after heal";
    PresenceWrong "presence_wrong" "somebody who is here is not named, or one who has left is, after heal";
    PresenceFlap "presence_flap" "somebody who stayed was shown gone, when all had settled after heal";
    PresenceLeak "presence_leak" "a stranger learned who is here";
    PushLost "push_lost" "nobody pushed to a device that was away, about what was said and is not read";
    PushTooMany "push_too_many" "more pushes about a conversation than one a minute, and one for each fault";
    PushConnected "push_connected" "a device that was connected was pushed to, when all had settled";
    PushAfterRead "push_after_read" "a push about what was read on another device before";
    NotLive "not_live" "a channel that was tried after heal had no ack in time";
    FaultNeverBit "fault_never_bit" "a required fault was installed and touched nothing: the run proves nothing about it";
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Anomaly {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// How often, and the first few.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Found {
    /// How often.
    pub count: u64,
    /// The first ones, each with the line or the message concerned.
    pub examples: Vec<String>,
}

/// What the properties write into.
#[derive(Debug)]
pub struct Findings {
    examples_max: usize,
    pub(crate) anomalies: BTreeMap<Anomaly, Found>,
    pub(crate) unknown: Vec<String>,
    pub(crate) harness: Found,
}

impl Findings {
    /// Keeps `examples_max` examples of each anomaly.
    pub fn new(examples_max: usize) -> Self {
        Self { examples_max, anomalies: BTreeMap::new(), unknown: Vec::new(), harness: Found::default() }
    }

    /// Counts an anomaly; the example is made only while there is room for it.
    pub fn report(&mut self, anomaly: Anomaly, example: impl FnOnce() -> String) {
        let found = self.anomalies.entry(anomaly).or_default();
        found.count += 1;
        if found.examples.len() < self.examples_max {
            found.examples.push(example());
        }
    }

    /// Something that keeps this run from proving anything.
    pub fn unknown(&mut self, reason: String) {
        self.unknown.push(reason);
    }

    /// The history itself is wrong: an error of the harness, not of Kith.
    pub fn harness(&mut self, example: impl FnOnce() -> String) {
        self.harness.count += 1;
        if self.harness.examples.len() < self.examples_max {
            self.harness.examples.push(example());
        }
    }
}

/// The answer to "did it hold?".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Every promise held, and the run was able to show it.
    True,
    /// A promise was broken.
    False,
    /// The run shows nothing: the harness failed, or a condition of the run was not met.
    Unknown,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Answer::True => to.serialize_bool(true),
            Answer::False => to.serialize_bool(false),
            Answer::Unknown => to.serialize_str("unknown"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answer::True => "true",
            Answer::False => "false",
            Answer::Unknown => "unknown",
        })
    }
}

/// Figures of a run, for its report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Lines read.
    pub lines: u64,
    /// Operations begun.
    pub invoked: u64,
    /// Operations that happened.
    pub acked: u64,
    /// Operations that certainly did not happen.
    pub failed: u64,
    /// Operations whose fate is unknown, the unanswered included.
    pub unknown: u64,
    /// Different messages sent, acked, and sent without an ack but found in the final log.
    pub messages: u64,
    /// Messages with an ack.
    pub messages_acked: u64,
    /// Messages without an ack that landed.
    pub messages_recovered: u64,
    /// Channels with a message.
    pub channels: u64,
    /// Acked operations per second outside total outages.
    pub acked_per_second: f64,
    /// Unknown operations in a thousand.
    pub unknown_per_mille: u64,
    /// From each heal to the first ack after it.
    pub recovery_ms: Spread,
    /// Longest time without an ack outside total outages, in ms.
    pub silence_max_ms: u64,
    /// Faults that were installed, and those that bit.
    pub faults_installed: u64,
    /// Faults with a counter above zero.
    pub faults_bit: u64,
}

/// A median and a maximum, in ms; zero of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// The middle one.
    pub p50: u64,
    /// The largest.
    pub max: u64,
}

/// What `check` says of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// True, false or unknown.
    pub valid: Answer,
    /// Why it is not true, most important first.
    pub reasons: Vec<String>,
    /// What was found.
    pub anomalies: BTreeMap<Anomaly, Found>,
    /// What is wrong with the history itself.
    pub harness_errors: Found,
    /// The run in numbers.
    pub figures: Figures,
}

impl Verdict {
    /// A harness error makes everything unknown: what looks like an anomaly may be its doing. Else an anomaly decides, else what could not be shown.
    pub(crate) fn of(findings: Findings, figures: Figures) -> Self {
        let Findings { anomalies, unknown, harness, .. } = findings;
        let mut reasons: Vec<String> = Vec::new();
        if harness.count > 0 {
            reasons.push(format!("harness: {} error(s) in the history, so nothing is said of Kith", harness.count));
        }
        reasons.extend(anomalies.iter().map(|(anomaly, found)| format!("{anomaly} ({}): {}", found.count, anomaly.text())));
        let valid = match (harness.count > 0, anomalies.is_empty(), unknown.is_empty()) {
            (true, _, _) | (false, true, false) => Answer::Unknown,
            (false, false, _) => Answer::False,
            (false, true, true) => Answer::True,
        };
        reasons.extend(unknown.into_iter().map(|reason| format!("not shown: {reason}")));
        Self { valid, reasons, anomalies, harness_errors: harness, figures }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verdict: {}", self.valid)?;
        for reason in &self.reasons {
            writeln!(f, "  {reason}")?;
        }
        for (name, found) in self
            .anomalies
            .iter()
            .map(|(anomaly, found)| (anomaly.name(), found))
            .chain([("harness", &self.harness_errors)])
            .filter(|(_, found)| found.count > 0)
        {
            writeln!(f, "{name}:")?;
            for example in &found.examples {
                writeln!(f, "  {example}")?;
            }
            if found.count > found.examples.len() as u64 {
                writeln!(f, "  and {} more", found.count - found.examples.len() as u64)?;
            }
        }
        let n = &self.figures;
        writeln!(
            f,
            "{} lines, {} operations: {} ok, {} fail, {} unknown ({} in 1,000)",
            n.lines, n.invoked, n.acked, n.failed, n.unknown, n.unknown_per_mille
        )?;
        writeln!(
            f,
            "{} messages in {} channels: {} acked, {} recovered without an ack; {:.0} acked operations a second",
            n.messages, n.channels, n.messages_acked, n.messages_recovered, n.acked_per_second
        )?;
        write!(
            f,
            "{} faults installed, {} bit; recovery p50 {} ms, max {} ms; longest silence {} ms",
            n.faults_installed, n.faults_bit, n.recovery_ms.p50, n.recovery_ms.max, n.silence_max_ms
        )
    }
}
