//! What is for who supports a node, tried on a process: how much it logs, its bundle, what the doctor says. Nothing of anybody's is in a bundle.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kith::{demo::nodes::Nodes, operator::Operator};
use kith_client::{Backfill, NewChannel};

/// In everything that is somebody's, and nowhere else.
const SONG: &str = "tweetquux";

fn kith(args: &[&str], config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kith")).args(args).arg("--config").arg(config).output().unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A file of a bundle, or the names of all.
fn unpacked(bundle: &Path, file: Option<&str>) -> String {
    let mode = if file.is_some() { "-xzOf" } else { "-tzf" };
    let output = Command::new("tar").arg(mode).arg(bundle).args(file).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_says_how_a_node_is_and_nothing_of_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = Nodes::prepare(dir.path(), 1, 1).unwrap().with_binary(PathBuf::from(env!("CARGO_BIN_EXE_kith")));
    nodes.start_all().await.unwrap();
    let config = dir.path().join("node-1/node.toml");
    let at = |args: &[&str]| kith(args, &config);

    // Everything that is logged at all, from now on.
    let set = at(&["debug", "log", "--set", "trace"]);
    assert_eq!(told(&set).trim(), "trace", "how much a running node logs can be changed");
    assert_eq!(told(&at(&["debug", "log"])).trim(), "trace");
    assert_eq!(at(&["debug", "log", "--set", "kith=loud"]).status.code(), Some(2), "what is no filter is refused");

    let operator = Operator::open(dir.path()).unwrap();
    let name = format!("{SONG}ann");
    let admin = operator.admin().await.unwrap();
    admin.connect().await.unwrap();
    let (user, _) = kith::operator::ensure_account(&admin, &name).await.unwrap();
    let token = operator.token(user, &name, std::time::Duration::from_secs(60)).unwrap();
    let ann = operator.client(user, &name, 0).unwrap().backfill(Backfill::All).build().await.unwrap();
    ann.connect().await.unwrap();
    let room = ann.create_channel(NewChannel::group(format!("{SONG} title"))).await.unwrap();
    room.send(format!("{SONG} text")).await.unwrap().sent().await.unwrap();
    let _ = ann.search(SONG).await;
    ann.close().await;
    admin.close().await;

    let bundle = dir.path().join("bundle.tar.gz");
    let out = bundle.to_str().unwrap().to_owned();
    let packed = at(&["debug", "bundle", "--out", &out]);
    assert!(packed.status.success(), "{}", told(&packed));
    let names = unpacked(&bundle, None);
    let files = ["about.json", "readyz.json", "livez.json", "metrics.txt", "replicas.json", "log.txt", "settings.json", "doctor.json", "bundle.json"];
    for file in files {
        assert!(names.contains(file), "{file} is not in {names}");
    }
    let whole: String = names.lines().map(|name| unpacked(&bundle, Some(name))).collect();
    assert!(unpacked(&bundle, Some("kith-bundle/log.txt")).lines().count() > 20, "its log is in it");
    assert!(whole.contains("kith_raft_led_groups") && whole.contains("sessions_max"));
    let token_key = std::fs::read_to_string(dir.path().join("cluster/token.key")).unwrap();
    let key = std::fs::read_to_string(dir.path().join("node-1/key.pem")).unwrap();
    let inside = |secret: &str| whole.to_lowercase().contains(&secret.to_lowercase());
    for (what, secret) in [("a name, title or text", SONG), ("a token", token.as_str()), ("the cluster's key", token_key.trim())] {
        assert!(!inside(secret), "{what} is in the bundle");
    }
    assert!(key.lines().filter(|line| !line.starts_with("---")).all(|line| !inside(line)), "the node's key is in the bundle");

    let seen = at(&["doctor"]);
    assert!(told(&seen).contains("it runs and is ready for clients"), "{}", told(&seen));

    nodes.stop_all().await;
    // What can be seen without the node is packed all the same.
    let packed = at(&["debug", "bundle", "--json", "--out", &out]);
    assert!(packed.status.success() && told(&packed).contains("metrics.txt"), "{}", told(&packed));
    assert!(unpacked(&bundle, None).contains("settings.json"));
    assert_eq!(at(&["debug", "log"]).status.code(), Some(5));
    let freed = at(&["node", "free-ballast"]);
    // A machine with little room has none.
    assert!(freed.status.success() && told(&freed).contains("ballast") | told(&freed).contains("free now"), "{}", told(&freed));
}
