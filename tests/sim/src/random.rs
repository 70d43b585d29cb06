//! Random numbers that follow from a seed, and nothing else.
//!
//! In: a seed. Out: numbers; SplitMix64. Invariant: two parts with streams of their own ([`Random::fork`]) do not disturb each other.

use std::{ops::Range, time::Duration};

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x6b69_7468_5f73_696d))
    }
    /// A stream of its own for a part of the simulation.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
    /// One of the range; its start if it is empty.
    pub(crate) fn of(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % range.end.saturating_sub(range.start).max(1)
    }
    /// Whether something of so many in a hundred happens.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.of(0..100) < percent
    }
    /// A time between the two, in steps of a microsecond.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let micros = |of: Duration| u64::try_from(of.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.of(micros(least)..micros(most) + 1))
    }
    /// One of these.
    ///
    /// # Panics
    /// There is none.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.of(0..of.len() as u64) as usize]
    }
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
