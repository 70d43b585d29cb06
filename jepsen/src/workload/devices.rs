//! W3: devices that subscribe, leave, come back with what they have or with nothing, and read slowly; and hermits, who stay, and to whom nearly nothing is sent.
//!
//! A channel that goes on heals what was lost of it: whoever hears the next message sees that one is missing. So most channels here get a message or two and then
//! nothing for a while, and a hermit is in one such channel alone: what is lost of the last message, or of the notice of it, stays lost and is seen in the end.

use std::sync::Arc;
use std::time::Duration;

use kith_client::wire::id::{ChannelId, Seq};
use kith_client::{Backfill, Client, Event, Events, MemoryStore};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Account, Audit, Bench, Loads, Phase, Room, reached, text};
use crate::history::Outcome;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Users that listen.
const USERS: usize = 3;
/// Devices of each.
const DEVICES: usize = 2;
/// Channels that always go on.
const ROOMS: usize = 5;
/// Channels that get a message each in turn, until the last fault is healed.
const QUIET: usize = 64;
/// Of a hundred messages.
const QUIET_PERCENT: u64 = 40;
/// Users with one quiet channel of their own, and a device at each node.
const HERMITS: usize = 16;
/// One of so many messages goes to a hermit, in turn: about one a second, so that each fault meets some, and each hermit's last one is heard of by no later one.
const HERMIT_IN: u64 = 16;
/// How often a hermit looks whether its edge is there: seldom, so that it outlasts a pause of it, and well within the time that it is given in the end.
const HERMIT_BEAT: Duration = Duration::from_secs(15);
/// How long a hermit's device may take to have everything in the end, without connecting anew.
const TOLD_WITHIN: Duration = Duration::from_secs(40);
/// How long a device may take to have everything in the end.
const CATCH_UP: Duration = Duration::from_secs(90);
/// Writes of the sender that may wait.
const UNDER_WAY_MAX: usize = 32;

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..USERS {
        accounts.push(bench.account(&format!("devices-{n}")).await?);
    }
    let sender = bench.account("devices-sender").await?;
    let users: Vec<_> = accounts.iter().chain([&sender]).map(|account| account.user).collect();
    let names = (0..ROOMS).map(|n| format!("devices-{n}")).chain((0..QUIET).map(|n| format!("devices-quiet-{n}")));
    let rooms = bench.rooms(&sender, &users, names).await?;
    let mut cells = Vec::new();
    for n in 0..HERMITS {
        let hermit = bench.account(&format!("hermit-{n}")).await?;
        let users = [hermit.user, sender.user];
        cells.extend(bench.rooms(&sender, &users, [format!("hermit-{n}")]).await?.into_iter().map(|room| (hermit.clone(), room)));
    }
    let all: Vec<Room> = rooms.iter().chain(cells.iter().map(|(_, room)| room)).cloned().collect();
    let rooms = Arc::new(rooms);
    // The devices must know where a channel ends, so they wait until the sender has said that it is done.
    let (ended, end) = watch::channel(None);
    loads.spawn(send(Arc::clone(bench), sender.clone(), all.clone(), phase.clone(), ended));
    for (n, (account, room)) in cells.into_iter().enumerate() {
        for at in 0..bench.lab.nodes.len() {
            loads.spawn(hermit(Arc::clone(bench), account.clone(), room.clone(), format!("hermit-{n}-{at}"), at, end.clone()));
        }
    }
    for (n, account) in accounts.into_iter().enumerate() {
        for m in 0..DEVICES {
            let device = Device {
                bench: Arc::clone(bench),
                account: account.clone(),
                rooms: Arc::clone(&rooms),
                chance: Chance::new(bench.seed ^ (0xdef1_0000 + (n * DEVICES + m) as u64)),
                n: n * DEVICES + m,
                life: 0,
                store: MemoryStore::new(usize::MAX),
            };
            loads.spawn(device.run(phase.clone(), end.clone()));
        }
    }
    Ok(Audit { reader: sender, rooms: all })
}

/// The head of each room.
type Heads = Vec<(ChannelId, Seq)>;

async fn send(
    bench: Arc<Bench>,
    account: Account,
    rooms: Vec<Room>,
    phase: watch::Receiver<Phase>,
    ended: watch::Sender<Option<Heads>>,
) -> anyhow::Result<()> {
    let (busy, rest) = rooms.split_at(ROOMS);
    let (quiet, hermits) = rest.split_at(QUIET);
    let (mut quiet, mut hermits) = (quiet.iter().cycle(), hermits.iter().cycle());
    let mut chance = Chance::new(bench.seed ^ 0x5e4d_0000);
    let client = bench.client(&account, 0, Backfill::Off)?.build().await?;
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let voice = Arc::new(Voice::new(&bench.recorder, "devices-sender", &account.name, None));
    let mut under_way = JoinSet::new();
    let mut number = 0_u64;
    while *phase.borrow() != Phase::Stopped {
        let is_over = *phase.borrow() != Phase::Faults;
        let room = match () {
            () if !is_over && chance.within(1, HERMIT_IN) == 1 => hermits.next(),
            () if !is_over && chance.percent(QUIET_PERCENT) => quiet.next(),
            () => Some(chance.one_of(busy)),
        };
        let Some(room) = room.cloned() else { break };
        let name = format!("d-{number}");
        number += 1;
        let text = text::make(&name, &mut chance);
        let token = voice.begin(record::send(&room.name, &name, Some(&text), None, None));
        match client.channel(room.id).send(text).await {
            Ok(outgoing) => {
                let voice = Arc::clone(&voice);
                under_way.spawn(async move {
                    let op = |seq| record::send(&room.name, &name, None, seq, None);
                    match outgoing.sent().await {
                        Ok(message) => voice.end(token, Outcome::Ok, op(Some(message.seq().get())), None),
                        Err(error) if error.is_final() => voice.end(token, Outcome::Fail { is_final: true }, op(None), Some(error.to_string())),
                        Err(error) => voice.end(token, Outcome::Info, op(None), Some(error.to_string())),
                    }
                });
            }
            Err(error) => {
                voice.end(token, Outcome::Fail { is_final: false }, record::send(&room.name, &name, None, None, None), Some(error.to_string()));
            }
        }
        while under_way.len() >= UNDER_WAY_MAX {
            tokio::select! {
                _ = under_way.join_next() => {}
                () = tokio::time::sleep(Duration::from_millis(200)), if *phase.borrow() == Phase::Stopped => break,
            }
        }
        tokio::time::sleep(bench.pause(&mut chance, 20, 80)).await;
    }
    let _ = timeout(Duration::from_secs(15), async { while under_way.join_next().await.is_some() {} }).await;
    let mut heads = Vec::new();
    for room in rooms.iter() {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match client.channel(room.id).view().await {
                Ok(view) => break heads.push((room.id, view.head.seq)),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
    ended.send_replace(Some(heads));
    client.close().await;
    Ok(())
}

/// A device that connects once and hears until the end.
async fn hermit(
    bench: Arc<Bench>,
    account: Account,
    room: Room,
    name: String,
    first: usize,
    mut end: watch::Receiver<Option<Heads>>,
) -> anyhow::Result<()> {
    let client = bench.client(&account, first, Backfill::All)?.heartbeat(HERMIT_BEAT).build().await?;
    let mut events = client.events();
    let voice = Voice::new(&bench.recorder, &name, &account.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut deadline = None;
    let mut head = None;
    loop {
        if let Some(head) = head
            && (client.channel(room.id).held().await?.is_some_and(|cursor| cursor.max >= head) || deadline.is_some_and(|at| Instant::now() > at))
        {
            break;
        }
        tokio::select! {
            heads = end.wait_for(Option::is_some), if head.is_none() => {
                // A sender that failed tells that itself.
                let Ok(heads) = heads else { return Ok(()) };
                head = heads.iter().flatten().find(|(id, _)| *id == room.id).map(|(_, head)| *head);
                deadline = Some(Instant::now() + TOLD_WITHIN);
            }
            event = events.next() => match event {
                Some(event) => hear(&voice, std::slice::from_ref(&room), event),
                None => break,
            },
            () = tokio::time::sleep(Duration::from_millis(100)), if head.is_some() => {}
        }
    }
    client.close().await;
    while let Some(event) = events.next().await {
        hear(&voice, std::slice::from_ref(&room), event);
    }
    tell_held(&client, &voice, std::slice::from_ref(&room)).await
}

/// Tells what a device holds: it must be what the replicas hold.
async fn tell_held(client: &Client, voice: &Voice, rooms: &[Room]) -> anyhow::Result<()> {
    for room in rooms {
        let token = voice.begin(record::read(&room.name, Some(1), None, true, Vec::new(), Vec::new()));
        let records = client.channel(room.id).records(Seq::new(1), Seq::new(u64::MAX), usize::MAX).await?;
        let items = records.iter().map(|record| text::item(record)).collect();
        voice.end(token, Outcome::Ok, record::read(&room.name, Some(1), None, true, items, Vec::new()), None);
    }
    Ok(())
}

fn hear(voice: &Voice, rooms: &[Room], event: Event) {
    if let Event::Record { channel, record } = event
        && let Some(room) = rooms.iter().find(|room| room.id == channel)
    {
        let item = text::item(&record);
        voice.received(&room.name, item.message.into_owned(), item.seq, item.payload.map(std::borrow::Cow::into_owned));
    }
}

struct Device {
    bench: Arc<Bench>,
    account: Account,
    rooms: Arc<Vec<Room>>,
    chance: Chance,
    n: usize,
    /// A device that starts again from nothing is another one.
    life: u32,
    store: MemoryStore,
}

impl Device {
    fn voice(&self) -> Voice {
        Voice::new(&self.bench.recorder, &format!("device-{}-{}", self.n, self.life), &self.account.name, None)
    }

    async fn run(mut self, phase: watch::Receiver<Phase>, mut end: watch::Receiver<Option<Heads>>) -> anyhow::Result<()> {
        while *phase.borrow() != Phase::Stopped {
            let until = Instant::now() + Duration::from_millis(self.chance.within(1_000, 8_000));
            let pace = if self.chance.percent(20) { Duration::from_millis(self.chance.within(5, 40)) } else { Duration::ZERO };
            let mut phase = phase.clone();
            let stop = async move {
                let _ = tokio::time::timeout_at(until, reached(&mut phase, Phase::Stopped)).await;
            };
            self.session(stop, pace).await?;
            if self.chance.percent(10) {
                self.store = MemoryStore::new(usize::MAX);
                self.life += 1;
            }
            tokio::time::sleep(Duration::from_millis(self.chance.within(0, 1_500))).await;
        }
        let heads = match end.wait_for(Option::is_some).await {
            Ok(heads) => heads.clone().unwrap_or_default(),
            // The sender failed, which it tells itself.
            Err(_) => return Ok(()),
        };
        self.catch_up(&heads).await
    }

    async fn client(&mut self) -> anyhow::Result<(Client, Events)> {
        let first = self.chance.within(0, self.bench.lab.nodes.len() as u64 - 1) as usize;
        let client = self.bench.client(&self.account, first, Backfill::All)?.store(self.store.clone()).build().await?;
        let events = client.events();
        Ok((client, events))
    }

    /// One connection: hears until told to stop, then reads to the end what had arrived.
    async fn session(&mut self, stop: impl Future<Output = ()>, pace: Duration) -> anyhow::Result<()> {
        let (client, mut events) = self.client().await?;
        let voice = self.voice();
        tokio::pin!(stop);
        let mut is_over = tokio::select! {
            () = &mut stop => true,
            // An error ends the events, which ends the loop.
            _ = client.connect() => false,
        };
        while !is_over {
            tokio::select! {
                biased;
                () = &mut stop => is_over = true,
                event = events.next() => match event {
                    Some(event) => hear(&voice, &self.rooms, event),
                    None => break,
                },
            }
            if !pace.is_zero() {
                tokio::time::sleep(pace).await;
            }
        }
        client.close().await;
        while let Some(event) = events.next().await {
            hear(&voice, &self.rooms, event);
        }
        Ok(())
    }

    /// Waits until all is here, then tells what the device holds.
    async fn catch_up(&mut self, heads: &Heads) -> anyhow::Result<()> {
        let deadline = Instant::now() + CATCH_UP;
        let (client, mut events) = self.client().await?;
        let voice = self.voice();
        let _ = timeout(Duration::from_secs(10), client.connect()).await;
        while Instant::now() < deadline {
            let mut is_whole = true;
            for (id, head) in heads.iter().filter(|(id, _)| self.rooms.iter().any(|room| room.id == *id)) {
                is_whole &= client.channel(*id).held().await?.is_some_and(|cursor| cursor.max >= *head);
            }
            if is_whole {
                break;
            }
            if let Ok(Some(event)) = timeout(Duration::from_millis(100), events.next()).await {
                hear(&voice, &self.rooms, event);
            }
        }
        client.close().await;
        while let Some(event) = events.next().await {
            hear(&voice, &self.rooms, event);
        }
        tell_held(&client, &voice, &self.rooms).await
    }
}
