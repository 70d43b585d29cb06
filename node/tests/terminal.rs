//! Two people at terminals: the built program in tmux, against three processes, from sign-up to a group of two, and across the death of the
//! node that the first one is connected to. What is waited for is what a person would wait for: that it stands on the screen.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use kith::demo::nodes::Nodes;
use tokio::{
    process::Command,
    time::{Instant, interval},
};

/// For anything that is to be on a screen: nodes and terminals share a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a screen.
const LOOK: Duration = Duration::from_millis(50);
const KITH: &str = env!("CARGO_BIN_EXE_kith");

/// A tmux server of its own, which ends with the test.
struct Tmux {
    socket: PathBuf,
}

/// One terminal in it.
struct Terminal<'a> {
    tmux: &'a Tmux,
    name: &'static str,
}

impl Tmux {
    async fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(&self.socket).args(["-f", "/dev/null"]).args(args);
        command.env("LC_ALL", "C.UTF-8").env_remove("TMUX").env_remove("NO_COLOR").stdin(Stdio::null()).output().await.unwrap()
    }
    /// Runs the program; when it has ended, the terminal says so, and whether it is as it was before. Narrow enough that a text stands in one place only, not
    /// in the list beside it as well.
    async fn start(&self, name: &'static str, folder: &Path, args: &str) -> Terminal<'_> {
        let pid = folder.join(format!("{name}.pid"));
        let inner = format!("echo $$ > {}; exec {KITH} chat {args}", pid.display());
        let outer = format!("sh -c '{inner}'; echo \"ended with $?\"; stty -a | tr ' ' '\\n' | grep icanon; read line");
        let made = self.run(&["new-session", "-d", "-s", name, "-x", "96", "-y", "60", &outer]).await;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Terminal { tmux: self, name }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // However the test ends, its terminals end.
        let _ = std::process::Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

impl Terminal<'_> {
    async fn screen(&self) -> String {
        let shown = self.tmux.run(&["capture-pane", "-p", "-t", self.name]).await;
        String::from_utf8_lossy(&shown.stdout).into_owned()
    }
    /// Waits until the screen is as wanted, and gives it.
    async fn until(&self, what: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = interval(LOOK);
        loop {
            looks.tick().await;
            let screen = self.screen().await;
            if is_wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{} waited in vain for {what}:\n{screen}", self.name);
        }
    }
    async fn sees(&self, text: &str) -> String {
        self.until(&format!("{text:?}"), |screen| screen.contains(text)).await
    }
    async fn types(&self, text: &str) {
        assert!(self.tmux.run(&["send-keys", "-t", self.name, "-l", text]).await.status.success());
    }
    async fn presses(&self, key: &str) {
        assert!(self.tmux.run(&["send-keys", "-t", self.name, key]).await.status.success());
    }
    /// Types a line, and sees it typed before Enter is pressed.
    async fn enters(&self, text: &str) {
        self.types(text).await;
        self.sees(text).await;
        self.presses("Enter").await;
    }

    /// Searches until so much is found: what had no answer in time on a busy machine is asked for again, as the screen says it may.
    async fn finds(&self, words: &str, count: &str) {
        self.enters(words).await;
        let deadline = Instant::now() + PATIENCE;
        let mut looks = interval(LOOK);
        loop {
            looks.tick().await;
            let screen = self.screen().await;
            if screen.contains(count) {
                return;
            }
            assert!(Instant::now() < deadline, "{} searched in vain:\n{screen}", self.name);
            if screen.contains("Enter asks again") {
                self.presses("Enter").await;
                self.until("another answer", |screen| !screen.contains("Enter asks again")).await;
            }
        }
    }
    /// Help is there, is of this screen, and goes again.
    async fn helps(&self, title: &str) {
        self.presses("F1").await;
        self.sees(&format!("Help: {title} ")).await;
        self.presses("Escape").await;
        self.until("no help", |screen| !screen.contains("Help: ")).await;
    }

    async fn signs_up(&self, name: &str) {
        self.sees("▌ Sign up").await;
        self.helps("Welcome").await;
        self.presses("Enter").await;
        self.sees("Password again").await;
        self.enters(name).await;
        for _ in 0..2 {
            self.types("correct horse").await;
            self.presses("Enter").await;
        }
        let screen = self.sees("Your recovery code").await;
        assert!(!screen.contains("correct horse"), "a password is on the screen:\n{screen}");
        self.presses("Enter").await;
        self.sees("Nobody has written yet").await;
    }
    /// Port of the node that it says it is connected to.
    async fn port(&self) -> String {
        let screen = self.sees("connected to 127.0.0.1:").await;
        screen.split_once("connected to 127.0.0.1:").unwrap().1.chars().take_while(char::is_ascii_digit).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_sign_up_make_a_group_and_chat_across_the_death_of_a_node() {
    if Command::new("tmux").arg("-V").output().await.is_err() {
        println!("SKIPPED, nothing was tested: tmux is missing, and `make bootstrap` could not install it");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let nodes = Nodes::prepare(dir.path(), 3, 2).unwrap().with_binary(PathBuf::from(KITH));
    nodes.start_all().await.unwrap();
    let tmux = Tmux { socket: dir.path().join("tmux") };
    let addresses: Vec<&str> = nodes.spec().nodes.iter().map(|node| node.address.as_str()).collect();
    // One knows the cluster's folder; the other has what a user gets: addresses and a certificate.
    let ann = tmux.start("ann", dir.path(), &format!("--cluster {}", dir.path().display())).await;
    let folder = dir.path().join("bob");
    let given = format!("--cluster {} --server {} --ca {}", folder.display(), addresses.join(","), dir.path().join("cluster/ca.pem").display());
    let bob = tmux.start("bob", dir.path(), &given).await;
    tokio::join!(ann.signs_up("ann"), bob.signs_up("bob"));

    ann.types("n").await;
    ann.sees("You will be its owner").await;
    ann.enters("garden").await;
    ann.enters("bob").await;
    ann.sees("write a message").await;
    bob.sees("garden").await;
    bob.presses("Enter").await;
    bob.sees("ann made the group \"garden\"").await;

    ann.enters("hello bob").await;
    bob.sees("hello bob").await;
    bob.enters("hello ann").await;
    ann.sees("hello ann").await;
    ann.sees("hello bob ✓✓").await;

    ann.presses("Up").await;
    ann.sees("editing").await;
    ann.types("!").await;
    ann.presses("Enter").await;
    bob.sees("hello bob! (edited)").await;
    bob.presses("Tab").await;
    bob.sees("a message is chosen").await;
    bob.presses("Up").await;
    bob.types("+").await;
    bob.sees("React with").await;
    bob.presses("Enter").await;
    ann.sees("👍 1").await;
    bob.presses("Escape").await;
    bob.sees("write a message").await;

    // What is said while one is elsewhere is unread, until it is opened.
    bob.presses("Escape").await;
    bob.sees("n new group").await;
    ann.enters("where are you, @bob?").await;
    bob.sees("@1 1 new").await;
    bob.sees("· 1 unread").await;
    bob.presses("Enter").await;
    bob.sees("new messages").await;
    bob.until("nothing unread", |screen| !screen.contains("unread")).await;

    // She runs the group: he is an admin, and there is a link.
    ann.presses("C-g").await;
    ann.sees("may write: all members").await;
    ann.presses("Down").await;
    ann.types("u").await;
    ann.until("bob, an admin", |screen| screen.lines().any(|line| line.contains("▌ bob") && line.contains("admin"))).await;
    bob.sees("ann made you admin").await;
    ann.types("i").await;
    ann.sees("New invite link").await;
    ann.presses("Enter").await;
    ann.presses("Enter").await;
    ann.sees("kith-join:").await;
    ann.helps("A note").await;
    ann.presses("Enter").await;
    ann.helps("A group").await;
    ann.presses("Escape").await;

    // A search finds what was edited by what it says now, and leads there.
    ann.helps("A conversation").await;
    ann.presses("C-s").await;
    ann.sees("Search in garden").await;
    ann.finds("hello", "2 messages").await;
    ann.sees("▌ bob in garden").await;
    ann.helps("Search").await;
    // Back to what is typed, then to the conversation.
    ann.presses("Escape").await;
    ann.until("no result chosen", |screen| !screen.contains("▌ bob in garden")).await;
    ann.presses("Escape").await;
    ann.sees("write a message").await;
    for (key, says, title) in
        [("c", "f finds people", "Contacts"), ("a", "Devices that are logged in", "Your account"), ("n", "You will be its owner", "A form")]
    {
        ann.presses("Escape").await;
        ann.sees("n new group").await;
        ann.types(key).await;
        ann.sees(says).await;
        ann.helps(title).await;
    }
    ann.presses("Escape").await;
    ann.helps("Conversations").await;
    ann.presses("Enter").await;
    ann.sees("write a message").await;

    let port = ann.port().await;
    let dying = nodes.spec().nodes.iter().find(|node| node.address.ends_with(&format!(":{port}"))).unwrap();
    nodes.kill(kith_wire::id::NodeId::new(dying.id)).await;
    for number in 1..=5 {
        ann.enters(&format!("ann says {number}.")).await;
        bob.enters(&format!("bob says {number}.")).await;
    }
    let all: Vec<String> = (1..=5).flat_map(|number| [format!("ann says {number}."), format!("bob says {number}.")]).collect();
    let is_there = |screen: &str| all.iter().all(|text| screen.matches(text.as_str()).count() == 1);
    let is_sent = |screen: &str| is_there(screen) && !screen.contains("… sending") && !screen.contains("not sent") && screen.contains("connected to");
    let (at_ann, at_bob) = tokio::join!(ann.until("all texts, once each", is_sent), bob.until("all texts, once each", is_sent));
    assert_ne!(ann.port().await, port, "she is connected to another node");
    let order = |screen: &str| {
        let mut found: Vec<(usize, &String)> = all.iter().map(|text| (screen.find(text.as_str()).unwrap(), text)).collect();
        found.sort();
        found.into_iter().map(|(_, text)| text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(order(&at_ann), order(&at_bob), "both see the same order");
    for screen in [&at_ann, &at_bob] {
        assert!(screen.contains("hello bob! (edited)") && screen.contains("hello ann"), "{screen}");
    }

    // By a key and by a signal: the terminal is as it was.
    ann.presses("C-c").await;
    let pid = std::fs::read_to_string(dir.path().join("bob.pid")).unwrap();
    assert!(Command::new("kill").arg("-TERM").arg(pid.trim()).status().await.unwrap().success());
    for terminal in [&ann, &bob] {
        let screen = terminal.sees("ended with 0").await;
        assert!(!screen.contains("garden"), "the screen from before is there:\n{screen}");
        terminal.until("lines and echo", |screen| screen.lines().any(|line| line == "icanon")).await;
    }

    // What was saved is enough to come back.
    let again = tmux.start("again", dir.path(), &format!("--cluster {} --as ann", dir.path().display())).await;
    again.sees("garden").await;
    again.presses("Enter").await;
    again.until("all texts, once each", is_there).await;
    nodes.stop_all().await;
}
