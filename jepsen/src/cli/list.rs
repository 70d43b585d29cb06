//! `kith-jepsen list`: every name with its line, and what those that cannot be used yet wait for.

use std::process::ExitCode;

use kith_jepsen::checker::Anomaly;
use kith_jepsen::name::{Mutant, Nemesis, Ready, Workload};
use serde_json::json;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

struct Entry {
    kind: &'static str,
    name: &'static str,
    text: &'static str,
    waits_for: Option<&'static str>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let entry = |kind, name, text, ready| Entry {
        kind,
        name,
        text,
        waits_for: match ready {
            Ready::Now => None,
            Ready::Later(what) => Some(what),
        },
    };
    let entries: Vec<Entry> = Workload::ALL
        .iter()
        .map(|one| entry("workload", one.name(), one.text(), one.ready()))
        .chain(Nemesis::ALL.iter().map(|one| entry("nemesis", one.name(), one.text(), one.ready())))
        .chain(Mutant::ALL.iter().map(|one| entry("mutant", one.name(), one.text(), one.ready())))
        .chain(Anomaly::ALL.iter().map(|one| entry("anomaly", one.name(), one.text(), Ready::Now)))
        .collect();
    if args.json {
        let all: Vec<_> =
            entries.iter().map(|one| json!({"kind": one.kind, "name": one.name, "text": one.text, "waits_for": one.waits_for})).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut kind = "";
    for one in entries {
        if one.kind != kind {
            println!("{}{}", if kind.is_empty() { "" } else { "\n" }, one.kind);
            kind = one.kind;
        }
        println!("  {:27}  {}", one.name, one.text);
        if let Some(what) = one.waits_for {
            println!("  {:27}  not yet: {what}", "");
        }
    }
    Ok(ExitCode::SUCCESS)
}
