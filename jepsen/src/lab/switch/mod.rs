//! A switch of the harness's own, for what the kernel of this machine cannot do to packets: a TAP in each place, and one thread that forwards frames between them.
//!
//! In: frames from the kernel, rules and rebinds from nemeses. Out: frames, late, twice, changed, from elsewhere, or never; counters that prove it.
//! Invariants: the clock is read after the wait, so that a frame is never handed on before its time nor queued as of an earlier one; TAPs end with this process, however it
//! ends. Bounds: those of `links` and `nat`, and [`BURST`] frames of a port in one go. Not here: what becomes of a frame (`links`), who is who (`nat`).

mod frame;
mod links;
mod nat;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use self::frame::{FRAME_BYTES_MAX, Whom};
use self::links::Links;
pub use self::links::{Counters, Rule};
pub use self::nat::Moves;
use self::nat::{Nat, Verdict};
use super::sys;

/// Frames taken from one port before others have their turn.
const BURST: usize = 64;
/// Longest wait: the thread looks whether it is to end.
const WAIT_MAX: Duration = Duration::from_millis(50);

pub(in crate::lab) use frame::card;

/// A place's end of its cable.
#[derive(Debug)]
pub(super) struct Port {
    /// Last byte of its address.
    last: u8,
    tap: File,
}

impl Port {
    /// Puts a card into a namespace, connected to this process.
    pub(super) fn open(namespace: &Path, card: &str, last: u8) -> anyhow::Result<Self> {
        // A thread of its own, since it cannot come back from where it goes.
        let opened = thread::scope(|scope| scope.spawn(|| sys::enter(namespace).and_then(|()| sys::open_tap(card))).join());
        match opened {
            Ok(tap) => Ok(Self { last, tap: tap.context("making a TAP (is /dev/net/tun there?)")? }),
            Err(_) => bail!("the thread that makes a TAP panicked"),
        }
    }
}

struct State {
    links: Links,
    nat: Nat,
    failed: Option<String>,
}

/// A switch at work.
pub struct Switch {
    state: Arc<Mutex<State>>,
    /// Last byte of each port's address; the clients' is the last.
    lasts: Vec<u8>,
    is_ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch").field("lasts", &self.lasts).finish_non_exhaustive()
    }
}

impl Switch {
    /// Begins to forward between nodes, in their order, and clients.
    pub(super) fn start(nodes: Vec<Port>, clients: Port, clients_at: Ipv4Addr) -> anyhow::Result<Self> {
        let ports: Vec<Port> = nodes.into_iter().chain([clients]).collect();
        let lasts = ports.iter().map(|port| port.last).collect();
        let state = Arc::new(Mutex::new(State { links: Links::new(ports.len()), nat: Nat::new(clients_at), failed: None }));
        let is_ending = Arc::new(AtomicBool::new(false));
        let (shared, ending) = (Arc::clone(&state), Arc::clone(&is_ending));
        let work = move || {
            if let Err(error) = forward(ports, &shared, &ending) {
                lock(&shared).failed = Some(error.to_string());
            }
        };
        let thread = thread::Builder::new().name("switch".to_owned()).spawn(work).context("starting the switch")?;
        Ok(Self { state, lasts, is_ending, thread: Some(thread) })
    }

    /// The clients' port; those of nodes are numbered as the nodes.
    pub fn clients(&self) -> usize {
        self.lasts.len() - 1
    }

    /// Sets rules for ways, `(from, to)`; each begins anew with this seed.
    pub fn rule(&self, ways: &[(usize, usize)], rule: Rule, seed: u64) {
        let mut state = lock(&self.state);
        ways.iter().for_each(|(from, to)| state.links.rule(*from, *to, rule, seed));
    }

    /// Forgets all rules.
    pub fn clear(&self) {
        lock(&self.state).links.clear();
    }

    /// Lets nodes see all clients at this address from now on, each at a new port.
    pub fn rebind(&self, outside: Ipv4Addr) {
        lock(&self.state).nat.rebind(outside);
    }

    /// Sends what clients have for one address to another; `None` ends it.
    pub fn swing(&self, swing: Option<(Ipv4Addr, Ipv4Addr)>) {
        lock(&self.state).nat.swing(swing);
    }

    /// What was done to frames so far.
    ///
    /// # Errors
    /// The switch has ended, so nobody hears anybody.
    pub fn counters(&self) -> anyhow::Result<Counters> {
        let state = lock(&self.state);
        match &state.failed {
            Some(error) => bail!("the switch failed: {error}"),
            None => Ok(state.links.counters()),
        }
    }

    /// What was done to the clients' flows so far.
    pub fn moves(&self) -> Moves {
        lock(&self.state).nat.moves()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic left the run without a network, which the run has noticed.
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forward(mut ports: Vec<Port>, state: &Mutex<State>, is_ending: &AtomicBool) -> io::Result<()> {
    let start = Instant::now();
    let clients = ports.len() - 1;
    let lasts: Vec<u8> = ports.iter().map(|port| port.last).collect();
    let mut buffer = [0; FRAME_BYTES_MAX + 64];
    while !is_ending.load(Ordering::Relaxed) {
        let next_due = lock(state).links.next_due();
        let wait = next_due.map_or(WAIT_MAX, |due| due.saturating_sub(start.elapsed()).min(WAIT_MAX));
        let ready: Vec<bool> = {
            let mut polled: Vec<PollFd<'_>> = ports.iter().map(|port| PollFd::new(port.tap.as_fd(), PollFlags::POLLIN)).collect();
            match ppoll(&mut polled, Some(TimeSpec::from_duration(wait)), None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            polled.iter().map(|one| one.any().unwrap_or(false)).collect()
        };
        let now = start.elapsed();
        for from in (0..ports.len()).filter(|port| ready[*port]) {
            for _ in 0..BURST {
                let length = match ports[from].tap.read(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                accept(&mut lock(state), now, from, clients, &lasts, &mut buffer[..length]);
            }
        }
        loop {
            let given = lock(state).links.give(now);
            let Some((to, frame)) = given else { break };
            match ports[to].tap.write(&frame) {
                // What a kernel has no room for is lost, as on any cable.
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory) => {}
                // A frame that corruption made too short to be one.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Finds where a frame goes, through the clients' address translation.
fn accept(state: &mut State, now: Duration, from: usize, clients: usize, lasts: &[u8], frame: &mut [u8]) {
    if from == clients {
        state.nat.outgoing(frame);
    }
    match frame::whom(frame) {
        Some(Whom::One(last)) => {
            let Some(to) = lasts.iter().position(|port| *port == last).filter(|to| *to != from) else { return };
            if to == clients && state.nat.incoming(frame) == Verdict::Drop {
                return;
            }
            state.links.take(now, from, to, frame);
        }
        Some(Whom::All) => (0..lasts.len()).filter(|to| *to != from).for_each(|to| state.links.take(now, from, to, frame)),
        None => {}
    }
}
