//! A day of somebody with a phone and a tablet, by seed: tunnels, flight mode, kills, other networks, a server that loses what it is told. At its end both devices
//! hold what the server has, and every text that was stored stands once, in the order of its device.

use std::time::Duration;

use kith_wire::{
    code::Code,
    id::{ChannelId, Seq, UserId},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tempfile::{TempDir, tempdir};

use super::{FakeServer, Fault};
use crate::{Backfill, Client, SqliteStore, StoreTrouble};

/// Things that happen in a day.
const STEPS: usize = 100;
/// Days of each run, unless `KITH_DAYS` gives another number; `KITH_SEED` gives one of them. Each syncs its files a few hundred times.
const DAYS: u64 = 2;
/// For anything to come to rest.
const REST: Duration = Duration::from_secs(60);

/// One device: its store outlives its app.
struct Device {
    name: &'static str,
    folder: TempDir,
    app: Client,
    in_background: bool,
    /// Texts that were stored, by conversation, in order.
    stored: Vec<(ChannelId, String)>,
}

struct Day {
    seed: u64,
    rng: SmallRng,
    server: FakeServer,
    ann: UserId,
    ben: UserId,
    rooms: Vec<ChannelId>,
    devices: Vec<Device>,
    in_tunnel: bool,
    said: u32,
}

async fn open(server: &FakeServer, user: UserId, folder: &TempDir) -> Client {
    let store = loop {
        match SqliteStore::open(folder.path()).await {
            Ok(store) => break store,
            // The app that was killed has not let go of it yet.
            Err(error) if error.trouble == StoreTrouble::InUse => tokio::task::yield_now().await,
            Err(error) => panic!("the store: {error}"),
        }
    };
    let app = server.client(user).backfill(Backfill::All).store(store).build().await.expect("a client");
    // Whether it is reached hangs on the day.
    let connecting = app.clone();
    tokio::select! {
        biased;
        _ = connecting.connect() => {}
        () = tokio::task::yield_now() => {}
    }
    app
}

impl Day {
    async fn begin(seed: u64) -> Self {
        let server = FakeServer::start().expect("a server");
        let (ann, ben, carl) = (server.user("ann"), server.user("ben"), server.user("carl"));
        let rooms = vec![ChannelId::direct(ann, ben), ChannelId::direct(ann, carl), ChannelId::direct(ann, ann)];
        let mut devices = Vec::new();
        for name in ["phone", "tablet"] {
            let folder = tempdir().expect("a folder");
            let app = open(&server, ann, &folder).await;
            devices.push(Device { name, folder, app, in_background: false, stored: Vec::new() });
        }
        Self { seed, rng: SmallRng::seed_from_u64(seed), server, ann, ben, rooms, devices, in_tunnel: false, said: 0 }
    }
    async fn step(&mut self) {
        let at = self.rng.random_range(0..self.devices.len());
        let room = self.rooms[self.rng.random_range(0..self.rooms.len())];
        match self.rng.random_range(0..24) {
            0..=8 => {
                let device = &mut self.devices[at];
                let text = format!("{} {}", device.name, device.stored.len());
                device.app.channel(room).send(text.clone()).await.unwrap_or_else(|error| panic!("day {}: {error}", self.seed));
                device.stored.push((room, text));
            }
            9..=11 => {
                self.said += 1;
                self.server.say(self.rooms[0], self.ben, &format!("ben {}", self.said));
            }
            12 | 13 => {
                self.in_tunnel = !self.in_tunnel;
                self.server.set_reachable(!self.in_tunnel);
            }
            14 | 15 => self.restart(at).await,
            16 | 17 => {
                let device = &mut self.devices[at];
                if device.in_background {
                    device.app.enter_foreground().await;
                } else {
                    device.app.enter_background(REST).await.expect("let go of");
                }
                device.in_background = !device.in_background;
            }
            18 | 19 => self.devices[at].app.network_changed().await,
            20 => self.server.expire_tokens(),
            21 => self.server.refuse_next_session(Code::Busy),
            22 => {
                let faults = [Fault::LoseAnswer, Fault::LoseRequest, Fault::Refuse(Code::NoLeader, None)];
                self.server.next(faults[self.rng.random_range(0..faults.len())].clone());
            }
            _ => self.server.disconnect(),
        }
        for _ in 0..self.rng.random_range(0..40) {
            tokio::task::yield_now().await;
        }
    }
    /// The system kills the app, or the user closes it; it is started again.
    async fn restart(&mut self, at: usize) {
        let is_killed = self.rng.random::<bool>();
        let device = self.devices.remove(at);
        if !is_killed {
            device.app.close().await;
        }
        let Device { name, folder, app, stored, .. } = device;
        drop(app);
        let app = open(&self.server, self.ann, &folder).await;
        self.devices.insert(at, Device { name, folder, app, in_background: false, stored });
    }
    /// The day is over: all is reached.
    async fn end(mut self) {
        self.server.set_reachable(true);
        for device in &mut self.devices {
            device.app.enter_foreground().await;
            device.app.network_changed().await;
            tokio::time::timeout(REST, device.app.connect())
                .await
                .unwrap_or_else(|_| panic!("day {}: {} is not online", self.seed, device.name))
                .expect("online");
        }
        let rested = async {
            for device in &self.devices {
                while !device.app.outbox().items().is_empty() {
                    tokio::task::yield_now().await;
                }
            }
            for device in &self.devices {
                for room in &self.rooms {
                    let head = self.server.log(*room).last().map_or(Seq::ZERO, |record| record.at.seq);
                    while device.app.channel(*room).held().await.expect("the store").map_or(Seq::ZERO, |cursor| cursor.max) < head {
                        tokio::task::yield_now().await;
                    }
                }
            }
        };
        tokio::time::timeout(REST, rested).await.unwrap_or_else(|_| panic!("day {} does not come to rest", self.seed));
        for room in &self.rooms {
            let log: Vec<_> = self.server.log(*room).iter().map(|record| (record.at.seq, record.content.text().map(str::to_owned))).collect();
            for device in &self.devices {
                let held = device.app.channel(*room).records(Seq::new(1), Seq::new(u64::MAX), usize::MAX).await.expect("the store");
                let held: Vec<_> = held.iter().map(|record| (record.at.seq, record.content.text().map(str::to_owned))).collect();
                assert_eq!(held, log, "day {}: what the {} holds", self.seed, device.name);
                let stored: Vec<&str> = device.stored.iter().filter(|(of, _)| of == room).map(|(_, text)| text.as_str()).collect();
                let stand: Vec<&str> = log.iter().filter_map(|(_, text)| text.as_deref()).filter(|text| text.starts_with(device.name)).collect();
                assert_eq!(stand, stored, "day {}: what the {} sent, each once and in order", self.seed, device.name);
            }
        }
        for device in &self.devices {
            device.app.close().await;
        }
    }
}

#[test]
fn a_day_ends_with_both_devices_equal_to_the_server() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let days = number("KITH_SEED").map_or_else(|| 0..number("KITH_DAYS").unwrap_or(DAYS), |seed| seed..seed + 1);
    for seed in days {
        println!("day {seed}; again: KITH_SEED={seed} cargo nextest run -p kith-client a_day_ends --no-capture");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut day = Day::begin(seed).await;
            for _ in 0..STEPS {
                day.step().await;
            }
            day.end().await;
        });
    }
}
