//! Room on the disk of the data directory: looked at once a second; low, it is said, and full, clients' writes are refused until there is more.
//!
//! In: free and total bytes of the file system. Out: a [`Level`], a refusal for what grows ([`Disk::admit`]), what health checks say. Raft, reads,
//! operators and what only takes away go on: a group whose leader is full still hears votes and entries. Invariants: the level clears itself; a
//! file system that does not answer is waited for by nobody but the looking thread. Bound: one look at a time. Not here: which requests grow
//! (`service::room`).

mod ballast;
mod level;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

pub use ballast::free as free_ballast;
use kith_wire::{client::Refusal, code::Code};
pub use level::{Bounds, Level};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use crate::{
    clock::{Instant, SharedClock},
    config::DiskConfig,
};

/// Free and total bytes of a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    /// What may still be written.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Asks a file system; a harness answers itself.
pub type Probe = Arc<dyn Fn(&Path) -> Option<Room> + Send + Sync>;

/// Asks the system.
pub fn probe() -> Probe {
    Arc::new(|path| {
        let found = rustix::fs::statvfs(path).ok()?;
        Some(Room { free: found.f_bavail.saturating_mul(found.f_frsize), total: found.f_blocks.saturating_mul(found.f_frsize) })
    })
}

/// The disk of a node's data. Clones are the same one.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    data: PathBuf,
    config: DiskConfig,
    clock: SharedClock,
    probe: Probe,
    level: AtomicU8,
    seen: Mutex<Seen>,
    metrics: DiskMetrics,
}

/// The last look.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    room: Room,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disk({:?})", self.level())
    }
}

impl Disk {
    /// Of this data directory, not looked at yet.
    pub fn new(data: PathBuf, config: DiskConfig, clock: SharedClock, probe: Probe, metrics: DiskMetrics) -> Self {
        let seen = Mutex::new(Seen { at: clock.instant(), room: Room::default() });
        Self(Arc::new(Shared { data, config, clock, probe, level: AtomicU8::default(), seen, metrics }))
    }

    /// How full it was at the last look.
    pub fn level(&self) -> Level {
        Level::from_number(self.0.level.load(Relaxed))
    }
    /// How long ago the file system last answered.
    pub fn silence(&self) -> Duration {
        self.0.clock.instant().saturating_duration_since(self.seen().at)
    }
    /// What it said.
    pub fn room(&self) -> Room {
        self.seen().room
    }

    /// For something that takes room.
    ///
    /// # Errors
    /// `DiskFull`, with a delay: it may be asked again.
    pub fn admit(&self) -> Result<(), Refusal> {
        if self.level() < Level::Full {
            return Ok(());
        }
        self.0.metrics.refusals.inc();
        Err(Refusal::new(Code::DiskFull).after(RETRY_MS))
    }

    /// Looks once. Blocks for as long as the file system takes.
    pub fn look(&self) {
        let shared = &*self.0;
        let Some(room) = (shared.probe)(&shared.data) else { return };
        let was = self.level();
        let now = was.next(room.free, Bounds::of(&shared.config, room.total));
        shared.level.store(now.number(), Relaxed);
        *shared.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { at: shared.clock.instant(), room };
        shared.metrics.show(room, now);
        if was != now {
            tell(now, room.free);
        }
        if now == Level::Enough {
            self.keep_ballast(room);
        }
    }

    /// Looks every second until it is dropped.
    pub async fn watch(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let disk = self.clone();
            // A file system that hangs holds this one thread, and the checks say so. A panic is told by the runtime.
            let _ = tokio::task::spawn_blocking(move || disk.look()).await;
        }
    }

    fn keep_ballast(&self, room: Room) {
        let shared = &*self.0;
        let bytes = (shared.config.ballast_mb.saturating_mul(level::MB)).min(room.total / BALLAST_PART);
        let warn = Bounds::of(&shared.config, room.total).warn;
        // What it takes must not be what is missing then.
        if room.free < 2 * warn + bytes {
            return;
        }
        if let Err(error) = ballast::keep(&shared.data, bytes) {
            tracing::debug!(cause = %error, "disk.ballast: none is kept");
        }
    }

    fn seen(&self) -> Seen {
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Once for each change.
fn tell(level: Level, free_bytes: u64) {
    match level {
        Level::Enough => tracing::info!(free_bytes, "disk: there is room again"),
        Level::Low => tracing::warn!(free_bytes, "disk: little room is left"),
        Level::Full => tracing::error!(free_bytes, "disk: it is full: clients' writes are refused here until there is room"),
    }
}

/// What the disk shows of itself.
#[derive(Clone, Debug, Default)]
pub struct DiskMetrics {
    free_bytes: Gauge,
    total_bytes: Gauge,
    level: Gauge,
    refusals: Counter,
}

impl DiskMetrics {
    /// Registers all series, as `kith_disk_*`.
    pub fn register(&self, registry: &mut Registry) {
        let disk = registry.sub_registry_with_prefix("kith_disk");
        disk.register("free_bytes", "Free room of the file system with the data", self.free_bytes.clone());
        disk.register("size_bytes", "Size of the file system with the data", self.total_bytes.clone());
        disk.register("level", "How full it is: 0 there is room, 1 low, 2 full and clients' writes are refused", self.level.clone());
        disk.register("refusals", "Requests refused because it is full", self.refusals.clone());
    }

    fn show(&self, room: Room, level: Level) {
        let as_gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.free_bytes.set(as_gauge(room.free));
        self.total_bytes.set(as_gauge(room.total));
        self.level.set(i64::from(level.number()));
    }
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For whoever was refused. Somebody has to make room first.
const RETRY_MS: u32 = 5_000;
/// Ballast is at most this part of the disk.
const BALLAST_PART: u64 = 50;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn what_grows_is_refused_while_the_disk_is_full_and_taken_again_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(50 << 30));
        let asked = free.clone();
        let probe: Probe = Arc::new(move |_| Some(Room { free: asked.load(Relaxed), total: 100 << 30 }));
        let config = DiskConfig { ballast_mb: 1, ..DiskConfig::default() };
        let disk = Disk::new(dir.path().to_owned(), config, Arc::new(SystemClock), probe, DiskMetrics::default());
        let look_at = |bytes: u64| {
            free.store(bytes, Relaxed);
            disk.look();
            (disk.level(), disk.admit().map_err(|refusal| (refusal.code, refusal.code.retry())))
        };
        assert_eq!(look_at(50 << 30), (Level::Enough, Ok(())));
        assert!(dir.path().join("ballast").exists(), "there is room for it");
        assert_eq!(look_at(2 << 30), (Level::Low, Ok(())));
        assert_eq!(look_at(1 << 20), (Level::Full, Err((Code::DiskFull, kith_wire::code::Retry::After))));
        assert_eq!(free_ballast(dir.path()).unwrap(), 1 << 20);
        assert_eq!(look_at(2 << 30), (Level::Low, Ok(())));
        assert!(!dir.path().join("ballast").exists(), "it is not made again while room is scarce");
        assert_eq!(look_at(50 << 30), (Level::Enough, Ok(())));
        assert!(dir.path().join("ballast").exists());
    }
}
