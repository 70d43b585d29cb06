//! What every SDK does alike: the scenarios of `client-sdk/conformance`, against the fake server.

use std::{collections::HashMap, time::Duration};

use kith_wire::{
    code::Code,
    id::{ChannelId, Seq, UserId},
};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::{FakeServer, Fault};
use crate::{Anchor, Backfill, Client, Delivery, Outgoing, SqliteStore, Timeline};

/// For anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    server: FakeServer,
    user: UserId,
    other: UserId,
    room: ChannelId,
    folder: TempDir,
    app: Client,
    timeline: Timeline,
    outgoing: HashMap<String, Outgoing>,
}

async fn open(server: &FakeServer, user: UserId, room: ChannelId, folder: &TempDir) -> (Client, Timeline) {
    let store = SqliteStore::open(folder.path()).await.expect("a store");
    let app = server.client(user).backfill(Backfill::All).store(store).build().await.expect("a client");
    let timeline = app.channel(room).timeline(Anchor::Latest).await.expect("a list");
    (app, timeline)
}

impl Stage {
    async fn begin() -> Self {
        let server = FakeServer::start().expect("a server");
        let (user, other) = (server.user("ann"), server.user("bob"));
        let (room, folder) = (ChannelId::direct(user, other), tempdir().expect("a folder"));
        let (app, timeline) = open(&server, user, room, &folder).await;
        Self { server, user, other, room, folder, app, timeline, outgoing: HashMap::new() }
    }
    fn shown(&self) -> Vec<String> {
        self.timeline.items().items().iter().filter_map(|item| item.text().map(str::to_owned)).collect()
    }
    async fn until(&self, what: &str, is: impl AsyncFn() -> bool) {
        let waited = async {
            while !is().await {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "never: {what}; shown are {:?}", self.shown());
    }
    async fn step(&mut self, verb: &str, arguments: &[Value]) {
        let text = |at: usize| arguments[at].as_str().expect("a text").to_owned();
        let texts =
            |at: usize| arguments[at].as_array().expect("texts").iter().map(|text| text.as_str().expect("a text").to_owned()).collect::<Vec<_>>();
        let code = |name: &str| Code::ALL.iter().copied().find(|code| code.name() == name).expect("the name of a code");
        match verb {
            "connect" => {
                let app = self.app.clone();
                // It goes on by itself.
                let _ = tokio::time::timeout(Duration::ZERO, app.connect()).await;
            }
            "online" => self.app.connect().await.expect("online"),
            "send" => {
                let outgoing = self.app.channel(self.room).send(text(0)).await.expect("stored");
                self.outgoing.insert(text(0), outgoing);
            }
            "sent" => {
                let sent = tokio::time::timeout(PATIENCE, self.outgoing[&text(0)].sent()).await;
                sent.unwrap_or_else(|_| panic!("never sent: {}", text(0))).expect("it stands");
            }
            "refused" => {
                let refused = self.outgoing[&text(0)].sent().await.expect_err("refused");
                assert_eq!(refused.code, code(&text(1)));
            }
            "discard" => self.outgoing[&text(0)].discard().await.expect("a refused text"),
            "say" => drop(self.server.say(self.room, self.other, &text(0))),
            "tunnel" => self.server.set_reachable(!arguments[0].as_bool().expect("whether it begins")),
            "lose" => self.server.next(if text(0) == "answer" { Fault::LoseAnswer } else { Fault::LoseRequest }),
            "refuse" => self.server.next(Fault::Refuse(code(&text(0)), None)),
            "restart" => {
                self.app.close().await;
                (self.app, self.timeline) = open(&self.server, self.user, self.room, &self.folder).await;
                self.outgoing.clear();
            }
            "shows" => {
                let wanted = texts(0);
                self.until(&format!("{wanted:?} are shown"), async || self.shown() == wanted).await;
            }
            "stands" => assert_eq!(self.server.texts(self.room), texts(0)),
            "unread" => {
                let count = arguments[0].as_u64().expect("a number");
                let unread = async || {
                    let rows = self.app.channels().await.expect("the store");
                    rows.iter().find(|row| row.channel == self.room).is_some_and(|row| row.unread == count)
                };
                self.until(&format!("{count} are unread"), unread).await;
            }
            "read" => {
                let last = self.server.log(self.room).last().map_or(Seq::ZERO, |record| record.at.seq);
                let held = async || !self.app.channel(self.room).records(last, last, 1).await.expect("the store").is_empty();
                self.until("the last one is held", held).await;
                self.app.channel(self.room).mark_read(last).await.expect("read");
            }
            other => panic!("a step that this runner does not know: {other}"),
        }
    }
}

#[tokio::test]
async fn every_scenario_of_the_conformance_suite_holds() {
    let scenarios: Vec<Value> = serde_json::from_str(include_str!("../../conformance/scenarios.json")).expect("the scenarios");
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        println!("{}", scenario["name"].as_str().expect("a name"));
        let mut stage = Stage::begin().await;
        for step in scenario["steps"].as_array().expect("steps") {
            let step = step.as_array().expect("a step");
            stage.step(step[0].as_str().expect("a verb"), &step[1..]).await;
        }
        let failed = stage.outgoing.values().filter(|outgoing| matches!(outgoing.state().get(), Delivery::Failed(_))).count();
        assert!(failed <= 1, "nothing fails but what is to");
        stage.app.close().await;
    }
}
