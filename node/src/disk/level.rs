//! How full a disk is, in three levels that do not flicker: pure.
//!
//! In: the level so far, free bytes, [`Bounds`]. Out: the level now. Invariant: to leave a level takes more room than not to enter it, so that a
//! disk whose free room goes up and down by a little changes its level once.

use crate::config::DiskConfig;

/// How full the disk is. The numbers are shown as a metric.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Level {
    /// 0: there is room.
    #[default]
    Enough,
    /// 1: somebody should see to it.
    Low,
    /// 2: what clients write is refused.
    Full,
}

impl Level {
    /// For a metric.
    pub const fn number(self) -> u8 {
        match self {
            Self::Enough => 0,
            Self::Low => 1,
            Self::Full => 2,
        }
    }
    /// Of [`Level::number`].
    pub(super) const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Enough,
            1 => Self::Low,
            _ => Self::Full,
        }
    }

    /// The level after this one, with so many bytes free.
    #[must_use]
    pub const fn next(self, free: u64, bounds: Bounds) -> Self {
        let Bounds { warn, refuse } = bounds;
        let stays_full = matches!(self, Self::Full) && free < refuse.saturating_add(refuse / 4);
        let stays_low = !matches!(self, Self::Enough) && free < warn.saturating_add(warn / 10);
        if free < refuse || stays_full {
            Self::Full
        } else if free < warn || stays_low {
            Self::Low
        } else {
            Self::Enough
        }
    }
}

/// Free bytes below which a level begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// [`Level::Low`].
    pub warn: u64,
    /// [`Level::Full`]; at most as much as `warn`.
    pub refuse: u64,
}

impl Bounds {
    /// As the settings say, and no more than parts of a small disk.
    pub const fn of(config: &DiskConfig, total: u64) -> Self {
        let warn = min(config.warn_free_mb.saturating_mul(MB), total / WARN_PART);
        let refuse = min(config.refuse_free_mb.saturating_mul(MB), total / REFUSE_PART);
        Self { warn, refuse: min(refuse, warn) }
    }
}

const fn min(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

/// Bytes of a megabyte.
pub(super) const MB: u64 = 1 << 20;
/// Of a disk that is smaller than the settings expect, this part is the bound.
const WARN_PART: u64 = 10;
const REFUSE_PART: u64 = 25;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { warn: 1_000, refuse: 200 };

    #[test]
    fn levels_begin_at_their_bounds_and_end_well_above_them() {
        let after = |level: Level, free: u64| level.next(free, BOUNDS);
        assert_eq!(after(Level::Enough, 1_000), Level::Enough);
        assert_eq!(after(Level::Enough, 999), Level::Low);
        assert_eq!(after(Level::Low, 1_050), Level::Low, "a little more is not enough");
        assert_eq!(after(Level::Low, 1_100), Level::Enough);
        assert_eq!(after(Level::Low, 199), Level::Full);
        assert_eq!(after(Level::Full, 249), Level::Full);
        assert_eq!(after(Level::Full, 250), Level::Low);
        assert_eq!(after(Level::Full, 5_000), Level::Enough, "a disk that was cleared is at once well");
        assert_eq!(after(Level::Enough, 0), Level::Full);
    }

    #[test]
    fn a_small_disk_has_small_bounds() {
        let config = DiskConfig::default();
        let (small, large) = (Bounds::of(&config, 100 * MB), Bounds::of(&config, 10_000_000 * MB));
        assert_eq!((small.warn, small.refuse), (10 * MB, 4 * MB));
        assert_eq!((large.warn, large.refuse), (config.warn_free_mb * MB, config.refuse_free_mb * MB));
        let odd = DiskConfig { warn_free_mb: 1, refuse_free_mb: 500, ..config };
        assert!(Bounds::of(&odd, u64::MAX).refuse <= Bounds::of(&odd, u64::MAX).warn);
    }

    proptest! {
        #[test]
        fn free_room_that_wavers_by_a_tenth_of_a_bound_changes_the_level_at_most_once(
            warn in 1_000_u64..1 << 40, part in 2_u64..10, around in 0_u64..1 << 41, steps in proptest::collection::vec(0_u64..100, 2..40),
        ) {
            let bounds = Bounds { warn, refuse: warn / part };
            // What wavers by less than the way out of the narrower level, seen from any place.
            let width = bounds.refuse / 10;
            let mut level = Level::Enough;
            let mut seen = vec![];
            for step in steps {
                level = level.next(around + width * step / 100, bounds);
                if seen.last() != Some(&level) {
                    seen.push(level);
                }
            }
            prop_assert!(seen.len() <= 2 && seen.is_sorted(), "{seen:?}");
        }
    }
}
