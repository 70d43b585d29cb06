//! README's lines of curl, as they stand there, against a cluster: two people sign up and chat.

use kith_tests::{Cluster, PATIENCE, Setup};

/// The script in README, between its heading's fence and the end of that.
fn script() -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("the README is there");
    let section = readme.split_once("### With nothing but curl").expect("the section is there").1;
    let fenced = section.split_once("```sh\n").expect("a script").1;
    fenced.split_once("\n```").expect("its end").0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_curl_in_readme_sign_up_two_people_who_chat() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let script = script();
    let lines = script.lines().filter(|line| line.contains("curl ")).count();
    assert_eq!(lines, 10, "ten lines, as the README says");
    let address = c.node(2).api_plain_addr().expect("the setup is with_api");
    let (fixed, api) = ("http://127.0.0.1:7681/v1", format!("http://{address}/v1"));
    assert!(script.contains(fixed), "the script names the node of the README");

    let mut command = tokio::process::Command::new("bash");
    command.arg("-c").arg(script.replace(fixed, &api)).kill_on_drop(true);
    let done = tokio::time::timeout(PATIENCE, command.output()).await.expect("the script ends").expect("bash and curl are there");
    let (told, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(!told.contains("request_id"), "no line is refused:\n{told}\n{errors}");
    // What each line says, in the order in which they stand.
    let mut rest = told.as_ref();
    for part in [
        r#""seq":1"#,
        r#""preview":"hello bob""#,
        r#""text":"hello bob""#,
        r#""seq":2"#,
        "{}",
        r#""seq":3"#,
        r#""text":"hello ann""#,
        r#""emoji":"👍","count":1"#,
        "event: channel",
    ] {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("{part} is not there, or not in its place:\n{told}\n{errors}")).1;
    }
    c.finish().await;
}
