//! A device without IO for simulations: the real core and the real store in memory.
//!
//! In: what happened on a connection, and the time. Out: frames, pulls, records shown, in the driver's order: changes are stored before
//! anything else is taken out. Invariant: as of `core`. Not here: connections and their loss, which edge comes next (whoever simulates).

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use kith_wire::{
    client::{Page, Pull, Refusal, ToClient, ToEdge},
    code::Code,
    id::{ChannelId, DeviceId},
    log::{IndexRow, Record},
};

use crate::{
    core::{Backfill, Config, Core, Output, PullId, Show},
    error::Error,
    memory::MemoryStore,
    store::{Change, Cursor, Identity},
};

/// How a device is.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// Whose it is, and its nonce.
    pub identity: Identity,
    /// What it fetches of channels that it has never seen.
    pub backfill: Backfill,
    /// Between two beats.
    pub heartbeat: Duration,
    /// How long it waits for a silent edge before it asks, and again before it gives it up.
    pub patience: Duration,
    /// For its jitter.
    pub seed: u64,
}

/// What a device does.
#[derive(Clone, Debug)]
pub enum Does {
    /// Sends a frame on its chat stream.
    Send(ToEdge),
    /// Opens a bulk stream.
    Pull(Pulls, Pull),
    /// Shows records, in this order.
    Show(ChannelId, Vec<Arc<Record>>),
    /// The edge took the session.
    Welcomed,
    /// It holds every row of the index that it knows of.
    Reconciled,
    /// It gives the connection up, or was told to go.
    Lost(Code),
    /// It is to leave the edge within this time.
    GoAway(Duration),
}

/// Names a pull.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pulls(PullId);

/// A device: its core, and the store that outlives it.
#[derive(Debug)]
pub struct Device {
    options: DeviceOptions,
    store: MemoryStore,
    core: Core,
}

impl Device {
    /// A device with an empty store.
    pub fn new(options: DeviceOptions, now: Instant) -> Self {
        // What was shown is the simulation's to keep.
        let store = MemoryStore::new(0);
        store.apply(vec![Change::Identity(options.identity)]);
        let core = Self::core(&options, &store, now);
        Self { options, store, core }
    }
    /// Its process ends, and begins again over the same store.
    pub fn restart(&mut self, now: Instant) {
        self.options.seed = self.options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        self.core = Self::core(&self.options, &self.store, now);
    }
    /// Its id.
    pub fn id(&self) -> DeviceId {
        DeviceId::from_nonce(self.options.identity.user, &self.options.identity.nonce)
    }

    /// A connection is open.
    pub fn handle_connected(&mut self, now: Instant) {
        self.core.handle_connected(now);
    }
    /// It is gone.
    pub fn handle_disconnected(&mut self) {
        self.core.handle_disconnected();
    }
    /// A frame came.
    pub fn handle_frame(&mut self, now: Instant, frame: ToClient) {
        self.core.handle_frame(now, frame);
    }
    /// A pull ended; `None`: its stream was lost.
    pub fn handle_page(&mut self, now: Instant, pull: Pulls, page: Option<Page>) {
        self.core.handle_page(now, pull.0, page.ok_or_else(|| Error::refused(Refusal::new(Code::Disconnected), None)));
    }
    /// The app does (not) keep up.
    pub fn handle_paused(&mut self, is_paused: bool) {
        self.core.handle_paused(is_paused);
    }
    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.core.handle_timeout(now);
    }

    /// All that it does now, in order.
    pub fn drain(&mut self, now: Instant, token: &str) -> VecDeque<Does> {
        let mut does = VecDeque::new();
        loop {
            if let Some(changes) = self.core.poll_changes() {
                self.store.apply(changes);
            }
            while let Some(output) = self.core.poll_output() {
                match output {
                    Output::Welcomed(_) => does.push_back(Does::Welcomed),
                    Output::Reconciled => does.push_back(Does::Reconciled),
                    Output::Show(Show::Records(channel, records)) => does.push_back(Does::Show(channel, records)),
                    Output::Lost(error) => does.push_back(Does::Lost(error.code)),
                    Output::GoAway(within) => does.push_back(Does::GoAway(within)),
                    Output::Show(Show::Row(_) | Show::Gap(..) | Show::Resync)
                    | Output::Receipt { .. }
                    | Output::Typing { .. }
                    | Output::Presence(_)
                    | Output::Replied(..)
                    | Output::Sending(..)
                    | Output::Settled(..)
                    | Output::StoreReplaced
                    | Output::Edges(_) => {}
                }
            }
            while let Some(frame) = self.core.poll_frame(now, token) {
                does.push_back(Does::Send(frame));
            }
            while let Some((id, pull)) = self.core.poll_pull() {
                does.push_back(Does::Pull(Pulls(id), pull));
            }
            if self.core.is_drained() {
                return does;
            }
        }
    }
    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    /// How far it holds a channel.
    pub fn cursor(&self, channel: ChannelId) -> Option<Cursor> {
        self.store.snapshot().cursors.get(&channel).copied()
    }
    /// The rows of its user's index, newest first.
    pub fn rows(&self) -> Vec<IndexRow> {
        self.store.index()
    }
    /// Channels of which it knows that it does not hold everything.
    pub fn behind(&self) -> usize {
        self.core.behind()
    }

    fn core(options: &DeviceOptions, store: &MemoryStore, now: Instant) -> Core {
        let DeviceOptions { identity, backfill, heartbeat, patience, seed } = options.clone();
        Core::new(Config { identity, cluster: None, backfill, heartbeat, patience, seed }, store.snapshot(), now)
    }
}

/// What an answer to a probe names.
pub fn echo(bytes: &[u8]) -> Option<[u8; 16]> {
    crate::probe::parse_echo(bytes)
}
