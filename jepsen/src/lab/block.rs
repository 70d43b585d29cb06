//! A disk as a program: one file in a FUSE mount, which can be slow, refuse, or lose what was not flushed. For `losetup --direct-io=on`.
//!
//! In: commands, one JSON object a line, on standard input; reads, writes and fsyncs of the file through the kernel. Out: an answer to each command.
//! Invariants: this process never touches what is mounted on the disk, or it would wait for itself; once standard input ends, it ends, and with it
//! every request that waits for it. A cut that is armed happens in the middle of a flush: that is where there is something to tear.
//! Not here: which sectors survive (`sector`), what is mounted on it (`disk`).

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr,
    ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use serde::{Deserialize, Serialize};

use super::sector::{Cut, SECTOR, Sectors};
use crate::seed::Chance;

/// Name of the file in the mount.
pub(super) const FILE: &str = "disk";
/// The file.
const INODE: INodeNo = INodeNo(2);
/// How long the kernel may remember names and sizes: they never change.
const TTL: Duration = Duration::from_secs(3600);
/// How long a cut waits for a flush to happen in.
const CUT_WITHIN: Duration = Duration::from_secs(3);

/// What can be asked of a disk.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    /// Serve at this speed from now on; 0 is as fast as it goes.
    Slow { bytes_per_second: u64, delay_ms: u64 },
    /// Cut the power in the middle of the next flush: about this many of a hundred unflushed sectors survive. Then refuse everything.
    Cut { keep_percent: u64, seed: u64 },
    /// Give power again.
    On,
    /// Only answer.
    Count,
}

/// What has happened to a disk so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Requests of any kind.
    pub(super) served: u64,
    /// Requests that were made slower.
    pub(super) slowed: u64,
    /// Requests that were refused.
    pub(super) refused: u64,
    /// Sectors that survived cuts although nobody had flushed them.
    pub(super) kept: u64,
    /// Sectors that cuts took.
    pub(super) lost: u64,
}

struct State {
    sectors: Sectors,
    bytes: u64,
    bytes_per_second: u64,
    delay: Duration,
    armed: Option<(u64, Chance)>,
    is_off: bool,
    counts: Counts,
}

impl State {
    fn cut(&mut self, keep_percent: u64, mut chance: Chance) {
        self.is_off = true;
        match self.sectors.cut(keep_percent, &mut chance) {
            Ok(Cut { kept, lost }) => {
                self.counts.kept += kept;
                self.counts.lost += lost;
            }
            Err(error) => eprintln!("a disk cannot be written: {error}"),
        }
    }
}

struct Shared {
    state: Mutex<State>,
    is_cut: Condvar,
}

impl Shared {
    fn new(image: File, bytes: u64) -> Self {
        let state = State {
            sectors: Sectors::new(image),
            bytes,
            bytes_per_second: 0,
            delay: Duration::ZERO,
            armed: None,
            is_off: false,
            counts: Counts::default(),
        };
        Self { state: Mutex::new(state), is_cut: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panics here ends the process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn obey(&self, command: Command) -> Counts {
        let mut state = self.lock();
        match command {
            Command::Slow { bytes_per_second, delay_ms } => {
                state.bytes_per_second = bytes_per_second;
                state.delay = Duration::from_millis(delay_ms);
            }
            Command::Cut { keep_percent, seed } => {
                state.armed = Some((keep_percent, Chance::new(seed)));
                let (waited, _) =
                    self.is_cut.wait_timeout_while(state, CUT_WITHIN, |state| state.armed.is_some()).unwrap_or_else(PoisonError::into_inner);
                state = waited;
                if let Some((keep_percent, chance)) = state.armed.take() {
                    state.cut(keep_percent, chance);
                }
            }
            Command::On => state.is_off = false,
            Command::Count => {}
        }
        state.counts
    }

    /// Serves one request of so many bytes, then waits as long as a disk of this speed would.
    fn serve<T>(&self, bytes: usize, serve: impl FnOnce(&mut State) -> std::io::Result<T>) -> Result<T, Errno> {
        let mut state = self.lock();
        state.counts.served += 1;
        if state.is_off {
            state.counts.refused += 1;
            return Err(Errno::EIO);
        }
        let done = serve(&mut state).map_err(|error| {
            // A cut in the middle is meant.
            if state.is_off {
                state.counts.refused += 1;
            } else {
                eprintln!("a disk fails: {error}");
            }
            Errno::EIO
        });
        let transfer = (bytes as u64 * 1_000_000).checked_div(state.bytes_per_second).map_or(Duration::ZERO, Duration::from_micros);
        let wait = state.delay + transfer;
        if wait > Duration::ZERO {
            state.counts.slowed += 1;
        }
        drop(state);
        // One request at a time, as the kernel's other requests wait too: a disk has one head.
        std::thread::sleep(wait);
        done
    }

    /// Makes what was written survive, unless a cut waits for just that.
    fn flush(&self) -> Result<(), Errno> {
        self.serve(0, |state| {
            if state.sectors.unflushed() == 0 {
                return Ok(());
            }
            let Some((keep_percent, chance)) = state.armed.take() else { return state.sectors.flush() };
            state.cut(keep_percent, chance);
            self.is_cut.notify_all();
            Err(std::io::Error::other("the power was cut while it was flushed"))
        })
    }
}

struct Served(Arc<Shared>);

impl Served {
    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let is_file = match inode {
            INodeNo::ROOT => false,
            INODE => true,
            _ => return None,
        };
        let size = if is_file { self.0.lock().bytes } else { 0 };
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size / SECTOR as u64,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Served {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attributes(INODE).filter(|_| parent == INodeNo::ROOT && name == FILE) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // The kernel must not keep a copy: what is lost must be lost.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.0.serve(size as usize, |state| {
            let there = state.bytes.saturating_sub(offset).min(u64::from(size));
            let mut buffer = vec![0; there as usize];
            state.sectors.read(offset, &mut buffer).map(|()| buffer)
        });
        match read {
            Ok(buffer) => reply.data(&buffer),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _how: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if offset.saturating_add(bytes.len() as u64) > self.0.lock().bytes {
            return reply.error(Errno::ENOSPC);
        }
        match self.0.serve(bytes.len(), |state| state.sectors.write(offset, bytes)) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        // Closing a file makes nothing survive.
        reply.ok();
    }

    fn fsync(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        match self.0.flush() {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }
}

/// Serves an image as the file `disk` in a folder until standard input ends.
///
/// # Errors
/// The image cannot be opened, or this machine has no FUSE.
pub fn serve(image: &Path, folder: &Path) -> anyhow::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(image).with_context(|| format!("opening {}", image.display()))?;
    let bytes = file.metadata().context("reading an image's size")?.len();
    if bytes % SECTOR as u64 != 0 {
        bail!("{} is not made of sectors", image.display());
    }
    let shared = Arc::new(Shared::new(file, bytes));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("kith-jepsen".to_owned())];
    let session = fuser::Session::new(Served(Arc::clone(&shared)), folder, &config).context("mounting a disk by FUSE")?;
    let session = session.spawn().context("serving a disk")?;
    let mut out = std::io::stdout();
    let mut answer = |counts: Counts| -> anyhow::Result<()> {
        serde_json::to_writer(&mut out, &counts)?;
        out.write_all(b"\n")?;
        out.flush().context("answering")
    };
    // The first line says that it is mounted.
    answer(shared.obey(Command::Count))?;
    for line in std::io::stdin().lock().lines() {
        let command = serde_json::from_str(&line.context("reading a command")?).context("reading a command")?;
        answer(shared.obey(command))?;
    }
    // Unmounted already, or in use: whoever still waits for the disk is answered by the kernel, since nobody serves it any more.
    session.umount_and_join().ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Shared {
        let image = tempfile::tempfile().unwrap();
        image.set_len(1 << 20).unwrap();
        Shared::new(image, 1 << 20)
    }

    fn write(disk: &Shared, byte: u8) -> Result<(), Errno> {
        disk.serve(8 * SECTOR, |state| state.sectors.write(0, &[byte; 8 * SECTOR]))
    }

    #[test]
    fn a_cut_waits_for_a_flush_that_has_something_to_tear_and_then_nothing_is_served() {
        let disk = disk();
        std::thread::scope(|scope| {
            let cut = scope.spawn(|| disk.obey(Command::Cut { keep_percent: 50, seed: 1 }));
            // Whoever flushes is told that it failed, at the latest when the cut no longer waits.
            while write(&disk, 7).and_then(|()| disk.flush()).is_ok() {}
            let counts = cut.join().unwrap();
            assert!(counts.kept + counts.lost <= 8 && counts.refused <= 1, "{counts:?}");
        });
        assert!(write(&disk, 8).is_err() && disk.flush().is_err());
        let counts = disk.obey(Command::On);
        assert!(counts.refused >= 2);
        assert!(write(&disk, 9).and_then(|()| disk.flush()).is_ok());
    }

    #[test]
    fn a_slow_disk_counts_what_it_slowed() {
        let disk = disk();
        write(&disk, 1).unwrap();
        assert_eq!(disk.obey(Command::Slow { bytes_per_second: 0, delay_ms: 1 }).slowed, 0);
        write(&disk, 2).unwrap();
        disk.flush().unwrap();
        assert_eq!(disk.obey(Command::Slow { bytes_per_second: 10_000_000, delay_ms: 0 }).slowed, 2);
        write(&disk, 3).unwrap();
        disk.flush().unwrap();
        let counts = disk.obey(Command::Slow { bytes_per_second: 0, delay_ms: 0 });
        assert_eq!((counts.slowed, counts.served), (3, 5), "a flush moves no bytes over the wire");
    }

    #[test]
    fn what_is_asked_crosses_the_pipe() {
        let asked = Command::Cut { keep_percent: 30, seed: u64::MAX };
        let text = serde_json::to_string(&asked).unwrap();
        assert!(matches!(serde_json::from_str(&text).unwrap(), Command::Cut { keep_percent: 30, seed: u64::MAX }));
    }
}
