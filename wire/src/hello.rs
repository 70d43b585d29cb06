//! Versions and features: what two sides agree on in their first frames.

/// A protocol version. N and N-1 always interoperate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version(pub u32);

/// Feature bits; both sides use the intersection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features(pub u64);

/// The version that this build speaks.
pub const CURRENT: Version = Version(1);
/// The oldest version that this build still speaks.
pub const OLDEST: Version = Version(1);
