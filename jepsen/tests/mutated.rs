//! A lawful history with one thing changed, at a random place: the checker must name it. This is what a hand-written folder cannot show.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use kith_jepsen::checker::{Anomaly, Answer, Expect, Verdict, check};
use kith_jepsen::generate;
use kith_jepsen::history::Reader;
use kith_jepsen::seed::Chance;
use serde_json::{Value, json};

fn judge(lines: &[Value]) -> Verdict {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    check(Reader::new(text.as_bytes(), Path::new("mutated")), &[], &Expect { nodes: Some(3), ..Expect::default() })
}

fn is(line: &Value, kind: &str, f: &str) -> bool {
    line["type"] == kind && line["f"] == f
}

fn items(line: &Value) -> usize {
    line["value"].as_array().map_or(0, Vec::len)
}

/// The place of one of the lines that fit.
fn one(lines: &[Value], chance: &mut Chance, fits: impl Fn(&Value) -> bool) -> usize {
    let all: Vec<usize> = lines.iter().enumerate().filter(|(_, line)| fits(line)).map(|(at, _)| at).collect();
    *chance.one_of(&all)
}

/// Changes one thing and names the anomalies of which at least one must be found.
fn mutate(kind: u64, lines: &mut Vec<Value>, chance: &mut Chance) -> &'static [Anomaly] {
    let is_final = |line: &Value, least: usize| is(line, "ok", "read") && line["final"] == true && items(line) >= least;
    match kind {
        0 => {
            let at = one(lines, chance, |line| is_final(line, 3));
            let middle = chance.within(1, items(&lines[at]) as u64 - 2) as usize;
            lines[at]["value"].as_array_mut().unwrap().remove(middle);
            &[Anomaly::Gap]
        }
        1 => {
            let at = one(lines, chance, |line| is_final(line, 1));
            lines[at]["value"].as_array_mut().unwrap().pop();
            &[Anomaly::FinalDivergence]
        }
        2 => {
            let at = one(lines, chance, |line| is_final(line, 1));
            let channel = lines[at]["channel"].clone();
            let last = lines
                .iter()
                .filter(|line| is_final(line, 1) && line["channel"] == channel)
                .map(|line| line["value"].as_array().unwrap().last().unwrap().clone());
            let last = last.max_by_key(|item| item[0].as_u64()).unwrap();
            // Without a limit: a page that stops early would only leave that position uncovered.
            for line in lines.iter_mut().filter(|line| line["final"] == true && line["channel"] == channel) {
                line.as_object_mut().unwrap().remove("limit");
                if let Some(list) = line["value"].as_array_mut() {
                    list.retain(|item| *item != last);
                }
            }
            &[Anomaly::LostWrite]
        }
        3 => {
            let at = one(lines, chance, |line| is_final(line, 2));
            let list = lines[at]["value"].as_array_mut().unwrap();
            let (a, b) = (list[0][1].clone(), list[1][1].clone());
            (list[0][1], list[1][1]) = (b, a);
            &[Anomaly::SeqConflict]
        }
        4 => {
            let at = one(lines, chance, |line| is(line, "ok", "send"));
            lines[at]["seq"] = json!(lines[at]["seq"].as_u64().unwrap() + 1);
            &[Anomaly::DuplicateMessage]
        }
        5 => {
            let at = one(lines, chance, |line| is(line, "ok", "subscribe_event"));
            lines[at]["value"] = json!("something else");
            &[Anomaly::CorruptValue]
        }
        6 => {
            let at = one(lines, chance, |line| is(line, "ok", "subscribe_event"));
            let again = lines[at].clone();
            lines.insert(at + 1, again);
            &[Anomaly::NonmonotonicEvent]
        }
        7 => {
            // Neither the first nor the last of its stream, and read by no tail read of its device.
            let at = one(lines, chance, |line| {
                let same = |other: &&Value| is(other, "ok", "subscribe_event") && other["device"] == line["device"];
                let read = |other: &Value| is(other, "ok", "read") && other["device"] == line["device"] && items(other) > 0;
                is(line, "ok", "subscribe_event")
                    && lines.iter().filter(same).any(|other| other["seq"].as_u64() < line["seq"].as_u64())
                    && lines.iter().filter(same).any(|other| other["seq"].as_u64() > line["seq"].as_u64())
                    && !lines.iter().any(read)
            });
            lines.remove(at);
            &[Anomaly::EventGap]
        }
        8 => {
            let at = one(lines, chance, |line| is(line, "ok", "read") && line["linearizable"] == true && items(line) > 0);
            lines[at]["value"].as_array_mut().unwrap().pop();
            &[Anomaly::StaleRead]
        }
        9 => {
            let at = one(lines, chance, |line| is(line, "ok", "read") && line["linearizable"] == true && items(line) > 0);
            lines[at]["value"][0][1] = json!("ghost");
            &[Anomaly::Phantom]
        }
        10 => {
            let at = one(lines, chance, |line| is(line, "ok", "send"));
            let id = lines[at]["client_msg_id"].clone();
            for line in lines.iter_mut().filter(|line| line["f"] == "send" && line["client_msg_id"] == id && line["type"] != "invoke") {
                line["type"] = json!("fail");
            }
            &[Anomaly::AbortedRead]
        }
        _ => {
            let at = one(lines, chance, |line| is(line, "ok", "send"));
            lines[at]["seq"] = Value::Null;
            &[Anomaly::AckWithoutSeq]
        }
    }
}

#[test]
fn one_change_at_a_random_place_is_named() {
    let mut lawful = Vec::new();
    generate::lawful(9_000, 11, &mut lawful).unwrap();
    let lines: Vec<Value> = String::from_utf8(lawful).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(judge(&lines).valid, Answer::True);
    for kind in 0..12 {
        for seed in 0..5 {
            let mut chance = Chance::new(100 * kind + seed);
            let mut mutated = lines.clone();
            let expected = mutate(kind, &mut mutated, &mut chance);
            let verdict = judge(&mutated);
            assert_eq!(verdict.harness_errors.count, 0, "kind {kind}, seed {seed}:\n{verdict}");
            assert!(
                expected.iter().any(|anomaly| verdict.anomalies.contains_key(anomaly)),
                "kind {kind}, seed {seed}: {expected:?} expected\n{verdict}"
            );
        }
    }
}
