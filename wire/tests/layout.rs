//! Layout on the wire: what is promised keeps its bytes, any value survives the way, bounds are met.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    client::{Answer, Request, ToClient, ToEdge},
    id::*,
    layout::*,
    limit,
    log::{ClusterRow, Command, Item, NodeState},
    peer::{Ask, Beat, FromPeer, Tell, ToPeer, Told},
};
use proptest::prelude::*;
use support::{
    golden::{self, hex},
    sample::{Sample, Source, supply},
};

const ID: RequestId = RequestId::new(7);

fn few<T>(source: &mut Source<'_>, one: impl Fn(&mut Source<'_>) -> T) -> Vec<T> {
    (0..source.below(3)).map(|_| one(source)).collect()
}

fn requests(source: &mut Source<'_>) -> Vec<ToEdge> {
    let requests = [
        LayoutRequest::Show,
        LayoutRequest::Plan,
        LayoutRequest::Apply { version: Sample::sample(source) },
        LayoutRequest::AddNode {
            node: Sample::sample(source),
            address: Sample::sample(source),
            http: Sample::sample(source),
            region: Sample::sample(source),
            zone: Sample::sample(source),
            host: Sample::sample(source),
            capacity: Sample::sample(source),
        },
        LayoutRequest::Decommission { node: Sample::sample(source), dry_run: Sample::sample(source) },
        LayoutRequest::Recommission { node: Sample::sample(source) },
        LayoutRequest::Drain { node: Sample::sample(source), on: Sample::sample(source) },
    ];
    requests.into_iter().map(|asked| ToEdge::Request { id: ID, request: Request::Layout(asked) }).collect()
}

fn node(source: &mut Source<'_>) -> LayoutNode {
    LayoutNode {
        node: Sample::sample(source),
        address: Sample::sample(source),
        region: Sample::sample(source),
        zone: Sample::sample(source),
        host: Sample::sample(source),
        capacity: Sample::sample(source),
        state: [NodeState::Joining, NodeState::Up, NodeState::Draining, NodeState::Left][source.below(4)],
        health: [NodeHealth::Alive, NodeHealth::Suspect, NodeHealth::Down][source.below(3)],
        silent_ms: Sample::sample(source),
        drains: Sample::sample(source),
        free_bytes: Sample::sample(source),
        sessions: Sample::sample(source),
        replicas: Sample::sample(source),
        leads: Sample::sample(source),
    }
}

fn group(source: &mut Source<'_>) -> LayoutGroup {
    LayoutGroup {
        group: Sample::sample(source),
        region: Sample::sample(source),
        replicas: Sample::sample(source),
        preference: Sample::sample(source),
        leader: Sample::sample(source),
        voters: Sample::sample(source),
        learners: Sample::sample(source),
        bytes: Sample::sample(source),
        ..LayoutGroup::default()
    }
}

fn line(source: &mut Source<'_>) -> LayoutMove {
    LayoutMove { group: Sample::sample(source), what: Sample::sample(source), why: Sample::sample(source), bytes: Sample::sample(source) }
}

fn answers(source: &mut Source<'_>) -> Vec<ToClient> {
    let answers = [
        LayoutAnswer::Shown(LayoutView {
            version: Sample::sample(source),
            balance: Sample::sample(source),
            nodes: few(source, node),
            groups: few(source, group),
            groups_more: Sample::sample(source),
            moved: few(source, line),
            notes: few(source, Sample::sample),
        }),
        LayoutAnswer::Planned(LayoutPlan {
            version: Sample::sample(source),
            moves: few(source, line),
            moves_more: Sample::sample(source),
            bytes: Sample::sample(source),
            notes: few(source, Sample::sample),
        }),
        LayoutAnswer::Emptying(Emptying {
            version: Sample::sample(source),
            replicas: Sample::sample(source),
            bytes: Sample::sample(source),
            eta_s: Sample::sample(source),
        }),
        LayoutAnswer::Blocked(few(source, Sample::sample)),
        LayoutAnswer::Done { version: Sample::sample(source) },
        LayoutAnswer::Draining { sessions: Sample::sample(source), leads: Sample::sample(source) },
    ];
    answers.into_iter().map(|answer| ToClient::Answer { id: ID, answer: Ok(Answer::Layout(answer)) }).collect()
}

fn to_peer(source: &mut Source<'_>) -> Vec<ToPeer> {
    let asks = [Ask::Load, Ask::Drain { on: Sample::sample(source) }, Ask::IsOut { group: Sample::sample(source) }];
    let beat = Beat { sessions: Sample::sample(source), sessions_max: Sample::sample(source), drains: true, ..Sample::sample(source) };
    asks.into_iter().map(|ask| ToPeer::Ask { id: ID, deadline_ms: 9, ask }).chain([ToPeer::Tell(Tell::Beat(beat))]).collect()
}

fn load(source: &mut Source<'_>) -> FromPeer {
    let led = |source: &mut Source<'_>| LedGroup {
        group: Sample::sample(source),
        term: Sample::sample(source),
        bytes: Sample::sample(source),
        entries: Sample::sample(source),
        voters: Sample::sample(source),
        learners: Sample::sample(source),
        settled: Sample::sample(source),
        leaving: None,
    };
    let load = NodeLoad {
        free_bytes: Sample::sample(source),
        sessions: Sample::sample(source),
        drains: Sample::sample(source),
        silent: few(source, |source| (Sample::sample(source), Sample::sample(source))),
        led: few(source, led),
    };
    FromPeer::Told { id: ID, told: Ok(Told::Load(load)) }
}

fn change(source: &mut Source<'_>) -> Item {
    let command =
        Command::ChangeMap { at: Sample::sample(source), nodes: few(source, Sample::sample), groups: few(source, Sample::sample), moves: Vec::new() };
    Item { bucket: None, command }
}

#[test]
fn layout_has_the_bytes_it_always_had() {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Bytes| lines.push((name, hex(&bytes)));
    for start in [1, 40] {
        let bytes: Vec<u8> = (0..1200u16).map(|step| (5 * step + start) as u8).collect();
        let source = &mut Source::new(&bytes);
        for (at, value) in requests(source).into_iter().enumerate() {
            add(format!("{start} request {at}"), value.encode());
        }
        for (at, value) in answers(source).into_iter().enumerate() {
            add(format!("{start} answer {at}"), value.encode());
        }
        for (at, value) in to_peer(source).into_iter().enumerate() {
            add(format!("{start} ask {at}"), value.encode());
        }
        add(format!("{start} load"), load(source).encode());
        add(format!("{start} change"), change(source).encode());
    }
    golden::check("layout.txt", &lines);
}

proptest! {
    #[test]
    fn any_value_survives_the_way(bytes in supply()) {
        let source = &mut Source::new(&bytes);
        for value in requests(source) {
            prop_assert_eq!(ToEdge::decode(&value.encode()).unwrap(), value);
        }
        for value in answers(source) {
            prop_assert_eq!(ToClient::decode(&value.encode()).unwrap(), value);
        }
        for value in to_peer(source) {
            prop_assert_eq!(ToPeer::decode(&value.encode()).unwrap(), value);
        }
        let value = load(source);
        prop_assert_eq!(FromPeer::decode(&value.encode()).unwrap(), value);
        let value = change(source);
        prop_assert_eq!(Item::decode(&value.encode()).unwrap(), value);
    }
}

#[test]
fn answers_and_labels_have_bounds() {
    let with = |count| LayoutPlan { moves: vec![LayoutMove::default(); count], ..LayoutPlan::default() };
    let decode = |plan| {
        let answer = ToClient::Answer { id: ID, answer: Ok(Answer::Layout(LayoutAnswer::Planned(plan))) };
        ToClient::decode(&answer.encode())
    };
    assert!(decode(with(limit::LAYOUT_LINES_MAX)).is_ok());
    assert!(decode(with(limit::LAYOUT_LINES_MAX + 1)).is_err());
    let add = |zone: String| LayoutRequest::AddNode {
        node: NodeId::new(4),
        address: "h:1".into(),
        http: String::new(),
        region: RegionId::FIRST,
        zone,
        host: String::new(),
        capacity: 1,
    };
    assert!(Request::Layout(add("z".repeat(limit::NODE_LABEL_BYTES_MAX))).checked().is_ok());
    assert!(Request::Layout(add("z".repeat(limit::NODE_LABEL_BYTES_MAX + 1))).checked().is_err());
}

#[test]
fn reasons_of_moves_are_kept_with_the_map() {
    let line = |bytes| LayoutMove { group: GroupId::new(3), what: "what".to_owned(), why: "why".to_owned(), bytes };
    let command = Command::ChangeMap { at: MapEpoch::new(5), nodes: Vec::new(), groups: Vec::new(), moves: vec![line(7)] };
    let item = Item { bucket: None, command };
    assert_eq!(Item::decode(&item.encode()).unwrap(), item);
    let row = ClusterRow { cluster: ClusterId::new([7; 16]), epoch: MapEpoch::new(5), moves: vec![line(1), line(2)], ..ClusterRow::default() };
    assert_eq!(ClusterRow::decode(&row.encode()).unwrap(), row);
}
