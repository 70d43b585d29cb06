//! What the architecture forbids, by grep: who may use whom, words that hide something, files that grew a second noun.
//!
//! The table is the MUST of the README's map; a rule that is in the way is changed there first, with its reason.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Packages, where their code is, and what it must not name. A word is matched as a whole: `tokio` is not in `tokio_util`.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("wire/src", &["tokio", "quinn", "rustls", "kith_machine", "kith_storage", "kith_raft", "kith_client"]),
    (
        "raft/machine/src",
        &[
            "tokio",
            "rocksdb",
            "openraft",
            "tracing",
            "rand",
            "quinn",
            "kith_storage",
            "kith_raft",
            "SystemTime",
            "Instant",
            "env",
            "fs",
            "f32",
            "f64",
            "HashMap",
            "HashSet",
            "RandomState",
        ],
    ),
    ("raft/storage/src", &["openraft", "tokio", "quinn", "rustls", "kith_raft", "kith_client"]),
    ("raft/src", &["quinn", "rustls", "axum", "rocksdb", "kith_client"]),
    ("search/src", &["tokio", "rocksdb", "openraft", "quinn", "kith_machine", "kith_storage", "kith_raft", "kith_client", "SystemTime", "Instant"]),
    ("push/src", &["rocksdb", "openraft", "quinn", "axum", "kith_machine", "kith_storage", "kith_raft", "kith_client", "SystemTime"]),
    (
        "backup/src",
        &["tokio", "rocksdb", "openraft", "quinn", "kith_machine", "kith_storage", "kith_raft", "kith_client", "kith_wire", "SystemTime", "Instant"],
    ),
    ("client-sdk/src", &["kith_machine", "kith_storage", "kith_raft", "openraft", "rocksdb"]),
    // The terminal client stands on the SDK alone.
    ("client-sdk/tui/src", &["kith_machine", "kith_storage", "kith_raft", "kith_wire", "kith", "quinn", "rustls", "openraft", "rocksdb"]),
    ("node/src", &["kith_storage", "openraft", "rocksdb", "tantivy"]),
    ("jepsen/src", &["kith_machine", "kith_storage", "kith_raft", "openraft", "rocksdb"]),
];

/// Parts of the node that nothing but the composition root, the command line and the benchmarks may name.
const TOPS: &[&str] = &["edge", "http", "cli", "demo", "bench"];

/// Words that no code has.
const BANNED: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore", "should_panic", "unbounded_channel", "mpsc::unbounded"];

/// Words that no name of a file has: they say nothing.
const VAGUE: &[&str] = &["manager", "helper", "util", "misc", "common"];

/// Lines of a source file at which to look for its second noun.
const LINES_MAX: usize = 700;
/// Bytes that no source file has.
const BYTES_MAX: usize = 30_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Source files below a folder, with their text, by path.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn everything() -> Vec<(String, String)> {
    ["wire", "raft", "search", "push", "backup", "client-sdk", "node", "tests", "jepsen"].into_iter().flat_map(sources).collect()
}

/// The code of a file: without comments, texts between quotes and what stands below `mod tests`.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let without_texts = |line: String| line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    text.lines().map(without_comment).map(without_texts).collect::<Vec<_>>().join("\n")
}

fn names(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(is_part);
        let after = code[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

#[test]
fn packages_use_only_what_they_may() {
    let mut wrong = Vec::new();
    for (folder, forbidden) in FORBIDDEN {
        for (file, text) in sources(folder) {
            let code = code(&text);
            wrong.extend(forbidden.iter().filter(|word| names(&code, word)).map(|word| format!("{file}: {word}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_in_the_node_uses_its_faces() {
    let mut wrong = Vec::new();
    for (file, text) in sources("node/src") {
        let inside = file.trim_start_matches("node/src/");
        if ["lib.rs", "main.rs", "node.rs", "metrics.rs", "fuzz.rs"].contains(&inside) || inside.starts_with("cli/") || inside.starts_with("bench/") {
            continue;
        }
        let code = code(&text);
        let uses = |top: &&&str| {
            !inside.starts_with(&format!("{top}/")) && (code.contains(&format!("crate::{top}::")) || code.contains(&format!("    {top}::")))
        };
        wrong.extend(TOPS.iter().filter(uses).map(|top| format!("{file}: {top}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_depends_on_the_tests() {
    for package in ["wire", "raft/machine", "raft/storage", "raft", "search", "push", "client-sdk", "node", "jepsen"] {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("kith-tests"), "{package}");
    }
}

#[test]
fn no_code_has_a_banned_word() {
    let found = everything().into_iter().flat_map(|(file, text)| {
        let code = code(&text);
        BANNED.iter().filter(move |word| code.contains(**word)).map(move |word| format!("{file}: {word}"))
    });
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    // A harness looks again after a while, with a deadline; its scenarios say what for.
    let is_test = |file: &str| (file.contains("/tests/") || file.ends_with("tests.rs")) && !file.contains("/common/");
    let found: Vec<String> =
        everything().into_iter().filter(|(file, text)| is_test(file) && names(&code(text), "sleep")).map(|(file, _)| file).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn files_have_one_noun_and_a_name_that_says_it() {
    let mut wrong = Vec::new();
    for (file, text) in everything() {
        if text.lines().count() > LINES_MAX || text.len() > BYTES_MAX {
            wrong.push(format!("{file}: {} lines, {} bytes", text.lines().count(), text.len()));
        }
        let stem = file.rsplit('/').next().unwrap_or(&file);
        wrong.extend(VAGUE.iter().filter(|word| stem.contains(**word)).map(|word| format!("{file}: {word}")));
        if file.contains("/src/") && !stem.ends_with("tests.rs") && !text.starts_with("//!") {
            wrong.push(format!("{file}: no header"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Fail points and the in-memory network are features that tests turn on. What is built with them is for tests only; what is shipped is
/// `cargo build -p kith`, whose features cargo itself tells here. Without the feature a fail point has no size, as kith-raft asserts.
#[test]
fn shipped_binary_has_no_fail_points() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "-p", "kith", "-e", "normal,features", "-i", "kith-raft"])
        .current_dir(root())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.status.success() && told.contains("kith-raft"), "{told}{}", String::from_utf8_lossy(&tree.stderr));
    for feature in ["failpoint", "testing"] {
        assert!(!told.contains(&format!("kith-raft feature \"{feature}\"")), "{told}");
    }
}

/// A parser by its name: a type that is made of text, one that is decoded from bytes, a function that says that it parses.
fn parsers(code: &str) -> Vec<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let after = |mark: &'static str| code.split(mark).skip(1);
    let lists = after("\ntop!(")
        .chain(after("\ntaken!("))
        .filter_map(|rest| rest.split_once(": ")?.1.split_once(");"))
        .flat_map(|(list, _)| list.split(", "));
    let mut found: Vec<String> = after("FromStr for ").map(word).chain(lists.map(word)).collect();
    let says_so =
        |name: &String| ["parse", "decode", "unhex", "from_pem", "from_hex", "from_bytes", "fold_name"].iter().any(|begin| name.starts_with(begin));
    found.extend(after("fn ").map(word).filter(says_so));
    found
}

/// Two types of one name are one schema in the document, whichever comes first: it has to be said `as` what the other stands there.
#[test]
fn every_schema_of_the_http_api_has_its_own_name() {
    let mut seen = std::collections::BTreeMap::new();
    for (file, text) in sources("node/src/http/api") {
        for item in text.split("#[derive(").skip(1).filter(|item| item.split(")]").next().is_some_and(|derived| derived.contains("ToSchema"))) {
            let head = item.split('{').next().unwrap_or_default();
            let said = head.split_once("#[schema(as = ").map(|(_, rest)| rest.split(')').next().unwrap_or_default().to_owned());
            let declared =
                || ["struct ", "enum "].iter().find_map(|kind| Some(head.split_once(kind)?.1.chars().take_while(|c| c.is_alphanumeric()).collect()));
            let name: String = said.or_else(declared).unwrap_or_else(|| panic!("{file}: a schema without a name: {head}"));
            if let Some(other) = seen.insert(name.clone(), file.clone()) {
                panic!("{name} of {file} is {name} of {other} in the document too");
            }
        }
    }
    assert!(seen.len() > 50, "the schemas are found: {}", seen.len());
}

#[test]
fn whatever_parses_is_fuzzed() {
    let listed = fs::read_to_string(root().join("tests/fuzz/parsers.txt")).unwrap();
    let mut known: Vec<(String, String)> = Vec::new();
    let targets: String = sources("tests/fuzz/tests").into_iter().map(|(_, text)| text).collect();
    for line in listed.lines().filter(|line| !line.starts_with('#')) {
        let [file, parser, target] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let is_there = targets.contains(&format!("fn {target}()")) || targets.contains(&format!("\n    {target}: "));
        assert!(target.starts_with("- ") || is_there, "{line}: no target has that name");
        known.push((file.to_owned(), parser.to_owned()));
    }
    let is_product = |file: &str| {
        !["/tests/", "tests.rs", "/testing", "/examples/", "/bench/", "/failpoint/", "/fuzz.rs", "mutant.rs"].iter().any(|part| file.contains(part))
    };
    let product =
        ["wire/src", "raft", "search/src", "push/src", "client-sdk", "node/src"].into_iter().flat_map(sources).filter(|(file, _)| is_product(file));
    let mut found: Vec<(String, String)> =
        product.flat_map(|(file, text)| parsers(&code(&text)).into_iter().map(move |name| (file.clone(), name))).collect();
    found.sort();
    found.dedup();
    known.sort();
    let missing: Vec<_> = found.iter().filter(|one| !known.contains(one)).collect();
    let stale: Vec<_> = known.iter().filter(|one| !found.contains(one)).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not in tests/fuzz/parsers.txt: {missing:#?}; there, but nowhere else: {stale:#?}");
}
