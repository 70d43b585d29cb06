//! Sends a plan through SDK clients and watches what each receiver is shown.
//!
//! In: a [`Plan`], access to the cluster. Out: [`Played`]: what was sent to each channel, the verdict over receivers, latencies.
//! A few days are active at once. Of an active day each user has a client; messages go out in the order of the log, those of one Raft group
//! one after the other with a bounded number in flight, so that a group without leader holds up no other. A day ends when every member of its
//! channels was shown everything, or when nothing moves any more; then its receivers are judged and what they saw is forgotten.
//! Bounds: `DAYS_ACTIVE`, `IN_FLIGHT`, `SETUPS`. Not here: processes (`nodes`), kills (`chaos`), reading histories back (`readback`).

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use kith_client::{Backfill, Channel, Client, Error, Event, Events, MemoryStore, NewChannel};
use kith_wire::{
    id::{ChannelId, GroupId, Seq, UserId},
    log::ClusterMap,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::TaskTracker;

use super::{
    replay::{Day, Plan, PlannedMessage, UserIndex},
    verdict::{Ack, Seen, Sent, Verdict, recorded, seen, text_digest},
};
use crate::{
    cluster::map::group_of,
    operator::{self, Operator},
    spread::Spread,
};

/// Days that are active at once.
const DAYS_ACTIVE: usize = 3;
/// Messages of one day and one Raft group without ack.
const IN_FLIGHT: usize = 32;
/// Accounts, connections or groups of one day being made at once.
const SETUPS: usize = 16;
/// A day in which nothing moves for so long is given up and judged as it is.
const STALL: Duration = Duration::from_secs(90);

/// Plays a plan.
pub struct Driver {
    plan: Arc<Plan>,
    operator: Operator,
    admin: Client,
    map: ClusterMap,
    start: Instant,
    names: Vec<String>,
    users: Vec<tokio::sync::Mutex<Seat>>,
    rooms: Arc<RwLock<HashMap<ChannelId, Arc<Room>>>>,
    receivers: TaskTracker,
    pacer: Pacer,
    /// Counts that a progress bar shows.
    pub progress: Arc<Progress>,
}

/// How far a run is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages handed to the SDK.
    pub sent: AtomicU64,
    /// Messages with an ack.
    pub acked: AtomicU64,
    /// Records shown to receivers.
    pub shown: AtomicU64,
    /// Channels whose histories were read back.
    pub read: AtomicU64,
    /// Raised with everything that moves.
    moved: AtomicU64,
}

/// What became of a channel.
#[derive(Clone, Debug)]
pub struct PlayedChannel {
    /// Which.
    pub id: ChannelId,
    /// The Raft group that holds it.
    pub group: GroupId,
    /// A member, who can read all of it.
    pub reader: UserIndex,
    /// What was sent to it.
    pub sent: Vec<Sent>,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Played {
    /// Its channels.
    pub channels: Vec<PlayedChannel>,
    /// Over sends and receivers.
    pub verdict: Verdict,
    /// From send to ack.
    pub ack: Spread,
    /// From send to each receiver.
    pub deliver: Spread,
}

/// A user of the plan, with a client while one of their days is active.
struct Seat {
    user: Option<UserId>,
    /// One device for the whole run: a later day goes on where the earlier one ended.
    store: MemoryStore,
    client: Option<Client>,
    days: usize,
}

/// A channel of an active day.
struct Room {
    id: ChannelId,
    group: GroupId,
    members: Vec<UserIndex>,
    inner: Mutex<RoomInner>,
    day: Arc<DayState>,
}

#[derive(Default)]
struct RoomInner {
    sent: Vec<Sent>,
    shown: HashMap<UserIndex, Vec<(Seen, Duration)>>,
}

/// How many showings a day still waits for: each text to each member of its channel.
struct DayState {
    open: AtomicI64,
    is_complete: watch::Sender<bool>,
}

impl Driver {
    /// Prepares a run; `rate` is messages a second over all, 0 for flat out.
    pub fn new(plan: Arc<Plan>, operator: Operator, admin: Client, rate: u64, start: Instant) -> Self {
        let seat = |_| tokio::sync::Mutex::new(Seat { user: None, store: MemoryStore::new(0), client: None, days: 0 });
        Self {
            names: account_names(&plan.users),
            users: plan.users.iter().map(seat).collect(),
            map: operator.files().first_map(),
            plan,
            operator,
            admin,
            start,
            rooms: Arc::default(),
            receivers: TaskTracker::new(),
            pacer: Pacer::new(rate, start),
            progress: Arc::default(),
        }
    }

    /// Sends everything; returns when every day is complete or given up.
    ///
    /// # Errors
    /// A user, a client or a group could not be made.
    pub async fn play(&self) -> Result<Played, Error> {
        let days = stream::iter(&self.plan.days).map(|day| self.play_day(day)).buffer_unordered(DAYS_ACTIVE);
        let played = days.try_fold(Played::default(), |mut all, day| async move {
            all.channels.extend(day.channels);
            all.verdict.merge(&day.verdict);
            all.ack.merge(&day.ack);
            all.deliver.merge(&day.deliver);
            Ok(all)
        });
        let played = played.await?;
        self.receivers.close();
        self.receivers.wait().await;
        Ok(played)
    }

    async fn play_day(&self, day: &Day) -> Result<Played, Error> {
        let clients: HashMap<UserIndex, Client> = stream::iter(&day.users)
            .map(|&user| async move { Ok::<_, Error>((user, self.take_seat(user).await?)) })
            .buffer_unordered(SETUPS)
            .try_collect()
            .await?;
        let open = day.messages.iter().map(|message| self.plan.channels[message.channel].members.len() as i64).sum();
        let state = Arc::new(DayState { open: AtomicI64::new(open), is_complete: watch::Sender::new(open == 0) });
        let rooms: HashMap<usize, Arc<Room>> = stream::iter(day.channels.clone())
            .map(|channel| {
                let (state, clients) = (Arc::clone(&state), &clients);
                async move { Ok::<_, Error>((channel, self.make_room(channel, clients, state).await?)) }
            })
            .buffer_unordered(SETUPS)
            .try_collect()
            .await?;
        self.send_day(day, &clients, &rooms, &state).await;
        let played = self.judge_day(&rooms, &clients);
        drop(clients);
        for &user in &day.users {
            self.leave_seat(user).await;
        }
        Ok(played)
    }

    /// Returns when everything was shown to everyone, or nothing moves any more.
    async fn send_day(&self, day: &Day, clients: &HashMap<UserIndex, Client>, rooms: &HashMap<usize, Arc<Room>>, state: &DayState) {
        let mut by_group: HashMap<GroupId, Vec<Outbound>> = HashMap::new();
        for PlannedMessage { channel, sender, text } in &day.messages {
            if let (Some(room), Some(client)) = (rooms.get(channel), clients.get(sender)) {
                let outbound = Outbound { room: Arc::clone(room), channel: client.channel(room.id), sender: client.me(), text: text.clone() };
                by_group.entry(room.group).or_default().push(outbound);
            }
        }
        let mut senders = JoinSet::new();
        for messages in by_group.into_values() {
            senders.spawn(send_in_order(messages, self.pacer.clone(), self.start, Arc::clone(&self.progress)));
        }
        let mut is_complete = state.is_complete.subscribe();
        let complete = async {
            while senders.join_next().await.is_some() {}
            // The sender of the value lives as long as this function's caller holds the day.
            let _ = is_complete.wait_for(|done| *done).await;
        };
        tokio::select! {
            () = complete => {}
            () = self.stalled() => tracing::warn!(day = day.name, open = state.open.load(Relaxed), "demo.replay a day was given up"),
        }
    }

    async fn stalled(&self) {
        let mut before = self.progress.moved.load(Relaxed);
        loop {
            sleep(STALL).await;
            let now = self.progress.moved.load(Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Reads the whole history of every channel from each replica of its group, by name, and judges them.
    ///
    /// # Errors
    /// A reader's client could not be made.
    pub async fn read_back(&self, played: &mut Played) -> Result<(), Error> {
        let mut by_reader: HashMap<UserIndex, Vec<&PlayedChannel>> = HashMap::new();
        for channel in &played.channels {
            by_reader.entry(channel.reader).or_default().push(channel);
        }
        let verdict = stream::iter(by_reader)
            .map(|(reader, channels)| self.read_channels(reader, channels))
            .buffer_unordered(SETUPS)
            .try_fold(Verdict::default(), |mut all, one| async move {
                all.merge(&one);
                Ok(all)
            })
            .await?;
        played.verdict.merge(&verdict);
        Ok(())
    }

    async fn read_channels(&self, reader: UserIndex, channels: Vec<&PlayedChannel>) -> Result<Verdict, Error> {
        let user = self.users[reader].lock().await.user.ok_or_else(|| operator::missing("the reader's account"))?;
        let client = self.operator.client(user, &self.names[reader], reader)?.backfill(Backfill::Off).build().await?;
        client.connect().await?;
        let mut verdict = Verdict::default();
        for channel in channels {
            let head = channel.sent.iter().filter_map(|message| message.ack).map(|ack| ack.seq).max().unwrap_or_default();
            let mut histories = Vec::new();
            for &replica in self.map.groups.get(&channel.group).map(|group| &group.replicas).into_iter().flatten() {
                let history = client.channel(channel.id).whole_history(Some(replica), head).await;
                if let Err(error) = &history {
                    tracing::warn!(%error, channel = %channel.id, node = %replica, "demo.replay a history could not be read");
                }
                histories.push((replica, history.ok().map(|records| records.iter().map(recorded).collect())));
            }
            verdict.judge_histories(&channel.sent, &histories);
            self.progress.read.fetch_add(1, Relaxed);
        }
        client.close().await;
        Ok(verdict)
    }

    /// The client of a user, made if none of their days is active yet.
    async fn take_seat(&self, user: UserIndex) -> Result<Client, Error> {
        let mut seat = self.users[user].lock().await;
        let name = self.names[user].clone();
        let id = match seat.user {
            Some(id) => id,
            None => operator::ensure_account(&self.admin, &name).await?.0,
        };
        seat.user = Some(id);
        let client = match &seat.client {
            Some(client) => client.clone(),
            None => {
                let builder = self.operator.client(id, &name, user)?.store(seat.store.clone()).backfill(Backfill::All);
                let client = builder.build().await?;
                let receiver = Receiver {
                    user,
                    events: client.events(),
                    rooms: Arc::clone(&self.rooms),
                    start: self.start,
                    progress: Arc::clone(&self.progress),
                };
                self.receivers.spawn(receiver.run());
                client.connect().await?;
                seat.client = Some(client.clone());
                client
            }
        };
        seat.days += 1;
        Ok(client)
    }

    async fn leave_seat(&self, user: UserIndex) {
        let mut seat = self.users[user].lock().await;
        seat.days = seat.days.saturating_sub(1);
        if seat.days == 0
            && let Some(client) = seat.client.take()
        {
            client.close().await;
        }
    }

    /// Makes the group of a channel, by its first member.
    async fn make_room(&self, channel: usize, clients: &HashMap<UserIndex, Client>, day: Arc<DayState>) -> Result<Arc<Room>, Error> {
        let planned = &self.plan.channels[channel];
        let ids = planned.members.iter().filter_map(|member| clients.get(member)).map(Client::me);
        let maker = planned.members.first().and_then(|maker| clients.get(maker)).ok_or_else(|| operator::missing("a member of the channel"))?;
        let made = maker.create_channel(NewChannel::group(&planned.title).members(ids.filter(|id| *id != maker.me()))).await?;
        let group = group_of(&self.map, made.id().bucket()).ok_or_else(|| operator::missing("the group of a bucket"))?;
        let room = Arc::new(Room { id: made.id(), group, members: planned.members.clone(), inner: Mutex::default(), day });
        self.rooms.write().unwrap_or_else(PoisonError::into_inner).insert(room.id, Arc::clone(&room));
        Ok(room)
    }

    /// Judges the receivers of a day's channels, and closes those.
    fn judge_day(&self, rooms: &HashMap<usize, Arc<Room>>, clients: &HashMap<UserIndex, Client>) -> Played {
        let mut played = Played::default();
        for room in rooms.values() {
            self.rooms.write().unwrap_or_else(PoisonError::into_inner).remove(&room.id);
            let RoomInner { sent, mut shown } = std::mem::take(&mut *room.lock());
            played.verdict.judge_sends(&sent);
            let acks = sent.iter().filter_map(|message| Some((message, message.ack?)));
            acks.clone().for_each(|(message, ack)| played.ack.record(ack.at.saturating_sub(message.at)));
            let by_seq: HashMap<Seq, &Sent> = acks.map(|(message, ack)| (ack.seq, message)).collect();
            for &member in &room.members {
                let Some(user) = clients.get(&member).map(Client::me) else { continue };
                let shown = shown.remove(&member).unwrap_or_default();
                for (record, at) in &shown {
                    if let Some(message) = by_seq.get(&record.seq).filter(|message| message.sender != user) {
                        played.deliver.record(at.saturating_sub(message.at));
                    }
                }
                let records: Vec<Seen> = shown.into_iter().map(|(record, _)| record).collect();
                played.verdict.judge_receiver(&sent, user, &records);
            }
            let reader = room.members.first().copied().unwrap_or_default();
            played.channels.push(PlayedChannel { id: room.id, group: room.group, reader, sent });
        }
        played
    }
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, RoomInner> {
        // Each change is one push or one assignment, so a panic elsewhere leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A text was shown to one member.
    fn note_shown(&self, member: UserIndex, record: Seen, at: Duration) {
        self.lock().shown.entry(member).or_default().push((record, at));
        if record.text.is_some() {
            self.day.note(1);
        }
    }
    /// A message was refused: nobody will be shown it.
    fn note_refused(&self) {
        self.day.note(self.members.len() as i64);
    }
}

impl DayState {
    fn note(&self, count: i64) {
        if self.open.fetch_sub(count, Relaxed) <= count {
            self.is_complete.send_replace(true);
        }
    }
}

/// A message on its way out.
struct Outbound {
    room: Arc<Room>,
    channel: Channel,
    sender: UserId,
    text: String,
}

/// Sends messages of one group in their order, with at most `IN_FLIGHT` without ack, and waits for the last ack.
async fn send_in_order(messages: Vec<Outbound>, pacer: Pacer, start: Instant, progress: Arc<Progress>) {
    let room_for = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut waiting = JoinSet::new();
    for Outbound { room, channel, sender, text } in messages {
        while waiting.try_join_next().is_some() {}
        pacer.turn().await;
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&room_for).acquire_owned().await else { return };
        let at = start.elapsed();
        let number = {
            let mut inner = room.lock();
            inner.sent.push(Sent { sender, text: text_digest(&text), at, ack: None });
            inner.sent.len() - 1
        };
        let outgoing = channel.send(text).await;
        progress.sent.fetch_add(1, Relaxed);
        let progress = Arc::clone(&progress);
        waiting.spawn(async move {
            let _permit = permit;
            let sent = match outgoing {
                Ok(outgoing) => outgoing.sent().await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(message) => {
                    if let Some(sent) = room.lock().sent.get_mut(number) {
                        sent.ack = Some(Ack { seq: message.seq(), at: start.elapsed() });
                    }
                    progress.acked.fetch_add(1, Relaxed);
                }
                Err(error) => {
                    tracing::warn!(%error, channel = %room.id, "demo.replay a message was refused");
                    room.note_refused();
                }
            }
            progress.moved.fetch_add(1, Relaxed);
        });
    }
    while waiting.join_next().await.is_some() {}
}

/// What one user is shown, until their client closes.
struct Receiver {
    user: UserIndex,
    events: Events,
    rooms: Arc<RwLock<HashMap<ChannelId, Arc<Room>>>>,
    start: Instant,
    progress: Arc<Progress>,
}

impl Receiver {
    async fn run(mut self) {
        while let Some(event) = self.events.next().await {
            let Event::Record { channel, record } = event else { continue };
            // The record that makes a group may come before its maker is told; it is no text.
            let room = self.rooms.read().unwrap_or_else(PoisonError::into_inner).get(&channel).cloned();
            if let Some(room) = room {
                room.note_shown(self.user, seen(&record), self.start.elapsed());
                self.progress.shown.fetch_add(1, Relaxed);
                self.progress.moved.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Spreads messages evenly over time: each takes the next turn.
#[derive(Clone, Debug)]
struct Pacer {
    start: Instant,
    period: Duration,
    turns: Arc<AtomicU64>,
}

impl Pacer {
    fn new(rate: u64, start: Instant) -> Self {
        let period = if rate == 0 { Duration::ZERO } else { Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX) };
        Self { start, period, turns: Arc::default() }
    }
    async fn turn(&self) {
        if !self.period.is_zero() {
            // Turns that passed unused, as during the set-up, are not made up for.
            let passed = u64::try_from(self.start.elapsed().as_nanos() / self.period.as_nanos()).unwrap_or(u64::MAX);
            self.turns.fetch_max(passed, Relaxed);
            let turn = u32::try_from(self.turns.fetch_add(1, Relaxed)).unwrap_or(u32::MAX);
            sleep_until(self.start + self.period.saturating_mul(turn)).await;
        }
    }
}

/// Account names of the plan's users: what the service allows, and different from one another as it compares them.
fn account_names(users: &[String]) -> Vec<String> {
    const BYTES_MAX: usize = 48;
    let mut taken = HashSet::new();
    let one = |user: &String| {
        let mut name: String =
            user.trim().to_lowercase().chars().map(|c| if c.is_whitespace() || c.is_control() || "#/,@".contains(c) { '_' } else { c }).collect();
        while name.len() > BYTES_MAX {
            name.pop();
        }
        let mut unique = name.clone();
        for number in 2.. {
            if !unique.is_empty() && taken.insert(unique.clone()) {
                break;
            }
            unique = format!("{name}~{number}");
        }
        unique
    };
    users.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_differ_however_they_are_compared() {
        let names = account_names(&["Will".into(), "will".into(), "a b".into(), "#x".into(), "x".repeat(80), "WILL".into(), String::new()]);
        assert_eq!(names[..4], ["will", "will~2", "a_b", "_x"]);
        assert_eq!(names[5..], ["will~3", "~2"]);
        assert_eq!(names[4].len(), 48);
    }
}
