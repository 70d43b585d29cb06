//! For each mutant, the shortest cell that must catch it, and by what.
//!
//! In: a mutant. Out: a request for a plan and the anomalies of which at least one must be found. A mutant that survives its cell means that a green run proves nothing there.
//! Invariant: all proofs together fit [`PROOF_SECONDS_MAX`]. Not here: building and starting the mutant.

use crate::checker::Anomaly;
use crate::name::{Mutant, Nemesis, Workload};
use crate::plan::Request;

/// Longest that all proofs take together, set-up included.
pub const PROOF_SECONDS_MAX: u64 = 45 * 60;

/// A cell and what it must find.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// The loads, together.
    pub workloads: &'static [Workload],
    /// The faults, in turn.
    pub nemeses: &'static [Nemesis],
    /// Length.
    pub seconds: u64,
    /// One of these must be found.
    pub caught_by: &'static [Anomaly],
}

/// The cell in which a node without a mutant must not be caught.
pub fn control() -> Proof {
    Proof {
        workloads: &[Workload::Append, Workload::Retry, Workload::Devices],
        nemeses: &[Nemesis::KillLeader, Nemesis::PartitionLeader],
        seconds: 45,
        caught_by: &[],
    }
}

impl Proof {
    /// The proof of a mutant.
    pub fn of(mutant: Mutant) -> Proof {
        use Anomaly as A;
        use Nemesis as N;
        use Workload as W;
        const LOST: &[Anomaly] = &[A::LostWrite, A::Vanished, A::SeqConflict, A::FinalDivergence];
        // Replicas that took different ways, told by whoever reads them.
        const SPLIT: &[Anomaly] = &[A::FinalDivergence, A::SeqConflict, A::OrderDisagreement, A::LostWrite, A::DuplicateMessage];
        // A device that ends with less than the replicas hold.
        const BEHIND: &[Anomaly] = &[A::EventGap, A::FinalDivergence, A::SlowConvergence, A::Vanished, A::LostWrite];
        let (workloads, nemeses, seconds, caught_by): (&'static [Workload], &'static [Nemesis], u64, &'static [Anomaly]) = match mutant {
            Mutant::AckBeforeFsync => (&[W::Append], &[N::PowerCutAll], 30, LOST),
            // A start syncs what was there before it: else the cut takes the accounts too, and little is left to be read.
            Mutant::WalSyncOff => (&[W::Append], &[N::KillAll, N::None, N::PowerCutAll], 50, LOST),
            Mutant::AckBeforeMajority => (&[W::Append], &[N::PartitionHalves], 40, LOST),
            Mutant::ReadWithoutIndex => (&[W::Append, W::Reads], &[N::PartitionHalves, N::PartitionLeader], 45, &[A::StaleRead]),
            // Only a node that stops in order writes all rows: after a kill its log fills the table again.
            Mutant::DedupInMemory => (&[W::Append, W::Retry], &[N::Rolling], 50, SPLIT),
            // A replica that knows no number before it leaves the next one out.
            Mutant::DedupNotInSnapshot => (&[W::Snapshot], &[N::None], 40, SPLIT),
            Mutant::SeqBeforeCommit => (&[W::Append, W::Retry], &[N::KillLeader], 40, &[A::Gap]),
            Mutant::ApplyOutOfOrder => (&[W::Append], &[N::None], 20, SPLIT),
            Mutant::ChecksumSkipped => {
                (&[W::Append], &[N::Corrupt], 60, &[A::CorruptValue, A::FinalDivergence, A::Phantom, A::LostWrite, A::SeqConflict])
            }
            Mutant::ResumeSkipsOne => (&[W::Devices], &[N::KillOne], 30, &[A::EventGap, A::Gap]),
            Mutant::ResumeRepeatsOne => (&[W::Append], &[N::None], 20, &[A::NonmonotonicEvent, A::UnsortedRead, A::BadFrom]),
            Mutant::FailOnTimeout => (&[W::Append], &[N::KillLeader], 40, &[A::AbortedRead]),
            Mutant::RemovedMaySend => (&[W::Membership], &[N::None], 30, &[A::MembershipNotLinearizable]),
            Mutant::RefAckedEarly | Mutant::OutboxDroppedEarly => {
                (&[W::Append, W::Devices], &[N::KillLeader, N::KillLeader, N::KillLeader], 50, BEHIND)
            }
            Mutant::EmptyDiskVotes => (&[W::Append], &[N::DiskEmpty, N::KillLeader], 90, LOST),
            Mutant::TwoOwners => (&[W::Move], &[N::PartitionLeader], 90, &[A::SeqConflict, A::DuplicateMessage, A::FinalDivergence]),
            Mutant::AckOutOfOrder => (&[W::Append, W::Retry], &[N::KillLeader], 40, &[A::DeviceOrder, A::RealtimeOrder]),
            Mutant::MemberBeforeDedup => (&[W::Membership], &[N::KillLeader], 40, &[A::AbortedRead, A::MembershipNotLinearizable]),
            Mutant::RefusalFreesNumber => (&[W::Append, W::Retry], &[N::None], 25, &[A::AbortedRead, A::DeviceOrder]),
            Mutant::IndexRowKeepsRev => (&[W::Devices], &[N::None], 20, BEHIND),
            // Two slots: long enough that links break, and shorter than sessions wait before they move.
            Mutant::PushLostSilently => (&[W::Append, W::Devices], &[N::PartitionLeader, N::PartitionLeader], 60, BEHIND),
            Mutant::ReadTwoSnapshots => (&[W::Membership], &[N::None], 30, &[A::ReadPastRemoval]),
            // The index only proposes: what it says of old words, rows refuse. What it does not have of new ones is missed.
            Mutant::EditNotIndexed => (&[W::Acts], &[N::None], 25, &[A::SearchLost]),
        };
        Proof { workloads, nemeses, seconds, caught_by }
    }

    /// What to plan.
    pub fn request(&self, seed: u64) -> Request {
        Request {
            seed,
            workloads: self.workloads.to_vec(),
            slots: self.nemeses.iter().map(|one| vec![*one]).collect(),
            nodes: 3,
            seconds: self.seconds,
            is_shifting: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Ready;
    use crate::plan::Plan;

    #[test]
    fn every_mutant_that_is_ready_is_in_the_node() {
        let node = include_str!("../../raft/machine/src/mutant.rs");
        let is_there = |mutant: &Mutant| node.contains(&format!(" \"{mutant}\" "));
        let (ready, later): (Vec<Mutant>, Vec<Mutant>) = Mutant::ALL.iter().copied().partition(|mutant| mutant.ready() == Ready::Now);
        assert!(ready.len() >= 20 && ready.iter().all(is_there) && !later.iter().any(is_there), "{ready:?}");
    }

    #[test]
    fn every_mutant_has_a_cell_that_fits_the_time() {
        let mut seconds = control().seconds + 20;
        for mutant in Mutant::ALL {
            let proof = Proof::of(*mutant);
            let plan = Plan::of(proof.request(1)).unwrap();
            let asked: std::collections::BTreeSet<_> = proof.nemeses.iter().filter(|one| **one != Nemesis::None).collect();
            assert!(!proof.caught_by.is_empty() && plan.required().len() == asked.len(), "{mutant}");
            seconds += proof.seconds + 20;
        }
        assert!(seconds <= PROOF_SECONDS_MAX, "{seconds} s");
    }
}
