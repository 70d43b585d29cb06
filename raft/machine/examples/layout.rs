//! How long planning takes for 1,000 nodes and 100,000 groups: from nothing, when nothing is left to do, after the loss of a node and of a zone, with a new zone, with other
//! loads: `cargo run --release -p kith-machine --example layout -- [NODES] [GROUPS]`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "an example fails by panicking, and measures")]

use std::time::Instant;

use kith_machine::meta::layout::{Change, DOWN_AFTER_MS, Group, Layout, Limits, Node, REST_MS};
use kith_wire::{
    id::{GroupId, NodeId, Timestamp},
    log::NodeState,
};

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u32>().expect("a number"));
    let (nodes, groups) = (args.next().unwrap_or(1_000), args.next().unwrap_or(100_000));
    let node = |at: u32| Node { zone: format!("zone-{}", at % 5), capacity: 1 + at % 2, ..Node::default() };
    let mut layout = Layout {
        nodes: (1..=nodes).map(|at| (NodeId::new(u64::from(at)), node(at))).collect(),
        groups: (0..=groups)
            .map(|group| {
                (
                    GroupId::new(group),
                    Group { bytes: (1 << 30) + (u64::from(group * 7_919 % 1_000) << 20), load: u64::from(1 + group * 31 % 9), ..Group::default() },
                )
            })
            .collect(),
        ..Layout::default()
    };
    let mut now = Timestamp::new(1 << 40);
    let mut step = |what: &str, layout: &mut Layout| {
        now = Timestamp::new(now.get() + REST_MS.max(DOWN_AFTER_MS));
        let began = Instant::now();
        let plan = layout.plan(now, Limits::WHOLE);
        let took = began.elapsed().as_secs_f64();
        let copies = plan.moves.iter().filter(|one| matches!(one.change, Change::Add { .. } | Change::Swap { .. })).count();
        let leads = plan.moves.iter().filter(|one| matches!(one.change, Change::Lead { .. })).count();
        println!(
            "{what:32} {took:6.2} s  {copies:>7} copies  {leads:>6} leaders  {:>6} seconds  {:>5} stuck",
            plan.moves.len() - copies - leads,
            plan.stuck.len()
        );
        layout.apply(&plan, now);
    };
    println!("{nodes} nodes, {groups} groups");
    step("from nothing", &mut layout);
    step("again", &mut layout);
    step("and again", &mut layout);
    layout.nodes.get_mut(&NodeId::new(1)).unwrap().silent_since = Some(Timestamp::new(1 << 40));
    step("a node is lost", &mut layout);
    step("again", &mut layout);
    for (_, node) in layout.nodes.iter_mut().filter(|(id, _)| id.get() % 5 == 0) {
        node.state = NodeState::Left;
    }
    step("a zone is lost for good", &mut layout);
    step("again", &mut layout);
    for at in 1..=nodes / 5 {
        layout.nodes.insert(NodeId::new(u64::from(nodes + at)), Node { zone: "zone-new".to_owned(), capacity: 1, ..Node::default() });
    }
    step("a new zone", &mut layout);
    step("again", &mut layout);
    for (at, group) in layout.groups.values_mut().enumerate() {
        group.load = 1 + at as u64 * 17 % 9;
    }
    step("other loads", &mut layout);
    step("again", &mut layout);
}
