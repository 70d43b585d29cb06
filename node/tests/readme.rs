//! The README's map stays true: every path and every route that it names exists, and the line that assigns a seq is the only one.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_path_that_the_readme_names_exists() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let is_path = |text: &&str| text.contains('/') && !text.contains([' ', '<', '*', '…']);
    let paths: Vec<&str> = quoted(&readme).into_iter().filter(is_path).collect();
    assert!(paths.len() > 25, "the map was found: {paths:?}");
    let document = fs::read_to_string(root().join("node/openapi.json")).unwrap();
    let exists = |path: &str| if path.starts_with("/v1/") { document.contains(&format!("\"{path}\": {{")) } else { root().join(path).exists() };
    let absent: Vec<&&str> = paths.iter().filter(|path| !exists(path)).collect();
    assert!(absent.is_empty(), "README names what is not there: {absent:?}");
}

#[test]
fn the_line_that_assigns_a_seq_is_the_one_that_the_readme_names() {
    const LINE: &str = "let seq = state.head.seq.next();";
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(quoted(&readme).contains(&LINE));
    let append = fs::read_to_string(root().join("raft/machine/src/channel/append.rs")).unwrap();
    assert_eq!(append.matches(LINE).count(), 1);
}
