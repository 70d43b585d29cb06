//! Chance from a seed: the same numbers on every machine (SplitMix64, Steele and others, 2014).

/// A stream of numbers that a seed determines.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins a stream.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number of `from..=to`.
    ///
    /// # Panics
    /// The range is empty.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        assert!(from <= to, "a number of {from}..={to}");
        let span = (to - from).wrapping_add(1);
        if span == 0 { self.draw() } else { from + self.draw() % span }
    }

    /// True in `n` of a hundred cases.
    pub fn percent(&mut self, n: u64) -> bool {
        self.within(1, 100) <= n
    }

    /// One of them.
    ///
    /// # Panics
    /// There is none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.within(0, all.len() as u64 - 1) as usize]
    }

    /// Puts them into a random order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.within(0, at as u64) as usize);
        }
    }
}
