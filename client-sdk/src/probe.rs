//! How far nodes are: a datagram there and one back, without a connection.
//!
//! In: addresses. Out: the time of a round trip to each. A node answers a packet of a version that nobody speaks with the versions that it
//! speaks (RFC 9000, section 6): before any crypto, and without keeping anything. Invariant: an answer counts only if it echoes the 16 random
//! bytes that were sent. Bounds: [`WAVES`] datagrams of [`PACKET_BYTES`] to each address, [`ADDRESSES_MAX`] addresses are remembered, one round
//! at a time over all clients of an endpoint. Not here: what is made of it (`core::near`).

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::RngExt;
use tokio::{net::UdpSocket, time::timeout};

use crate::{clock, endpoint};

/// As long as a first packet must be: a server drops shorter ones.
const PACKET_BYTES: usize = 1_200;
/// Datagrams to each address: the quickest counts.
const WAVES: u32 = 3;
/// For the answers to one wave.
const WAVE_WITHIN: Duration = Duration::from_millis(400);
/// Between two waves: what was slow for a moment has passed.
const WAVE_PAUSE: Duration = Duration::from_millis(25);
/// Addresses that are remembered; the oldest makes room.
const ADDRESSES_MAX: usize = 256;
/// Bytes of one connection id.
const ID_BYTES: usize = 8;
/// Of the pattern that is reserved for versions that nobody speaks.
const NO_VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];

/// What names a probe: both connection ids.
type Name = [u8; 2 * ID_BYTES];

/// What was measured. `None`: no answer.
#[derive(Clone, Copy, Debug)]
struct Known {
    at: std::time::Instant,
    rtt: Option<Duration>,
}

/// What the clients of an endpoint have measured.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    known: Mutex<HashMap<String, Known>>,
    turn: tokio::sync::Mutex<()>,
}

impl Probes {
    /// Measures those that were not measured since `newer_than` ago, from a socket at this address. Cancel safe.
    pub(crate) async fn measure(&self, from: IpAddr, addresses: &[String], newer_than: Duration) -> Vec<Option<Duration>> {
        // Whoever waited finds what the one before has measured.
        let _turn = self.turn.lock().await;
        let now = clock::now();
        let stale = |address: &&String| self.known().get(*address).is_none_or(|known| now.duration_since(known.at) >= newer_than);
        let wanted: Vec<String> = addresses.iter().filter(stale).cloned().collect();
        if !wanted.is_empty() {
            let found = round(from, &wanted).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "no socket to measure with");
                vec![None; wanted.len()]
            });
            let at = clock::now();
            let mut known = self.known();
            for (address, rtt) in wanted.into_iter().zip(found) {
                known.insert(address, Known { at, rtt });
            }
            while known.len() > ADDRESSES_MAX {
                let Some(oldest) = known.iter().min_by_key(|(_, known)| known.at).map(|(address, _)| address.clone()) else { break };
                known.remove(&oldest);
            }
        }
        let known = self.known();
        addresses.iter().map(|address| known.get(address).and_then(|known| known.rtt)).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn round(from: IpAddr, addresses: &[String]) -> io::Result<Vec<Option<Duration>>> {
    let socket = UdpSocket::from_std(endpoint::bind_to(SocketAddr::new(from, 0))?)?;
    let mut targets = Vec::with_capacity(addresses.len());
    for address in addresses {
        let found = match address.parse::<SocketAddr>() {
            Ok(address) => Some(address),
            Err(_) => timeout(WAVE_WITHIN, tokio::net::lookup_host(address)).await.ok().and_then(Result::ok).and_then(|mut found| found.next()),
        };
        targets.push(found.map(|to| reachable_from(from, to)));
    }
    let mut sent: HashMap<Name, (usize, std::time::Instant)> = HashMap::new();
    let mut best: Vec<Option<Duration>> = vec![None; addresses.len()];
    let mut buffer = [0; 2_048];
    for wave in 0..WAVES {
        if wave > 0 {
            tokio::time::sleep(WAVE_PAUSE).await;
        }
        let mut open = 0;
        for (at, to) in targets.iter().enumerate() {
            let Some(to) = to else { continue };
            let name: Name = rand::rng().random();
            sent.insert(name, (at, clock::now()));
            // What cannot be sent is not answered.
            if socket.send_to(&packet(&name), to).await.is_ok() {
                open += 1;
            }
        }
        let until = clock::now() + WAVE_WITHIN;
        while open > 0 {
            let left = until.saturating_duration_since(clock::now());
            let Ok(received) = timeout(left, socket.recv_from(&mut buffer)).await else { break };
            // An error of a datagram before: nobody listens there.
            let Ok((length, _)) = received else { continue };
            let Some((at, began)) = parse_echo(&buffer[..length]).and_then(|name| sent.remove(&name)) else { continue };
            let rtt = clock::now().duration_since(began);
            best[at] = Some(best[at].map_or(rtt, |known| known.min(rtt)));
            open -= 1;
        }
    }
    Ok(best)
}

/// A socket for both families names an IPv4 address as one of IPv6.
fn reachable_from(from: IpAddr, to: SocketAddr) -> SocketAddr {
    match (from, to) {
        (IpAddr::V6(_), SocketAddr::V4(v4)) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        (_, to) => to,
    }
}

/// A first packet of a version that nobody speaks.
fn packet(name: &Name) -> [u8; PACKET_BYTES] {
    let mut bytes = [0; PACKET_BYTES];
    bytes[0] = 0xc0;
    bytes[1..5].copy_from_slice(&NO_VERSION);
    bytes[5] = ID_BYTES as u8;
    bytes[6..14].copy_from_slice(&name[..ID_BYTES]);
    bytes[14] = ID_BYTES as u8;
    bytes[15..23].copy_from_slice(&name[ID_BYTES..]);
    bytes
}

/// What an answer names: with the ids the other way round.
pub(crate) fn parse_echo(bytes: &[u8]) -> Option<Name> {
    let head = bytes.get(..23)?;
    if head[0] & 0x80 == 0 || head[1..5] != [0; 4] || head[5] != ID_BYTES as u8 || head[14] != ID_BYTES as u8 {
        return None;
    }
    let mut name = [0; 2 * ID_BYTES];
    name[..ID_BYTES].copy_from_slice(&head[15..23]);
    name[ID_BYTES..].copy_from_slice(&head[6..14]);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &Name) -> Vec<u8> {
        let mut bytes = vec![0xc1, 0, 0, 0, 0, 8];
        bytes.extend_from_slice(&name[8..]);
        bytes.push(8);
        bytes.extend_from_slice(&name[..8]);
        bytes.extend_from_slice(&[0, 0, 0, 1]);
        bytes
    }

    #[test]
    fn an_answer_names_the_packet_and_anything_else_names_none() {
        let name: Name = *b"0123456789abcdef";
        assert_eq!(parse_echo(&answer(&name)), Some(name));
        assert_eq!(parse_echo(&packet(&name)), None, "a packet is no answer");
        assert_eq!(parse_echo(&answer(&name)[..22]), None);
        let mut other = answer(&name);
        other[5] = 9;
        assert_eq!(parse_echo(&other), None);
    }

    #[tokio::test]
    async fn quickest_of_three_counts_and_one_who_is_silent_has_no_distance() {
        let (node, silent) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = |socket: &UdpSocket| socket.local_addr().unwrap().to_string();
        let addresses = [address(&node), address(&silent), "nobody.invalid:1".to_owned()];
        let serve = tokio::spawn(async move {
            let mut buffer = [0; 2_048];
            let mut seen = 0;
            loop {
                let (length, from) = node.recv_from(&mut buffer).await.unwrap();
                assert_eq!(length, PACKET_BYTES);
                let mut name: Name = [0; 16];
                name[..8].copy_from_slice(&buffer[6..14]);
                name[8..].copy_from_slice(&buffer[15..23]);
                // Somebody else's answer first.
                node.send_to(&answer(&[7; 16]), from).await.unwrap();
                node.send_to(&answer(&name), from).await.unwrap();
                seen += 1;
                if seen == WAVES {
                    return seen;
                }
            }
        });
        let probes = Probes::default();
        let found = probes.measure([127, 0, 0, 1].into(), &addresses, Duration::from_secs(60)).await;
        assert!(found[0].is_some() && found[1].is_none() && found[2].is_none(), "{found:?}");
        assert_eq!(serve.await.unwrap(), WAVES);
        // Nobody answers any more: it is remembered.
        assert_eq!(probes.measure([127, 0, 0, 1].into(), &addresses, Duration::from_secs(60)).await, found);
    }
}
