//! How fast something went, and at what price; and how a figure of nothing is told.

use serde::Serialize;

/// How fast.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Rate {
    /// A second.
    pub per_s: f64,
    /// For each processor second of the nodes.
    pub per_cpu_s: f64,
}

impl Rate {
    /// Of so many within these seconds, at this processor time.
    pub fn of(count: u64, took_s: f64, cpu_s: f64) -> Self {
        Self { per_s: share(count as f64, took_s), per_cpu_s: share(count as f64, cpu_s) }
    }
}

/// So much of each; 0, which is no good figure, where there were none.
pub fn share(of: f64, each: f64) -> f64 {
    if each > 0.0 { of / each } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_at_all_is_told_as_nothing() {
        assert_eq!(Rate::of(10, 2.0, 0.5), Rate { per_s: 5.0, per_cpu_s: 20.0 });
        assert_eq!(Rate::of(0, 0.0, 0.0), Rate { per_s: 0.0, per_cpu_s: 0.0 });
        assert_eq!(share(1.0, 0.0), 0.0);
    }
}
