//! Sessions all over the world that look for an edge, and look again when theirs is lost: the ranking and the planner together, from one seed.
//!
//! In: a seed, how many sessions and regions. Out: a report, and what of it is out of bounds. Each asker guesses its region (one in ten wrongly),
//! asks, measures whom it was told, and asks again until nothing nearer turns up; then it tries the edges of the answer in their order, and a full one
//! refuses it. What the ranking knows of loads is as old as the last hundredth of all who ask. Leaders are those of a planned layout.
#![allow(clippy::unwrap_used, dead_code, reason = "a simulation fails by panicking; the example prints more than the test")]

use std::collections::BTreeMap;

use kith_machine::meta::{
    layout::{Group, Layout, Limits, Node},
    nearest::{Asker, Edge, Fleet},
};
use kith_wire::id::{GroupId, NodeId, RegionId, Timestamp};

/// What is simulated.
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) sessions: u32,
    /// At least 4.
    pub(crate) regions: u8,
}

/// One part of a run.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) what: &'static str,
    pub(crate) asked: u64,
    /// Of all sessions that are held, those in the region nearest to them that is there.
    pub(crate) nearest_percent: f64,
    /// The most loaded node of a region against the mean there, by capacity, over all regions that lost or gained.
    pub(crate) worst_over_mean: f64,
    /// What chance alone allows.
    pub(crate) worst_allowed: f64,
    /// The most that one node took of those who asked, against its share of the free room of its region.
    pub(crate) herd: f64,
    pub(crate) herd_allowed: f64,
    pub(crate) refused: u64,
    pub(crate) refused_allowed: u64,
    pub(crate) placed_nowhere: u64,
    pub(crate) leader_over_mean: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) phases: Vec<Phase>,
    pub(crate) nodes: usize,
    pub(crate) groups: usize,
}

impl Report {
    /// What is out of bounds.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for phase in &self.phases {
            let mut check = |is_kept: bool, what: &str| {
                if !is_kept {
                    faults.push(format!("{}: {what}", phase.what));
                }
            };
            check(phase.nearest_percent >= 95.0, "less than 95 % are at the nearest region");
            check(phase.worst_over_mean <= phase.worst_allowed, "a node holds too much of its region");
            check(phase.herd <= phase.herd_allowed, "too many ran to one node");
            check(phase.refused <= phase.refused_allowed, "too many were refused");
            check(phase.placed_nowhere == 0, "some are nowhere");
            check(phase.leader_over_mean <= 1.15, "a node leads too much");
        }
        faults
    }
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

#[derive(Clone, Copy)]
struct Session {
    seed: u64,
    group: u32,
    /// The edge that holds it, by number.
    edge: u32,
    region: u8,
    access_ms: u8,
}

struct Site {
    node: NodeId,
    region: u8,
    zone: u8,
    capacity: u64,
    held: u64,
    is_there: bool,
}

struct World {
    random: Random,
    sites: Vec<Site>,
    between: Vec<Vec<u32>>,
    layout: Layout,
    leaders: Vec<Option<NodeId>>,
    fleet: Fleet,
    sessions: Vec<Session>,
}

const NOWHERE: u32 = u32::MAX;
const NOW: Timestamp = Timestamp::new(1_000_000_000);
const WEIGHTS: u64 = 4;

pub(crate) fn run(shape: &Shape) -> Report {
    let mut world = World::new(shape);
    let mut report = Report { nodes: world.sites.len(), groups: world.layout.groups.len() - 1, ..Report::default() };
    let all: Vec<usize> = (0..world.sessions.len()).collect();
    report.phases.push(world.phase("all connect", all));
    let busiest = (0..world.sites.len()).max_by_key(|at| world.sites[*at].held).unwrap();
    report.phases.push(world.lose("a node is lost", |at, _| at == busiest));
    // Elsewhere than the node.
    let region = (world.sites[busiest].region + 1) % shape.regions;
    report.phases.push(world.lose("a zone is lost", |_, site| site.region == region && site.zone == 0));
    let region = (region + 1) % shape.regions;
    report.phases.push(world.lose("a region is lost", |_, site| site.region == region));
    report
}

impl World {
    fn new(shape: &Shape) -> Self {
        let mut random = Random(shape.seed);
        // A grid, shaken: a trip of 1 ms for each 100 km, and 10 ms on the way.
        let places: Vec<(f64, f64)> = (0..shape.regions)
            .map(|at| {
                let mut shake = |cell: u8| f64::from(cell) * 30.0 + random.below(600) as f64 / 100.0;
                (shake(at % 6), shake(at / 6))
            })
            .collect();
        let ms = |a: (f64, f64), b: (f64, f64)| if a == b { 4 } else { 10 + (a.0 - b.0).hypot(a.1 - b.1) as u32 };
        let between: Vec<Vec<u32>> = places.iter().map(|a| places.iter().map(|b| ms(*a, *b)).collect()).collect();
        let shares: Vec<u64> = (0..shape.regions).map(|_| 1 + random.below(WEIGHTS)).collect();
        let total: u64 = shares.iter().sum();
        let (mut sites, mut layout) = (Vec::new(), Layout::default());
        for (region, share) in (0..shape.regions).zip(&shares) {
            let count = 3 * (1 + share);
            let units: Vec<u64> = (0..count).map(|_| 1 + random.below(2)).collect();
            let all: u64 = units.iter().sum();
            for (at, unit) in (0..).zip(units) {
                let node = NodeId::new(sites.len() as u64 + 1);
                let zone = at % 3;
                // Three fifths are used.
                let capacity = u64::from(shape.sessions) * share * unit * 5 / (total * all * 3) + 1;
                let row = Node { region: RegionId::new(region), zone: format!("zone-{zone}"), capacity: unit as u32, ..Node::default() };
                layout.nodes.insert(node, row);
                sites.push(Site { node, region, zone, capacity, held: 0, is_there: true });
            }
            for _ in 0..count * 8 {
                let group = GroupId::new(layout.groups.len() as u32 + 1);
                layout.groups.insert(group, Group { region: RegionId::new(region), load: 1, ..Group::default() });
            }
        }
        layout.groups.insert(GroupId::META, Group::default());
        for _ in 0..4 {
            let plan = layout.plan(NOW, Limits::WHOLE);
            layout.apply(&plan, Timestamp::new(0));
        }
        let first_group: Vec<u32> = (0..=shape.regions)
            .map(|region| 1 + layout.groups.iter().skip(1).filter(|(_, group)| group.region.get() < region).count() as u32)
            .collect();
        let sessions = (0..shape.sessions).map(|_| {
            let mut left = random.below(total);
            let region = shares.iter().position(|share| left.checked_sub(*share).map(|rest| left = rest).is_none()).unwrap() as u8;
            // One in twelve is not at home.
            let home = if random.below(12) == 0 { random.below(u64::from(shape.regions)) as u8 } else { region };
            let groups = first_group[home as usize]..first_group[home as usize + 1];
            let group = groups.start + random.below(u64::from(groups.end - groups.start)) as u32;
            Session { seed: random.next(), group, edge: NOWHERE, region, access_ms: random.below(12) as u8 }
        });
        let sessions = sessions.collect();
        let edges = sites.iter().map(|site| Edge { node: site.node, region: RegionId::new(site.region), sessions: 0, capacity: site.capacity });
        let pairs = (0..shape.regions).flat_map(|a| (0..shape.regions).map(move |b| (a, b))).filter(|(a, b)| a != b);
        let known = pairs.map(|(a, b)| ((RegionId::new(a), RegionId::new(b)), between[a as usize][b as usize]));
        let fleet = Fleet::new(edges.collect(), known.collect());
        let mut world = Self { random, sites, between, layout, leaders: Vec::new(), fleet, sessions };
        world.elect();
        world
    }

    fn elect(&mut self) {
        self.leaders = self.layout.groups.keys().map(|group| self.layout.leader(*group, NOW)).collect();
    }

    fn tell(&mut self) {
        for site in &self.sites {
            self.fleet.note(site.node, site.held, if site.is_there { site.capacity } else { 0 });
        }
    }

    fn lose(&mut self, what: &'static str, is_lost: impl Fn(usize, &Site) -> bool) -> Phase {
        for at in 0..self.sites.len() {
            if self.sites[at].is_there && is_lost(at, &self.sites[at]) {
                let site = &mut self.sites[at];
                (site.is_there, site.held) = (false, 0);
                self.layout.nodes.get_mut(&site.node).unwrap().silent_since = Some(NOW);
            }
        }
        self.elect();
        let gone = |session: &Session| !self.sites[session.edge as usize].is_there;
        let mut homeless: Vec<usize> = (0..self.sessions.len()).filter(|at| gone(&self.sessions[*at])).collect();
        // In any order: each waits for a moment of its own.
        for at in (1..homeless.len()).rev() {
            let other = self.random.below(at as u64 + 1) as usize;
            homeless.swap(at, other);
        }
        self.phase(what, homeless)
    }

    fn phase(&mut self, what: &'static str, who: Vec<usize>) -> Phase {
        self.tell();
        let before: Vec<u64> = self.sites.iter().map(|site| site.held).collect();
        let (mut refused, mut placed_nowhere) = (0, 0);
        let every = (who.len() / 100).max(1);
        let asked = who.len() as u64;
        for (count, at) in who.into_iter().enumerate() {
            if count % every == 0 {
                self.tell();
            }
            match self.connect(at) {
                Some(refusals) => refused += refusals,
                None => placed_nowhere += 1,
            }
        }
        let mut phase = Phase {
            what,
            asked,
            nearest_percent: self.nearest_percent(),
            worst_over_mean: 0.0,
            worst_allowed: 0.0,
            herd: 0.0,
            herd_allowed: f64::MAX,
            refused,
            // Where a whole region looks for room, near ones fill up.
            refused_allowed: if what.contains("region") { asked * 3 } else { asked / 50 },
            placed_nowhere,
            leader_over_mean: self.leader_over_mean(),
        };
        self.measure(&before, &mut phase);
        phase
    }

    fn rtt(&self, session: &Session, site: usize) -> u32 {
        let to = &self.sites[site];
        let noise = (session.seed ^ to.node.get().wrapping_mul(0x9e37_79b9)) % 5;
        self.between[session.region as usize][to.region as usize] + u32::from(session.access_ms) + noise as u32
    }

    /// Refusals until it was let in; `None` when nobody had room.
    fn connect(&mut self, at: usize) -> Option<u64> {
        let session = self.sessions[at];
        let regions = self.between.len() as u64;
        let guess = if session.seed.is_multiple_of(10) { (session.seed >> 8) % regions } else { u64::from(session.region) };
        let mut asker = Asker {
            seed: session.seed,
            measured: BTreeMap::new(),
            region: Some(RegionId::new(guess as u8)),
            home_leader: self.leaders[session.group as usize],
        };
        let mut refusals = 0;
        let mut nearest = u32::MAX;
        for _ in 0..8 {
            let answer = self.fleet.rank(&asker);
            let ms: Vec<(NodeId, u32)> = answer.iter().map(|node| (*node, self.rtt(&session, node.get() as usize - 1))).collect();
            let now = ms.iter().map(|(_, ms)| *ms).min().unwrap_or(u32::MAX);
            let has_news = ms.iter().any(|(node, _)| !asker.measured.contains_key(node));
            asker.measured.extend(ms);
            // Something nearer has turned up: who is near that?
            if now.saturating_add(20) <= nearest && has_news {
                nearest = now;
                continue;
            }
            for node in answer {
                let site = &mut self.sites[node.get() as usize - 1];
                if site.is_there && site.held < site.capacity {
                    site.held += 1;
                    self.sessions[at].edge = node.get() as u32 - 1;
                    return Some(refusals);
                }
                refusals += 1;
                // A full edge is known to be full: it says so itself.
                self.fleet.note(node, site.held, if site.is_there { site.capacity } else { 0 });
            }
        }
        None
    }

    fn nearest_percent(&self) -> f64 {
        let there: Vec<bool> =
            (0..self.between.len()).map(|region| self.sites.iter().any(|site| site.region as usize == region && site.is_there)).collect();
        let held = || self.sessions.iter().filter(|session| session.edge != NOWHERE);
        let is_near = |session: &&Session| {
            let from = &self.between[session.region as usize];
            let nearest = (0..from.len()).filter(|region| there[*region]).min_by_key(|region| from[*region]);
            nearest == Some(self.sites[session.edge as usize].region as usize)
        };
        held().filter(is_near).count() as f64 * 100.0 / held().count().max(1) as f64
    }

    fn measure(&self, before: &[u64], phase: &mut Phase) {
        for region in 0..self.between.len() {
            let here: Vec<usize> = (0..self.sites.len()).filter(|at| self.sites[*at].region as usize == region && self.sites[*at].is_there).collect();
            let sum = |of: &dyn Fn(usize) -> u64| here.iter().map(|at| of(*at)).sum::<u64>() as f64;
            let (held, capacity) = (sum(&|at| self.sites[at].held), sum(&|at| self.sites[at].capacity));
            let came = held - sum(&|at| before[at]);
            let free = capacity - sum(&|at| before[at]);
            if came < 1.0 || free < 1.0 {
                continue;
            }
            for at in here {
                let site = &self.sites[at];
                assert!(site.held <= site.capacity, "node {} is over its capacity", site.node);
                let expected = held * site.capacity as f64 / capacity;
                let over = site.held as f64 / expected.max(1.0);
                let allowed = 1.15 + 4.0 / expected.max(1.0).sqrt();
                if over / allowed > phase.worst_over_mean / phase.worst_allowed.max(1.0) {
                    (phase.worst_over_mean, phase.worst_allowed) = (over, allowed);
                }
                let share = came * (site.capacity - before[at]) as f64 / free;
                let herd = (site.held - before[at]) as f64 / share.max(1.0);
                let allowed = 1.5 + 6.0 / share.max(1.0).sqrt();
                if herd / allowed > phase.herd / phase.herd_allowed {
                    (phase.herd, phase.herd_allowed) = (herd, allowed);
                }
            }
        }
    }

    /// By region: what the most loaded node leads, against the mean, by capacity.
    fn leader_over_mean(&self) -> f64 {
        let mut leads: BTreeMap<NodeId, u64> = BTreeMap::new();
        for leader in self.leaders.iter().skip(1).flatten() {
            *leads.entry(*leader).or_default() += 1;
        }
        let mut worst: f64 = 0.0;
        for region in 0..self.between.len() {
            let here: Vec<&Site> = self.sites.iter().filter(|site| site.region as usize == region && site.is_there).collect();
            let weight = |site: &Site| u64::from(self.layout.nodes[&site.node].capacity);
            let (sum, capacity) =
                here.iter().fold((0, 0), |(sum, capacity), site| (sum + leads.get(&site.node).copied().unwrap_or(0), capacity + weight(site)));
            for site in here {
                let fair = sum as f64 * weight(site) as f64 / capacity as f64;
                // One group is the least that can be led more.
                worst = worst.max((leads.get(&site.node).copied().unwrap_or(0) as f64 - 1.0).max(0.0) / fair.max(1.0));
            }
        }
        worst
    }
}
