//! The quickstart of the docs, as the example that it is, against a cluster.

use std::{path::PathBuf, process::Command};

use kith_tests::{Cluster, Setup};

/// Where cargo puts it, beside the folder of this test.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps").join("examples/quickstart")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_says_hello() {
    let program = example();
    if !program.exists() {
        eprintln!("NOT TESTED: examples of kith-client were not built with this selection of packages");
        return;
    }
    let c = Cluster::start_with(Setup::nodes(1)).await;
    let bob = c.client_at("bob", 1).await;
    let ann = c.user("ann").await;
    let ca = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(ca.path(), &c.files().ca_pem).expect("written");
    let (url, token) = (format!("https://{}", c.address(1)), c.token("ann", ann));
    let run = move || Command::new(program).env("KITH_URL", url).env("KITH_CA", ca.path()).env("KITH_TOKEN", token).output();
    let done = tokio::task::spawn_blocking(run).await.expect("no panic").expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "stands at 1\n");
    bob.direct("hello", ann);
    c.wait_for("bob has it", async || bob.channel("hello").held().await.is_ok_and(|held| held.is_some_and(|cursor| cursor.max.get() == 1))).await;
    c.finish().await;
}
