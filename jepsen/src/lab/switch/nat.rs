//! The clients' network address translation: from which address and port nodes see each of them, and to which node a packet for a node goes. Pure.
//!
//! In: datagrams between clients and nodes. Out: the same with other ends, or dropped. Invariants: until the first rebind nothing is changed; after one, each client port has
//! a new port outside, and what still comes to an old one is dropped, as a router does that forgot. A mapping is by the client's port alone, whoever it speaks to.
//! Bounds: [`MAPPINGS_MAX`], the oldest goes first. Not here: other protocols, which pass.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::Serialize;

use super::frame;

/// Client ports with a mapping, and flows that are remembered.
const MAPPINGS_MAX: usize = 4_096;
/// Ports outside; clients bind higher ones.
const PORTS: std::ops::RangeInclusive<u16> = 2_000..=30_000;

/// What was done to the clients' flows so far. A flow is one client port and one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Moves {
    /// Times that all mappings were forgotten.
    pub rebinds: u64,
    /// Flows that went on from another port or address.
    pub moved: u64,
    /// Of those, flows that the node answered there.
    pub followed: u64,
    /// Datagrams from nodes to where a client no longer was: dropped.
    pub stale: u64,
    /// Datagrams that another node got than the one they were for.
    pub swung: u64,
}

impl Moves {
    /// What was done since.
    pub fn since(&self, before: &Moves) -> Moves {
        Moves {
            rebinds: self.rebinds - before.rebinds,
            moved: self.moved - before.moved,
            followed: self.followed - before.followed,
            stale: self.stale - before.stale,
            swung: self.swung - before.swung,
        }
    }
}

type Flow = (u16, Ipv4Addr);

#[derive(Debug)]
pub(super) struct Nat {
    /// The clients' own address.
    inside: Ipv4Addr,
    /// Where nodes see them; none before the first rebind.
    outside: Option<Ipv4Addr>,
    /// Client port to port outside, and back.
    out: BTreeMap<u16, u16>,
    back: BTreeMap<u16, u16>,
    /// Client ports by age.
    order: VecDeque<u16>,
    next: u16,
    /// Flows seen before the last rebind that have not been seen since.
    before: BTreeSet<Flow>,
    now: BTreeSet<Flow>,
    /// Flows that moved and have no answer yet.
    unanswered: BTreeSet<Flow>,
    /// Packets for the first node go to the second, and the other way round on their way back.
    swing: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Client ports whose packets were swung, so that others that talk to the second node keep theirs.
    swung: BTreeSet<u16>,
    moves: Moves,
}

/// What is to be done with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It goes on.
    Pass,
    /// Nobody is there.
    Drop,
}

impl Nat {
    pub(super) fn new(inside: Ipv4Addr) -> Self {
        Self {
            inside,
            outside: None,
            out: BTreeMap::new(),
            back: BTreeMap::new(),
            order: VecDeque::new(),
            next: *PORTS.start(),
            before: BTreeSet::new(),
            now: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            swing: None,
            swung: BTreeSet::new(),
            moves: Moves::default(),
        }
    }

    pub(super) fn moves(&self) -> Moves {
        self.moves
    }

    /// Forgets all mappings: from now on clients are seen at this address, each at a new port.
    pub(super) fn rebind(&mut self, outside: Ipv4Addr) {
        self.outside = Some(outside);
        self.out.clear();
        self.back.clear();
        self.order.clear();
        self.before = std::mem::take(&mut self.now);
        self.unanswered.clear();
        self.moves.rebinds += 1;
    }

    /// Sends what is for one node to another; `None` ends it.
    pub(super) fn swing(&mut self, swing: Option<(Ipv4Addr, Ipv4Addr)>) {
        self.swing = swing;
        self.swung.clear();
    }

    /// A frame from the clients.
    pub(super) fn outgoing(&mut self, frame: &mut [u8]) {
        let Some(ends) = frame::ends(frame) else { return };
        if *ends.from.ip() != self.inside {
            return;
        }
        let port = ends.from.port();
        self.saw((port, *ends.to.ip()));
        let mut other = ends;
        if let Some((from, to)) = self.swing
            && *ends.to.ip() == from
            && self.swung.len() < MAPPINGS_MAX
        {
            other.to.set_ip(to);
            frame::redirect(frame, to.octets()[3]);
            self.swung.insert(port);
            self.moves.swung += 1;
        }
        if let Some(outside) = self.outside {
            other.from = SocketAddrV4::new(outside, self.map(port));
        }
        if other != ends {
            frame::readdress(frame, other);
        }
    }

    /// A frame for the clients.
    pub(super) fn incoming(&mut self, frame: &mut [u8]) -> Verdict {
        let Some(ends) = frame::ends(frame) else { return Verdict::Pass };
        let mut other = ends;
        if let Some(outside) = self.outside {
            let Some(port) = self.back.get(&ends.to.port()).filter(|_| *ends.to.ip() == outside) else {
                self.moves.stale += 1;
                return Verdict::Drop;
            };
            other.to = SocketAddrV4::new(self.inside, *port);
            if self.unanswered.remove(&(*port, *ends.from.ip())) {
                self.moves.followed += 1;
            }
        }
        if let Some((from, to)) = self.swing
            && *ends.from.ip() == to
            && self.swung.contains(&other.to.port())
        {
            other.from.set_ip(from);
        }
        if other != ends {
            frame::readdress(frame, other);
        }
        Verdict::Pass
    }

    fn saw(&mut self, flow: Flow) {
        if self.now.contains(&flow) || self.now.len() >= MAPPINGS_MAX {
            return;
        }
        self.now.insert(flow);
        if self.before.remove(&flow) {
            self.moves.moved += 1;
            self.unanswered.insert(flow);
        }
    }

    /// The port outside of a client's port.
    fn map(&mut self, port: u16) -> u16 {
        if let Some(outside) = self.out.get(&port) {
            return *outside;
        }
        if self.order.len() >= MAPPINGS_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Some(outside) = self.out.remove(&oldest)
        {
            self.back.remove(&outside);
        }
        // Fewer mappings than ports: this ends.
        while self.back.contains_key(&self.next) {
            self.advance();
        }
        let outside = self.next;
        self.advance();
        self.out.insert(port, outside);
        self.back.insert(outside, port);
        self.order.push_back(port);
        outside
    }

    fn advance(&mut self) {
        self.next = if self.next == *PORTS.end() { *PORTS.start() } else { self.next + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::datagram;
    use super::super::frame::{Ends, Whom, whom};
    use super::*;

    const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

    fn place(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, last)
    }

    /// What a node sees of a client's frame.
    fn seen(nat: &mut Nat, frame: &[u8]) -> (Ends, Vec<u8>) {
        let mut frame = frame.to_vec();
        nat.outgoing(&mut frame);
        (frame::ends(&frame).unwrap(), frame)
    }

    /// What a node answers to what it saw.
    fn answer(seen: Ends) -> Vec<u8> {
        datagram((seen.to.ip().octets()[3], 7_600), (seen.from.ip().octets()[3], seen.from.port()), b"answer")
    }

    #[test]
    fn before_the_first_rebind_nothing_changes() {
        let mut nat = Nat::new(CLIENTS);
        let (ends, frame) = seen(&mut nat, &datagram((100, 45_000), (1, 7_600), b"x"));
        assert_eq!(frame, datagram((100, 45_000), (1, 7_600), b"x"));
        let mut back = answer(ends);
        assert_eq!((nat.incoming(&mut back), nat.moves()), (Verdict::Pass, Moves::default()));
    }

    #[test]
    fn a_rebound_flow_is_seen_elsewhere_and_answers_to_the_old_place_are_lost() {
        let mut nat = Nat::new(CLIENTS);
        let frame = datagram((100, 45_000), (1, 7_600), b"x");
        let (old, _) = seen(&mut nat, &frame);
        nat.rebind(place(102));
        let (new, _) = seen(&mut nat, &frame);
        assert!(new.from != old.from && *new.from.ip() == place(102));
        assert_eq!(nat.incoming(&mut answer(old)), Verdict::Drop);
        let mut back = answer(new);
        assert_eq!(nat.incoming(&mut back), Verdict::Pass);
        assert_eq!(frame::ends(&back).map(|ends| ends.to), Some(old.from), "the client knows nothing of it");
        assert_eq!(nat.moves(), Moves { rebinds: 1, moved: 1, followed: 1, stale: 1, swung: 0 });
        nat.rebind(place(102));
        let (newer, _) = seen(&mut nat, &frame);
        assert_ne!(newer.from, new.from, "another port");
        assert_eq!((nat.incoming(&mut answer(new)), nat.moves().moved), (Verdict::Drop, 2));
    }

    #[test]
    fn a_swing_gives_a_node_what_is_for_another_and_back() {
        let mut nat = Nat::new(CLIENTS);
        nat.rebind(CLIENTS);
        nat.swing(Some((place(1), place(2))));
        let (ends, frame) = seen(&mut nat, &datagram((100, 45_000), (1, 7_600), b"x"));
        assert_eq!((*ends.to.ip(), whom(&frame)), (place(2), Some(Whom::One(2))));
        let mut back = answer(ends);
        nat.incoming(&mut back);
        assert_eq!(frame::ends(&back).map(|ends| *ends.from.ip()), Some(place(1)), "the client believes it spoke to the first");
        // Who talks to the second by itself goes on to do so.
        let (other, _) = seen(&mut nat, &datagram((100, 45_001), (2, 7_600), b"x"));
        let mut back = answer(other);
        nat.incoming(&mut back);
        assert_eq!(frame::ends(&back).map(|ends| *ends.from.ip()), Some(place(2)));
        assert_eq!(nat.moves().swung, 1);
    }

    #[test]
    fn mappings_are_bounded_and_never_shared() {
        let mut nat = Nat::new(CLIENTS);
        nat.rebind(CLIENTS);
        let mut ports = BTreeSet::new();
        for port in 1..=(MAPPINGS_MAX as u16 * 2) {
            let (ends, _) = seen(&mut nat, &datagram((100, port), (1, 7_600), b"x"));
            ports.insert(ends.from.port());
        }
        assert_eq!((nat.out.len(), nat.back.len(), nat.order.len()), (MAPPINGS_MAX, MAPPINGS_MAX, MAPPINGS_MAX));
        assert_eq!(ports.len(), MAPPINGS_MAX * 2);
    }
}
