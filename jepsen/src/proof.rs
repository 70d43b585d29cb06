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
    /// The load.
    pub workload: Workload,
    /// The faults, in turn.
    pub nemeses: &'static [Nemesis],
    /// Length.
    pub seconds: u64,
    /// One of these must be found.
    pub caught_by: &'static [Anomaly],
}

impl Proof {
    /// The proof of a mutant.
    pub fn of(mutant: Mutant) -> Proof {
        use Anomaly as A;
        use Nemesis as N;
        use Workload as W;
        const LOST: &[Anomaly] = &[A::LostWrite, A::Vanished, A::SeqConflict, A::FinalDivergence];
        let (workload, nemeses, seconds, caught_by): (Workload, &'static [Nemesis], u64, &'static [Anomaly]) = match mutant {
            Mutant::AckBeforeFsync | Mutant::WalSyncOff => (W::Append, &[N::PowerCutAll], 60, LOST),
            Mutant::AckBeforeMajority => (W::Append, &[N::PartitionLeader], 60, LOST),
            Mutant::ReadWithoutIndex => (W::Reads, &[N::PartitionLeader, N::Pause], 90, &[A::StaleRead]),
            Mutant::DedupInMemory => (W::Retry, &[N::KillAll], 60, &[A::DuplicateMessage]),
            Mutant::DedupNotInSnapshot => (W::Retry, &[N::DiskEmpty, N::KillLeader], 120, &[A::DuplicateMessage]),
            Mutant::SeqBeforeCommit => (W::Append, &[N::KillLeader, N::PartitionLeader], 60, &[A::Gap]),
            Mutant::ApplyOutOfOrder => (W::Append, &[N::None], 30, &[A::FinalDivergence, A::SeqConflict, A::OrderDisagreement]),
            Mutant::ChecksumSkipped => (W::Append, &[N::Corrupt], 80, &[A::CorruptValue, A::FinalDivergence, A::Phantom, A::LostWrite]),
            Mutant::ResumeSkipsOne => (W::Devices, &[N::Rebind, N::KillOne], 60, &[A::EventGap]),
            Mutant::ResumeRepeatsOne => (W::Devices, &[N::Rebind, N::KillOne], 60, &[A::NonmonotonicEvent]),
            Mutant::FailOnTimeout => (W::Retry, &[N::PartitionLeader], 60, &[A::AbortedRead]),
            Mutant::RemovedMaySend => (W::Membership, &[N::None], 30, &[A::MembershipNotLinearizable]),
            Mutant::RefAckedEarly | Mutant::OutboxDroppedEarly => {
                (W::Devices, &[N::PowerCutAll, N::KillLeader], 90, &[A::EventGap, A::FinalDivergence, A::SlowConvergence])
            }
            Mutant::EmptyDiskVotes => (W::Append, &[N::DiskEmpty, N::KillLeader], 120, LOST),
            Mutant::TwoOwners => (W::Move, &[N::PartitionLeader], 90, &[A::SeqConflict, A::DuplicateMessage, A::FinalDivergence]),
            Mutant::AckOutOfOrder => (W::Append, &[N::None], 30, &[A::DeviceOrder, A::RealtimeOrder]),
            Mutant::MemberBeforeDedup => (W::Membership, &[N::KillLeader], 60, &[A::AbortedRead, A::MembershipNotLinearizable]),
            Mutant::RefusalFreesNumber => (W::Retry, &[N::None], 30, &[A::AbortedRead, A::DeviceOrder]),
            Mutant::IndexRowKeepsRev | Mutant::PushLostSilently => {
                (W::Devices, &[N::Packet, N::Rebind], 80, &[A::EventGap, A::FinalDivergence, A::SlowConvergence])
            }
            Mutant::ReadTwoSnapshots => (W::Membership, &[N::FsyncSlow], 80, &[A::ReadPastRemoval]),
        };
        Proof { workload, nemeses, seconds, caught_by }
    }

    /// What to plan.
    pub fn request(&self, seed: u64) -> Request {
        Request {
            seed,
            workloads: vec![self.workload],
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
    use crate::plan::Plan;

    #[test]
    fn every_mutant_has_a_cell_that_fits_the_time() {
        let mut seconds = 0;
        for mutant in Mutant::ALL {
            let proof = Proof::of(*mutant);
            let plan = Plan::of(proof.request(1)).unwrap();
            let asked = proof.nemeses.iter().filter(|one| **one != Nemesis::None).count();
            assert!(!proof.caught_by.is_empty() && plan.required().len() == asked, "{mutant}");
            seconds += proof.seconds + 20;
        }
        assert!(seconds <= PROOF_SECONDS_MAX, "{seconds} s");
    }
}
