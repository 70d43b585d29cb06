//! Ten million sessions over 30 regions that lose a node, a zone and a region: `cargo run --release -p kith-machine --example crowd -- [SEED] [SESSIONS]`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "an example fails by panicking, and measures")]

#[path = "../tests/crowd/mod.rs"]
mod crowd;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let seed = args.next().unwrap_or(1);
    let sessions = args.next().unwrap_or(10_000_000).try_into().expect("at most four billion");
    let began = std::time::Instant::now();
    let report = crowd::run(&crowd::Shape { seed, sessions, regions: 30 });
    println!("seed {seed}: {sessions} sessions, {} nodes, {} groups, {:.1} s", report.nodes, report.groups, began.elapsed().as_secs_f64());
    for phase in &report.phases {
        println!(
            "{:16} asked {:>9}  nearest region {:.2} %  worst/mean {:.3} (≤{:.3})  herd {:.3} (≤{:.3})  refused {} (≤{})  nowhere {}  leads/mean {:.3}",
            phase.what,
            phase.asked,
            phase.nearest_percent,
            phase.worst_over_mean,
            phase.worst_allowed,
            phase.herd,
            phase.herd_allowed,
            phase.refused,
            phase.refused_allowed,
            phase.placed_nowhere,
            phase.leader_over_mean
        );
    }
    let faults = report.faults();
    assert!(faults.is_empty(), "{faults:#?}");
}
