//! What is counted of the app's own backends: whether their keys could be read, and whether they were told of lost passwords.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How an exchange with a backend went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum Outcome {
    /// As it should.
    Done,
    /// Not now; it is tried again.
    Failed,
    /// Not in time: the code was of no use any more.
    Expired,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Label {
    reason: Outcome,
}

/// Of all issuers, and of the webhook for lost passwords.
#[derive(Debug)]
pub struct AuthMetrics {
    looks: Family<Label, Counter>,
    failing: Gauge,
    resets: Family<Label, Counter>,
}

impl Default for AuthMetrics {
    fn default() -> Self {
        let (looks, resets) = (Family::default(), Family::default());
        // All are shown from the start.
        for reason in [Outcome::Done, Outcome::Failed] {
            drop(Family::<Label, Counter>::get_or_create(&looks, &Label { reason }));
        }
        for reason in [Outcome::Done, Outcome::Failed, Outcome::Expired] {
            drop(Family::<Label, Counter>::get_or_create(&resets, &Label { reason }));
        }
        Self { looks, failing: Gauge::default(), resets }
    }
}

impl AuthMetrics {
    /// Shows them under `kith_auth_…`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kith_auth");
        registry.register("key_looks", "Times that keys of an issuer were read, by how it went", self.looks.clone());
        registry.register("issuers_failing", "Issuers whose keys could not be read the last time", self.failing.clone());
        registry.register("reset_posts", "Posts of codes to the app's backend, by how they went", self.resets.clone());
    }
    /// Keys were read, or not.
    pub(super) fn looked(&self, done: bool) {
        let reason = if done { Outcome::Done } else { Outcome::Failed };
        self.looks.get_or_create(&Label { reason }).inc();
    }
    /// An issuer's keys cannot be read any more, or can again.
    pub(super) fn failing(&self, failing: bool) {
        if failing {
            self.failing.inc()
        } else {
            self.failing.dec()
        };
    }
    /// The app's backend was told of a lost password, or not.
    pub(super) fn posted(&self, reason: Outcome) {
        self.resets.get_or_create(&Label { reason }).inc();
    }
}

#[cfg(test)]
impl AuthMetrics {
    pub(super) fn looks(&self, done: bool) -> u64 {
        let reason = if done { Outcome::Done } else { Outcome::Failed };
        self.looks.get_or_create(&Label { reason }).get()
    }
    pub(super) fn failing_now(&self) -> i64 {
        self.failing.get()
    }
}
