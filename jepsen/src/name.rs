//! The names of everything that can be asked for: nemeses, workloads, mutants; each with one line of text.
//!
//! In: text from the command line and from files. Out: closed enums. Invariant: a name is written in one place, here, and parsing what was printed gives the same thing.
//! Not here: how a fault is made, what a workload sends, when things happen (`plan`), which go together (`matrix`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that names nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {kind} is named {name:?}")]
pub struct UnknownName {
    /// What was looked for.
    pub kind: &'static str,
    /// The word.
    pub name: String,
}

/// Whether the product has what this needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    /// It has.
    Now,
    /// It does not, or only in part; the text says what is waited for.
    Later(&'static str),
}

macro_rules! names {
    ($(#[$doc:meta])* $kind:literal $Name:ident { $($Variant:ident $name:literal $ready:expr, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum $Name {
            $(#[doc = $text] $Variant,)*
        }
        impl $Name {
            /// All of them.
            pub const ALL: &'static [$Name] = &[$($Name::$Variant,)*];
            /// The name as it is typed.
            pub fn name(self) -> &'static str {
                match self { $($Name::$Variant => $name,)* }
            }
            /// One line that says what it is.
            pub fn text(self) -> &'static str {
                match self { $($Name::$Variant => $text,)* }
            }
            /// Whether the product has what it needs.
            pub fn ready(self) -> Ready {
                match self { $($Name::$Variant => $ready,)* }
            }
        }
        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
        impl FromStr for $Name {
            type Err = UnknownName;
            fn from_str(name: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|one| one.name() == name).ok_or_else(|| UnknownName { kind: $kind, name: name.to_owned() })
            }
        }
        impl TryFrom<String> for $Name {
            type Error = UnknownName;
            fn try_from(name: String) -> Result<Self, UnknownName> {
                name.parse()
            }
        }
        impl From<$Name> for &'static str {
            fn from(one: $Name) -> &'static str {
                one.name()
            }
        }
    };
}

names! {
    /// A kind of fault.
    "nemesis" Nemesis {
        None "none" Ready::Now, "nothing at all: the baseline, which finds the harness's own errors";
        KillOne "kill-one" Ready::Now, "SIGKILL of one node, started again";
        KillLeader "kill-leader" Ready::Now, "SIGKILL of the node that leads most groups";
        KillMinority "kill-minority" Ready::Now, "SIGKILL of as many nodes as a majority can spare";
        KillAll "kill-all" Ready::Now, "SIGKILL of every node at once";
        Pause "pause" Ready::Now, "SIGSTOP for two election timeouts to 30 s, leader preferred";
        PartitionLeader "partition-leader" Ready::Now, "the leader hears nobody and is heard by nobody";
        PartitionHalves "partition-halves" Ready::Now, "two sides, one of them a majority";
        PartitionRing "partition-ring" Ready::Now, "every node sees a majority, no two the same one (5 nodes)";
        PartitionOneWay "partition-one-way" Ready::Now, "one node is heard but does not hear, or the other way round";
        Swizzle "swizzle" Ready::Now, "links of some nodes stop one by one and come back in another order";
        Packet "packet" Ready::Now, "delay, jitter, reordering, duplicates, loss and corruption on links";
        Rebind "rebind" Ready::Now, "a client's address or port changes under its connection, its datagrams come again, its node is another";
        NoUdp "no-udp" Ready::Now, "no datagram of a client comes to a node: they go on over TCP, and come back";
        PowerCutOne "power-cut-one" Ready::Now, "power cut of one node: what was not fsynced is gone";
        PowerCutMinority "power-cut-minority" Ready::Now, "power cut of as many nodes as a majority can spare";
        PowerCutAll "power-cut-all" Ready::Now, "power cut of every node at once";
        Torn "torn" Ready::Now, "power cut in which a random part of the unsynced sectors survives";
        FsyncEio "fsync-eio" Ready::Now, "fsync answers EIO: the node must stop";
        FsyncSlow "fsync-slow" Ready::Now, "fsync takes 0.2 to 2 s";
        Corrupt "corrupt" Ready::Now, "bit flips and truncation of files of a minority, while it is down";
        DiskEmpty "disk-empty" Ready::Now, "a node comes back as itself with an empty disk";
        DiskOld "disk-old" Ready::Now, "a node comes back with an old copy of its disk";
        DiskFull "disk-full" Ready::Now, "no space left on a node's disk";
        DiskSlow "disk-slow" Ready::Now, "1 MB/s on a node's disk";
        ReadOnly "read-only" Ready::Now, "a node's disk becomes read-only";
        Clock "clock" Ready::Now, "wall clocks jump by up to an hour, strobe, or differ between nodes";
        Cpu "cpu" Ready::Now, "a tenth of a CPU for a node";
        Memory "memory" Ready::Now, "a memory limit that the kernel enforces by killing";
        Member "member" Ready::Now, "a node is gone for good and a new one takes its place, or it is emptied and leaves, and another one is added";
        Rolling "rolling" Ready::Now, "every node is restarted in turn, gracefully";
        Upgrade "upgrade" Ready::Now, "every node is restarted in turn with the newer build, back with the older one, forward again, and for good";
        Failpoint "failpoint" Ready::Now, "kill or sleep before and after a step of persist, commit, apply, snapshot, ref or outbox";
    }
}

names! {
    /// A kind of load.
    "workload" Workload {
        Append "append" Ready::Now, "W1: senders to few hot and many cold channels; whole-log and tail reads";
        Retry "retry" Ready::Now, "W2: short timeouts, the same send again to another node, clones and rolled-back stores";
        Devices "devices" Ready::Now, "W3: devices subscribe, leave, resume, start again from nothing, and read slowly";
        Reads "reads" Ready::Now, "W4: linearizable and follower reads side by side";
        Membership "membership" Ready::Now, "W5: add, remove, raise to admin, let in by links, send and read on small groups";
        Cursors "cursors" Ready::Now, "W6: read positions set and read by several devices, and what is unread, over edits and deletions";
        Presence "presence" Ready::Now, "W7: who is online, after heal; strangers learn nothing, ever";
        Push "push" Ready::Now, "W12: a device comes and goes, a fake provider takes what is pushed to it, another device reads";
        Snapshot "snapshot" Ready::Now, "W8: append under tiny snapshot and log thresholds";
        Move "move" Ready::Now, "W9: append while buckets move and groups split";
        Acts "acts" Ready::Now, "W10: texts edited, taken away, looked for, sent later and posted to a webhook; one name asked for by several at once";
        Http "http" Ready::Now, "W11: writes under a key over HTTP, sent again over any node until they are answered, and after";
    }
}

names! {
    /// A node that misbehaves on purpose, to prove that the harness notices.
    "mutant" Mutant {
        AckBeforeFsync "ack-before-fsync" Ready::Now, "acknowledges before the log is synced";
        WalSyncOff "wal-sync-off" Ready::Now, "never syncs the log";
        AckBeforeMajority "ack-before-majority" Ready::Now, "acknowledges what only the leader has";
        ReadWithoutIndex "read-without-index" Ready::Now, "a leader answers linearizable reads without asking a majority";
        DedupInMemory "dedup-in-memory" Ready::Now, "the table of known sends is lost at a restart";
        DedupNotInSnapshot "dedup-not-in-snapshot" Ready::Now, "the table of known sends is not in the snapshot";
        SeqBeforeCommit "seq-before-commit" Ready::Now, "gives a seq before the commit: a hole after a leader change";
        ApplyOutOfOrder "apply-out-of-order" Ready::Now, "a follower applies entries in another order";
        ChecksumSkipped "checksum-skipped" Ready::Now, "reads on over a checksum that fails";
        ResumeSkipsOne "resume-skips-one" Ready::Now, "a resumed device misses one message";
        ResumeRepeatsOne "resume-repeats-one" Ready::Now, "a resumed device gets one message again";
        FailOnTimeout "fail-on-timeout" Ready::Now, "answers `fail` where it does not know";
        RemovedMaySend "removed-may-send" Ready::Now, "a removed member may still send";
        RefAckedEarly "ref-acked-early" Ready::Now, "a ref is acknowledged before it is committed";
        OutboxDroppedEarly "outbox-dropped-early" Ready::Now, "an outbox forgets before the other side has it";
        EmptyDiskVotes "empty-disk-votes" Ready::Now, "a node with an empty disk votes as itself";
        TwoOwners "two-owners" Ready::Later("comes with bucket moves"), "both owners serve a bucket during a move";
        AckOutOfOrder "ack-out-of-order" Ready::Now, "a device's messages are acknowledged out of order";
        MemberBeforeDedup "member-before-dedup" Ready::Now, "membership is checked before the table of known sends";
        RefusalFreesNumber "refusal-frees-number" Ready::Now, "a refused send may be accepted when sent again";
        IndexRowKeepsRev "index-row-keeps-rev" Ready::Now, "a changed index row keeps its rev";
        PushLostSilently "push-lost-silently" Ready::Now, "a lost push is not told by `user_rev`";
        ReadTwoSnapshots "read-two-snapshots" Ready::Now, "a read checks membership in another snapshot than the rows";
        EditNotIndexed "edit-not-indexed" Ready::Now, "search keeps an edited text as it was";
    }
}

impl Nemesis {
    /// Reads `a,b+c`: slots in turn, those joined by `+` overlapping.
    ///
    /// # Errors
    /// A word names no nemesis.
    pub fn slots(text: &str) -> Result<Vec<Vec<Nemesis>>, UnknownName> {
        text.split(',').map(|slot| slot.split('+').map(|name| name.trim().parse()).collect()).collect()
    }

    /// Whether nothing can be acknowledged while it lasts: the floor of acked operations does not count then.
    pub fn is_total_outage(self) -> bool {
        matches!(self, Nemesis::KillAll | Nemesis::PowerCutAll)
    }

    /// Whether it is made by disks that are programs, which only runs that need them have.
    pub fn needs_served_disks(self) -> bool {
        matches!(self, Nemesis::Torn | Nemesis::DiskSlow)
    }

    /// Whether a replica is rebuilt from its peers afterwards, which has more time.
    pub fn rebuilds(self) -> bool {
        matches!(self, Nemesis::Corrupt | Nemesis::DiskEmpty | Nemesis::DiskOld | Nemesis::Member | Nemesis::Torn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_parses_to_the_same() {
        for one in Nemesis::ALL {
            assert_eq!(one.name().parse(), Ok(*one));
        }
        for one in Workload::ALL {
            assert_eq!(one.name().parse(), Ok(*one));
        }
        for one in Mutant::ALL {
            assert_eq!(one.name().parse(), Ok(*one));
        }
        assert_eq!((Nemesis::ALL.len(), Workload::ALL.len()), (33, 12), "the names that were agreed on");
    }

    #[test]
    fn slots_are_read_in_turn_and_together() {
        assert_eq!(
            Nemesis::slots("pause, partition-leader+kill-one"),
            Ok(vec![vec![Nemesis::Pause], vec![Nemesis::PartitionLeader, Nemesis::KillOne]])
        );
        assert!(Nemesis::slots("").is_err());
    }

    #[test]
    fn an_unknown_name_says_what_was_looked_for() {
        assert_eq!("kill".parse::<Nemesis>().unwrap_err().to_string(), "no nemesis is named \"kill\"");
    }
}
