//! The core against a lossy network: whatever is lost, doubled, overtaken or restarted, each write ends once in the log, in order, and
//! each record is shown once, in order.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use kith_wire::{
    client::{HistoryQuery, Pull, Request, Send, ToClient, ToEdge},
    code::Code,
    id::{ChannelId, ClientSeq, Seq, UserId},
    log::Content,
};
use proptest::prelude::*;

use super::{
    Backfill, Config, Core, Fate, Output, PullId, Show, What,
    fake_server::{Faults, ME, Server, is_withheld},
};
use crate::{
    error::Error,
    memory::MemoryStore,
    store::{Change, Identity},
};

/// One device, one server, and what is on its way between them.
struct World {
    config: Config,
    now: Instant,
    store: MemoryStore,
    core: Core,
    server: Server,
    is_up: bool,
    to_server: Vec<ToEdge>,
    pulls: Vec<(PullId, Pull)>,
    faults: Faults,
    sent: HashMap<ChannelId, Vec<(ClientSeq, String)>>,
    fates: HashMap<(ChannelId, ClientSeq), Fate>,
    shown: BTreeMap<ChannelId, Vec<Seq>>,
    replaced: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Send { channel: u64, text: &'static str },
    Other { channel: u64 },
    Serve(usize),
    Deliver(usize),
    Page(usize),
    Connect,
    Disconnect,
    Crash,
    Wait(u64),
    Pause(bool),
    Faults(Faults),
}

fn config() -> Config {
    Config {
        identity: Identity { user: ME, nonce: [7; 16] },
        cluster: None,
        backfill: Backfill::All,
        heartbeat: Duration::from_secs(30),
        patience: Duration::from_secs(2),
        seed: 1,
    }
}

fn channel(number: u64) -> ChannelId {
    ChannelId::direct(ME, UserId::new(10 + number))
}

impl World {
    fn new() -> Self {
        Self::with(config())
    }
    fn with(config: Config) -> Self {
        let now = Instant::now();
        let store = MemoryStore::new(usize::MAX);
        store.apply(vec![Change::Identity(config.identity)]);
        let core = Core::new(config.clone(), store.snapshot(), now);
        Self {
            config,
            now,
            store,
            core,
            server: Server::default(),
            is_up: false,
            to_server: Vec::new(),
            pulls: Vec::new(),
            faults: Faults::default(),
            sent: HashMap::new(),
            fates: HashMap::new(),
            shown: BTreeMap::new(),
            replaced: false,
        }
    }
    fn apply(&mut self, step: Step) {
        match step {
            Step::Send { channel: number, text } => self.send(channel(number), text),
            Step::Other { channel: number } => self.server.append_other(channel(number), self.faults),
            Step::Serve(pick) => {
                if !self.to_server.is_empty() {
                    // Requests may overtake each other a little between edge and leader, the hello none.
                    let at = if matches!(self.to_server[0], ToEdge::Hello(_)) { 0 } else { pick % self.to_server.len().min(3) };
                    let frame = self.to_server.remove(at);
                    self.server.handle(frame, self.faults);
                }
            }
            Step::Deliver(pick) => {
                if !self.server.out.is_empty() {
                    let at = if matches!(self.server.out[0], ToClient::Welcome(_)) { 0 } else { pick % self.server.out.len().min(4) };
                    let frame = self.server.out.remove(at);
                    self.core.handle_frame(self.now, frame);
                }
            }
            Step::Page(pick) => {
                if !self.pulls.is_empty() {
                    let (id, pull) = self.pulls.remove(pick % self.pulls.len());
                    let page = self.server.page(&pull, self.faults);
                    self.core.handle_page(self.now, id, Ok(page));
                }
            }
            Step::Connect => {
                if !self.is_up {
                    self.is_up = true;
                    self.core.handle_connected(self.now);
                }
            }
            Step::Disconnect => self.disconnect(),
            Step::Crash => {
                self.disconnect();
                self.core = Core::new(self.config.clone(), self.store.snapshot(), self.now);
            }
            Step::Wait(ms) => {
                self.now += Duration::from_millis(ms);
                self.core.handle_timeout(self.now);
            }
            Step::Pause(is_paused) => self.core.handle_paused(is_paused),
            Step::Faults(faults) => self.faults = faults,
        }
        self.drain();
    }
    fn send(&mut self, channel: ChannelId, text: &str) {
        let sent = self.sent.entry(channel).or_default();
        let text = format!("{text} {}", sent.len());
        let body = text.clone();
        let client_seq = self.core.handle_write(channel, |client_seq| {
            Request::Send(Send { channel, client_seq, settled: ClientSeq::default(), text: body, reply_to: None, mentions: Vec::new() })
        });
        sent.push((client_seq, text));
    }
    fn disconnect(&mut self) {
        if self.is_up {
            self.is_up = false;
            self.to_server.clear();
            self.pulls.clear();
            self.server.disconnect();
            self.core.handle_disconnected();
        }
    }
    fn drain(&mut self) {
        // Every moment that is due must pass, or the driver would spin.
        self.core.handle_timeout(self.now);
        assert!(self.core.poll_timeout().is_none_or(|at| at > self.now), "a timeout that does not pass: {:?}", self.core);
        loop {
            if let Some(changes) = self.core.poll_changes() {
                self.store.apply(changes);
            }
            while let Some(output) = self.core.poll_output() {
                self.output(output);
            }
            while let Some(frame) = self.core.poll_frame(self.now, "token") {
                self.to_server.push(frame);
            }
            while let Some(pull) = self.core.poll_pull() {
                self.pulls.push(pull);
            }
            if self.core.is_drained() {
                return;
            }
        }
    }
    fn output(&mut self, output: Output) {
        match output {
            Output::Show(Show::Records(channel, records)) => {
                let shown = self.shown.entry(channel).or_default();
                for record in records {
                    assert!(shown.last().is_none_or(|last| *last < record.at.seq), "{} shown after {:?}", record.at.seq, shown.last());
                    shown.push(record.at.seq);
                }
            }
            Output::Settled(channel, client_seq, fate) => {
                let before = self.fates.insert((channel, client_seq), fate);
                assert!(before.is_none(), "settled twice");
            }
            Output::StoreReplaced => self.replaced = true,
            Output::Lost(_) => self.disconnect(),
            _ => {}
        }
    }
    /// No more faults: everything must come to rest.
    fn settle(&mut self) {
        self.apply(Step::Faults(Faults::default()));
        self.apply(Step::Pause(false));
        for round in 0..2_000 {
            self.apply(Step::Connect);
            for _ in 0..200 {
                self.apply(Step::Serve(0));
                self.apply(Step::Deliver(0));
                self.apply(Step::Page(0));
            }
            if round == 3 {
                self.server.sync_needed();
            }
            let is_quiet = self.to_server.is_empty() && self.server.out.is_empty() && self.pulls.is_empty();
            if round > 5 && is_quiet && self.core.outbox.is_empty() && self.core.behind() == 0 && self.core.sync.is_reconciled() {
                return;
            }
            self.apply(Step::Wait(100));
        }
        panic!("not at rest: {:?}", self.core);
    }
    fn check(&self) {
        assert!(!self.replaced, "the store was taken for a copy");
        for (channel, sent) in &self.sent {
            let empty = Vec::new();
            let log = self.server.logs.get(channel).map_or(&empty, |log| &log.records);
            let own: Vec<_> = log.iter().filter(|record| record.sender == ME).collect();
            let expected: Vec<_> = sent.iter().filter(|(_, text)| text.starts_with("ok")).map(|(_, text)| text.clone()).collect();
            let texts: Vec<_> = own.iter().map(|record| text_of(&record.content)).collect();
            assert_eq!(texts, expected, "each write once and in order in {channel}");
            for (client_seq, text) in sent {
                // A crash forgets who waited, never the write.
                match self.fates.get(&(*channel, *client_seq)) {
                    Some(Fate::Sent { at, .. }) => assert_eq!(text_of(&log[at.seq.get() as usize - 1].content), *text),
                    Some(Fate::Failed(error)) => assert!(!text.starts_with("ok"), "{text} failed: {error}"),
                    Some(Fate::Kept { .. }) => panic!("{text} is a text"),
                    Some(Fate::Discarded) => panic!("{text} was not discarded"),
                    None => panic!("{text} was never settled"),
                }
            }
        }
        for (channel, log) in &self.server.logs {
            let visible: Vec<_> = log.records.iter().filter(|record| !is_withheld(record)).map(|record| record.at.seq).collect();
            let shown = self.shown.get(channel).cloned().unwrap_or_default();
            assert_eq!(shown, visible, "every record shown once in {channel}");
        }
    }
}

fn text_of(content: &Content) -> String {
    match content {
        Content::Text { text, .. } => text.clone(),
        other => panic!("not a text: {other:?}"),
    }
}

fn faults() -> impl Strategy<Value = Faults> {
    let one = || proptest::bool::weighted(0.2);
    (one(), one(), one(), one(), one()).prop_map(|(busy, lose_push, lose_moved, stub, behind)| Faults { busy, lose_push, lose_moved, stub, behind })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_u64, prop_oneof![12 => Just("ok"), 1 => Just("final"), 1 => Just("edge")]).prop_map(|(channel, text)| Step::Send { channel, text }),
        6 => (0..3_u64).prop_map(|channel| Step::Other { channel }),
        16 => (0..3_usize).prop_map(Step::Serve),
        16 => (0..4_usize).prop_map(Step::Deliver),
        6 => (0..8_usize).prop_map(Step::Page),
        4 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Crash),
        4 => (0..400_u64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Pause),
        4 => faults().prop_map(Step::Faults),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn writes_stand_once_and_records_are_shown_once_in_order(steps in proptest::collection::vec(step(), 0..300)) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
        }
        world.settle();
        world.check();
    }
}

#[test]
fn a_long_queue_goes_out_in_windows_and_in_order() {
    let mut world = World::new();
    for _ in 0..200 {
        world.apply(Step::Send { channel: 0, text: "ok" });
    }
    world.settle();
    world.check();
}

#[test]
fn a_lost_answer_leads_to_the_same_seq() {
    let mut world = World::new();
    world.apply(Step::Connect);
    world.apply(Step::Serve(0));
    world.apply(Step::Deliver(0));
    world.apply(Step::Send { channel: 0, text: "ok" });
    while !world.to_server.is_empty() {
        world.apply(Step::Serve(0));
    }
    assert_eq!(world.server.logs[&channel(0)].records.len(), 1);
    world.apply(Step::Disconnect);
    world.settle();
    world.check();
    assert_eq!(world.server.logs[&channel(0)].records.len(), 1);
}

#[test]
fn a_restart_with_answers_out_of_turn_loses_no_answer() {
    let mut world = World::new();
    world.apply(Step::Connect);
    for _ in 0..2 {
        world.apply(Step::Serve(0));
        world.apply(Step::Deliver(0));
    }
    (0..4).for_each(|_| world.apply(Step::Send { channel: 0, text: "ok" }));
    while !world.to_server.is_empty() {
        world.apply(Step::Serve(0));
    }
    // The answer to the first is lost with the app.
    world.server.out.retain(|frame| matches!(frame, ToClient::Answer { .. }));
    world.server.out.remove(0);
    (0..3).for_each(|_| world.apply(Step::Deliver(0)));
    world.apply(Step::Crash);
    world.apply(Step::Send { channel: 0, text: "ok" });
    world.apply(Step::Connect);
    world.apply(Step::Serve(0));
    world.apply(Step::Deliver(0));
    while !world.to_server.is_empty() {
        world.apply(Step::Serve(0));
    }
    world.server.out.retain(|frame| matches!(frame, ToClient::Answer { .. }));
    // The last one's answer comes before the first one's.
    world.server.out.reverse();
    world.settle();
    world.check();
}

#[test]
fn an_old_copy_of_a_store_is_noticed() {
    let mut world = World::new();
    world.apply(Step::Send { channel: 0, text: "ok" });
    world.settle();
    // The log forgot what it had acked: to the client that is the same as a store that was copied.
    world.server = Server::default();
    world.apply(Step::Disconnect);
    world.apply(Step::Send { channel: 0, text: "ok" });
    for _ in 0..20 {
        world.apply(Step::Connect);
        world.apply(Step::Serve(0));
        world.apply(Step::Deliver(0));
        world.apply(Step::Wait(100));
    }
    assert!(world.replaced);
    assert!(world.core.outbox.is_empty());
}

#[test]
fn a_new_device_begins_with_the_newest_and_goes_on_from_there() {
    let mut world = World::with(Config { backfill: Backfill::Recent(4), ..config() });
    for _ in 0..20 {
        world.apply(Step::Other { channel: 0 });
    }
    world.settle();
    let seqs = |seqs: &[u64]| seqs.iter().map(|seq| Seq::new(*seq)).collect::<Vec<_>>();
    assert_eq!(world.shown[&channel(0)], seqs(&[17, 19, 20]), "18 is withheld");
    world.apply(Step::Disconnect);
    for _ in 0..10 {
        world.apply(Step::Other { channel: 0 });
    }
    world.settle();
    assert_eq!(world.shown[&channel(0)][3..], seqs(&[21, 22, 24, 25, 26, 27, 29, 30]), "nothing is skipped once it has begun");
}

#[test]
fn a_client_that_only_writes_asks_for_nothing() {
    let mut world = World::with(Config { backfill: Backfill::Off, ..config() });
    world.apply(Step::Send { channel: 0, text: "ok" });
    world.apply(Step::Other { channel: 0 });
    world.settle();
    assert!(world.shown.is_empty());
    assert!(world.store.snapshot().cursors.is_empty());
    assert!(world.core.outbox.is_empty());
}

#[test]
fn a_user_rev_that_the_server_does_not_know_is_given_up() {
    let mut world = World::new();
    world.apply(Step::Other { channel: 0 });
    world.settle();
    world.apply(Step::Disconnect);
    world.apply(Step::Other { channel: 0 });
    world.apply(Step::Connect);
    world.apply(Step::Serve(0));
    world.apply(Step::Deliver(0));
    let (id, pull) = world.pulls.remove(0);
    assert!(matches!(pull, Pull::Index(query) if query.from.get() == 1));
    world.core.handle_page(world.now, id, Err(Error::new(Code::Resync, "")));
    world.drain();
    assert!(matches!(&world.pulls[0].1, Pull::Index(query) if query.from.get() == 0));
    world.settle();
    world.check();
}

#[test]
fn numbers_refused_before_the_log_are_given_up() {
    let mut world = World::new();
    for text in ["edge", "edge", "ok", "edge", "ok"] {
        world.apply(Step::Send { channel: 0, text });
    }
    world.settle();
    world.check();
}

#[test]
fn a_silent_edge_is_given_up() {
    let mut world = World::new();
    world.apply(Step::Connect);
    world.apply(Step::Serve(0));
    world.apply(Step::Deliver(0));
    world.apply(Step::Send { channel: 0, text: "ok" });
    world.apply(Step::Wait(1_900));
    assert!(world.is_up);
    world.apply(Step::Wait(200));
    assert!(matches!(world.to_server.last(), Some(ToEdge::Beat)), "it is probed first");
    world.apply(Step::Wait(2_000));
    assert!(!world.is_up);
}

#[test]
fn a_questions_time_ends_without_a_connection() {
    let mut world = World::new();
    let tag =
        world.core.handle_ask(world.now, super::What::Request(Request::Discover { measured: Vec::new(), region: None }), Duration::from_secs(3));
    let end = world.core.poll_timeout().expect("its end");
    assert_eq!(end, world.now + Duration::from_secs(3));
    world.core.handle_timeout(end);
    let output = world.core.poll_output();
    assert!(matches!(output, Some(Output::Replied(replied, Err(Error { code: Code::Timeout, .. }))) if replied == tag), "{output:?}");
}

#[test]
fn an_answer_that_nothing_is_there_does_not_deny_what_was_heard_of_meanwhile() {
    let mut world = World::new();
    world.apply(Step::Connect);
    world.apply(Step::Serve(0));
    world.apply(Step::Deliver(0));
    let stub = Faults { stub: true, lose_moved: true, ..Faults::default() };
    world.server.append_other(channel(0), stub);
    world.apply(Step::Deliver(0));
    let (id, pull) = world.pulls.remove(0);
    assert!(matches!(pull, Pull::History(query) if query.last == Seq::new(1)));
    world.server.append_other(channel(0), stub);
    world.apply(Step::Deliver(0));
    world.core.handle_page(world.now, id, Err(Error::new(Code::NotMember, "")));
    assert_eq!(world.core.behind(), 1, "the second was not asked for yet");
    world.settle();
    assert_eq!(world.shown[&channel(0)], [Seq::new(1), Seq::new(2)]);
}

#[test]
fn a_page_never_ends_before_what_the_device_sent_or_was_shown() {
    let mut world = World::with(Config { backfill: Backfill::Off, ..config() });
    world.apply(Step::Send { channel: 0, text: "ok" });
    world.settle();
    let ask = |world: &mut World, linearizable| {
        let query = HistoryQuery {
            channel: channel(0),
            first: Seq::new(1),
            last: Seq::new(1),
            newest_first: false,
            limit: 10,
            min_seq: Seq::ZERO,
            replica: None,
            linearizable,
            place: None,
        };
        world.core.handle_ask(world.now, What::Pull(Pull::History(query)), Duration::from_secs(5));
        world.core.poll_pull().expect("it is connected")
    };
    let min_seq = |pull: &Pull| if let Pull::History(query) = pull { query.min_seq } else { Seq::ZERO };
    let (id, pull) = ask(&mut world, false);
    assert_eq!(min_seq(&pull), Seq::new(1), "its own");
    world.apply(Step::Other { channel: 0 });
    let page = world.server.page(&pull, Faults::default());
    world.core.handle_page(world.now, id, Ok(page));
    assert_eq!(min_seq(&ask(&mut world, false).1), Seq::new(2), "the head of the page");
    assert_eq!(min_seq(&ask(&mut world, true).1), Seq::ZERO, "the leader needs no telling");
}
