//! What the leader of a channels' group tells the homes of their members. Sans-io.
//!
//! In: applied records, acks of homes, the group's rows ([`Source`]), who leads what ([`Homes`]). Out: ref frames per node, commands to
//! propose. Invariants: `Fanned` passes a seq only after every home of every member and departing member committed refs at or above it;
//! nothing here must survive: what is not fanned out is a dirty row, which the next leader walks. Bounds: [`TRACKED_MAX`] channels, the
//! rest stay rows; [`WINDOW_REFS`] refs in flight to a home; [`LIVE_BYTES_MAX`] of live records for a node, more are left to be pulled.
//! Not here: proposing, links (`fanout::lead`), sessions (`fanout::registry`), what a ref says (kith-machine).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use kith_machine::view::ViewError;
use kith_wire::{
    client::DeliveryBody,
    id::{ChannelId, GroupId, NodeId, Seq, Term, UserId},
    limit,
    log::{Command, Position, Record, Ref},
    peer::{ChannelRefs, LiveReceipt, LiveRecord, RefFrame, RefsKept},
};

use crate::{
    clock::Instant,
    cluster::map::MapVersion,
    fanout::metrics::{FanoutMetrics, FanoutReject},
};

/// Channels whose progress is held in memory. More wait as dirty rows for the next walk.
pub const TRACKED_MAX: usize = 65_536;
/// Refs in flight to one home group. More wait for its acks.
pub const WINDOW_REFS: usize = limit::REFS_PENDING_MAX;
/// Live records that wait for one node, in bytes. More are dropped: their devices pull.
pub const LIVE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A node gets a frame at most so often.
pub const FRAME_EVERY: Duration = Duration::from_millis(5);
/// A channel's refs are computed at most so often: first and longest pause. It doubles while the channel does not come to rest, since a ref
/// costs as much as a record and says nothing that the live records, which do not wait for it, have not said.
pub const REFS_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(800));
/// `Fanned` commands are gathered for so long.
pub const FANNED_EVERY: Duration = Duration::from_millis(500);
/// Refs that are not acked within this are sent again: longer than a home waits before it commits.
pub const ACK_WITHIN: Duration = Duration::from_secs(5);
/// First and longest wait before a home that did not ack gets refs again. Short: a ref may be all that tells a device of a record whose
/// push was lost, and one window of refs in a few seconds is no load.
pub const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// Homes are looked at so often while something is owed to them.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A frame that has grown so large does not wait for its time.
const FRAME_BYTES: usize = 1024 * 1024;
/// Channels whose refs are computed in one go.
const CHANNELS_PER_POLL: usize = 64;
/// Dirty rows read in one go.
const WALK_PAGE: usize = 256;
/// Users whose homes are remembered. Beyond it all are looked up anew.
const PLACES_MAX: usize = 65_536;
/// What a ref is taken to weigh.
const REF_BYTES: usize = 256;

/// The rows of the group, at one moment per call.
pub trait Source {
    /// Dirty channels after this one, in storage order.
    ///
    /// # Errors
    /// A row cannot be read.
    fn dirty(&self, after: Option<ChannelId>, limit: usize) -> Result<Vec<ChannelId>, ViewError>;
    /// A channel's head, and the refs of those members and departing members that are wanted at that head.
    ///
    /// # Errors
    /// A row cannot be read.
    fn news(&self, channel: ChannelId, wanted: &mut dyn FnMut(Seq, UserId) -> bool) -> Result<Option<News>, ViewError>;
}

/// A channel as one snapshot shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct News {
    /// Its last record.
    pub head: Seq,
    /// What every home is known to have committed.
    pub fanned: Seq,
    /// Of the wanted users; those without a ref are left out.
    pub refs: Vec<(UserId, Ref)>,
}

/// Who is home where, and who leads.
pub trait Homes: Send + Sync + 'static {
    /// The group that holds a user; `None` while there is no map.
    fn home(&self, user: UserId) -> Option<GroupId>;
    /// Who leads a group, as far as known.
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)>;
    /// Changes whenever `home` may answer differently.
    fn map_version(&self) -> MapVersion;
    /// Whether a node is heard.
    fn alive(&self, node: NodeId) -> bool;
    /// All nodes, heard or not.
    fn nodes(&self) -> Vec<NodeId>;
    /// All groups that hold users.
    fn groups(&self) -> Vec<GroupId>;
}

/// Fan-out of one group's channels, for one term.
#[derive(Debug)]
pub struct Dispatch {
    group: GroupId,
    term: Term,
    channels: HashMap<ChannelId, Progress>,
    due: BTreeSet<(Instant, ChannelId)>,
    homes: BTreeMap<GroupId, Home>,
    nodes: BTreeMap<NodeId, Outgoing>,
    places: Places,
    /// The map when homes were last looked at.
    placed: MapVersion,
    walk: Walk,
    looked: Option<Instant>,
    fanned: BTreeMap<ChannelId, Seq>,
    fanned_since: Option<Instant>,
    gone: BTreeSet<(ChannelId, UserId)>,
    proposing: bool,
    shown: usize,
    metrics: Arc<FanoutMetrics>,
}

/// How far a channel's refs have come.
#[derive(Debug)]
struct Progress {
    /// Highest record known.
    head: Seq,
    /// Head of the snapshot that `kept` was made from.
    seen: Seq,
    fanned: Seq,
    /// Each home of the members at `seen`, and up to where it committed.
    kept: BTreeMap<GroupId, Seq>,
    map_version: MapVersion,
    due: Option<Instant>,
    computed: Option<Instant>,
    /// The next time is so long after `computed`.
    every: Duration,
}

/// What is owed to a home group.
#[derive(Debug)]
struct Home {
    leader: Option<(NodeId, Term)>,
    in_flight: BTreeMap<ChannelId, Sent>,
    refs: usize,
    waiting: BTreeSet<ChannelId>,
    backoff: Duration,
    blocked: Option<Instant>,
}

#[derive(Debug)]
struct Sent {
    seq: Seq,
    at: Instant,
    refs: usize,
}

#[derive(Debug, Default)]
struct Outgoing {
    channels: BTreeMap<(GroupId, ChannelId), ChannelRefs>,
    bytes: usize,
    live_bytes: usize,
    last: Option<Instant>,
}

/// Homes of users, remembered for one map: to hash an id for each recipient of each record would cost more than all else here.
#[derive(Debug, Default)]
struct Places {
    map_version: MapVersion,
    homes: HashMap<UserId, GroupId>,
}

#[derive(Debug)]
enum Walk {
    From(Option<ChannelId>),
    /// `again`: a channel was left to the next walk.
    Done {
        again: bool,
    },
}

impl Dispatch {
    /// A new term: begins with a walk over the dirty channels.
    pub fn new(group: GroupId, term: Term, metrics: Arc<FanoutMetrics>) -> Self {
        Self {
            group,
            term,
            channels: HashMap::new(),
            due: BTreeSet::new(),
            homes: BTreeMap::new(),
            nodes: BTreeMap::new(),
            places: Places::default(),
            placed: MapVersion::default(),
            walk: Walk::From(None),
            looked: None,
            fanned: BTreeMap::new(),
            fanned_since: None,
            gone: BTreeSet::new(),
            proposing: false,
            shown: 0,
            metrics,
        }
    }

    /// Takes a record that was applied, with those who may see it.
    pub fn handle_appended(&mut self, channel: ChannelId, record: &Record, recipients: &[(UserId, Seq)], homes: &dyn Homes, now: Instant) {
        self.note_head(channel, record.at.seq, now);
        self.places.follow(homes);
        let mut by_home: BTreeMap<GroupId, Vec<(UserId, Seq)>> = BTreeMap::new();
        for (user, prev) in recipients {
            if let Some(home) = self.places.home(homes, *user) {
                by_home.entry(home).or_default().push((*user, *prev));
            }
        }
        let (body, body_bytes) = live_body(record);
        for (home, recipients) in by_home {
            let Some((node, _)) = homes.leader(home) else { continue };
            let bytes = body_bytes + 16 * recipients.len();
            if let Some(news) = self.live_to(node, home, channel, bytes) {
                news.bodies.push(LiveRecord { body: body.clone(), recipients });
            }
        }
    }
    /// Takes positions of a member that moved, with those who may see them; both 0: the member types.
    pub fn handle_receipt(
        &mut self,
        channel: ChannelId,
        (user, read, delivered): (UserId, Position, Position),
        others: &[UserId],
        homes: &dyn Homes,
    ) {
        self.places.follow(homes);
        let mut by_home: BTreeMap<GroupId, Vec<UserId>> = BTreeMap::new();
        for other in others {
            if let Some(home) = self.places.home(homes, *other) {
                by_home.entry(home).or_default().push(*other);
            }
        }
        for (home, recipients) in by_home {
            let Some((node, _)) = homes.leader(home) else { continue };
            let bytes = 64 + 8 * recipients.len();
            if let Some(news) = self.live_to(node, home, channel, bytes) {
                // Latest values: one per user and frame.
                let types = |read: Position, delivered: Position| read.max(delivered) == Position::default();
                news.receipts.retain(|old| old.user != user || types(old.read, old.delivered) != types(read, delivered));
                news.receipts.push(LiveReceipt { user, read, delivered, recipients });
            }
        }
    }
    /// Takes note that effects were missed: the dirty rows know what they said.
    pub fn handle_lagged(&mut self) {
        self.walk = Walk::From(None);
    }
    /// Takes what a home has committed.
    pub fn handle_kept(&mut self, kept: &RefsKept, now: Instant) {
        for (channel, seq, gone) in &kept.kept {
            self.gone.extend(gone.iter().map(|user| (*channel, *user)));
            let home = self.homes.entry(kept.home).or_default();
            // It commits again, though it may have taken so long that this was taken back: no reason to let the rest wait.
            home.backoff = BACKOFF.0;
            home.blocked = None;
            if home.in_flight.get(channel).is_some_and(|sent| sent.seq <= *seq)
                && let Some(sent) = home.land(channel)
            {
                self.metrics.refs_wait.observe(now.saturating_duration_since(sent.at).as_secs_f64());
                self.metrics.refs_in_flight.dec();
            }
            if let Some(known) = self.channels.get_mut(channel).and_then(|progress| progress.kept.get_mut(&kept.home)) {
                *known = (*known).max(*seq);
            }
            self.settle(*channel, now);
            if self.channels.get(channel).is_some_and(|progress| progress.head > *seq) {
                self.schedule(*channel, now);
            }
        }
        self.wake_waiting(kept.home, now);
    }
    /// Takes back refs for these homes: their link did not take the frame.
    pub fn handle_unsent(&mut self, homes: &[GroupId], now: Instant) {
        for home in homes {
            self.take_back(*home, now);
        }
    }
    /// Takes the outcome of [`Dispatch::poll_proposals`]: what was not committed goes again.
    pub fn handle_proposed(&mut self, failed: Vec<Command>, now: Instant) {
        self.proposing = false;
        for command in failed {
            match command {
                Command::Fanned { channel, seq } => self.propose_fanned(channel, seq, now),
                Command::Gone { channel, user } => {
                    self.gone.insert((channel, user));
                    self.fanned_since.get_or_insert(now);
                }
                _ => {}
            }
        }
    }

    /// Frames to send now.
    ///
    /// # Errors
    /// A row of the group cannot be read.
    pub fn poll_frames(&mut self, source: &dyn Source, homes: &dyn Homes, now: Instant) -> Result<Vec<(NodeId, RefFrame)>, ViewError> {
        self.look_at_homes(homes, now);
        self.walk_on(source, now)?;
        for _ in 0..CHANNELS_PER_POLL {
            let Some((due, channel)) = self.due.first().copied() else { break };
            if due > now {
                break;
            }
            self.due.remove(&(due, channel));
            self.compute(channel, source, homes, now)?;
        }
        self.show_tracked(self.channels.len());
        let (source, term) = (self.group, self.term);
        let mut frames = Vec::new();
        for (node, outgoing) in &mut self.nodes {
            if outgoing.due(now).is_some_and(|due| due <= now) {
                outgoing.last = Some(now);
                (outgoing.bytes, outgoing.live_bytes) = (0, 0);
                let channels = std::mem::take(&mut outgoing.channels).into_values().collect();
                frames.push((*node, RefFrame { source, term, channels }));
            }
        }
        Ok(frames)
    }
    /// Commands to propose now; ends with [`Dispatch::handle_proposed`].
    pub fn poll_proposals(&mut self, now: Instant) -> Vec<Command> {
        if self.proposing || self.proposals_due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.proposing = true;
        self.fanned_since = None;
        let gone = std::mem::take(&mut self.gone).into_iter().map(|(channel, user)| Command::Gone { channel, user });
        let fanned = std::mem::take(&mut self.fanned).into_iter().map(|(channel, seq)| Command::Fanned { channel, seq });
        gone.chain(fanned).collect()
    }
    /// When to poll again, if nothing happens before.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let walk = (self.walks() && self.channels.len() < TRACKED_MAX / 2).then_some(now);
        let owed = self.homes.values().any(|home| !home.in_flight.is_empty() || !home.waiting.is_empty());
        let look = owed.then(|| self.looked.map_or(now, |at| at + LOOK_EVERY));
        let due = self.due.first().map(|(due, _)| *due);
        let frames = self.nodes.values().filter_map(|outgoing| outgoing.due(now)).min();
        let proposals = if self.proposing { None } else { self.proposals_due() };
        [walk, look, due, frames, proposals].into_iter().flatten().min()
    }
    /// Channels that are not known to be fanned out, as far as tracked.
    pub fn tracked(&self) -> usize {
        self.channels.len()
    }

    fn show_tracked(&mut self, tracked: usize) {
        self.metrics.dirty.inc_by(tracked as i64 - self.shown as i64);
        self.shown = tracked;
    }
    fn walks(&self) -> bool {
        matches!(self.walk, Walk::From(_) | Walk::Done { again: true })
    }
    fn proposals_due(&self) -> Option<Instant> {
        let full = self.fanned.len() >= limit::BATCH_ITEMS_MAX;
        self.fanned_since.map(|since| if full { since } else { since + FANNED_EVERY })
    }
    fn note_head(&mut self, channel: ChannelId, head: Seq, now: Instant) {
        if !self.channels.contains_key(&channel) && self.channels.len() >= TRACKED_MAX {
            if let Walk::Done { again } = &mut self.walk {
                *again = true;
            }
            return;
        }
        let progress = self.channels.entry(channel).or_default();
        progress.head = progress.head.max(head);
        self.schedule(channel, now + FRAME_EVERY);
    }
    /// Computes a channel's refs at this time or, if they were computed not long ago, a little later.
    fn schedule(&mut self, channel: ChannelId, at: Instant) {
        let Some(progress) = self.channels.get_mut(&channel) else { return };
        let at = progress.computed.map_or(at, |last| at.max(last + progress.every));
        if let Some(due) = progress.due {
            if due <= at {
                return;
            }
            self.due.remove(&(due, channel));
        }
        progress.due = Some(at);
        self.due.insert((at, channel));
    }
    fn walk_on(&mut self, source: &dyn Source, now: Instant) -> Result<(), ViewError> {
        if !self.walks() || self.channels.len() >= TRACKED_MAX / 2 {
            return Ok(());
        }
        let after = if let Walk::From(after) = self.walk { after } else { None };
        let page = source.dirty(after, WALK_PAGE)?;
        self.walk = if page.len() < WALK_PAGE { Walk::Done { again: false } } else { Walk::From(page.last().copied()) };
        for channel in page {
            self.note_head(channel, Seq::ZERO, now);
        }
        Ok(())
    }
    fn look_at_homes(&mut self, homes: &dyn Homes, now: Instant) {
        if self.looked.is_some_and(|at| now < at + LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        let version = self.places.follow(homes);
        let is_moved = std::mem::replace(&mut self.placed, version) != version;
        for group in self.homes.keys().copied().collect::<Vec<_>>() {
            let leader = homes.leader(group);
            let Some(home) = self.homes.get_mut(&group) else { continue };
            // Where users have another home now, this one may not answer.
            if (is_moved || home.leader != leader) && (!home.in_flight.is_empty() || !home.waiting.is_empty()) {
                // The new leader knows nothing of what the old one got: all of it goes again, at once.
                home.leader = leader;
                home.blocked = None;
                home.backoff = BACKOFF.0;
                self.metrics.refs_in_flight.dec_by(home.in_flight.len() as i64);
                home.recall();
            } else if home.in_flight.values().any(|sent| now >= sent.at + ACK_WITHIN) {
                self.take_back(group, now);
            }
            self.wake_waiting(group, now);
        }
    }
    /// A home did not take or did not ack what it got: it gets it again after a while.
    fn take_back(&mut self, group: GroupId, now: Instant) {
        let home = self.homes.entry(group).or_default();
        if home.in_flight.is_empty() {
            return;
        }
        self.metrics.reject(FanoutReject::Resent);
        self.metrics.refs_in_flight.dec_by(home.in_flight.len() as i64);
        home.recall();
        home.blocked = Some(now + home.backoff);
        home.backoff = (home.backoff * 2).min(BACKOFF.1);
    }
    fn wake_waiting(&mut self, group: GroupId, now: Instant) {
        let Some(home) = self.homes.get(&group) else { return };
        if home.leader.is_none() || !home.takes(now) {
            return;
        }
        // A few at a time: each ack makes room for about as many.
        for _ in 0..CHANNELS_PER_POLL {
            let Some(channel) = self.homes.get_mut(&group).and_then(|home| home.waiting.pop_first()) else { break };
            self.schedule(channel, now);
        }
    }
    fn compute(&mut self, channel: ChannelId, source: &dyn Source, homes: &dyn Homes, now: Instant) -> Result<(), ViewError> {
        let Some(progress) = self.channels.get_mut(&channel) else { return Ok(()) };
        progress.due = None;
        if progress.computed.replace(now).is_some() {
            progress.every = (progress.every * 2).min(REFS_EVERY.1);
        }
        let map_version = self.places.follow(homes);
        if progress.map_version != map_version {
            // Who is home where may have changed: what was committed at the old home says nothing of the new one.
            progress.kept.clear();
            progress.map_version = map_version;
        }
        let mut kept: BTreeMap<GroupId, Seq> = BTreeMap::new();
        let mut owed: BTreeSet<GroupId> = BTreeSet::new();
        let mut homeless = false;
        let (known, places) = (&mut self.homes, &mut self.places);
        let news = source.news(channel, &mut |head, user| {
            let Some(group) = places.home(homes, user) else {
                homeless = true;
                return false;
            };
            let kept = *kept.entry(group).or_insert_with(|| progress.kept.get(&group).copied().unwrap_or_default());
            let home = known.entry(group).or_default();
            if home.in_flight.is_empty() {
                home.leader = homes.leader(group);
            }
            if kept >= head || home.in_flight.contains_key(&channel) {
                return false;
            }
            if home.leader.is_none() || !home.takes(now) {
                home.waiting.insert(channel);
                return false;
            }
            owed.insert(group);
            true
        })?;
        let Some(news) = news else {
            self.channels.remove(&channel);
            return Ok(());
        };
        if homeless {
            self.schedule(channel, now + BACKOFF.0);
            return Ok(());
        }
        let mut by_home: BTreeMap<GroupId, Vec<(UserId, Ref)>> = BTreeMap::new();
        for (user, new) in news.refs {
            if let Some(group) = self.places.home(homes, user) {
                by_home.entry(group).or_default().push((user, new));
            }
        }
        for group in owed {
            match by_home.remove(&group) {
                Some(refs) => self.send_refs(group, channel, news.head, refs, now),
                // Nobody of that home has anything to be told.
                None => drop(kept.insert(group, news.head)),
            }
        }
        if let Some(progress) = self.channels.get_mut(&channel) {
            progress.kept = kept;
            progress.seen = news.head;
            progress.head = progress.head.max(news.head);
            progress.fanned = progress.fanned.max(news.fanned);
        }
        self.settle(channel, now);
        Ok(())
    }
    fn send_refs(&mut self, group: GroupId, channel: ChannelId, seq: Seq, refs: Vec<(UserId, Ref)>, now: Instant) {
        let home = self.homes.entry(group).or_default();
        let Some((node, _)) = home.leader else { return };
        home.refs += refs.len();
        home.in_flight.insert(channel, Sent { seq, at: now, refs: refs.len() });
        self.metrics.refs_in_flight.inc();
        let outgoing = self.nodes.entry(node).or_default();
        outgoing.bytes += refs.len() * REF_BYTES;
        let news = outgoing.news(group, channel);
        (news.seq, news.refs) = (seq, refs);
    }
    /// Raises `fanned` as far as every home has committed; forgets the channel when that is its head.
    fn settle(&mut self, channel: ChannelId, now: Instant) {
        let Some(progress) = self.channels.get_mut(&channel) else { return };
        let everywhere = progress.kept.values().copied().min().unwrap_or(progress.seen).min(progress.seen);
        let raised = everywhere > progress.fanned;
        progress.fanned = progress.fanned.max(everywhere);
        let (head, seen, due) = (progress.head, progress.seen, progress.due);
        if raised {
            self.propose_fanned(channel, everywhere, now);
        }
        if seen > Seq::ZERO && everywhere >= head {
            if let Some(due) = due {
                self.due.remove(&(due, channel));
            }
            self.channels.remove(&channel);
        } else if head > seen {
            self.schedule(channel, now);
        }
    }
    fn propose_fanned(&mut self, channel: ChannelId, seq: Seq, now: Instant) {
        let known = self.fanned.entry(channel).or_default();
        *known = (*known).max(seq);
        self.fanned_since.get_or_insert(now);
    }
    fn live_to(&mut self, node: NodeId, home: GroupId, channel: ChannelId, bytes: usize) -> Option<&mut ChannelRefs> {
        let outgoing = self.nodes.entry(node).or_default();
        if outgoing.live_bytes + bytes > LIVE_BYTES_MAX {
            self.metrics.reject(FanoutReject::LiveFull);
            return None;
        }
        outgoing.bytes += bytes;
        outgoing.live_bytes += bytes;
        Some(outgoing.news(home, channel))
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        let in_flight: usize = self.homes.values().map(|home| home.in_flight.len()).sum();
        self.metrics.refs_in_flight.dec_by(in_flight as i64);
        self.show_tracked(0);
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            head: Seq::ZERO,
            seen: Seq::ZERO,
            fanned: Seq::ZERO,
            kept: BTreeMap::new(),
            map_version: MapVersion::default(),
            due: None,
            computed: None,
            every: REFS_EVERY.0,
        }
    }
}

impl Default for Home {
    fn default() -> Self {
        Self { leader: None, in_flight: BTreeMap::new(), refs: 0, waiting: BTreeSet::new(), backoff: BACKOFF.0, blocked: None }
    }
}
impl Home {
    fn takes(&self, now: Instant) -> bool {
        self.refs < WINDOW_REFS && self.blocked.is_none_or(|until| until <= now)
    }
    fn land(&mut self, channel: &ChannelId) -> Option<Sent> {
        let sent = self.in_flight.remove(channel)?;
        self.refs -= sent.refs;
        Some(sent)
    }
    fn recall(&mut self) {
        self.refs = 0;
        self.waiting.extend(std::mem::take(&mut self.in_flight).into_keys());
    }
}

impl Outgoing {
    fn news(&mut self, home: GroupId, channel: ChannelId) -> &mut ChannelRefs {
        self.channels.entry((home, channel)).or_insert_with(|| ChannelRefs {
            home,
            channel,
            seq: Seq::ZERO,
            refs: Vec::new(),
            bodies: Vec::new(),
            receipts: Vec::new(),
        })
    }
    fn due(&self, now: Instant) -> Option<Instant> {
        let last = self.last.filter(|_| self.bytes < FRAME_BYTES);
        (!self.channels.is_empty()).then(|| last.map_or(now, |last| last + FRAME_EVERY))
    }
}

impl Places {
    /// Forgets what an older map said. Gives the version of the present one.
    fn follow(&mut self, homes: &dyn Homes) -> MapVersion {
        let map_version = homes.map_version();
        if map_version != self.map_version || self.homes.len() >= PLACES_MAX {
            self.homes.clear();
            self.map_version = map_version;
        }
        map_version
    }
    fn home(&mut self, homes: &dyn Homes, user: UserId) -> Option<GroupId> {
        if let Some(home) = self.homes.get(&user) {
            return Some(*home);
        }
        let home = homes.home(user)?;
        self.homes.insert(user, home);
        Some(home)
    }
}

/// A record as it travels to screens, and about how many bytes that is.
fn live_body(record: &Record) -> (DeliveryBody, usize) {
    let bytes = record.content.bytes();
    if bytes > limit::STUB_BYTES { (DeliveryBody::Stub { at: record.at }, 128) } else { (DeliveryBody::Whole(record.clone()), 128 + bytes) }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
