//! A node that misbehaves on purpose, so that the fault harness is seen to notice.
//!
//! In: the name of a mutant, at the start of `kith-fault`. Out: [`Quirk`], a value that is handed down with the options of whoever asks it. There is no global.
//! Invariant: without the cargo features `mutants` and `older` a [`Quirk`] has no size, is never anything, and no name is in the binary. With `older` a node
//! can be told to be the release before this one, for tests of an upgrade without that release's binary. Each mutant is one plausible
//! mistake, at one place: what its line says, nothing more. Not here: which run must catch it (`kith-jepsen mutants`).

use kith_wire::id::{ClientSeq, Seq};

macro_rules! mutants {
    ($($Variant:ident $name:literal $text:literal;)*) => {
        /// One way to be wrong.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Mutant {
            $(#[doc = $text] $Variant,)*
        }
        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$Variant,)*];
            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Mutant::$Variant => $name,)* }
            }
        }
    };
}

mutants! {
    AckBeforeFsync "ack-before-fsync" "A batch of the log is confirmed once it is written, and synced within two seconds.";
    WalSyncOff "wal-sync-off" "The log is never synced.";
    AckBeforeMajority "ack-before-majority" "A send is acknowledged when the leader's own log has it.";
    ReadWithoutIndex "read-without-index" "A leader does not ask a majority whether it still is one.";
    DedupInMemory "dedup-in-memory" "A device's numbers are not read back from the disk.";
    DedupNotInSnapshot "dedup-not-in-snapshot" "A snapshot has no numbers of devices.";
    SeqBeforeCommit "seq-before-commit" "A leader gives out seqs when it proposes; those of entries that are lost are never used again.";
    ApplyOutOfOrder "apply-out-of-order" "A follower applies the records of a batch in another order.";
    ChecksumSkipped "checksum-skipped" "A stored value whose checksum fails is taken as it is.";
    ResumeSkipsOne "resume-skips-one" "A history pull begins one record late where a device goes on.";
    ResumeRepeatsOne "resume-repeats-one" "A record that was pushed before the session was resumed is pushed again.";
    FailOnTimeout "fail-on-timeout" "A send whose fate is unknown is refused for good.";
    RemovedMaySend "removed-may-send" "Who is no member any more may still send.";
    RefAckedEarly "ref-acked-early" "A home leader acknowledges refs when they come, and takes them in a second later.";
    OutboxDroppedEarly "outbox-dropped-early" "A channel's leader forgets refs when it has sent them.";
    EmptyDiskVotes "empty-disk-votes" "A node whose disk is another one than its peers know takes part as itself.";
    AckOutOfOrder "ack-out-of-order" "A device's number is accepted although those before it are missing.";
    MemberBeforeDedup "member-before-dedup" "Membership is checked before the table of known sends.";
    RefusalFreesNumber "refusal-frees-number" "A refused send leaves its number free.";
    IndexRowKeepsRev "index-row-keeps-rev" "A row of a user's index that changes keeps its rev.";
    PushLostSilently "push-lost-silently" "A session that lost pushes is not told to pull.";
    ReadTwoSnapshots "read-two-snapshots" "A read checks membership in an earlier view than the one that it reads rows from.";
    EditNotIndexed "edit-not-indexed" "A text that was edited or taken away stays in the index of search as it was.";
}

/// As [`Mutant::SeqBeforeCommit`], the leader writes the seq that it gives above a number that has room for it: entries have no field for one.
pub fn give_seq(settled: ClientSeq, seq: Seq) -> ClientSeq {
    ClientSeq::new((settled.get() & SETTLED) | (seq.get() << SETTLED.count_ones()))
}

/// What a number is without the seq above it.
pub(crate) fn settled(quirk: Quirk, settled: ClientSeq) -> ClientSeq {
    if quirk.is(Mutant::SeqBeforeCommit) { ClientSeq::new(settled.get() & SETTLED) } else { settled }
}

/// The head that the given seq follows; never below the real one.
pub(crate) fn head(quirk: Quirk, head: Seq, settled: ClientSeq) -> Seq {
    if quirk.is(Mutant::SeqBeforeCommit) { head.max(Seq::new((settled.get() >> SETTLED.count_ones()).saturating_sub(1))) } else { head }
}

/// Numbers are far below this.
const SETTLED: u64 = (1 << 32) - 1;

#[cfg(any(feature = "mutants", feature = "older"))]
pub use faulty::Quirk;
#[cfg(feature = "mutants")]
pub use faulty::UnknownMutant;
#[cfg(not(any(feature = "mutants", feature = "older")))]
pub use sound::Quirk;

#[cfg(not(any(feature = "mutants", feature = "older")))]
mod sound {
    use kith_wire::upgrade::{BUILD, ClusterVersion};

    use super::Mutant;

    /// What is wrong with this node: nothing in this build.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Quirk(());

    impl Quirk {
        /// Whether the node is this mutant: never in this build.
        #[inline(always)]
        pub fn is(self, _mutant: Mutant) -> bool {
            false
        }
        /// The newest cluster version that the node knows.
        #[inline(always)]
        pub fn build(self) -> ClusterVersion {
            BUILD
        }
    }

    // The whole price of mutants in a build that is shipped.
    const _: () = assert!(size_of::<Quirk>() == 0, "mutants are absent from this build");
}

#[cfg(any(feature = "mutants", feature = "older"))]
mod faulty {
    use kith_wire::upgrade::{BUILD, ClusterVersion};

    use super::Mutant;

    /// What is wrong with this node: nothing, or one thing; and whether it is one release older than its build is.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Quirk {
        #[cfg(feature = "mutants")]
        mutant: Option<Mutant>,
        is_older: bool,
    }

    impl Quirk {
        /// Whether the node is this mutant.
        #[cfg(feature = "mutants")]
        pub fn is(self, mutant: Mutant) -> bool {
            self.mutant == Some(mutant)
        }
        /// Whether the node is this mutant: never in this build.
        #[cfg(not(feature = "mutants"))]
        #[inline(always)]
        pub fn is(self, _mutant: Mutant) -> bool {
            false
        }
        /// The same, one release older: it knows no cluster version but those that the release before this one knew, and nothing of what the last one brings.
        #[must_use]
        pub fn older(self) -> Self {
            Self { is_older: true, ..self }
        }
        /// The newest cluster version that the node knows.
        pub fn build(self) -> ClusterVersion {
            if self.is_older { BUILD.oldest() } else { BUILD }
        }
    }

    #[cfg(feature = "mutants")]
    pub use named::UnknownMutant;

    #[cfg(feature = "mutants")]
    mod named {
        use std::str::FromStr;

        use thiserror::Error;

        use super::{Mutant, Quirk};

        /// A word that names no mutant.
        #[derive(Debug, PartialEq, Eq, Error)]
        #[error("no mutant is named {name:?}; there are: {}", Mutant::ALL.iter().map(|one| one.name()).collect::<Vec<_>>().join(", "))]
        pub struct UnknownMutant {
            name: String,
        }

        impl FromStr for Quirk {
            type Err = UnknownMutant;
            fn from_str(name: &str) -> Result<Self, UnknownMutant> {
                let found = Mutant::ALL.iter().copied().find(|one| one.name() == name);
                found.map(|mutant| Self { mutant: Some(mutant), is_older: false }).ok_or_else(|| UnknownMutant { name: name.to_owned() })
            }
        }
    }
}
