//! Exactly once through the death of the app: it dies at every step of the outbox, over a link that loses, and begins again over what it had
//! stored. Whatever was stored stands once in the log, in order; what was not never appears.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use kith_wire::{
    client::{Request, Send, ToClient, ToEdge},
    id::{ChannelId, ClientSeq, UserId},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    Backfill, Config, Core, Fate, Output,
    fake_server::{Faults, ME, Server},
};
use crate::{
    memory::MemoryStore,
    store::{Change, Identity},
};

/// Where the app dies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Point {
    /// The write is taken in, and not stored.
    BeforeWrite,
    /// It is stored; the caller was not told, nothing was sent.
    AfterWrite,
    /// It is on its way.
    AfterSend,
    /// Its answer has arrived, and was not looked at.
    AfterAck,
    /// The answer was taken in, and not stored.
    BeforeDelete,
    /// It is out of the store; nobody was told.
    AfterDelete,
}

const POINTS: [Point; 6] = [Point::BeforeWrite, Point::AfterWrite, Point::AfterSend, Point::AfterAck, Point::BeforeDelete, Point::AfterDelete];

struct World {
    rng: SmallRng,
    now: Instant,
    store: MemoryStore,
    core: Core,
    server: Server,
    is_up: bool,
    /// On its way to the server, in order.
    sent: VecDeque<ToEdge>,
    /// Where the app dies next, and how many times it passes there before.
    plan: Option<(Point, u32)>,
    deaths: BTreeMap<Point, u64>,
    /// What was stored, in order.
    stored: BTreeMap<ChannelId, Vec<String>>,
    texts: u64,
}

fn config(seed: u64) -> Config {
    Config {
        identity: Identity { user: ME, nonce: [7; 16] },
        cluster: None,
        backfill: Backfill::Off,
        heartbeat: Duration::from_secs(30),
        patience: Duration::from_secs(2),
        seed,
    }
}

impl World {
    fn new(seed: u64, now: Instant) -> Self {
        let store = MemoryStore::new(0);
        store.apply(vec![Change::Identity(config(seed).identity)]);
        let mut world = Self {
            rng: SmallRng::seed_from_u64(seed),
            now,
            core: Core::new(config(seed), store.snapshot(), now),
            store,
            server: Server::default(),
            is_up: false,
            sent: VecDeque::new(),
            plan: None,
            deaths: BTreeMap::new(),
            stored: BTreeMap::new(),
            texts: 0,
        };
        world.plan();
        world
    }
    fn plan(&mut self) {
        let point = POINTS[self.rng.random_range(0..POINTS.len())];
        self.plan = Some((point, self.rng.random_range(0..5)));
    }
    /// Whether the app dies here, if this is such a place.
    fn dies(&mut self, point: Point, is_there: bool) -> bool {
        match &mut self.plan {
            Some((planned, passes)) if *planned == point && is_there => match passes.checked_sub(1) {
                Some(left) => {
                    *passes = left;
                    false
                }
                None => true,
            },
            _ => false,
        }
    }
    fn die(&mut self) {
        if let Some((point, _)) = self.plan {
            *self.deaths.entry(point).or_default() += 1;
        }
        self.cut();
        let seed = self.rng.random();
        self.core = Core::new(config(seed), self.store.snapshot(), self.now);
        self.plan();
    }
    /// The connection ends; some of what was on its way arrives all the same.
    fn cut(&mut self) {
        let late = self.rng.random_range(0..=self.sent.len());
        for frame in self.sent.drain(..).take(late) {
            self.server.handle(frame, Faults::default());
        }
        self.server.disconnect();
        if std::mem::take(&mut self.is_up) {
            self.core.handle_disconnected();
        }
    }
    fn send(&mut self) {
        let channel = ChannelId::direct(ME, UserId::new(10 + self.rng.random_range(0..2)));
        self.texts += 1;
        let text = format!("ok {}", self.texts);
        self.core.handle_write(channel, |client_seq| {
            Request::Send(Send { channel, client_seq, settled: ClientSeq::default(), text, reply_to: None, mentions: Vec::new() })
        });
    }
    fn step(&mut self) {
        match self.rng.random_range(0..20) {
            0..6 => self.send(),
            6..12 => {
                if let Some(frame) = self.sent.pop_front() {
                    let faults = Faults { busy: self.rng.random_range(0..10) == 0, ..Faults::default() };
                    self.server.handle(frame, faults);
                }
            }
            12..17 => self.hear(),
            17 if self.rng.random_range(0..3) == 0 => self.cut(),
            18 => {
                let time = Duration::from_millis(self.rng.random_range(0..300));
                self.pass(time);
            }
            _ => self.connect(),
        }
        self.drain();
    }
    fn connect(&mut self) {
        if !self.is_up {
            self.is_up = true;
            self.core.handle_connected(self.now);
        }
    }
    fn hear(&mut self) {
        if self.is_up && !self.server.out.is_empty() {
            let frame = self.server.out.remove(0);
            if self.dies(Point::AfterAck, matches!(frame, ToClient::Answer { .. })) {
                return self.die();
            }
            self.core.handle_frame(self.now, frame);
        }
    }
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.handle_timeout(self.now);
    }
    /// As the driver does it.
    fn drain(&mut self) {
        self.core.handle_timeout(self.now);
        loop {
            if let Some(changes) = self.core.poll_changes() {
                let has_write = changes.iter().any(|change| matches!(change, Change::Write(_)));
                let has_answer = changes.iter().any(|change| matches!(change, Change::Settled { .. }));
                if self.dies(Point::BeforeWrite, has_write) || self.dies(Point::BeforeDelete, has_answer) {
                    return self.die();
                }
                for change in &changes {
                    if let Change::Write(write) = change
                        && let Request::Send(send) = &write.request
                    {
                        self.stored.entry(write.channel).or_default().push(send.text.clone());
                    }
                }
                self.store.apply(changes);
                if self.dies(Point::AfterWrite, has_write) || self.dies(Point::AfterDelete, has_answer) {
                    return self.die();
                }
            }
            while let Some(output) = self.core.poll_output() {
                match output {
                    Output::StoreReplaced => panic!("the store was taken for a copy"),
                    Output::Settled(_, _, Fate::Failed(error)) => panic!("nothing is refused here: {error}"),
                    Output::Lost(_) => self.cut(),
                    _ => {}
                }
            }
            while let Some(frame) = self.core.poll_frame(self.now, "token") {
                let is_write = matches!(frame, ToEdge::Request { request: Request::Send(_), .. });
                self.sent.push_back(frame);
                if self.dies(Point::AfterSend, is_write) {
                    return self.die();
                }
            }
            if self.core.is_drained() {
                return;
            }
        }
    }
    /// Nothing goes wrong any more.
    fn settle(&mut self) {
        self.plan = None;
        for _ in 0..10_000 {
            self.connect();
            self.drain();
            while let Some(frame) = self.sent.pop_front() {
                self.server.handle(frame, Faults::default());
            }
            while !self.server.out.is_empty() {
                self.hear();
            }
            self.drain();
            if self.core.outbox.is_empty() && self.sent.is_empty() {
                return;
            }
            self.pass(Duration::from_millis(50));
        }
        panic!("not at rest: {:?}", self.core);
    }
    fn check(&self) {
        assert!(self.store.snapshot().writes.is_empty(), "nothing is left in the store");
        for (channel, stored) in &self.stored {
            let log: Vec<_> = self.server.logs[channel].records.iter().filter_map(|record| record.content.text()).collect();
            assert_eq!(log, *stored, "what was stored stands once, in order");
        }
    }
}

#[test]
fn what_was_stored_stands_once_wherever_the_app_died() {
    let one = std::env::var("KITH_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let mut deaths = BTreeMap::new();
    let begun = Instant::now();
    for seed in one.map_or(1..=10_000, |seed| seed..=seed) {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, begun);
            (0..80).for_each(|_| world.step());
            world.settle();
            world.check();
            world.deaths
        });
        let Ok(died) = run else {
            panic!("seed {seed}; again: KITH_SEED={seed} cargo nextest run -p kith-client what_was_stored_stands_once_wherever_the_app_died");
        };
        for (point, count) in died {
            *deaths.entry(point).or_insert(0) += count;
        }
    }
    if one.is_none() {
        assert!(POINTS.iter().all(|point| deaths.get(point).is_some_and(|count| *count > 1_000)), "each place was died at: {deaths:?}");
    }
}
