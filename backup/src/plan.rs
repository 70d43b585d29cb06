//! Which groups of a cluster take what of a backup: pure.
//!
//! In: who owned which buckets then, who owns them now. Out: for each group now, the groups then whose rows it takes; or which buckets nobody owns. The
//! two clusters may differ in nodes and groups: a bucket is the same wherever it lies.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::{Manifest, Run};

/// The owned buckets of a group of the cluster now.
pub type Target = (u32, Vec<Run>);

/// Buckets of the backup that no group of the cluster owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Homeless(pub Run);

/// For each group now, the groups then with rows for it.
///
/// # Errors
/// Some buckets have nowhere to go: the cluster lacks their region, say.
pub fn plan(manifest: &Manifest, now: &[Target]) -> Result<BTreeMap<u32, BTreeSet<u32>>, Homeless> {
    let mut takes: BTreeMap<u32, BTreeSet<u32>> = now.iter().map(|(group, _)| (*group, BTreeSet::new())).collect();
    let mut all: Vec<(Run, u32)> = now.iter().flat_map(|(group, runs)| runs.iter().map(|run| (*run, *group))).collect();
    all.sort_unstable();
    for then in &manifest.groups {
        for run in &then.runs {
            let mut next = u32::from(run.first);
            for (piece, group) in all.iter().filter(|(piece, _)| piece.region == run.region && piece.last >= run.first && piece.first <= run.last) {
                if u32::from(piece.first) > next {
                    break;
                }
                takes.entry(*group).or_default().insert(then.group);
                next = next.max(u32::from(piece.last) + 1);
            }
            if next <= u32::from(run.last) {
                return Err(Homeless(Run { first: u16::try_from(next).unwrap_or(u16::MAX), ..*run }));
            }
        }
    }
    Ok(takes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Group;

    fn run(region: u8, first: u16, last: u16) -> Run {
        Run { region, first, last, epoch: 1 }
    }
    fn then(groups: &[(u32, Vec<Run>)]) -> Manifest {
        let groups = groups.iter().map(|(group, runs)| Group { group: *group, runs: runs.clone(), ..Group::default() }).collect();
        Manifest { groups, ..Manifest::default() }
    }

    #[test]
    fn three_groups_become_one_and_one_becomes_three() {
        let thirds = [(1, vec![run(0, 0, 99)]), (2, vec![run(0, 100, 199)]), (3, vec![run(0, 200, u16::MAX)])];
        let one = [(1, vec![run(0, 0, u16::MAX)])];
        let takes = plan(&then(&thirds), &one).unwrap();
        assert_eq!(takes, BTreeMap::from([(1, BTreeSet::from([1, 2, 3]))]));
        let takes = plan(&then(&one), &thirds).unwrap();
        assert_eq!(takes, BTreeMap::from([(1, BTreeSet::from([1])), (2, BTreeSet::from([1])), (3, BTreeSet::from([1]))]));
    }

    #[test]
    fn buckets_that_nobody_owns_are_named() {
        let two = [(1, vec![run(0, 0, u16::MAX)]), (2, vec![run(1, 0, u16::MAX)])];
        assert_eq!(plan(&then(&two), &two[..1]), Err(Homeless(run(1, 0, u16::MAX))));
        let holed = [(1, vec![run(0, 0, 9), run(0, 20, u16::MAX)])];
        assert_eq!(plan(&then(&two[..1]), &holed), Err(Homeless(run(0, 10, u16::MAX))));
    }
}
