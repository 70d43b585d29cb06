//! Which faults go with which loads, as data, and the runs that follow: smoke, nightly, soak.
//!
//! In: the table below, a seed. Out: requests for plans, each with a name that stays the same, so that a stopped matrix goes on where it was.
//! Invariant: smoke is one run for each row with a required cell, its required workloads together on one cluster, its variants in turn.
//! Not here: when things happen within a run (`plan`), running them.

use serde::Serialize;

use crate::name::{Nemesis, Ready, Workload};
use crate::plan::Request;
use crate::seed::Chance;

/// How often a cell is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    /// In smoke, and so always.
    Smoke,
    /// In nightly and soak.
    Nightly,
}

/// A row: faults of one kind, with the workloads that they are run under.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Its variants, in turn; those of one slot overlap.
    pub slots: &'static [&'static [Nemesis]],
    /// Append, retry, devices, reads, membership, cursors and presence, snapshot, move, acts, http, push: `*` smoke, `o` nightly, `-` never.
    cells: &'static str,
    /// Nodes.
    pub nodes: u8,
    /// Seconds of its smoke run.
    pub seconds: u64,
}

use Nemesis as N;

/// The table: which loads each fault is made under.
pub const ROWS: &[Row] = &[
    Row { name: "none", slots: &[&[N::None]], cells: "***********", nodes: 3, seconds: 60 },
    Row { name: "kill", slots: &[&[N::KillLeader], &[N::KillOne], &[N::KillMinority], &[N::KillAll]], cells: "*****o*o***", nodes: 3, seconds: 90 },
    Row { name: "pause", slots: &[&[N::Pause]], cells: "**o*ooooooo", nodes: 3, seconds: 50 },
    Row {
        name: "partition",
        slots: &[&[N::PartitionLeader], &[N::PartitionHalves], &[N::PartitionRing], &[N::Swizzle]],
        cells: "*****ooo*oo",
        nodes: 5,
        seconds: 100,
    },
    Row { name: "one-way", slots: &[&[N::PartitionOneWay]], cells: "*oo*o--ooo-", nodes: 3, seconds: 60 },
    Row { name: "packet", slots: &[&[N::Packet]], cells: "o**o-o--o--", nodes: 3, seconds: 60 },
    Row { name: "rebind", slots: &[&[N::Rebind]], cells: "-**--o-----", nodes: 3, seconds: 50 },
    // Only loads whose clients are all the SDK's: what speaks QUIC by hand has no other way.
    Row { name: "no-udp", slots: &[&[N::NoUdp]], cells: "*-*-o------", nodes: 3, seconds: 50 },
    Row { name: "power-cut", slots: &[&[N::PowerCutOne], &[N::PowerCutMinority], &[N::PowerCutAll]], cells: "**--o-*o**o", nodes: 3, seconds: 90 },
    Row { name: "torn", slots: &[&[N::Torn]], cells: "o-----o----", nodes: 3, seconds: 80 },
    Row { name: "corrupt", slots: &[&[N::Corrupt]], cells: "*--o--*----", nodes: 3, seconds: 80 },
    Row { name: "disk-replaced", slots: &[&[N::DiskEmpty], &[N::DiskOld]], cells: "o---o-o----", nodes: 3, seconds: 120 },
    Row {
        name: "disk",
        slots: &[&[N::DiskFull], &[N::ReadOnly], &[N::FsyncEio], &[N::FsyncSlow], &[N::DiskSlow]],
        cells: "*o----o----",
        nodes: 3,
        seconds: 110,
    },
    Row { name: "clock", slots: &[&[N::Clock]], cells: "o*-*-*---o-", nodes: 3, seconds: 60 },
    Row { name: "resources", slots: &[&[N::Cpu], &[N::Memory]], cells: "o-o--------", nodes: 3, seconds: 90 },
    Row { name: "member", slots: &[&[N::Member], &[N::Member, N::KillOne]], cells: "*o-o*-o*oo-", nodes: 5, seconds: 100 },
    Row { name: "rolling", slots: &[&[N::Rolling]], cells: "*-*---ooooo", nodes: 3, seconds: 70 },
    Row {
        name: "upgrade",
        slots: &[&[N::Upgrade], &[N::Upgrade, N::KillOne], &[N::Upgrade, N::Pause]],
        cells: "oo-----oo--",
        nodes: 3,
        seconds: 110,
    },
    Row { name: "failpoint", slots: &[&[N::Failpoint]], cells: "**o-o-*oooo", nodes: 3, seconds: 70 },
    Row {
        name: "pairs",
        slots: &[
            &[N::PartitionHalves, N::KillOne],
            &[N::Pause, N::PowerCutOne],
            &[N::Member, N::PartitionLeader, N::KillOne],
            &[N::Corrupt, N::KillOne],
        ],
        cells: "oo-oo-oo-o-",
        nodes: 5,
        seconds: 300,
    },
];

impl Row {
    /// Whether and when a workload is run here.
    pub fn cell(&self, workload: Workload) -> Option<Cell> {
        let column = match workload {
            Workload::Append => 0,
            Workload::Retry => 1,
            Workload::Devices => 2,
            Workload::Reads => 3,
            Workload::Membership => 4,
            Workload::Cursors | Workload::Presence => 5,
            Workload::Snapshot => 6,
            Workload::Move => 7,
            Workload::Acts => 8,
            Workload::Http => 9,
            Workload::Push => 10,
        };
        match self.cells.as_bytes()[column] {
            b'*' => Some(Cell::Smoke),
            b'o' => Some(Cell::Nightly),
            _ => None,
        }
    }

    fn workloads(&self, is_in: impl Fn(Cell) -> bool) -> Vec<Workload> {
        Workload::ALL.iter().copied().filter(|one| one.ready() == Ready::Now && self.cell(*one).is_some_and(&is_in)).collect()
    }

    fn slots(&self) -> Vec<Vec<Nemesis>> {
        self.slots.iter().map(|slot| slot.to_vec()).collect()
    }
}

/// Which runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Selection {
    /// One run for each row with a required cell.
    Smoke,
    /// About forty runs of five minutes.
    Nightly,
    /// One run of two hours whose faults shift every minute.
    Soak,
}

/// A run of a matrix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Run {
    /// Unique in its selection, and a good name for a folder.
    pub name: String,
    /// What to plan.
    pub request: Request,
}

/// What a run takes beyond its seconds: the cluster is made, replicas and devices become equal, the history is judged (27 s beside builds).
pub const SETUP_SECONDS: u64 = 25;

/// Longest smoke, with all that.
pub const SMOKE_SECONDS_MAX: u64 = 25 * 60;

/// The runs of a selection. The seed of each follows from `seed` and its name.
pub fn runs(selection: Selection, seed: u64) -> Vec<Run> {
    let run = |name: String, workloads: Vec<Workload>, slots: Vec<Vec<Nemesis>>, nodes: u8, seconds: u64| {
        let own = name.bytes().fold(seed, |seed, byte| Chance::new(seed ^ u64::from(byte)).draw());
        Run { name, request: Request { seed: own, workloads, slots, nodes, seconds, is_shifting: selection == Selection::Soak } }
    };
    match selection {
        Selection::Smoke => ROWS
            .iter()
            .map(|row| (row, row.workloads(|cell| cell == Cell::Smoke)))
            .filter(|(_, workloads)| !workloads.is_empty())
            .map(|(row, workloads)| run(row.name.to_owned(), workloads, row.slots(), row.nodes, row.seconds))
            .collect(),
        Selection::Nightly => {
            let mut all = Vec::new();
            for row in ROWS {
                // Few workloads a run: a load alone is heavier on what it tests than one of seven.
                for pair in row.workloads(|_| true).chunks(2) {
                    let name = pair.iter().fold(row.name.to_owned(), |name, workload| format!("{name}-{workload}"));
                    all.push(run(name, pair.to_vec(), row.slots(), row.nodes, 300));
                }
            }
            all
        }
        Selection::Soak => {
            let workloads = Workload::ALL.iter().copied().filter(|one| one.ready() == Ready::Now).collect();
            // Where clients may go over TCP, they would go around what hurts QUIC.
            let slots = ROWS.iter().filter(|row| !matches!(row.name, "none" | "no-udp")).flat_map(Row::slots).collect();
            vec![run("soak".to_owned(), workloads, slots, 5, 2 * 3_600)]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::Plan;

    #[test]
    fn every_nemesis_has_a_row() {
        let rows: BTreeSet<_> = ROWS.iter().flat_map(|row| row.slots.iter().copied().flatten()).copied().collect();
        let missing: Vec<_> = Nemesis::ALL.iter().filter(|one| !rows.contains(one)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn smoke_has_every_row_that_can_be_loaded_and_fits_its_time() {
        assert!(ROWS.iter().all(|row| row.cells.len() == 11));
        let smoke = runs(Selection::Smoke, 1);
        assert_eq!(smoke.len(), 15, "{:?}", smoke.iter().map(|run| &run.name).collect::<Vec<_>>());
        let seconds: u64 = smoke.iter().map(|run| run.request.seconds + SETUP_SECONDS).sum();
        assert!(seconds <= SMOKE_SECONDS_MAX, "{seconds} s");
    }

    #[test]
    fn every_run_makes_a_plan_with_all_its_faults() {
        for selection in [Selection::Smoke, Selection::Nightly, Selection::Soak] {
            let runs = runs(selection, 7);
            let names: BTreeSet<_> = runs.iter().map(|run| &run.name).collect();
            assert_eq!(names.len(), runs.len(), "names are unique");
            for run in &runs {
                let plan = Plan::of(run.request.clone()).unwrap();
                let asked: BTreeSet<_> = run.request.slots.iter().flatten().copied().filter(|one| *one != Nemesis::None).collect();
                assert_eq!(plan.required().into_iter().collect::<BTreeSet<_>>(), asked, "{}", run.name);
            }
        }
    }

    #[test]
    fn nightly_has_tens_of_runs() {
        let count = runs(Selection::Nightly, 1).len();
        assert!((25..=70).contains(&count), "{count}");
    }
}
