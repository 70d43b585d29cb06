//! The commands as a shell sees them: what they print and how they exit.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::{Command, Output};

use kith_jepsen::plan::Plan;

fn jepsen(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kith-jepsen")).args(args).output().unwrap()
}

fn run_of(history: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories").join(history);
    std::fs::copy(from, dir.path().join("history.jsonl")).unwrap();
    dir
}

#[test]
fn check_exits_by_its_verdict() {
    for (history, code, answer) in [
        ("lawful/plain.jsonl", 0, "verdict: true\n"),
        ("anomaly/lost_write-tail.jsonl", 1, "verdict: false\n  lost_write (1)"),
        ("harness/torn_line.jsonl", 2, "verdict: unknown\n  harness"),
    ] {
        let dir = run_of(history);
        let output = jepsen(&["check", dir.path().to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(code) && text.starts_with(answer), "{history}: {:?}\n{text}", output.status);
    }
}

#[test]
fn a_plan_makes_a_run_show_what_it_planned() {
    let dir = run_of("lawful/plain.jsonl");
    let planned = jepsen(&["plan", "--nemesis", "kill-leader", "--seconds", "30", "--seed", "5"]);
    let plan: Plan = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!(plan.required(), [kith_jepsen::name::Nemesis::KillLeader]);
    assert_eq!(planned.stdout, jepsen(&["plan", "--nemesis", "kill-leader", "--seconds", "30", "--seed", "5"]).stdout);
    std::fs::write(dir.path().join("plan.json"), planned.stdout).unwrap();
    let output = jepsen(&["check", dir.path().to_str().unwrap(), "--json"]);
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &verdict["valid"]), (Some(2), &serde_json::json!("unknown")), "the planned fault was never in place");
    assert_eq!(verdict["reasons"], serde_json::json!(["not shown: kill-leader was never in place"]));
}

#[test]
fn list_says_what_is_waited_for() {
    let text = String::from_utf8(jepsen(&["list"]).stdout).unwrap();
    for line in ["power-cut-all", "presence", "not yet: comes with bucket moves", "upgrade", "lost_write"] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    assert_eq!(jepsen(&["judge"]).status.code(), Some(64));
    assert_eq!(jepsen(&["--help"]).status.code(), Some(0));
    let output = jepsen(&["plan", "--nemesis", "earthquake"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: reading --nemesis: no nemesis is named \"earthquake\"\n");
}
