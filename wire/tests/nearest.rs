//! What a client says of its distance from nodes, and where a node that takes no session sends it.
#![allow(clippy::unwrap_used)]

use kith_wire::{
    client::{Refusal, Request, ToClient, ToEdge},
    code::Code,
    id::{NodeId, RegionId, RequestId},
    limit::{EDGES_MAX, MEASURED_MAX, NODE_LABEL_BYTES_MAX},
};

fn asked(request: Request) -> ToEdge {
    ToEdge::Request { id: RequestId::new(7), request }
}

fn measured(count: usize) -> Request {
    Request::Discover { measured: (1..=count as u64).map(|node| (NodeId::new(node), node as u32 * 10)).collect(), region: Some(RegionId::new(3)) }
}

#[test]
fn one_who_measured_nothing_asks_as_clients_always_did() {
    let nothing = asked(Request::Discover { measured: Vec::new(), region: None });
    assert_eq!(nothing.encode()[..], [0x12, 6, 8, 7, 18, 2, 0x52, 0]);
    assert_eq!(ToEdge::decode(&nothing.encode()).unwrap(), nothing);
}

#[test]
fn distances_come_as_they_were_told_and_no_more_than_may_be() {
    let most = asked(measured(MEASURED_MAX));
    assert_eq!(ToEdge::decode(&most.encode()).unwrap(), most);
    let more = ToEdge::decode(&asked(measured(MEASURED_MAX + 1)).encode()).unwrap();
    assert!(matches!(more, ToEdge::Unreadable { refusal: Refusal { code: Code::TooLarge, .. }, .. }), "{more:?}");
}

#[test]
fn refusal_names_other_places_and_no_more_than_may_be() {
    let bye = |count: usize, length: usize| ToClient::Bye(Refusal::busy(1_000).or_at(vec!["x".repeat(length); count]));
    let most = bye(EDGES_MAX, NODE_LABEL_BYTES_MAX);
    assert_eq!(ToClient::decode(&most.encode()).unwrap(), most);
    assert!(ToClient::decode(&bye(EDGES_MAX + 1, 1).encode()).is_err());
    assert!(ToClient::decode(&bye(1, NODE_LABEL_BYTES_MAX + 1).encode()).is_err());
}
