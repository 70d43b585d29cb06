//! What a run will do and when, from a seed: quiet, faults, heal, final reads.
//!
//! In: seed, workloads, slots of nemeses, nodes, seconds. Out: a [`Plan`], stored as `plan.json`. Pure: the same request gives the same plan.
//! Invariants: nothing is installed in the quiet beginning or after the final heal; each fault is healed, and before the next slot begins; only the nemeses of one slot overlap;
//! nodes that are named are distinct, and never a majority unless the nemesis is a total outage.
//! Bounds: 3 to 9 nodes, 24 hours. Not here: making a fault, finding out who leads (a target may say "the leader").

use serde::{Deserialize, Serialize};

use crate::name::{Nemesis, Workload};
use crate::seed::Chance;

/// What is asked of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// All chance comes from it.
    pub seed: u64,
    /// Loads, together on one cluster.
    pub workloads: Vec<Workload>,
    /// Slots in turn; the nemeses of one slot overlap.
    pub slots: Vec<Vec<Nemesis>>,
    /// Nodes.
    pub nodes: u8,
    /// Length of the run without set-up and reports.
    pub seconds: u64,
    /// A quarter of the slots stays quiet, and each slot is a random one: for long runs.
    #[serde(default)]
    pub is_shifting: bool,
}

/// Why a request makes no plan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too few or too many nodes.
    #[error("{0} nodes: between 3 and 9 are needed")]
    Nodes(u8),
    /// Too short or too long.
    #[error("{0} seconds: between {SECONDS_MIN} and {SECONDS_MAX} are needed")]
    Seconds(u64),
    /// No load.
    #[error("no workload")]
    NoWorkload,
    /// No slot, or an empty one.
    #[error("no nemesis (the baseline is called `none`)")]
    NoNemesis,
    /// A ring needs five.
    #[error("{0} needs at least {1} nodes")]
    TooFewFor(Nemesis, u8),
}

/// Shortest run that has room for a fault.
pub const SECONDS_MIN: u64 = 15;
/// Longest run.
pub const SECONDS_MAX: u64 = 24 * 3_600;

/// Who is hit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The node that leads most groups at that moment.
    Leader,
    /// These nodes, from 0.
    Nodes(Vec<u8>),
    /// All nodes.
    All,
    /// Every client connection.
    Clients,
}

/// How a fault is made; what is meant depends on the nemesis. Times in ms.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Shape {
    /// Sides of a partition, or the order in which links stop and come back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sides: Vec<Vec<u8>>,
    /// One-way: the target still hears, but is not heard.
    #[serde(skip_serializing_if = "is_false")]
    pub hears: bool,
    /// Packets lost, duplicated, reordered, corrupted, of a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet: Option<Packet>,
    /// Delay of an fsync, or length of a pause within the fault.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_ms: u64,
    /// Shift of a wall clock.
    #[serde(skip_serializing_if = "is_zero_signed")]
    pub shift_ms: i64,
    /// How many times within the fault: clock strobes, repeated kills. Of a fail point or an upgrade: which in a row it is, so that each part has its turn.
    #[serde(skip_serializing_if = "is_zero")]
    pub times: u64,
    /// Sectors that survive, of a hundred; CPU of a hundred.
    #[serde(skip_serializing_if = "is_zero")]
    pub percent: u64,
    /// For whatever the nemesis chooses itself: files, bits, fail points.
    pub seed: u64,
}

/// What a switch does to packets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Packet {
    /// Of a hundred.
    pub lost: u64,
    /// Of a hundred.
    pub duplicated: u64,
    /// Of a hundred.
    pub corrupted: u64,
    /// Mean delay.
    pub delay_ms: u64,
    /// Around the mean; with it, packets overtake.
    pub jitter_ms: u64,
}

fn is_false(one: &bool) -> bool {
    !*one
}
fn is_zero(one: &u64) -> bool {
    *one == 0
}
fn is_zero_signed(one: &i64) -> bool {
    *one == 0
}

/// One fault: when it begins and ends, in ms from the start of the load.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Which.
    pub nemesis: Nemesis,
    /// Whom.
    pub target: Target,
    /// How.
    pub shape: Shape,
    /// Installed then.
    pub install_at_ms: u64,
    /// Healed then; for kills, started again then.
    pub heal_at_ms: u64,
}

/// A run's schedule, in ms from the start of the load.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What was asked.
    pub request: Request,
    /// Faults begin after this.
    pub quiet_until_ms: u64,
    /// By increasing beginning.
    pub faults: Vec<Fault>,
    /// Everything is healed, whatever the state; the load goes on for a while, so that liveness shows.
    pub heal_at_ms: u64,
    /// The load stops; final reads begin and go on until all is equal or the time for that is over.
    pub final_reads_at_ms: u64,
}

impl Plan {
    /// Makes the plan.
    ///
    /// # Errors
    /// The request is out of bounds.
    pub fn of(request: Request) -> Result<Plan, PlanError> {
        if !(3..=9).contains(&request.nodes) {
            return Err(PlanError::Nodes(request.nodes));
        }
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&request.seconds) {
            return Err(PlanError::Seconds(request.seconds));
        }
        if request.workloads.is_empty() {
            return Err(PlanError::NoWorkload);
        }
        if request.slots.is_empty() || request.slots.iter().any(Vec::is_empty) {
            return Err(PlanError::NoNemesis);
        }
        if let Some(ring) = request.slots.iter().flatten().find(|one| **one == Nemesis::PartitionRing && request.nodes < 5) {
            return Err(PlanError::TooFewFor(*ring, 5));
        }
        let total = request.seconds * 1_000;
        let quiet_until_ms = (total / 6).clamp(2_000, 20_000);
        let final_reads_at_ms = total;
        // What acks within 15 s of heal must be seen to: long runs load for 20 s after it, short ones for a third.
        let heal_at_ms = total - (total / 3).clamp(5_000, 20_000);
        let mut chance = Chance::new(request.seed);
        let mut faults = Vec::new();
        let mut now = quiet_until_ms;
        let mut turn = 0usize;
        loop {
            let slot = if request.is_shifting { chance.one_of(&request.slots) } else { &request.slots[turn % request.slots.len()] };
            let left = heal_at_ms.saturating_sub(now);
            // So that every slot has its turn at least once, a slot never takes more than its share.
            let share = ((heal_at_ms - quiet_until_ms) / request.slots.len() as u64).max(2_000);
            let most = if request.is_shifting { 60_000 } else { share * 2 / 3 };
            let length = slot.iter().map(|one| length(*one, most, &mut chance)).max().unwrap_or(0).min(left * 2 / 3);
            if left < 1_000 || length < 500 {
                break;
            }
            let is_quiet = request.is_shifting && chance.percent(25);
            for nemesis in slot.iter().copied().filter(|nemesis| *nemesis != Nemesis::None && !is_quiet) {
                // Those of one slot begin a little apart, so that either may come first.
                let begin = now + chance.within(0, length / 4);
                let (target, mut shape) = aim(nemesis, request.nodes, length, &mut chance);
                if matches!(nemesis, Nemesis::Failpoint | Nemesis::Upgrade) {
                    shape.times = faults.iter().filter(|fault: &&Fault| fault.nemesis == nemesis).count() as u64;
                }
                faults.push(Fault { nemesis, target, shape, install_at_ms: begin, heal_at_ms: now + length });
            }
            let rest = chance.within(length / 4, length / 2).max(300);
            now += length + rest;
            turn += 1;
        }
        faults.sort_by_key(|fault| fault.install_at_ms);
        Ok(Plan { request, quiet_until_ms, faults, heal_at_ms, final_reads_at_ms })
    }

    /// The nemeses that must have bitten: those of the plan.
    pub fn required(&self) -> Vec<Nemesis> {
        let mut all: Vec<_> = self.faults.iter().map(|fault| fault.nemesis).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// How long a fault lasts: kills are short, what must be noticed by timeouts is longer.
fn length(nemesis: Nemesis, most: u64, chance: &mut Chance) -> u64 {
    let (from, to) = match nemesis {
        Nemesis::KillOne | Nemesis::KillLeader | Nemesis::KillMinority | Nemesis::KillAll => (500, 6_000),
        Nemesis::PowerCutOne | Nemesis::PowerCutMinority | Nemesis::PowerCutAll | Nemesis::Torn => (1_000, 8_000),
        Nemesis::Failpoint => (6_000, 10_000),
        Nemesis::Pause => (2_000, 30_000),
        Nemesis::Rolling | Nemesis::Upgrade | Nemesis::Member => (10_000, 40_000),
        Nemesis::Corrupt | Nemesis::DiskEmpty | Nemesis::DiskOld => (3_000, 15_000),
        _ => (4_000, 20_000),
    };
    chance.within(from.min(most), to.min(most))
}

/// Whom and how.
fn aim(nemesis: Nemesis, nodes: u8, length: u64, chance: &mut Chance) -> (Target, Shape) {
    let mut order: Vec<u8> = (0..nodes).collect();
    chance.shuffle(&mut order);
    let spare = usize::from((nodes - 1) / 2);
    let one = Target::Nodes(vec![order[0]]);
    let few = Target::Nodes(order[..spare].to_vec());
    let leader_or_one = if chance.percent(60) { Target::Leader } else { one.clone() };
    let mut shape = Shape { seed: chance.draw(), ..Shape::default() };
    let target = match nemesis {
        Nemesis::None => Target::Nodes(Vec::new()),
        Nemesis::KillLeader | Nemesis::PartitionLeader => Target::Leader,
        Nemesis::KillAll | Nemesis::PowerCutAll | Nemesis::Rolling | Nemesis::Upgrade => Target::All,
        Nemesis::KillMinority | Nemesis::PowerCutMinority => few,
        Nemesis::KillOne | Nemesis::PowerCutOne | Nemesis::DiskEmpty | Nemesis::DiskOld | Nemesis::Member | Nemesis::Cpu | Nemesis::Memory => {
            shape.percent = if nemesis == Nemesis::Cpu { 10 } else { 0 };
            one
        }
        Nemesis::Corrupt => one,
        Nemesis::Pause => {
            shape.delay_ms = length;
            leader_or_one
        }
        Nemesis::PartitionHalves => {
            shape.sides = vec![order[..spare].to_vec(), order[spare..].to_vec()];
            Target::All
        }
        Nemesis::PartitionRing => {
            // Each node hears its neighbours in a ring: itself and two of five are a majority, and no two have the same.
            shape.sides =
                (0..order.len()).map(|at| vec![order[(at + order.len() - 1) % order.len()], order[at], order[(at + 1) % order.len()]]).collect();
            Target::All
        }
        Nemesis::PartitionOneWay => {
            shape.hears = chance.percent(50);
            leader_or_one
        }
        Nemesis::Swizzle => {
            let mut back = order[..=spare].to_vec();
            let stop = back.clone();
            chance.shuffle(&mut back);
            shape.sides = vec![stop, back];
            Target::All
        }
        Nemesis::Packet => {
            let lost = *chance.one_of(&[1, 10, 30]);
            let delay_ms = *chance.one_of(&[0, 20, 100, 500]);
            let packet = Packet {
                lost,
                duplicated: chance.within(0, 5),
                corrupted: chance.within(0, 3),
                delay_ms,
                jitter_ms: chance.within(0, delay_ms.max(10)),
            };
            shape.packet = Some(packet);
            if chance.percent(50) { Target::All } else { one }
        }
        Nemesis::Rebind => {
            shape.times = chance.within(1, 5);
            Target::Clients
        }
        Nemesis::NoUdp => Target::Clients,
        Nemesis::Torn => {
            shape.percent = chance.within(5, 95);
            one
        }
        Nemesis::FsyncSlow => {
            shape.delay_ms = chance.within(200, 2_000);
            leader_or_one
        }
        Nemesis::DiskSlow => {
            // Besides its bandwidth: of each request.
            shape.delay_ms = chance.within(0, 50);
            leader_or_one
        }
        Nemesis::FsyncEio | Nemesis::DiskFull | Nemesis::ReadOnly | Nemesis::Failpoint => leader_or_one,
        Nemesis::Clock => {
            let shift = chance.within(1_000, 3_600_000) as i64;
            shape.shift_ms = if chance.percent(50) { shift } else { -shift };
            shape.times = chance.within(1, 10);
            one
        }
    };
    (target, shape)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> impl Strategy<Value = Request> {
        let nemesis = proptest::sample::select(Nemesis::ALL);
        let slots = proptest::collection::vec(proptest::collection::vec(nemesis, 1..3), 1..6);
        (any::<u64>(), slots, 5u8..10, SECONDS_MIN..2_000, any::<bool>()).prop_map(|(seed, slots, nodes, seconds, is_shifting)| Request {
            seed,
            workloads: vec![Workload::Append],
            slots,
            nodes,
            seconds,
            is_shifting,
        })
    }

    proptest! {
        #[test]
        fn a_plan_keeps_its_phases(request in request()) {
            let plan = Plan::of(request.clone()).unwrap();
            prop_assert_eq!(&plan, &Plan::of(request.clone()).unwrap(), "same seed, same plan");
            prop_assert!(plan.quiet_until_ms < plan.heal_at_ms && plan.heal_at_ms < plan.final_reads_at_ms);
            for fault in &plan.faults {
                prop_assert!(fault.install_at_ms >= plan.quiet_until_ms, "{:?}", fault);
                prop_assert!(fault.install_at_ms < fault.heal_at_ms && fault.heal_at_ms <= plan.heal_at_ms, "{:?}", fault);
                prop_assert!(request.slots.iter().flatten().any(|asked| *asked == fault.nemesis));
                if let Target::Nodes(nodes) = &fault.target {
                    let different: std::collections::BTreeSet<_> = nodes.iter().collect();
                    prop_assert!(!nodes.is_empty() && different.len() == nodes.len() && nodes.iter().all(|node| *node < request.nodes));
                    prop_assert!(nodes.len() * 2 < usize::from(request.nodes), "a minority only: {:?}", fault);
                }
            }
            let text = serde_json::to_string(&plan).unwrap();
            prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        }

        #[test]
        fn only_one_slot_is_in_place_at_a_time(request in request()) {
            let plan = Plan::of(request.clone()).unwrap();
            let most = request.slots.iter().map(Vec::len).max().unwrap_or(0);
            for fault in &plan.faults {
                let together = plan.faults.iter().filter(|other| other.install_at_ms <= fault.install_at_ms && fault.install_at_ms < other.heal_at_ms).count();
                prop_assert!(together <= most, "{} in place at {} ms", together, fault.install_at_ms);
            }
        }

        #[test]
        fn every_slot_has_its_turn(mut request in request()) {
            request.is_shifting = false;
            request.seconds = request.seconds.max(10 * request.slots.len() as u64 + 30);
            let plan = Plan::of(request.clone()).unwrap();
            for nemesis in request.slots.iter().flatten().filter(|nemesis| **nemesis != Nemesis::None) {
                prop_assert!(plan.required().contains(nemesis), "{}", nemesis);
            }
        }
    }

    #[test]
    fn a_request_out_of_bounds_says_why() {
        let good =
            Request { seed: 1, workloads: vec![Workload::Append], slots: vec![vec![Nemesis::None]], nodes: 3, seconds: 30, is_shifting: false };
        assert!(Plan::of(good.clone()).is_ok_and(|plan| plan.faults.is_empty()));
        assert_eq!(Plan::of(Request { nodes: 2, ..good.clone() }), Err(PlanError::Nodes(2)));
        assert_eq!(Plan::of(Request { seconds: 5, ..good.clone() }), Err(PlanError::Seconds(5)));
        assert_eq!(Plan::of(Request { slots: vec![vec![]], ..good.clone() }), Err(PlanError::NoNemesis));
        assert_eq!(Plan::of(Request { slots: vec![vec![Nemesis::PartitionRing]], ..good }), Err(PlanError::TooFewFor(Nemesis::PartitionRing, 5)));
    }
}
