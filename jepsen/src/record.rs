//! Writes what happens during a run: one clock, one file for clients, one for faults.
//!
//! Invariants: a line is stamped under the lock of its file, so times never go back; what could not be written is remembered and makes the run unknown.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::history::{Event, Evidence, FaultEvent, FaultOutcome, Item, Nanos, Op, Outcome, PushStep, Token, Withheld, Writer};
use crate::name::Nemesis;

/// The version of a text that was taken away: it is the last.
pub const GONE: u64 = 1 << 32;

/// Milliseconds since 1970, to match the nodes' logs with the run's own clock.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The files of a run.
#[derive(Debug)]
pub struct Recorder {
    begun: OnceLock<(Instant, u64)>,
    history: Mutex<Out>,
    faults: Mutex<Out>,
    processes: AtomicU64,
}

struct Out {
    writer: Writer<BufWriter<File>>,
    failed: Option<io::Error>,
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Makes the files in a folder.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let out = |name: &str| -> io::Result<Mutex<Out>> {
            let writer = Writer::new(BufWriter::with_capacity(1 << 20, File::create(folder.join(name))?));
            Ok(Mutex::new(Out { writer, failed: None }))
        };
        Ok(Self { begun: OnceLock::new(), history: out("history.jsonl")?, faults: out("nemesis.jsonl")?, processes: AtomicU64::new(0) })
    }

    /// Time 0 is now, unless something was written before; gives it as others tell time.
    pub fn begin(&self) -> u64 {
        self.begun.get_or_init(|| (Instant::now(), unix_ms())).1
    }

    fn now(&self) -> Nanos {
        self.begun.get_or_init(|| (Instant::now(), unix_ms())).0.elapsed().as_nanos() as u64
    }

    /// Writes a fault line.
    pub fn fault(&self, nemesis: Nemesis, target: &str, outcome: FaultOutcome, evidence: Evidence) {
        let mut out = lock(&self.faults);
        let event = FaultEvent { time: self.now(), nemesis, target: target.to_owned(), outcome, evidence };
        let done = out.writer.fault(&event).and_then(|()| out.writer.flush());
        keep(&mut out, done);
    }

    fn event(&self, make: impl FnOnce(Nanos) -> Event<'static>) {
        let mut out = lock(&self.history);
        let event = make(self.now());
        let done = out.writer.event(&event);
        keep(&mut out, done);
    }

    /// Hands everything to the files.
    ///
    /// # Errors
    /// Something could not be written, now or before.
    pub fn finish(&self) -> io::Result<()> {
        for out in [&self.history, &self.faults] {
            let mut out = lock(out);
            if let Some(error) = out.failed.take() {
                return Err(error);
            }
            out.writer.flush()?;
        }
        Ok(())
    }
}

fn keep(out: &mut Out, done: io::Result<()>) {
    if let Err(error) = done {
        out.failed.get_or_insert(error);
    }
}

fn lock(out: &Mutex<Out>) -> MutexGuard<'_, Out> {
    // A line half written by a panic makes the file unreadable, which the check says.
    out.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One process of the history: a device's client.
#[derive(Debug)]
pub struct Voice {
    recorder: Arc<Recorder>,
    process: u64,
    device: String,
    user: String,
    /// The node that is asked, where the client chose it.
    node: Option<String>,
    ops: AtomicU64,
}

impl Voice {
    /// A new process of a device.
    pub fn new(recorder: &Arc<Recorder>, device: &str, user: &str, node: Option<String>) -> Self {
        let process = recorder.processes.fetch_add(1, Ordering::Relaxed);
        Self { recorder: Arc::clone(recorder), process, device: device.to_owned(), user: user.to_owned(), node, ops: AtomicU64::new(0) }
    }

    /// Begins an operation.
    pub fn begin(&self, op: Op<'static>) -> u64 {
        let token = self.ops.fetch_add(1, Ordering::Relaxed);
        self.write(Outcome::Invoke, Some(token), op, None);
        token
    }

    /// Ends it.
    pub fn end(&self, token: u64, outcome: Outcome, op: Op<'static>, error: Option<String>) {
        self.write(outcome, Some(token), op, error);
    }

    /// Something arrived on the device's stream.
    pub fn received(&self, channel: &str, message: String, seq: u64, payload: Option<String>) {
        let op = Op::Received { channel: own(channel), message: Cow::Owned(message), seq: Some(seq), payload: payload.map(Cow::Owned) };
        self.write(Outcome::Ok, None, op, None);
    }

    /// Something happened that nobody had asked for.
    pub fn happened(&self, op: Op<'static>) {
        self.write(Outcome::Ok, None, op, None);
    }

    fn write(&self, outcome: Outcome, token: Option<u64>, op: Op<'static>, error: Option<String>) {
        self.recorder.event(|time| Event {
            time,
            process: self.process,
            outcome,
            token: token.map(Token::Number),
            device: Some(Cow::Owned(self.device.clone())),
            user: Some(Cow::Owned(self.user.clone())),
            node: self.node.clone().map(Cow::Owned),
            error: error.map(Cow::Owned),
            op,
        });
    }
}

fn own(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

/// A send as the history names it.
pub fn send(channel: &str, message: &str, payload: Option<&str>, seq: Option<u64>, client_seq: Option<u64>) -> Op<'static> {
    Op::Send { channel: own(channel), message: own(message), payload: payload.map(own), seq, client_seq }
}

/// A change of members as the history names it.
pub fn member(channel: &str, member: &str, adds: bool, seq: Option<u64>) -> Op<'static> {
    let (channel, member) = (own(channel), own(member));
    if adds { Op::MemberAdd { channel, member, seq } } else { Op::MemberRemove { channel, member, seq } }
}

/// Something that only a member may do.
pub fn member_act(channel: &str) -> Op<'static> {
    Op::MemberAct { channel: own(channel) }
}

/// The members, asked for behind a read barrier.
pub fn members(channel: &str, members: Vec<String>) -> Op<'static> {
    Op::MembersGet { channel: own(channel), members: members.into_iter().map(Cow::Owned).collect(), is_linearizable: true }
}

/// A read position that is set.
pub fn cursor_set(channel: &str, position: u64) -> Op<'static> {
    Op::CursorSet { channel: own(channel), position }
}

/// A read position that is asked for.
pub fn cursor_get(channel: &str, position: Option<u64>, is_linearizable: bool, is_final: bool) -> Op<'static> {
    Op::CursorGet { channel: own(channel), position, is_linearizable, is_final }
}

/// Unread texts: as they are shown, and as they are counted in the log.
pub fn unread_get(channel: &str, counts: Option<(u64, u64)>) -> Op<'static> {
    Op::UnreadGet { channel: own(channel), shown: counts.map(|(shown, _)| shown), counted: counts.map(|(_, counted)| counted) }
}

/// A text that is changed, to this version.
pub fn edit_set(channel: &str, message: &str, version: u64) -> Op<'static> {
    Op::EditSet { channel: own(channel), message: own(message), version }
}

/// A text whose version is asked for.
pub fn edit_get(channel: &str, message: &str, version: Option<u64>, is_linearizable: bool, is_final: bool) -> Op<'static> {
    Op::EditGet { channel: own(channel), message: own(message), version, is_linearizable, is_final }
}

/// A text that is looked for by its words, by one of its readers or by somebody who may not read it.
pub fn search_get(channel: &str, message: &str, version: Option<u64>, is_member: bool) -> Op<'static> {
    Op::SearchGet { channel: own(channel), message: own(message), version, is_member }
}

/// A name that somebody wants to have.
pub fn name_take(name: &str, owner: Option<String>) -> Op<'static> {
    Op::NameTake { name: own(name), owner: owner.map(Cow::Owned) }
}

/// A name of which it is asked whose it is.
pub fn name_get(name: &str, owner: Option<String>) -> Op<'static> {
    Op::NameGet { name: own(name), owner: owner.map(Cow::Owned) }
}

/// A text that is to be sent later.
pub fn later_set(channel: &str, message: &str) -> Op<'static> {
    Op::LaterSet { channel: own(channel), message: own(message) }
}

/// A text that is not to be sent after all.
pub fn later_cancel(channel: &str, message: &str) -> Op<'static> {
    Op::LaterCancel { channel: own(channel), message: own(message) }
}

/// How often a text is there that was to be sent later.
pub fn later_get(channel: &str, message: &str, count: Option<u64>) -> Op<'static> {
    Op::LaterGet { channel: own(channel), message: own(message), count }
}

/// What a webhook was told of.
pub fn hook_event(channel: &str, message: &str, seq: u64) -> Op<'static> {
    Op::HookEvent { channel: own(channel), message: own(message), seq }
}

/// A webhook's end.
pub fn hook_end(channel: &str) -> Op<'static> {
    Op::HookEnd { channel: own(channel) }
}

/// Who is online, as somebody is told who may know, or who may not.
pub fn presence_read(users: Vec<String>, is_final: bool, is_contact: bool) -> Op<'static> {
    Op::PresenceGet { users: users.into_iter().map(Cow::Owned).collect(), is_final, is_contact }
}

/// A step of pushes to the line's user.
pub fn push(channel: &str, step: PushStep) -> Op<'static> {
    Op::Push { channel: own(channel), step }
}

/// The user has come or has left.
pub fn presence_set(is_here: bool) -> Op<'static> {
    Op::PresenceSet { is_here }
}

/// A change that a device is shown.
pub fn presence_shown(who: &str, is_here: bool) -> Op<'static> {
    Op::PresenceShown { who: own(who), is_here }
}

/// A read under load that goes on to the end, declared linearizable or not.
pub fn read_as(channel: &str, from: Option<u64>, is_linearizable: bool, items: Vec<Item<'static>>, withheld: Vec<Withheld>) -> Op<'static> {
    Op::Read { channel: own(channel), from, limit: None, is_linearizable, is_final: false, items, withheld }
}

/// A read as the history names it.
pub fn read(channel: &str, from: Option<u64>, limit: Option<u64>, is_final: bool, items: Vec<Item<'static>>, withheld: Vec<Withheld>) -> Op<'static> {
    Op::Read { channel: own(channel), from, limit, is_linearizable: false, is_final, items, withheld }
}
