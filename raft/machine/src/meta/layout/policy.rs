//! What a region asks for: how many replicas its groups have, of which role, in which regions, and where their leaders should be.

use std::collections::BTreeMap;

use kith_wire::id::{GroupId, RegionId};

/// Voters of a group of a region in zone mode, and of the meta group.
const VOTERS: usize = 3;

/// Where voters are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Three, in three zones of the region.
    #[default]
    Zone,
    /// Five: two at home, two in the second region, one in the third. The loss of any of them loses nothing.
    Region {
        /// Two voters.
        second: RegionId,
        /// One voter.
        third: RegionId,
    },
}

/// What one region asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Where voters are.
    pub mode: Mode,
    /// So many asynchronous copies in another region.
    pub learners: Option<(RegionId, usize)>,
    /// Zones of the home region in which leaders should be, best first; those that are not named come last.
    pub leader_zones: Vec<String>,
}

/// What all regions ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policies {
    /// By region; the others have the default one.
    pub regions: BTreeMap<RegionId, Policy>,
    /// Voters of the meta group, over all regions.
    pub meta_voters: usize,
}

impl Default for Policies {
    fn default() -> Self {
        Self { regions: BTreeMap::new(), meta_voters: VOTERS }
    }
}

/// Replicas of one role that a group has somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    /// `None`: in any region.
    pub(super) region: Option<RegionId>,
    pub(super) count: usize,
    pub(super) role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Role {
    Voter,
    Learner,
}

impl Policies {
    /// The replicas that a group should have, nearest to home first.
    pub(super) fn slots(&self, group: GroupId, home: RegionId) -> Vec<Slot> {
        if group == GroupId::META {
            return vec![Slot { region: None, count: self.meta_voters, role: Role::Voter }];
        }
        let voters = |region, count| Slot { region: Some(region), count, role: Role::Voter };
        let policy = self.regions.get(&home);
        let mut slots = match policy.map_or(Mode::Zone, |policy| policy.mode) {
            Mode::Zone => vec![voters(home, VOTERS)],
            Mode::Region { second, third } => vec![voters(home, 2), voters(second, 2), voters(third, 1)],
        };
        if let Some((region, count)) = policy.and_then(|policy| policy.learners) {
            slots.push(Slot { region: Some(region), count, role: Role::Learner });
        }
        slots
    }

    /// How far a place is from where the group's leader should be: 0 is best.
    pub(super) fn distance(&self, group: GroupId, home: RegionId, region: RegionId, zone: &str) -> usize {
        if group == GroupId::META {
            return 0;
        }
        let policy = self.regions.get(&home);
        let zones = policy.map_or(&[][..], |policy| policy.leader_zones.as_slice());
        if region == home {
            return zones.iter().position(|one| one == zone).unwrap_or(zones.len());
        }
        match policy.map(|policy| policy.mode) {
            Some(Mode::Region { second, .. }) if second == region => zones.len() + 1,
            _ => zones.len() + 2,
        }
    }
}
