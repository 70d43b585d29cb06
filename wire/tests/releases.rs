//! What a release promised, stored and said stays: the golden lines of each release are among today's, byte for byte, and today's are decoded and written again
//! by the tests beside this one.
//!
//! `golden/vN/*.txt`: the lines of the release whose build knew cluster version N. A release that raises the version adds its folder and touches no other:
//! `KITH_GOLDEN=release cargo nextest run -p kith-wire --test releases` makes it of what is there today. What is new between releases stands in `golden/` alone,
//! and may still change.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use kith_wire::upgrade::BUILD;

/// The first release of which there is a folder.
const FIRST: u32 = 2;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Names of the files of a folder.
fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten();
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.ends_with(".txt")).collect();
    names.sort();
    names
}

/// The bytes of each line, by its name: without what is beside them for people, who may get to know more of the same bytes.
fn lines(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.split(" = ").next().unwrap_or_default().to_owned()));
    text.lines().filter_map(line).collect()
}

#[test]
fn what_every_release_wrote_is_written_the_same_today() {
    let own = folder().join(format!("v{BUILD}"));
    if env::var("KITH_GOLDEN").is_ok_and(|mode| mode == "release") && !own.exists() {
        fs::create_dir(&own).unwrap();
        for name in files(&folder()) {
            fs::copy(folder().join(&name), own.join(&name)).unwrap();
        }
    }
    let mut count = 0;
    for version in FIRST..=BUILD.get() {
        let release = folder().join(format!("v{version}"));
        for name in files(&release) {
            let today = lines(&folder().join(&name));
            for (line, bytes) in lines(&release.join(&name)) {
                assert_eq!(today.get(&line), Some(&bytes), "{name}: release v{version} wrote {line:?} so");
                count += 1;
            }
        }
    }
    assert!(count > 300, "{count} lines");
}
