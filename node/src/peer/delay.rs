//! For demonstrations on one machine: a socket that holds back what comes from other regions, so that they are far.
//!
//! In: a socket, how far each region is (`[demo]`). Out: the same socket, whose datagrams come later. A sender's region is the third part of its loopback
//! address: nodes are at 127.0.R.*, and half of a round trip is added here, the other half at the other node; clients are at 127.1.R.*, and all of it is
//! added here. Anybody else is near. Bound: [`HELD_MAX`] datagrams; more are lost, as on a line that is too slow. Not here: where the addresses come from (`demo`).

use std::{
    collections::BTreeMap,
    fmt, io,
    io::IoSliceMut,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::time::{Instant, Sleep};

/// Datagrams that are held back.
const HELD_MAX: usize = 16_384;
/// What is due within so little is given at once: timers are no finer.
const GRAIN: Duration = Duration::from_micros(500);

/// How far regions are from this node: a round trip by number of the region.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Distances(pub Vec<Duration>);

impl Distances {
    /// How long what comes from this address is held back.
    fn of(&self, from: IpAddr) -> Duration {
        let IpAddr::V4(v4) = from.to_canonical() else { return Duration::ZERO };
        let [net, kind, region, _] = v4.octets();
        let trip = self.0.get(usize::from(region)).copied().filter(|_| net == 127).unwrap_or_default();
        match kind {
            0 => trip / 2,
            1 => trip,
            _ => Duration::ZERO,
        }
    }
}

/// A socket whose datagrams come later.
pub(super) struct Delayed {
    inner: Arc<dyn AsyncUdpSocket>,
    distances: Distances,
    held: Mutex<Held>,
}

struct Held {
    datagrams: BTreeMap<(Instant, u64), (RecvMeta, Vec<u8>)>,
    count: u64,
    timer: Pin<Box<Sleep>>,
}

impl Delayed {
    /// Must be called within a tokio runtime: the one that receives.
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, distances: Distances) -> Self {
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { inner, distances, held: Mutex::new(Held { datagrams: BTreeMap::new(), count: 0, timer }) }
    }
}

impl Held {
    fn give(&mut self, now: Instant, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut given = 0;
        while given < bufs.len().min(meta.len()) {
            let Some(first) = self.datagrams.first_entry().filter(|first| first.key().0 <= now + GRAIN) else { break };
            let (of, bytes) = first.remove();
            // It was read into a buffer of this size.
            if let Some(room) = bufs[given].get_mut(..bytes.len()) {
                room.copy_from_slice(&bytes);
                meta[given] = of;
                given += 1;
            }
        }
        given
    }
}

impl AsyncUdpSocket for Delayed {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }
    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while let Poll::Ready(received) = self.inner.poll_recv(cx, bufs, meta) {
                let now = Instant::now();
                for (of, bytes) in meta.iter().zip(bufs.iter()).take(received?) {
                    if held.datagrams.len() < HELD_MAX {
                        held.count += 1;
                        let key = (now + self.distances.of(of.addr.ip()), held.count);
                        held.datagrams.insert(key, (*of, bytes[..of.len].to_vec()));
                    }
                }
            }
            let given = held.give(Instant::now(), bufs, meta);
            if given > 0 {
                return Poll::Ready(Ok(given));
            }
            let Some((&(due, _), _)) = held.datagrams.first_key_value() else { return Poll::Pending };
            held.timer.as_mut().reset(due);
            if held.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }
    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }
    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for Delayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delayed").field("inner", &self.inner).field("distances", &self.distances).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_says_how_far_its_sender_is() {
        let distances = Distances([10, 40].map(Duration::from_millis).to_vec());
        let of = |address: &str| distances.of(address.parse().unwrap()).as_millis();
        assert_eq!((of("127.0.0.1"), of("127.0.1.7"), of("127.1.1.7"), of("::ffff:127.1.0.7")), (5, 20, 40, 10));
        assert_eq!((of("127.0.2.1"), of("127.2.1.1"), of("10.0.1.1"), of("::1")), (0, 0, 0, 0));
    }
}
