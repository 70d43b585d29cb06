//! Versions of the cluster: what its nodes may do together, whatever builds they are.
//!
//! A build knows one cluster version and the one before it ([`BUILD`]); the cluster is at one, which the meta group keeps and which rises by one when
//! every node's build knows the next. In: numbers of rows, hellos and beats. Out: whether a build and a cluster fit ([`fits`]), what operators are shown.
//! Invariants: a version never goes back; what it brings is done only once the cluster is at it, so that builds of either version run side by side before.
//! A release that changes what is logged, stored or said between nodes raises [`BUILD`] by one, names here what that brings, and adds a golden folder.
//! Not here: versions of the protocol of one link (`hello`), of one group's log (kith-machine), who raises it (the node's `cluster::upgrade`).

use std::fmt;

use thiserror::Error;

use crate::{id::NodeId, layout::NodeHealth, log::NodeState};

/// A version of the cluster, from 1. As what a build knows: the highest one. 0 in a row or a frame: not told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ClusterVersion(u32);

/// The newest version that this build knows.
pub const BUILD: ClusterVersion = ClusterVersion::MOVES;

impl ClusterVersion {
    /// 1: with which it began.
    pub const FIRST: Self = Self(1);
    /// 2: buckets move between groups.
    pub const MOVES: Self = Self(2);

    /// Wraps a raw value from a boundary.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }
    /// The raw value, for a boundary.
    pub const fn get(self) -> u32 {
        self.0
    }
    /// As the cluster's own: clusters from before it was kept are at the first.
    #[must_use]
    pub fn or_first(self) -> Self {
        self.max(Self::FIRST)
    }
    /// The one after it; the largest stays, as any number may come from the other side.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
    /// Of a build: the oldest cluster that it serves.
    #[must_use]
    pub fn oldest(self) -> Self {
        Self(self.0.saturating_sub(1)).or_first()
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A build and a cluster that cannot go together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Unfit {
    /// The cluster has been upgraded beyond the build.
    #[error("this build knows cluster versions up to {build}, and the cluster is at {cluster}, from which it does not go back: start a newer build")]
    TooOld {
        /// What the build knows.
        build: ClusterVersion,
        /// Where the cluster is.
        cluster: ClusterVersion,
    },
    /// Releases were skipped.
    #[error(
        "this build serves no cluster version below {}, and the cluster is at {cluster}: upgrade through the releases between, one at a time, and finalize each (kith upgrade finalize)",
        .build.oldest()
    )]
    TooNew {
        /// What the build knows.
        build: ClusterVersion,
        /// Where the cluster is.
        cluster: ClusterVersion,
    },
}

/// Whether a build serves a cluster that is at this version.
///
/// # Errors
/// It is too old, or skips a version.
pub fn fits(build: ClusterVersion, cluster: ClusterVersion) -> Result<(), Unfit> {
    let cluster = cluster.or_first();
    if build < cluster {
        Err(Unfit::TooOld { build, cluster })
    } else if build.oldest() > cluster {
        Err(Unfit::TooNew { build, cluster })
    } else {
        Ok(())
    }
}

// ---------------------------------------------------------------- what operators are shown

/// How far an upgrade is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UpgradeView {
    /// Where the cluster is.
    pub version: ClusterVersion,
    /// Where it can go: the next one, if some node's build knows it.
    pub next: Option<ClusterVersion>,
    /// What is in the way, for a person; without any it can be finalized.
    pub blockers: Vec<String>,
    /// The cluster finalizes by itself.
    pub by_itself: bool,
    /// In so many seconds, if nothing comes in the way; `None`: something is, or there is nothing to finalize.
    pub in_s: Option<u64>,
    /// By id; without those that have left.
    pub nodes: Vec<UpgradeNode>,
}

/// A node's build.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UpgradeNode {
    /// Which node.
    pub node: NodeId,
    /// Where it stands in its life.
    pub state: NodeState,
    /// Whether it is heard.
    pub health: NodeHealth,
    /// The newest cluster version that its build knows; 0: it was not heard yet.
    pub version: ClusterVersion,
    /// Its build, as people call it; empty: not heard since this leader began.
    pub build: String,
    /// The version of the cluster that it has noted on its disk; `None`: not heard now.
    pub noted: Option<ClusterVersion>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_serves_its_version_and_the_one_before() {
        let fits = |build, cluster| fits(ClusterVersion::new(build), ClusterVersion::new(cluster));
        for (build, cluster) in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (5, 4), (5, 5)] {
            assert_eq!(fits(build, cluster), Ok(()), "{build} {cluster}");
        }
        assert!(matches!(fits(1, 2), Err(Unfit::TooOld { .. })));
        let skipped = fits(3, 1).unwrap_err();
        assert!(matches!(skipped, Unfit::TooNew { .. }) && skipped.to_string().contains("below 2"), "{skipped}");
    }
}
