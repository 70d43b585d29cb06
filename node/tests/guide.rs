//! The operator's guide, page by page: its commands are run as they stand, against real processes of the built binary.
//!
//! In: fenced blocks of `docs/guide/*.md`. `sh` is run where the cluster's folder is, `sh host-N` on that host, where `systemctl` is one of the test's that starts
//! and ends a process; `sh needs-three` gets a cluster of three as the first pages make it. What is not `sh` is for the reader. One shell a page; the first
//! command that fails ends it. Only addresses are changed: `10.0.0.` becomes a net of this machine's own, which no other test uses.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use kith::config::{Config, Origin};

/// For a page: several nodes start, and groups are copied.
const PATIENCE: Duration = Duration::from_secs(170);

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide")
}

/// A block of commands.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    host: Option<u64>,
    needs_three: bool,
    script: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(what) = line.strip_prefix("```") else { continue };
        let script: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let (language, place) = what.split_once(' ').unwrap_or((what, ""));
        if language == "sh" {
            let host = place.strip_prefix("host-").map(|host| host.parse().unwrap());
            assert!(host.is_some() || ["", "needs-three"].contains(&place), "there is no such place: {place}");
            found.push(Block { host, needs_three: place == "needs-three", script: script.join("\n") });
        }
    }
    found
}

/// As much of `systemctl` as the pages use, for the node of `$HOST`: its process stands for the service.
const SYSTEMCTL: &str = r#"#!/bin/bash
set -eu
verb=$1; run=run/node-$HOST
mkdir -p run
begin() {
  config=chat/node-$HOST/node.toml
  # A node that has joined by a token has a folder of its own.
  for own in host-$HOST/node-*/node.toml; do [ ! -e "$own" ] || config=$own; done
  setsid kith start --config "$config" >>"$run.log" 2>&1 </dev/null &
  echo $! > "$run.pid"
}
end() {
  pid=$(cat "$run.pid"); kill -s "$1" "$pid"
  for _ in $(seq 600); do kill -0 "$pid" 2>/dev/null || { rm "$run.pid"; return; }; read -r -t 0.1 _ <> <(:) || true; done
  echo "node $HOST does not end" >&2; exit 1
}
case $verb in
  start) begin;;
  stop) end TERM;;
  restart) end TERM; begin;;
  kill) end KILL;;
  *) echo "the test's systemctl knows no $verb" >&2; exit 1;;
esac
"#;

/// What the first pages end with.
const THREE: &str = "\
kith cluster make --nodes 1=10.0.0.1:7600,2=10.0.0.2:7600,3=10.0.0.3:7600 --out chat
for HOST in 1 2 3; do HOST=$HOST systemctl start kith; done
for host in 10.0.0.1 10.0.0.2 10.0.0.3; do curl -fsS --retry 60 --retry-delay 1 --retry-all-errors http://$host:7680/readyz; done
";

/// Ends what a page has started, however it ends.
struct Nodes(PathBuf);

impl Drop for Nodes {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.0.join("run")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "pid") {
                let pid = fs::read_to_string(entry.path()).unwrap_or_default();
                // It may have ended.
                let _ = Command::new("kill").args(["-s", "KILL", pid.trim()]).stderr(Stdio::null()).status();
            }
        }
    }
}

async fn follow(page: &str, net: u8) {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("curl is not installed: nothing is tested here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tools = dir.path().join("tools");
    fs::create_dir(&tools).unwrap();
    fs::write(tools.join("systemctl"), SYSTEMCTL).unwrap();
    fs::set_permissions(tools.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kith"), tools.join("kith")).unwrap();

    let blocks = blocks(&fs::read_to_string(guide().join(page)).unwrap());
    assert!(!blocks.is_empty(), "{page} has commands");
    let mut script = String::from("set -euo pipefail\nfollowing() { echo \"--- $*\" >&2; }\n");
    for block in &blocks {
        if block.needs_three {
            script.push_str(THREE);
        }
        script.push_str(&format!("export HOST={}\n", block.host.map(|host| host.to_string()).unwrap_or_default()));
        for line in block.script.lines() {
            // What goes over several lines is told by its first.
            if !line.starts_with([' ', '}']) && line != "done" {
                script.push_str(&format!("following {}\n", quoted(line)));
            }
            script.push_str(line);
            script.push('\n');
        }
    }
    // A net for each page of each run, so that nobody's ports are taken.
    let script = script.replace("10.0.0.", &format!("127.{net}.{}.", std::process::id() % 250 + 1));
    let nodes = Nodes(dir.path().to_owned());
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = tokio::process::Command::new("bash");
    command.arg("-c").arg(&script).current_dir(dir.path()).env("PATH", path).env_remove("KITH_CLUSTER").kill_on_drop(true).stdin(Stdio::null());
    let done = tokio::time::timeout(PATIENCE, command.output()).await;
    let logs = || -> String {
        let files =
            fs::read_dir(dir.path().join("run")).into_iter().flatten().flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "log"));
        files.map(|entry| format!("== {}\n{}", entry.path().display(), fs::read_to_string(entry.path()).unwrap_or_default())).collect()
    };
    let done = done.unwrap_or_else(|_| panic!("{page} does not come to its end\n{}", logs())).unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{page}:\n{told}\n{}", logs());
    drop(nodes);
}

/// For a shell, as it is.
fn quoted(line: &str) -> String {
    format!("'{}'", line.replace('\'', r"'\''"))
}

macro_rules! pages {
    ($($test:ident $page:literal $net:literal;)*) => {
        $(#[tokio::test] async fn $test() { follow($page, $net).await; })*
        const PAGES: &[&str] = &[$($page),*];
    };
}

pages! {
    the_first_cluster "first-cluster.md" 101;
    grow "grow.md" 102;
    restart "restart.md" 103;
    replace "replace.md" 104;
    decommission "decommission.md" 105;
    disk_full "disk-full.md" 106;
    shards "shards.md" 107;
    access "access.md" 108;
    upgrade "upgrade.md" 109;
    certificates "certificates.md" 111;
}

#[test]
fn every_page_with_commands_is_run_and_is_in_the_index() {
    let index = fs::read_to_string(guide().join("README.md")).unwrap();
    for entry in fs::read_dir(guide()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let has_commands = !blocks(&fs::read_to_string(guide().join(&name)).unwrap()).is_empty();
        assert_eq!(has_commands, PAGES.contains(&name.as_str()), "{name}");
        assert!(name == "README.md" || index.contains(&format!("({name})")), "{name} is not in the index");
    }
}

/// Rows of the table of settings: key and default, without their quotes.
fn described() -> Vec<(String, String)> {
    let page = fs::read_to_string(guide().join("settings.md")).unwrap();
    let row = |line: &str| -> Option<(String, String)> {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.trim().trim_matches('`').to_owned()))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn every_setting_is_described_with_its_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.toml");
    fs::write(&path, "[node]\nid = 2\ndata = 'd'\nlisten = '127.0.0.1:7002'\ncert = 'c'\nkey = 'k'\n[cluster]\nfolder = 'f'\n").unwrap();
    let (_, settings) = Config::explain(&path, &[]).unwrap();
    let described = described();
    let mut wrong = Vec::new();
    for setting in &settings {
        let found = described.iter().find(|(key, _)| *key == setting.key);
        let is_right = |default: &str| setting.origin != Origin::Default || setting.value.to_string().trim_matches('"') == default;
        match found {
            None => wrong.push(format!("{} is not described", setting.key)),
            Some((key, default)) if !is_right(default) => wrong.push(format!("{key} is {}, not {default}", setting.value)),
            Some(_) => {}
        }
    }
    for (key, _) in &described {
        let set = Config::load_with(&path, &[(key.clone(), "x".to_owned())]);
        let why = set.err().and_then(|error| std::error::Error::source(&error).map(ToString::to_string)).unwrap_or_default();
        if why.contains("unknown field") {
            wrong.push(format!("{key} is described, and there is none: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn blocks_are_found_with_their_places() {
    let page = "text\n```sh host-2\na\nb\n```\n```console\nc\n```\n```sh needs-three\nd\n```\n";
    let block = |host, needs_three, script: &str| Block { host, needs_three, script: script.into() };
    assert_eq!(blocks(page), [block(Some(2), false, "a\nb"), block(None, true, "d")]);
}
