//! The machine is pure: its source names no clock, no randomness, no disk, no runtime, no floats and no map without an order.

use std::{
    fs,
    path::{Path, PathBuf},
};

const BANNED: &[&str] = &[
    "HashMap",
    "HashSet",
    "f32",
    "f64",
    "SystemTime",
    "Instant",
    "std::env",
    "std::fs",
    "std::thread",
    "tokio",
    "rocksdb",
    "openraft",
    "tracing",
    "rand::",
    "static mut",
    "unsafe",
    ".unwrap()",
    "todo!",
    "unimplemented!",
    "dbg!",
];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("can be listed").path();
        if path.is_dir() {
            sources(&path, out);
        } else {
            out.push(path);
        }
    }
}

#[test]
fn the_source_names_nothing_that_differs_between_replicas() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 20, "all files are looked at: {files:?}");
    for file in files {
        let text = fs::read_to_string(&file).expect("is text");
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let found = BANNED.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{}:{} names {found:?}", file.display(), at + 1);
        }
    }
}

#[test]
fn a_seq_is_assigned_in_one_line() {
    let append = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/channel/append.rs")).expect("is there");
    assert_eq!(append.matches("let seq = state.head.seq.next();").count(), 1);
}
