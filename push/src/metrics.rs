//! What push counts: attempts by provider and outcome, how long they take, how many wait or run, whether there is a credential.
//!
//! Invariant: labels are closed sets; nothing of a device, a user or a host is in them. Not here: queues of pushes that wait for their time (the node).

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::time::Instant;

use crate::{Outcome, Provider, Standing};

/// [`Outcome`], for counting.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
enum Kind {
    Delivered,
    DeadToken,
    RetryAfter,
    Transient,
    Refused,
    Misconfigured,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct AttemptLabel {
    provider: Provider,
    outcome: Kind,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Label {
    provider: Provider,
}

/// Of all that one node pushes.
#[derive(Debug)]
pub struct PushMetrics {
    attempts: Family<AttemptLabel, Counter>,
    seconds: Family<Label, Histogram, fn() -> Histogram>,
    held: Family<Label, Counter>,
    running: Family<Label, Gauge>,
    ready: Family<Label, Gauge>,
}

impl Default for PushMetrics {
    fn default() -> Self {
        let metrics = Self {
            attempts: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.005, 4.0, 8))),
            held: Family::default(),
            running: Family::default(),
            ready: Family::default(),
        };
        // All are shown from the start.
        for provider in Provider::ALL {
            for outcome in [Kind::Delivered, Kind::DeadToken, Kind::RetryAfter, Kind::Transient, Kind::Refused, Kind::Misconfigured] {
                drop(metrics.attempts.get_or_create(&AttemptLabel { provider, outcome }));
            }
            let label = Label { provider };
            drop(metrics.seconds.get_or_create(&label));
            drop(metrics.held.get_or_create(&label));
            drop(metrics.running.get_or_create(&label));
            drop(metrics.ready.get_or_create(&label));
        }
        metrics
    }
}

impl PushMetrics {
    /// Shows them under `kith_push_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kith_push");
        registry.register("attempts", "Attempts to push by this node, by provider and what came of them", self.attempts.clone());
        registry.register("attempt_seconds", "Seconds that an attempt to push took, answered or not", self.seconds.clone());
        registry.register("held", "Pushes that found the provider busy or paused, and waited", self.held.clone());
        registry.register("running", "Attempts to push that run now", self.running.clone());
        registry.register("ready", "1: this node has a credential for the provider that can be used", self.ready.clone());
    }
    pub(crate) fn held(&self, provider: Provider) {
        self.held.get_or_create(&Label { provider }).inc();
    }
    pub(crate) fn begun(&self, provider: Provider) {
        self.running.get_or_create(&Label { provider }).inc();
    }
    pub(crate) fn ended(&self, provider: Provider) {
        self.running.get_or_create(&Label { provider }).dec();
    }
    pub(crate) fn came_of(&self, provider: Provider, outcome: &Outcome, took: Duration) {
        let kind = match outcome {
            Outcome::Delivered => Kind::Delivered,
            Outcome::DeadToken { .. } => Kind::DeadToken,
            Outcome::RetryAfter(_) => Kind::RetryAfter,
            Outcome::Transient(_) => Kind::Transient,
            Outcome::Refused { .. } => Kind::Refused,
            Outcome::Misconfigured(_) => Kind::Misconfigured,
        };
        self.attempts.get_or_create(&AttemptLabel { provider, outcome: kind }).inc();
        self.seconds.get_or_create(&Label { provider }).observe(took.as_secs_f64());
    }
    pub(crate) fn stands(&self, provider: Provider, standing: &Standing) {
        let is_ready = matches!(standing, Standing::Ready | Standing::Stale(_));
        self.ready.get_or_create(&Label { provider }).set(i64::from(is_ready));
    }
}

/// Measures from when it is made, for metrics only: nothing may hang on it.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
