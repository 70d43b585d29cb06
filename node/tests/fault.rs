//! Mutants are in `kith-fault` alone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// What would be in a binary that has mutants.
#[cfg(not(feature = "mutants"))]
const TRACES: &[&str] =
    &["KITH_MUTANT", "KITH_OLDER", "no mutant is named", "ack-before-fsync", "dedup-in-memory", "resume-skips-one", "read-two-snapshots"];

#[cfg(not(feature = "mutants"))]
#[test]
fn the_shipped_binary_has_no_mutants() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_kith")).unwrap();
    let has = |text: &str| binary.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("until-stdin-closes"), "texts are found where they are");
    let found: Vec<_> = TRACES.iter().filter(|text| has(text)).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[cfg(all(feature = "mutants", feature = "failpoint"))]
#[test]
fn fail_points_are_listed_and_a_wrong_order_is_refused() {
    use std::process::Command;

    let run = |orders: &str| Command::new(env!("CARGO_BIN_EXE_kith-fault")).env("KITH_FAILPOINTS", orders).arg("--version").output().unwrap();
    let listed = String::from_utf8(run("list").stdout).unwrap();
    for part in ["persist", "commit", "apply", "snapshot", "ref", "outbox"] {
        assert!(listed.lines().any(|line| line.starts_with(part)), "{listed}");
    }
    let refused = run("raft.append.persisted=explode");
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(run("raft.append.persisted=kill@9;storage.log.after_sync=sleep:5@1%").status.success());
}

#[cfg(all(feature = "mutants", feature = "failpoint"))]
#[test]
fn an_unknown_mutant_is_refused_with_the_names_there_are() {
    use std::process::Command;

    let run = |mutant: &str| Command::new(env!("CARGO_BIN_EXE_kith-fault")).env("KITH_MUTANT", mutant).arg("--version").output().unwrap();
    let refused = run("be-evil");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("\"be-evil\"") && told.contains("ack-before-fsync") && told.contains("read-two-snapshots"), "{told}");
    assert!(run("ack-before-fsync").status.success());
}
