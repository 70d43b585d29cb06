//! Upgrades on the wire: what is promised keeps its bytes, any value survives the way.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    client::{Answer, Request, ToClient, ToEdge},
    id::*,
    layout::{LayoutAnswer, LayoutRequest, NodeHealth},
    limit,
    log::{ClusterMap, ClusterRow, Command, Item, NodeRow, NodeState},
    peer::{Beat, FromPeer, PeerHello, Tell, ToPeer},
    upgrade::*,
};
use proptest::prelude::*;
use support::{
    golden::{self, hex},
    sample::{Sample, Source, supply},
};

const ID: RequestId = RequestId::new(7);

fn version(source: &mut Source<'_>) -> ClusterVersion {
    ClusterVersion::new(Sample::sample(source))
}

fn items(source: &mut Source<'_>) -> Vec<Item> {
    let commands = [
        Command::InitCluster { cluster: Sample::sample(source), version: version(source) },
        Command::RaiseCluster { to: version(source) },
        Command::PutNode { node: NodeRow { version: version(source), ..Sample::sample(source) } },
    ];
    commands.into_iter().map(|command| Item { bucket: None, command }).collect()
}

fn hello(source: &mut Source<'_>) -> PeerHello {
    PeerHello { knows: version(source), noted: version(source), build: "0.1.0".into(), ..Sample::sample(source) }
}

fn beat(source: &mut Source<'_>) -> ToPeer {
    ToPeer::Tell(Tell::Beat(Beat { noted: version(source), ..Sample::sample(source) }))
}

fn requests(source: &mut Source<'_>) -> Vec<ToEdge> {
    let asked = [LayoutRequest::Upgrade, LayoutRequest::Finalize { to: version(source) }];
    asked.into_iter().map(|asked| ToEdge::Request { id: ID, request: Request::Layout(asked) }).collect()
}

fn answer(source: &mut Source<'_>) -> ToClient {
    let node = UpgradeNode {
        node: Sample::sample(source),
        state: NodeState::Draining,
        health: NodeHealth::Suspect,
        version: version(source),
        build: Sample::sample(source),
        noted: bool::sample(source).then(|| version(source)),
    };
    let view = UpgradeView {
        version: version(source),
        next: bool::sample(source).then(|| version(source)),
        blockers: Sample::sample(source),
        by_itself: Sample::sample(source),
        in_s: Sample::sample(source),
        nodes: vec![node],
    };
    ToClient::Answer { id: ID, answer: Ok(Answer::Layout(LayoutAnswer::Upgrading(view))) }
}

#[test]
fn upgrades_have_the_bytes_they_always_had() {
    let bytes: Vec<u8> = (0..1200u16).map(|step| (5 * step + 3) as u8).collect();
    let source = &mut Source::new(&bytes);
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Bytes| lines.push((name, hex(&bytes)));
    items(source).iter().enumerate().for_each(|(at, item)| add(format!("item {at}"), item.encode()));
    add("hello".into(), ToPeer::Hello(hello(source)).encode());
    add("beat".into(), beat(source).encode());
    requests(source).iter().enumerate().for_each(|(at, request)| add(format!("request {at}"), request.encode()));
    add("answer".into(), answer(source).encode());
    add("cluster row".into(), ClusterRow { version: version(source), ..Sample::sample(source) }.encode());
    golden::check("upgrade.txt", &lines);
}

proptest! {
    #[test]
    fn any_value_survives_the_way(bytes in supply()) {
        let source = &mut Source::new(&bytes);
        for item in items(source) {
            prop_assert_eq!(Item::decode(&item.encode()).unwrap(), item);
        }
        let value = ToPeer::Hello(hello(source));
        prop_assert_eq!(ToPeer::decode(&value.encode()).unwrap(), value);
        let value = FromPeer::Hello(hello(source));
        prop_assert_eq!(FromPeer::decode(&value.encode()).unwrap(), value);
        let value = beat(source);
        prop_assert_eq!(ToPeer::decode(&value.encode()).unwrap(), value);
        for value in requests(source) {
            prop_assert_eq!(ToEdge::decode(&value.encode()).unwrap(), value);
        }
        let value = answer(source);
        prop_assert_eq!(ToClient::decode(&value.encode()).unwrap(), value);
        let value = ClusterRow { version: version(source), ..Sample::sample(source) };
        prop_assert_eq!(ClusterRow::decode(&value.encode()).unwrap(), value);
        let value = ClusterMap { version: version(source), ..Sample::sample(source) };
        prop_assert_eq!(ClusterMap::decode(&value.encode()).unwrap(), value);
    }
}

#[test]
fn a_build_has_a_name_of_some_length() {
    let hello = |length: usize| PeerHello { build: "x".repeat(length), ..Sample::sample(&mut Source::new(&[9; 90])) };
    assert!(ToPeer::decode(&ToPeer::Hello(hello(limit::BUILD_BYTES_MAX)).encode()).is_ok());
    assert!(ToPeer::decode(&ToPeer::Hello(hello(limit::BUILD_BYTES_MAX + 1)).encode()).is_err());
}
