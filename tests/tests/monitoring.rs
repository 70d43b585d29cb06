//! What watches a cluster fits it: rules and dashboard name metrics that there are, each rule fires in a test and has a page that says what to do.
//!
//! Not here: evaluating the rules, which promtool does (`make alerts`); this test does it too where promtool is installed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Metrics of a node, with the values that their labels have.
fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in read("node/tests/metrics.txt").lines() {
        let (name, labels) = line.split_once('{').unwrap_or((line, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).map(str::to_owned);
        known.entry(name.to_owned()).or_default().extend(labels);
    }
    known
}

/// Names of Kith's metrics in an expression, each with what stands between its braces.
fn named(expression: &str) -> Vec<(String, String)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in expression.match_indices("kith_") {
        let rest = &expression[at..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let labels = rest[end..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
        found.push((rest[..end].to_owned(), labels.to_owned()));
    }
    found
}

/// Says what an expression names and a node does not show.
fn unknown(expression: &str, known: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, labels) in named(expression) {
        let Some(values) = known.get(&name) else {
            wrong.push(name);
            continue;
        };
        for (label, value) in
            labels.split(',').filter_map(|label| label.split_once('=')).filter(|(label, _)| !["job", "instance", "le"].contains(label))
        {
            let value = value.trim_start_matches('~').trim_matches('"');
            let is_there = |one: &str| values.contains(&format!("{label}=\"{one}\""));
            wrong.extend(value.split('|').filter(|one| !is_there(one)).map(|one| format!("{name}{{{label}={one}}}")));
        }
    }
    wrong
}

/// One rule: its lines, by key.
struct Rule {
    name: String,
    keys: BTreeMap<String, String>,
}

fn rules() -> Vec<Rule> {
    let text = read("docs/monitoring/alerts.yml");
    let keys =
        |block: &str| block.lines().filter_map(|line| line.trim().split_once(": ")).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    text.split("- alert: ").skip(1).map(|block| Rule { name: block.lines().next().unwrap().to_owned(), keys: keys(block) }).collect()
}

#[test]
fn rules_name_metrics_that_there_are_and_pages_that_say_what_to_do() {
    let (known, tests) = (metrics(), read("docs/monitoring/alerts_test.yml"));
    let (mut wrong, mut pages) = (Vec::new(), BTreeMap::<String, BTreeSet<String>>::new());
    let rules = rules();
    assert!(rules.len() > 20, "the rules were found");
    for rule in &rules {
        let of = |key: &str| rule.keys.get(key).cloned().unwrap_or_default();
        wrong.extend(unknown(&of("expr"), &known).into_iter().map(|what| format!("{}: there is no {what}", rule.name)));
        if !["page", "ticket"].contains(&of("severity").as_str()) || of("summary").is_empty() || of("for").is_empty() {
            wrong.push(format!("{}: it has no severity, summary or time", rule.name));
        }
        let page = of("runbook");
        if !fs::read_to_string(root().join(&page)).unwrap_or_default().lines().any(|line| line == format!("## {}", rule.name)) {
            wrong.push(format!("{}: {page} has no section of its name", rule.name));
        }
        pages.entry(page).or_default().insert(rule.name.clone());
        for kind in ["fires", "quiet"] {
            if !tests.contains(&format!("- name: {} {kind}\n", rule.name)) {
                wrong.push(format!("{}: alerts_test.yml has no case in which it {kind}", rule.name));
            }
        }
    }
    // No page speaks of a rule that is gone.
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let path = entry.unwrap().path();
        let page = format!("docs/runbooks/{}", path.file_name().unwrap().display());
        for section in fs::read_to_string(&path).unwrap().lines().filter_map(|line| line.strip_prefix("## Kith")) {
            if !pages.get(&page).is_some_and(|rules| rules.contains(&format!("Kith{section}"))) {
                wrong.push(format!("{page}: there is no rule Kith{section}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_dashboard_names_metrics_that_there_are() {
    let (known, text) = (metrics(), read("docs/monitoring/dashboard.json"));
    let expressions = || text.lines().filter_map(|line| line.trim().strip_prefix("\"expr\": ")).map(|line| line.replace("\\\"", "\""));
    assert!(expressions().count() > 20, "the panels were found");
    let wrong: Vec<String> = expressions().flat_map(|expression| unknown(&expression, &known)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_rule_fires_where_it_should() {
    let Ok(done) = Command::new("promtool").args(["test", "rules", "docs/monitoring/alerts_test.yml"]).current_dir(root()).output() else {
        eprintln!("promtool is not installed: nothing is tested here; make alerts installs it");
        return;
    };
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

#[test]
fn an_expression_is_read_as_it_is_meant() {
    let known = BTreeMap::from([("kith_a_total".to_owned(), BTreeSet::from(["reason=\"Full\"".to_owned()]))]);
    assert_eq!(unknown("rate(kith_a_total{reason=\"Full\"}[5m]) > 0", &known), Vec::<String>::new());
    assert_eq!(unknown("rate(kith_a_total{job=\"kith\",reason=~\"Full|Gone\"}[5m])", &known), ["kith_a_total{reason=Gone}"]);
    assert_eq!(unknown("max(kith_b)", &known), ["kith_b"]);
}
