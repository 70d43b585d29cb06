//! Versions and features: what two sides agree on in their first frames.
//!
//! In: what the other side offers. Out: what both speak. Invariant: both sides compute the same version, the lower of their highest.

use thiserror::Error;

/// A protocol version. N and N-1 always interoperate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version(pub u32);

/// Feature bits; both sides use the intersection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features(pub u64);

impl Features {
    /// None.
    pub const NONE: Self = Self(0);
    /// What both sides have.
    #[must_use]
    pub const fn common(self, theirs: Self) -> Self {
        Self(self.0 & theirs.0)
    }
    /// Whether all of these are there.
    pub const fn has(self, all: Self) -> bool {
        self.0 & all.0 == all.0
    }
}

/// The version that this build speaks.
pub const CURRENT: Version = Version(1);
/// The oldest version that this build still speaks.
pub const OLDEST: Version = Version(1);
/// The features that this build has.
pub const FEATURES: Features = Features::NONE;

/// The other side speaks nothing that this build still speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("version {} is older than {}", theirs.0, OLDEST.0)]
pub struct NoCommonVersion {
    /// The highest version of the other side.
    pub theirs: Version,
}

/// The version that both sides speak, given the highest of the other side. A newer side steps down to ours, or refuses us in its turn.
///
/// # Errors
/// It is older than the oldest that this build speaks.
pub fn negotiate(theirs: Version) -> Result<Version, NoCommonVersion> {
    if theirs < OLDEST { Err(NoCommonVersion { theirs }) } else { Ok(theirs.min(CURRENT)) }
}
