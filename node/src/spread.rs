//! How latencies spread: a histogram, and the three figures that are told of it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart, in microseconds.
const MAX_US: u64 = 600_000_000;

/// Latencies, in microseconds up to ten minutes, to three digits.
#[derive(Clone, Debug)]
pub struct Spread(Histogram<u64>);

/// What is told of a [`Spread`], in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Percentiles {
    /// Half are faster.
    pub p50: f64,
    /// One in a hundred is slower.
    pub p99: f64,
    /// One in a thousand is slower.
    pub p999: f64,
}

impl Default for Spread {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are constants that hdrhistogram accepts"))
    }
}

impl Spread {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MAX_US));
    }
    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be out of range.
        let _ = self.0.add(&other.0);
    }
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }
    /// The latency that so many per cent stay within, in milliseconds to a tenth; 0 when there is none.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        (self.ms(percent / 100.0) * 10.0).round() / 10.0
    }
    /// The figures; zero where nothing was counted.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles { p50: self.ms(0.5), p99: self.ms(0.99), p999: self.ms(0.999) }
    }
    /// Points of the distribution, rising: the share of all that is at most as slow, and milliseconds. About ten for each nine of the share.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        self.0.iter_quantiles(5).map(|step| (step.quantile_iterated_to(), step.value_iterated_to() as f64 / 1_000.0)).collect()
    }
    fn ms(&self, quantile: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(quantile) as f64 / 1_000.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_milliseconds_and_to_three_digits() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentiles(), Percentiles { p50: 0.0, p99: 0.0, p999: 0.0 });
        (1..=1_000).for_each(|us| spread.record(Duration::from_micros(us * 10)));
        let told = spread.percentiles();
        for (got, wanted) in [(told.p50, 5.0), (told.p99, 9.9), (told.p999, 9.99)] {
            assert!((got - wanted).abs() < wanted * 0.002, "{told:?}");
        }
        let curve = spread.curve();
        assert!(curve.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1), "{curve:?}");
        assert!(curve.last().is_some_and(|(share, ms)| *share >= 1.0 && (*ms - 10.0).abs() < 0.02), "{curve:?}");
        assert!(Spread::default().curve().is_empty());
    }
}
