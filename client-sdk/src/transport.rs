//! By what a client reaches an edge, and what it has learnt of networks.
//!
//! In: the app's order. Out: the order in which ways are tried. Not here: which networks let no UDP through (`core::way`), connections (`driver::link`).

/// By what frames travel. They are the same frames, and the same session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Transport {
    /// QUIC, over UDP: goes on when the address changes, and no page holds up what is said.
    Quic,
    /// A WebSocket over TLS, at the TCP port of the same number: where a network lets no UDP through.
    WebSocket,
}

/// Those that may be used, the preferred one first; none twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Transports(Vec<Transport>);

impl Default for Transports {
    fn default() -> Self {
        Self(vec![Transport::Quic, Transport::WebSocket])
    }
}

impl Transports {
    pub(crate) fn new(order: &[Transport]) -> Self {
        let mut all = Vec::new();
        for transport in order {
            if !all.contains(transport) {
                all.push(*transport);
            }
        }
        Self(all)
    }
    /// The preferred one; `None`: none may be used.
    pub(crate) fn first(&self) -> Option<Transport> {
        self.0.first().copied()
    }
    /// The first to be tried, and the one after it, where UDP is (not) known to be blocked.
    pub(crate) fn order(&self, is_udp_blocked: bool) -> (Option<Transport>, Option<Transport>) {
        let (first, second) = (self.first(), self.0.get(1).copied());
        match (first, second) {
            (Some(Transport::Quic), Some(_)) if is_udp_blocked => (second, first),
            order => order,
        }
    }
    /// Whether a session over this one is to be taken to a better one when that is there.
    pub(crate) fn is_second_best(&self, transport: Transport) -> bool {
        self.first() == Some(Transport::Quic) && transport != Transport::Quic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_udp_is_blocked_it_is_tried_last_if_it_may_be_tried_at_all() {
        let both = Transports::default();
        assert_eq!(both.order(false), (Some(Transport::Quic), Some(Transport::WebSocket)));
        assert_eq!(both.order(true), (Some(Transport::WebSocket), Some(Transport::Quic)));
        assert!(both.is_second_best(Transport::WebSocket) && !both.is_second_best(Transport::Quic));
        let quic = Transports::new(&[Transport::Quic, Transport::Quic]);
        assert_eq!(quic.order(true), (Some(Transport::Quic), None));
        let other = Transports::new(&[Transport::WebSocket, Transport::Quic]);
        assert_eq!(other.order(true), (Some(Transport::WebSocket), Some(Transport::Quic)));
        assert!(!other.is_second_best(Transport::WebSocket), "it is what the app wants");
        assert_eq!(Transports::new(&[]).order(false), (None, None));
    }
}
