//! Each history of the folder triggers what its name says and nothing else: `anomaly/NAME[+NAME][-variant].jsonl`, `lawful/`, `harness/`.
//! Faults stand beside a history as `….nemesis.jsonl`; every fault there is required to bite.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kith_jepsen::checker::{Anomaly, Answer, Expect, Verdict, check};
use kith_jepsen::history::{Reader, Writer, read_faults};

fn folder(name: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories").join(name);
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".jsonl") && !path.to_string_lossy().ends_with(".nemesis.jsonl"))
        .collect();
    files.sort();
    files
}

fn judge(path: &Path) -> Verdict {
    let beside = path.with_extension("nemesis.jsonl");
    let faults = if beside.exists() { read_faults(&beside).unwrap() } else { Vec::new() };
    let expect = Expect { required: faults.iter().map(|fault| fault.nemesis).collect(), ..Expect::default() };
    check(Reader::open(path).unwrap(), &faults, &expect)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn each_anomaly_is_found_and_nothing_else() {
    let mut wrong = Vec::new();
    let mut alone = BTreeSet::new();
    for path in folder("anomaly") {
        let stem = stem(&path);
        let expected: BTreeSet<String> = stem.split('-').next().unwrap().split('+').map(str::to_owned).collect();
        let verdict = judge(&path);
        let found: BTreeSet<String> = verdict.anomalies.keys().map(|anomaly| anomaly.name().to_owned()).collect();
        if found != expected || verdict.harness_errors.count > 0 || verdict.valid != Answer::False {
            wrong.push(format!("{stem}:\n{verdict}"));
        }
        if expected.len() == 1 {
            alone.extend(expected);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let missing: Vec<_> = Anomaly::ALL.iter().filter(|anomaly| !alone.contains(anomaly.name())).collect();
    assert!(missing.is_empty(), "no history triggers only {missing:?}");
}

#[test]
fn look_alikes_are_lawful() {
    let wrong: Vec<_> = folder("lawful")
        .iter()
        .map(|path| (stem(path), judge(path)))
        .filter(|(_, verdict)| !verdict.anomalies.is_empty() || verdict.harness_errors.count > 0)
        .map(|(stem, verdict)| format!("{stem}:\n{verdict}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn an_error_of_the_harness_is_unknown_and_told_apart() {
    for path in folder("harness") {
        let verdict = judge(&path);
        assert_eq!(verdict.valid, Answer::Unknown, "{}:\n{verdict}", stem(&path));
        assert!(verdict.harness_errors.count > 0 && verdict.reasons[0].starts_with("harness"), "{}:\n{verdict}", stem(&path));
    }
}

#[test]
fn an_error_names_its_line() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories/harness/torn_line.jsonl");
    let verdict = judge(&path);
    assert_eq!(verdict.harness_errors.examples, ["torn_line.jsonl, line 2: the line is cut short: the writer stopped in the middle"]);
}

#[test]
fn a_history_without_final_reads_shows_nothing_about_what_was_kept() {
    let history = br#"{"process":1,"type":"invoke","f":"send","channel":"c","client_msg_id":"a","value":"x","time":1}
{"process":1,"type":"ok","f":"send","channel":"c","client_msg_id":"a","seq":1,"time":2}
"#;
    let verdict = check(Reader::new(&history[..], Path::new("h")), &[], &Expect::default());
    assert_eq!(verdict.valid, Answer::Unknown, "{verdict}");
    assert!(verdict.reasons[0].contains("covered by no final read"), "{verdict}");
}

/// Sends to the channels `a` and `b`, and final reads of each from these nodes; one that fails is among them.
fn read_in_the_end(from: &[(&str, &str)], nodes: usize) -> Verdict {
    let mut lines = Vec::new();
    for (at, channel) in ["a", "b"].into_iter().enumerate() {
        let send = format!(r#""process":1,"f":"send","channel":"{channel}","client_msg_id":"{channel}1","value":"x""#);
        lines.push(format!(r#"{{{send},"type":"invoke","time":{}}}"#, 10 * at + 1));
        lines.push(format!(r#"{{{send},"type":"ok","seq":1,"time":{}}}"#, 10 * at + 2));
    }
    for (at, (channel, node)) in from.iter().enumerate() {
        let read = format!(r#""process":9,"f":"read","channel":"{channel}","from_seq":1,"final":true,"node":"{node}""#);
        lines.push(format!(r#"{{{read},"type":"invoke","time":{}}}"#, 10 * at + 101));
        lines.push(format!(r#"{{{read},"type":"ok","value":[[1,"{channel}1"]],"time":{}}}"#, 10 * at + 102));
    }
    let read = r#""process":8,"f":"read","channel":"b","from_seq":1,"final":true,"node":"n3""#;
    lines.push(format!(r#"{{{read},"type":"invoke","time":901}}"#));
    lines.push(format!(r#"{{{read},"type":"fail","time":902}}"#));
    let expect = Expect { nodes: Some(nodes), ..Expect::default() };
    let history = lines.join("\n") + "\n";
    check(Reader::new(history.as_bytes(), Path::new("h")), &[], &expect)
}

#[test]
fn what_a_load_does_after_its_time_says_nothing_about_rate_and_silence() {
    let history = br#"{"process":1,"type":"invoke","f":"send","channel":"c","client_msg_id":"a","value":"x","time":1}
{"process":1,"type":"ok","f":"send","channel":"c","client_msg_id":"a","seq":1,"time":1000000000}
{"process":1,"type":"invoke","f":"send","channel":"c","client_msg_id":"b","value":"x","time":60000000000}
{"process":1,"type":"ok","f":"send","channel":"c","client_msg_id":"b","seq":2,"time":61000000000}
"#;
    let judge = |load| check(Reader::new(&history[..], Path::new("h")), &[], &Expect { load, ..Expect::default() }).figures;
    let (whole, loaded) = (judge(None), judge(Some(std::time::Duration::from_secs(10))));
    assert_eq!((whole.silence_max_ms, loaded.silence_max_ms), (60_000, 0));
    assert!(whole.acked_per_second < 0.1 && loaded.acked_per_second > 0.9, "{} and {}", whole.acked_per_second, loaded.acked_per_second);
}

#[test]
fn a_replica_that_never_answered_for_a_channel_is_noticed() {
    let verdict = read_in_the_end(&[("a", "n1"), ("a", "n2"), ("a", "n3"), ("b", "n1"), ("b", "n2")], 3);
    assert_eq!(verdict.valid, Answer::Unknown, "{verdict}");
    assert!(verdict.reasons.iter().any(|reason| reason.contains("b was read in the end from 2 of 3 replicas")), "{verdict}");
}

#[test]
fn a_node_without_a_replica_of_a_channel_is_not_missed() {
    let of_five = [("a", "n1"), ("a", "n2"), ("a", "n4"), ("b", "n1"), ("b", "n4"), ("b", "n5"), ("a", "n3")];
    let verdict = read_in_the_end(&of_five, 5);
    assert_eq!(verdict.valid, Answer::True, "{verdict}");
    // Later read after all.
    let again = [("a", "n1"), ("a", "n2"), ("a", "n3"), ("b", "n1"), ("b", "n2"), ("b", "n3")];
    assert_eq!(read_in_the_end(&again, 3).valid, Answer::True);
}

#[test]
fn what_is_written_is_read_again() {
    for path in ["anomaly", "lawful"].into_iter().flat_map(folder) {
        let mut first = Reader::open(&path).unwrap();
        let mut writer = Writer::new(Vec::new());
        while let Some((_, event)) = first.next().unwrap() {
            writer.event(&event).unwrap();
        }
        let written = writer.into_inner().unwrap();
        let (mut first, mut second) = (Reader::open(&path).unwrap(), Reader::new(&written[..], &path));
        while let Some((_, event)) = first.next().unwrap() {
            assert_eq!(second.next().unwrap().map(|(_, event)| event), Some(event), "{}", path.display());
        }
        assert!(second.next().unwrap().is_none());
    }
}
