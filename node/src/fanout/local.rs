//! The edge's side of fan-out: the sessions of this node, and whom they are registered with.
//!
//! In: sessions that open and close, push frames of home leaders, who leads what. Out: frames into outboxes, lists of sessions to
//! register again. Invariants: a session that no home leader knows of ends with its lease; a push of an older leader than the one known is dropped; a session whose home has a new leader, or whose
//! home leader's link broke, is registered again, and pulls if its index moved meanwhile; session ids are never used twice, not even by
//! another start of this node. Bounds: what admission lets in; [`BATCH`] sessions per registration. Not here: asking (`fanout`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use kith_wire::{
    client::{DeliveryBody, Event, Refusal},
    code::Code,
    id::{BootEpoch, DeviceId, GroupId, NodeId, Seq, SessionId, Term, UserId, UserRev},
    log::Position,
    peer::{IndexMove, PushFrame, RegisteredSession, Registration, Tell},
    presence::PresencePush,
};

use crate::{
    clock::Instant,
    cluster::map::MapVersion,
    fanout::{
        dispatch::Homes,
        metrics::{FanoutMetrics, FanoutReject},
        registration,
    },
    outbox::{Outbox, Pushed},
    router::{refuse, refuse_for},
    session::{Whose, codec},
};

/// Sessions of one registration.
pub const BATCH: usize = 1_000;
/// A home without a leader for so long makes its sessions try another edge.
pub const LEADERLESS_MAX: Duration = Duration::from_secs(10);
/// A session that no home leader has known of for so long is ended: its device may have been ended meanwhile.
pub const LEASE: Duration = Duration::from_secs(30);
/// When such a session may try again.
const LEASE_RETRY_MS: u32 = 1_000;
/// First and longest wait before a registration that failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Sessions told to move are spread over so many milliseconds.
const SPREAD_MS: u32 = 5_000;

/// The sessions of this node.
#[derive(Debug)]
pub struct Local {
    boot: BootEpoch,
    table: Mutex<Table>,
    metrics: Arc<FanoutMetrics>,
}

/// Sessions to be registered with a home leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reregister {
    /// The home group.
    pub group: GroupId,
    /// Who leads it.
    pub leader: (NodeId, Term),
    /// Whom to register.
    pub sessions: Vec<Registration>,
    /// How often the home's registrations had been lost when this was asked for.
    losses: u64,
}

#[derive(Debug, Default)]
struct Table {
    opened: u64,
    sessions: BTreeMap<SessionId, Entry>,
    homes: BTreeMap<GroupId, Home>,
    /// The map when sessions were last looked at.
    version: MapVersion,
    /// Devices that are pushed to, by their session here.
    pushed: BTreeMap<(UserId, DeviceId), SessionId>,
}

#[derive(Debug)]
struct Entry {
    whose: Whose,
    home: Option<GroupId>,
    with: Option<(NodeId, Term)>,
    told: UserRev,
    away: bool,
    outbox: Arc<Outbox>,
}

#[derive(Debug)]
struct Home {
    leader: Option<(NodeId, Term)>,
    sessions: BTreeSet<SessionId>,
    stale: bool,
    losses: u64,
    asking: bool,
    retry_at: Option<Instant>,
    backoff: Duration,
    lost: Option<Instant>,
    warned: bool,
}

impl Local {
    /// No sessions yet.
    pub fn new(boot: BootEpoch, metrics: Arc<FanoutMetrics>) -> Self {
        Self { boot, table: Mutex::default(), metrics }
    }
    /// Takes a session that is not registered yet.
    pub fn open(&self, whose: Whose, outbox: Arc<Outbox>) -> SessionId {
        let mut table = self.lock();
        table.opened += 1;
        // The start of this node is part of the id: a push for a session of an earlier start finds nobody.
        let id = SessionId::new((self.boot.get() << 40) | table.opened);
        let entry = Entry { whose, home: None, with: None, told: UserRev::ZERO, away: false, outbox };
        table.sessions.insert(id, entry);
        id
    }
    /// Notes with whom a session is registered, and where its user's index stood then.
    pub fn note_registered(&self, id: SessionId, group: GroupId, with: (NodeId, Term), rev: UserRev) {
        let mut table = self.lock();
        table.note_home(id, group);
        if let Some(entry) = table.sessions.get_mut(&id) {
            entry.with = Some(with);
            entry.told = entry.told.max(rev);
        }
        let home = table.homes.entry(group).or_default();
        if home.leader.is_none_or(|(_, term)| term < with.1) {
            home.leader = Some(with);
            home.stale = true;
        }
    }
    /// Notes whether the device of a session is pushed to.
    pub fn note_pushes(&self, id: SessionId, pushes: bool) {
        let mut table = self.lock();
        let Some(entry) = table.sessions.get(&id) else { return };
        let whose = (entry.whose.user, entry.whose.device);
        if pushes {
            table.pushed.insert(whose, id);
        } else if table.pushed.get(&whose) == Some(&id) {
            table.pushed.remove(&whose);
        }
    }
    /// A device with a session here has said whether it is pushed to.
    pub fn note_asked(&self, user: UserId, device: DeviceId, pushes: bool) {
        let id = self.lock().sessions.iter().find(|(_, entry)| (entry.whose.user, entry.whose.device) == (user, device)).map(|(id, _)| *id);
        if let Some(id) = id {
            self.note_pushes(id, pushes);
        }
    }
    /// Who is to hear of what a device confirms; `None`: nobody.
    pub fn pushed(&self, user: UserId, device: DeviceId) -> Option<(NodeId, GroupId)> {
        let table = self.lock();
        let entry = table.sessions.get(table.pushed.get(&(user, device))?)?;
        let group = entry.home?;
        let (node, _) = entry.with.or_else(|| table.homes.get(&group).and_then(|home| home.leader))?;
        Some((node, group))
    }
    /// Has a session registered again: what was pushed to it since it was may be lost.
    pub fn handle_doubt(&self, id: SessionId, group: GroupId) {
        let mut table = self.lock();
        let Table { sessions, homes, .. } = &mut *table;
        if let (Some(entry), Some(home)) = (sessions.get_mut(&id), homes.get_mut(&group)) {
            entry.with = None;
            home.stale = true;
        }
    }
    /// Forgets a session. Gives whom to tell, if it was registered.
    pub fn close(&self, id: SessionId) -> Option<(NodeId, Tell)> {
        let mut table = self.lock();
        let entry = table.sessions.remove(&id)?;
        let whose = (entry.whose.user, entry.whose.device);
        if table.pushed.get(&whose) == Some(&id) {
            table.pushed.remove(&whose);
        }
        let group = entry.home?;
        table.leave_home(id, group);
        let (node, _) = entry.with.or_else(|| table.homes.get(&group).and_then(|home| home.leader))?;
        Some((node, Tell::Unregister { group, user: entry.whose.user, device: entry.whose.device, session: id }))
    }
    /// Puts what a home leader says into outboxes. Gives what it says of presence; `None` if it does not lead any more.
    pub fn handle_push(&self, from: NodeId, frame: PushFrame, now: Instant) -> Option<PresencePush> {
        let mut table = self.lock();
        if table.homes.get(&frame.home).and_then(|home| home.leader).is_some_and(|(_, term)| frame.term < term) {
            tracing::debug!(peer = %from, group = %frame.home, term = %frame.term, "dropped the push of an older leader");
            self.metrics.reject(FanoutReject::Stale);
            return None;
        }
        tracing::trace!(peer = %from, group = %frame.home, term = %frame.term, deliveries = frame.deliveries.len(), "fanout.push");
        for (mut delivery, mut sessions) in frame.deliveries {
            sessions.sort_unstable_by_key(|(_, prev)| *prev);
            let mut encoded: Option<(Seq, Bytes)> = None;
            for (id, prev) in sessions {
                let Some(entry) = table.sessions.get(&id) else { continue };
                let frame = match &encoded {
                    Some((same, frame)) if *same == prev => frame.clone(),
                    _ => {
                        delivery.prev = prev;
                        let event = Event::Delivery(delivery);
                        let frame = codec::event(&event);
                        let Event::Delivery(back) = event else { unreachable!("made above") };
                        delivery = back;
                        encoded = Some((prev, frame.clone()));
                        frame
                    }
                };
                // The device that wrote it has its answer; a text that was sent for it at its time was answered long ago.
                let is_echo = matches!(&delivery.body, DeliveryBody::Whole(record) if record.sender == entry.whose.user
                    && record.device == entry.whose.device && record.client_seq.get() > 0);
                let pushed = if is_echo { entry.outbox.push_patiently(frame, now) } else { entry.outbox.push(frame, now) };
                if pushed == Pushed::Queued {
                    self.metrics.deliveries.inc();
                }
            }
        }
        for IndexMove { sessions, from, to, rows } in frame.moves {
            let frame = (!rows.is_empty()).then(|| codec::event(&Event::IndexMoved { from, to, rows }));
            for id in sessions {
                let Some(entry) = table.sessions.get_mut(&id) else { continue };
                if frame.is_none() && to <= entry.told {
                    continue;
                }
                entry.told = entry.told.max(to);
                match &frame {
                    Some(frame) => drop(entry.outbox.push_move(frame.clone(), to, now)),
                    None => entry.outbox.sync_needed(to),
                }
            }
        }
        for (id, channel, user, read, delivered) in frame.receipts {
            if let Some(entry) = table.sessions.get(&id) {
                let event = match read.max(delivered) {
                    at if at == Position::default() => Event::Typing { channel, user },
                    _ => Event::Receipt { channel, user, read, delivered },
                };
                entry.outbox.push(codec::event(&event), now);
            }
        }
        for id in frame.replaced {
            if let Some(entry) = table.sessions.get(&id) {
                entry.outbox.close(refuse(Code::Replaced));
            }
        }
        for id in frame.ended {
            if let Some(entry) = table.sessions.get(&id) {
                entry.outbox.close(refuse(Code::Revoked));
            }
        }
        Some(frame.presence)
    }
    /// Puts a frame into a session's outbox; `None`: it has ended.
    pub fn push(&self, session: SessionId, frame: Bytes, now: Instant) -> Option<Pushed> {
        self.lock().sessions.get(&session).map(|entry| entry.outbox.push(frame, now))
    }
    /// Notes whether nobody sits before a device. Gives whom to tell, if that is new to somebody who knows the session.
    pub fn set_away(&self, session: SessionId, away: bool) -> Option<(NodeId, Tell)> {
        let mut table = self.lock();
        let entry = table.sessions.get_mut(&session)?;
        if std::mem::replace(&mut entry.away, away) == away {
            return None;
        }
        // Whoever takes the registration that is under way may have been told otherwise: it is done again.
        let Some((group, (node, _))) = entry.home.zip(entry.with) else {
            let group = entry.home?;
            table.homes.get_mut(&group)?.stale = true;
            return None;
        };
        Some((node, Tell::Activity { group, user: entry.whose.user, session, away }))
    }
    /// What was to be told of a session was not: it is registered anew.
    pub fn handle_untold(&self, session: SessionId) {
        let group = self.lock().sessions.get(&session).and_then(|entry| entry.home);
        if let Some(group) = group {
            self.handle_doubt(session, group);
        }
    }
    /// Whether all sessions of a home are registered with this leader; also if there are none.
    pub fn is_registered(&self, group: GroupId, leader: (NodeId, Term)) -> bool {
        self.lock().homes.get(&group).is_none_or(|home| home.sessions.is_empty() || (home.leader == Some(leader) && !home.stale))
    }
    /// Takes the loss of a link: what its node pushed last may be lost.
    pub fn handle_link_down(&self, node: NodeId) {
        let mut table = self.lock();
        let Table { sessions, homes, .. } = &mut *table;
        for home in homes.values_mut().filter(|home| home.leader.is_some_and(|(leader, _)| leader == node)) {
            home.forget(sessions);
        }
    }
    /// A session whose user has another home by now is that one's.
    pub fn follow_home(&self, id: SessionId, homes: &dyn Homes) {
        self.lock().follow_home(id, homes);
    }
    /// Looks at who leads the homes. Gives the sessions to register now; each ends with [`Local::handle_reregistered`].
    pub fn poll_stale(&self, homes: &dyn Homes, now: Instant) -> Vec<Reregister> {
        let mut table = self.lock();
        table.follow_map(homes);
        let Table { sessions, homes: known, .. } = &mut *table;
        let mut asks = Vec::new();
        for (group, home) in known {
            // Of a leader that is not heard pushes may be lost, and it may have given up this edge.
            let leader = homes.leader(*group).filter(|(node, _)| homes.alive(*node));
            if leader.is_none() && !home.stale {
                home.forget(sessions);
            }
            match (leader, home.leader) {
                // A hint that is older than what is known is none.
                (Some((_, term)), Some((_, known))) if term < known => {}
                (Some(_), known) if known != leader => {
                    (home.leader, home.stale, home.retry_at, home.backoff) = (leader, true, None, RETRY.0);
                }
                _ => {}
            }
            if leader.is_some() && !home.stale {
                (home.lost, home.warned) = (None, false);
                continue;
            }
            if home.sessions.is_empty() {
                continue;
            }
            let lost = *home.lost.get_or_insert(now);
            if now >= lost + LEADERLESS_MAX && !home.warned {
                home.warned = true;
                tracing::warn!(%group, sessions = home.sessions.len(), "a home has no leader: telling its sessions to try another edge");
                for (number, entry) in home.sessions.iter().filter_map(|id| sessions.get(id)).enumerate() {
                    entry.outbox.go_away(u32::try_from(number).unwrap_or(0).wrapping_mul(37) % SPREAD_MS);
                }
            }
            if now >= lost + LEASE {
                // Whether their devices were ended meanwhile cannot be known here any more. They come back when a home can be asked.
                let knows = |entry: &&Entry| leader.is_some() && entry.with == leader;
                let mut ended = 0;
                for entry in home.sessions.iter().filter_map(|id| sessions.get(id)).filter(|entry| !knows(entry)) {
                    entry.outbox.close(refuse_for(Code::NoLeader, LEASE_RETRY_MS));
                    ended += 1;
                }
                tracing::warn!(%group, sessions = ended, "a home could not be asked for as long as a session's lease: ending those that it does not know of");
                home.lost = Some(now);
            }
            let (Some(leader), true) = (home.leader, leader.is_some()) else { continue };
            if home.asking || home.retry_at.is_some_and(|at| now < at) {
                continue;
            }
            let batch: Vec<_> = home
                .sessions
                .iter()
                .filter_map(|id| sessions.get(id).map(|entry| (id, entry)))
                .filter(|(_, entry)| entry.with != Some(leader))
                .take(BATCH)
                .map(|(id, entry)| registration(*id, &entry.whose, false, entry.away))
                .collect();
            if batch.is_empty() {
                (home.stale, home.lost, home.warned) = (false, None, false);
            } else {
                home.asking = true;
                asks.push(Reregister { group: *group, leader, sessions: batch, losses: home.losses });
            }
        }
        asks
    }
    /// Takes the outcome of a registration in bulk.
    pub fn handle_reregistered(&self, asked: &Reregister, outcome: Result<(Term, Vec<Result<RegisteredSession, Refusal>>), Refusal>, now: Instant) {
        let mut table = self.lock();
        let Table { sessions, homes, pushed, .. } = &mut *table;
        let Some(home) = homes.get_mut(&asked.group) else { return };
        home.asking = false;
        let failed = |home: &mut Home| {
            home.retry_at = Some(now + home.backoff);
            home.backoff = (home.backoff * 2).min(RETRY.1);
        };
        let (term, results) = match outcome {
            Ok(outcome) => outcome,
            Err(refusal) => {
                tracing::debug!(group = %asked.group, peer = %asked.leader.0, code = %refusal.code, "sessions could not be registered again");
                return failed(home);
            }
        };
        let with = (asked.leader.0, term);
        if home.leader.is_some_and(|(_, known)| known < term) {
            home.leader = Some(with);
        }
        (home.retry_at, home.backoff) = (None, RETRY.0);
        for (registration, result) in asked.sessions.iter().zip(results) {
            // One that has moved meanwhile is registered with its new home.
            let Some(entry) = sessions.get_mut(&registration.session).filter(|entry| entry.home == Some(asked.group)) else { continue };
            match result {
                Ok(registered) => {
                    // Lost while this was under way: what was pushed after the registration may be, too.
                    entry.with = (home.losses == asked.losses).then_some(with);
                    if registered.pushes {
                        pushed.insert((entry.whose.user, entry.whose.device), registration.session);
                    }
                    if registered.user_rev > entry.told {
                        entry.told = registered.user_rev;
                        entry.outbox.sync_needed(registered.user_rev);
                    }
                }
                Err(refusal) if refusal.code.retry() == kith_wire::code::Retry::Never => entry.outbox.close(refusal),
                Err(_) => failed(home),
            }
        }
    }
    /// Tells every session to move, spread over the delay.
    pub fn go_away(&self, within: Duration) {
        let table = self.lock();
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let count = table.sessions.len().max(1) as u64;
        for (number, entry) in (0_u64..).zip(table.sessions.values()) {
            // As many in each second as in any other.
            entry.outbox.go_away(u32::try_from(within.saturating_mul(number) / count).unwrap_or(u32::MAX));
        }
    }
    /// Ends every session.
    pub fn close_all(&self, why: &Refusal) {
        for entry in self.lock().sessions.values() {
            entry.outbox.close(why.clone());
        }
    }
    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.lock().sessions.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing that is done under the lock leaves the table half changed if it panics: the next push or look repairs it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn note_home(&mut self, id: SessionId, group: GroupId) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        let old = entry.home.replace(group);
        if let Some(old) = old.filter(|old| *old != group) {
            self.leave_home(id, old);
        }
        self.homes.entry(group).or_default().sessions.insert(id);
    }
    fn follow_map(&mut self, homes: &dyn Homes) {
        let version = homes.map_version();
        if std::mem::replace(&mut self.version, version) != version {
            let all: Vec<SessionId> = self.sessions.keys().copied().collect();
            all.into_iter().for_each(|id| self.follow_home(id, homes));
        }
    }
    fn follow_home(&mut self, id: SessionId, homes: &dyn Homes) {
        let Some(entry) = self.sessions.get(&id) else { return };
        let (Some(old), Some(new)) = (entry.home, homes.home(entry.whose.user)) else { return };
        if old != new {
            self.note_home(id, new);
            if let Some(entry) = self.sessions.get_mut(&id) {
                entry.with = None;
            }
            self.homes.entry(new).or_default().stale = true;
        }
    }
    fn leave_home(&mut self, id: SessionId, group: GroupId) {
        if let Some(home) = self.homes.get_mut(&group) {
            home.sessions.remove(&id);
        }
    }
}

impl Home {
    /// Nothing is known to be registered any more.
    fn forget(&mut self, sessions: &mut BTreeMap<SessionId, Entry>) {
        self.stale = true;
        self.losses += 1;
        for id in &self.sessions {
            if let Some(entry) = sessions.get_mut(id) {
                entry.with = None;
            }
        }
    }
}

impl Default for Home {
    fn default() -> Self {
        Self {
            leader: None,
            sessions: BTreeSet::new(),
            stale: false,
            losses: 0,
            asking: false,
            retry_at: None,
            backoff: RETRY.0,
            lost: None,
            warned: false,
        }
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
