//! Which networks let no UDP through, so that a WebSocket is tried first there; and when QUIC is tried again.
//!
//! In: what came of tries, time. Out: whether a network is one of those, and the moment of the next try. Invariants: a network is one of them only
//! while QUIC did not get through where a WebSocket did; QUIC is tried again, ever more rarely, as long as a session runs there. Bound:
//! [`NETWORKS_MAX`] networks; the one that was met longest ago is forgotten. Not here: who is asked which way (`driver::link`).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Networks that are remembered.
const NETWORKS_MAX: usize = 16;
/// Until QUIC is tried again: each failure makes it four times as long. A try costs a few datagrams.
const AGAIN_MIN: Duration = Duration::from_secs(30);
const AGAIN_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// After the network has changed, in case that it looks the same and is not.
const SOON: Duration = Duration::from_secs(3);

/// A network, as a device can tell it from others without asking anybody: by the part of its own address that its neighbours have too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Network(IpAddr);

impl Network {
    /// The one that this address of the device is in.
    pub(crate) fn of(own: IpAddr) -> Self {
        Self(match own.to_canonical() {
            IpAddr::V4(own) => Ipv4Addr::from_bits(own.to_bits() & !0xff).into(),
            IpAddr::V6(own) => Ipv6Addr::from_bits(own.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }
}

/// Networks that let no UDP through, the one met last at the end.
#[derive(Debug, Default)]
pub(crate) struct Ways(Vec<Blocked>);

#[derive(Clone, Copy, Debug)]
struct Blocked {
    network: Network,
    tries: u32,
    again_at: Instant,
}

impl Ways {
    /// Whether UDP did not get through there.
    pub(crate) fn is_blocked(&self, network: Network) -> bool {
        self.find(network).is_some()
    }
    /// When QUIC is to be tried again there; `None`: nothing is known against it.
    pub(crate) fn again_at(&self, network: Network) -> Option<Instant> {
        self.find(network).map(|blocked| blocked.again_at)
    }
    /// QUIC did not get through, and a WebSocket does. `spread` (below 1) keeps many devices apart.
    pub(crate) fn handle_blocked(&mut self, now: Instant, spread: f64, network: Network) {
        let tries = self.find(network).map_or(0, |blocked| blocked.tries);
        self.handle_open(network);
        if self.0.len() >= NETWORKS_MAX {
            self.0.remove(0);
        }
        let wait = AGAIN_MIN.saturating_mul(4_u32.saturating_pow(tries)).min(AGAIN_MAX).mul_f64(0.75 + spread / 4.0);
        self.0.push(Blocked { network, tries: tries.saturating_add(1), again_at: now + wait });
    }
    /// QUIC got through.
    pub(crate) fn handle_open(&mut self, network: Network) {
        self.0.retain(|blocked| blocked.network != network);
    }
    /// The device is in another network, which may look like one that is known.
    pub(crate) fn handle_network_changed(&mut self, now: Instant) {
        for blocked in &mut self.0 {
            blocked.again_at = blocked.again_at.min(now + SOON);
        }
    }

    fn find(&self, network: Network) -> Option<&Blocked> {
        self.0.iter().find(|blocked| blocked.network == network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().expect("an address"))
    }

    #[test]
    fn neighbours_are_in_one_network_and_others_are_not() {
        assert_eq!(network("192.168.7.20"), network("192.168.7.201"));
        assert_eq!(network("192.168.7.20"), network("::ffff:192.168.7.9"));
        assert_ne!(network("192.168.7.20"), network("192.168.8.20"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    }

    #[test]
    fn quic_is_tried_again_ever_more_rarely_and_forgiven_at_once() {
        let (mut ways, now, here) = (Ways::default(), Instant::now(), network("10.0.0.5"));
        assert_eq!(ways.again_at(here), None);
        for seconds in [30, 120, 480, 1_920, 7_200, 7_200] {
            ways.handle_blocked(now, 0.5, here);
            let wait = ways.again_at(here).expect("it is blocked") - now;
            assert!(wait <= Duration::from_secs(seconds) && wait >= Duration::from_secs(seconds * 3 / 4), "{wait:?} for {seconds}");
        }
        assert!(ways.is_blocked(here) && !ways.is_blocked(network("10.0.1.5")));
        ways.handle_network_changed(now);
        assert_eq!(ways.again_at(here), Some(now + SOON));
        assert!(ways.is_blocked(here), "it is remembered until a try has shown otherwise");
        ways.handle_open(here);
        assert!(!ways.is_blocked(here));
    }

    #[test]
    fn networks_are_bounded_and_the_one_met_last_is_known() {
        let mut ways = Ways::default();
        for third in 0..100 {
            ways.handle_blocked(Instant::now(), 0.5, network(&format!("10.0.{third}.1")));
            assert!(ways.0.len() <= NETWORKS_MAX && ways.is_blocked(network(&format!("10.0.{third}.9"))));
        }
        assert!(!ways.is_blocked(network("10.0.0.1")));
    }
}
