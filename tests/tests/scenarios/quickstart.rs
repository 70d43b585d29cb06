//! The quickstart of the docs, as the example that it is, against a cluster; and the phone without a screen, which counts its texts itself.

use std::{path::PathBuf, process::Command};

use kith_tests::{Cluster, Setup};

/// Where cargo puts it, beside the folder of this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps").join("examples").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_says_hello() {
    let program = example("quickstart");
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

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_has_each_of_its_texts_once() {
    let program = example("phone");
    if !program.exists() {
        eprintln!("NOT TESTED: examples of kith-client were not built with this selection of packages");
        return;
    }
    let c = Cluster::start_with(Setup::nodes(3)).await;
    let ann = c.user("ann").await;
    c.user("bob").await;
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &c.files().ca_pem).expect("written");
    let (url, token) = (format!("https://{}", c.address(1)), c.token("ann", ann));
    let run = move || Command::new(program).arg(url).arg(ca).arg(folder.path().join("store")).args(["bob", "60"]).env("KITH_TOKEN", token).output();
    let done = tokio::task::spawn_blocking(run).await.expect("no panic").expect("it runs");
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && told.contains("each once and in order"), "{told}{}", String::from_utf8_lossy(&done.stderr));
    c.finish().await;
}
