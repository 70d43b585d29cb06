//! Who may begin a handshake, and how many may be connected.
//!
//! In: addresses of attempts, before any crypto. Out: a [`Decision`], with a guard that counts it. Order: address not proven and more
//! than the soft limit in flight → retry (stateless, one round trip); the address's bucket is empty → refuse; a hard cap → refuse, or
//! ignore when flooded. Bounds: every count, and those of [`crate::rate`]. Not here: what a client may do once it is in (`session`).

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::metrics::{EdgeMetrics, EdgeReject};
use crate::{
    clock::Instant,
    rate::{self, Rate, Rates},
};

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct AdmissionOptions {
    /// Handshakes in flight beyond which an address must first be proven. Default 256.
    pub handshakes_soft: usize,
    /// Handshakes in flight. The next is refused, and ignored beyond twice that. Default 2,048.
    pub handshakes_max: usize,
    /// Connections of clients. The next is closed as busy. Default 100,000: 35 kB each.
    pub connections_max: usize,
    /// Attempts of one address (IPv6: of one /64) in one go. Default 1,000.
    pub burst: u32,
    /// Attempts of one address a second, for long. Default 100.
    pub per_second: u32,
    /// Attempts a second that a node which holds all its clients lets in to say where to go, and so many in one go; the others are refused
    /// before the handshake. Default 50.
    pub told_per_second: u32,
    /// Whether this machine's own addresses are counted too. Default no: demo, tests and proxies come from there.
    pub count_loopback: bool,
}
impl Default for AdmissionOptions {
    fn default() -> Self {
        Self {
            handshakes_soft: 256,
            handshakes_max: 2_048,
            connections_max: 100_000,
            burst: 1_000,
            per_second: 100,
            told_per_second: 50,
            count_loopback: false,
        }
    }
}

/// What to do with an attempt.
#[derive(Debug)]
pub enum Decision {
    /// Shake hands.
    Accept(Handshake),
    /// Let it prove its address.
    Retry,
    /// Tell it to go.
    Refuse,
    /// Say nothing.
    Ignore,
}

/// Counts.
#[derive(Debug)]
pub struct Admission {
    options: AdmissionOptions,
    handshakes: AtomicUsize,
    connections: AtomicUsize,
    attempts: Rates,
    told: Rates,
    metrics: Arc<EdgeMetrics>,
}

impl Admission {
    /// Nobody is in.
    pub fn new(options: AdmissionOptions, metrics: Arc<EdgeMetrics>) -> Self {
        let attempts = Rates::new(Rate { burst: options.burst, per_second: f64::from(options.per_second.max(1)) });
        let told = options.told_per_second.max(1);
        let told = Rates::new(Rate { burst: told, per_second: f64::from(told) });
        Self { options, handshakes: AtomicUsize::new(0), connections: AtomicUsize::new(0), attempts, told, metrics }
    }
    /// Decides over an attempt from this address. `proven`: it has shown that it receives what is sent there; `is_peer`: a node may come from there.
    pub fn admit(self: &Arc<Self>, from: IpAddr, proven: bool, is_peer: bool, now: Instant) -> Decision {
        let in_flight = self.handshakes.load(Ordering::Relaxed);
        if !proven && in_flight >= self.options.handshakes_soft {
            self.metrics.reject(EdgeReject::Retry);
            return if in_flight >= 2 * self.options.handshakes_max { Decision::Ignore } else { Decision::Retry };
        }
        let counted = self.options.count_loopback || !from.is_loopback();
        if counted && self.attempts.take(rate::address(from), now).is_err() {
            self.metrics.reject(EdgeReject::Address);
            return Decision::Refuse;
        }
        // A node that holds all its clients still shakes hands: with its peers, and with some of the clients, to tell them where to go.
        if !is_peer && self.connections.load(Ordering::Relaxed) >= self.options.connections_max && self.told.take(0, now).is_err() {
            self.metrics.reject(EdgeReject::Crowd);
            return Decision::Refuse;
        }
        if in_flight >= self.options.handshakes_max {
            self.metrics.reject(EdgeReject::Full);
            return Decision::Refuse;
        }
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        self.metrics.handshakes.inc();
        Decision::Accept(Handshake(self.clone()))
    }
    /// A place for a connection whose handshake is over; `None` when all are taken.
    pub fn take_slot(self: &Arc<Self>) -> Option<Slot> {
        let taken = self.connections.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(self.clone());
        self.metrics.connections.inc();
        if taken >= self.options.connections_max {
            self.metrics.reject(EdgeReject::Full);
            return None;
        }
        Some(slot)
    }
}

/// A handshake in flight.
#[derive(Debug)]
pub struct Handshake(Arc<Admission>);
impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.handshakes.dec();
    }
}

/// A connection.
#[derive(Debug)]
pub struct Slot(Arc<Admission>);
impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission(options: AdmissionOptions) -> Arc<Admission> {
        Arc::new(Admission::new(options, Arc::new(EdgeMetrics::default())))
    }
    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn an_address_has_its_burst_and_then_its_rate() {
        let now = Instant::now();
        let admission = admission(AdmissionOptions { burst: 3, per_second: 2, ..AdmissionOptions::default() });
        let accepted = |from, at| matches!(admission.admit(from, true, false, at), Decision::Accept(_));
        assert_eq!((0..5).filter(|_| accepted(ip(1), now)).count(), 3);
        assert!(accepted(ip(2), now), "another address has its own");
        assert_eq!((0..5).filter(|_| accepted(ip(1), now + Duration::from_secs(1))).count(), 2);
    }

    #[test]
    fn beyond_the_soft_limit_an_address_must_be_proven_and_beyond_the_hard_one_nobody_gets_in() {
        let now = Instant::now();
        let admission = admission(AdmissionOptions { handshakes_soft: 1, handshakes_max: 2, ..AdmissionOptions::default() });
        let Decision::Accept(first) = admission.admit(ip(1), false, false, now) else { panic!("the first is let in") };
        assert!(matches!(admission.admit(ip(2), false, false, now), Decision::Retry));
        let Decision::Accept(_second) = admission.admit(ip(2), true, false, now) else { panic!("a proven one is let in") };
        assert!(matches!(admission.admit(ip(3), true, false, now), Decision::Refuse));
        drop(first);
        assert!(matches!(admission.admit(ip(3), true, false, now), Decision::Accept(_)));
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let admission = admission(AdmissionOptions { connections_max: 1, ..AdmissionOptions::default() });
        let slot = admission.take_slot();
        assert!(slot.is_some());
        assert!(admission.take_slot().is_none());
        drop(slot);
        assert!(admission.take_slot().is_some());
    }

    #[test]
    fn full_node_shakes_hands_with_its_peers_and_tells_some_clients_where_to_go() {
        let now = Instant::now();
        let admission = admission(AdmissionOptions { connections_max: 1, told_per_second: 2, ..AdmissionOptions::default() });
        let slot = admission.take_slot().unwrap();
        let admitted = |is_peer, at| matches!(admission.admit(ip(1), true, is_peer, at), Decision::Accept(_));
        assert_eq!((0..5).filter(|_| admitted(false, now)).count(), 2);
        assert!((0..5).all(|_| admitted(true, now)));
        assert!(admitted(false, now + Duration::from_secs(1)));
        drop(slot);
        assert!((0..5).all(|_| admitted(false, now)), "there is room again");
    }
}
