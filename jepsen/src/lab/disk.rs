//! A node's own disk: an ext4 file system in a file. It can lose what was not synced.
//!
//! In: a folder. Out: a mount point. Where a run asks for it, the file is served by a program of its own (`drive`), which can also tear and be slow;
//! else the kernel works on the image itself. Not here: when (`nemesis`).

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use nix::fcntl::{FallocateFlags, fallocate};

use super::block::Command;
use super::drive::Drive;
use super::{shell, sys};

/// Size of an image; it is sparse.
const IMAGE_BYTES: u64 = 1 << 30;
/// Bytes that the harness writes and does not sync before a cut: they must be gone after it.
const CANARY_BYTES: usize = 256 * 1024;
/// Tries to unmount: a killed process may need a moment to let go.
const UNMOUNT_TRIES: u32 = 50;

/// An image and where it is mounted.
#[derive(Clone, Debug)]
pub struct Disk {
    image: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    drive: Option<Arc<Drive>>,
}

impl Disk {
    /// Makes and mounts an empty one.
    ///
    /// # Errors
    /// The image cannot be made, or this machine mounts none.
    pub fn make(folder: &Path, name: &str, is_served: bool) -> anyhow::Result<Self> {
        let mut disk = Self { image: folder.join(format!("{name}.img")), mount_point: folder.join(name), drive: None };
        fs::create_dir_all(&disk.mount_point).context("making the folder of a disk")?;
        File::create(&disk.image).and_then(|file| file.set_len(IMAGE_BYTES)).context("making the image of a disk")?;
        shell::run("mkfs.ext4", ["-q".as_ref(), "-F".as_ref(), "-m".as_ref(), "0".as_ref(), disk.image.as_os_str()])?;
        if is_served {
            disk.drive = Some(Arc::new(Drive::start(&disk.image)?));
        }
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts it; the journal is replayed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn mount(&self) -> anyhow::Result<()> {
        let Some(drive) = &self.drive else {
            return shell::run("mount", ["-o".as_ref(), "loop".as_ref(), self.image.as_os_str(), self.mount_point.as_os_str()]).map(drop);
        };
        let device = drive.attach()?;
        shell::run("mount", [device.as_os_str(), self.mount_point.as_os_str()]).map(drop)
    }

    /// Unmounts it, which frees its loop device.
    ///
    /// # Errors
    /// Something still uses it.
    pub fn unmount(&self) -> anyhow::Result<()> {
        unmount(&self.mount_point)?;
        self.drive.as_ref().map_or(Ok(()), |drive| drive.detach())
    }

    /// Cuts the power in the middle of a flush: of a hundred sectors that are not flushed about this many survive, which the seed decides. Whoever uses
    /// it must be ended right after. Gives how many survived and how many are lost. Waits some seconds for a flush.
    ///
    /// # Errors
    /// The run's disks are not served by a program.
    pub fn tear(&self, keep_percent: u64, seed: u64) -> anyhow::Result<(u64, u64)> {
        let drive = self.drive()?;
        let before = drive.tell(Command::Count)?;
        let after = drive.tell(Command::Cut { keep_percent, seed })?;
        // What the kernel still holds has nowhere to go; it says so, or has noticed by itself.
        sys::cut(&self.mount_point).ok();
        Ok((after.kept - before.kept, after.lost - before.lost))
    }

    /// Mounts it again after [`Disk::tear`], as a boot does.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn untear(&self) -> anyhow::Result<()> {
        self.unmount()?;
        self.drive()?.tell(Command::On)?;
        self.repair();
        self.mount()
    }

    /// Makes it slow, or fast again with 0 and 0; gives how many requests have been slowed until now.
    ///
    /// # Errors
    /// The run's disks are not served by a program.
    pub fn slow(&self, bytes_per_second: u64, delay_ms: u64) -> anyhow::Result<u64> {
        Ok(self.drive()?.tell(Command::Slow { bytes_per_second, delay_ms })?.slowed)
    }

    fn drive(&self) -> anyhow::Result<&Drive> {
        self.drive.as_deref().context("the disks of this run are not served by a program: this machine has no /dev/fuse")
    }

    /// Cuts the power: what was not synced is lost. Whoever uses it must be ended right after. Gives what to hand to [`Disk::restored`].
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn cut(&self) -> anyhow::Result<Before> {
        let bytes = bytes_under(&self.mount_point);
        let canary = self.mount_point.join("unsynced");
        File::create(&canary).and_then(|mut file| file.write_all(&[0xa5; CANARY_BYTES])).context("writing what must be lost")?;
        sys::cut(&self.mount_point).context("cutting the power of a disk")?;
        Ok(Before { bytes })
    }

    /// Mounts it again after a cut; gives the bytes that are gone, the canary among them, of which some must be.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn restored(&self, before: &Before) -> anyhow::Result<u64> {
        self.unmount()?;
        self.mount()?;
        let canary = self.mount_point.join("unsynced");
        let kept = fs::read(&canary).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == 0xa5).count());
        // It was never there, as far as the disk knows.
        let _ = fs::remove_file(&canary);
        let lost = before.bytes.saturating_sub(bytes_under(&self.mount_point));
        Ok(if kept == CANARY_BYTES { 0 } else { lost + (CANARY_BYTES - kept) as u64 })
    }

    /// Fills it to the last byte; gives how many it took.
    ///
    /// # Errors
    /// Not even a file can be made.
    pub fn fill(&self) -> anyhow::Result<u64> {
        let mut file = File::create(self.filler()).context("filling a disk")?;
        let mut taken = 0u64;
        // Without writing it, or a slow disk would be busy with this instead of with the node.
        let mut size = IMAGE_BYTES;
        while size >= 4_096 {
            match fallocate(&file, FallocateFlags::empty(), taken as i64, size as i64) {
                Ok(()) => taken += size,
                Err(_) => size /= 2,
            }
        }
        // A failed piece may have taken a part of itself; what is left are crumbs.
        file.seek(SeekFrom::End(0)).context("filling a disk")?;
        let crumbs = [0x5a; 4_096];
        let mut size = crumbs.len();
        while size >= 512 {
            match file.write(&crumbs[..size]) {
                Ok(count) if count > 0 => taken += count as u64,
                _ => size /= 2,
            }
        }
        file.sync_all().ok();
        Ok(taken)
    }

    /// Undoes [`Disk::fill`].
    pub fn drain(&self) {
        // Not there is as good.
        let _ = fs::remove_file(self.filler());
    }

    /// What a failing disk does to a file system: it becomes read-only at once.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn make_read_only(&self) -> anyhow::Result<()> {
        shell::run("mount", ["-o".as_ref(), "remount,abort".as_ref(), self.mount_point.as_os_str()]).map(drop)
    }

    /// Whether a file can be made on it.
    pub fn is_writable(&self) -> bool {
        let probe = self.mount_point.join("probe");
        let is_writable = File::create(&probe).is_ok();
        let _ = fs::remove_file(probe);
        is_writable
    }

    /// Repairs it, unmounted, as a boot does.
    pub fn repair(&self) {
        // Its exit code says that it mended something, which it should.
        let file = self.drive.as_ref().map_or_else(|| self.image.clone(), |drive| drive.file());
        let _ = shell::run("e2fsck", ["-p".as_ref(), "-f".as_ref(), file.as_os_str()]);
    }

    fn filler(&self) -> PathBuf {
        self.mount_point.join("filler")
    }

    /// Removes the image, unmounted.
    pub(super) fn remove(&self) {
        if let Some(drive) = &self.drive {
            drive.end();
        }
        let _ = fs::remove_file(&self.image);
        let _ = fs::remove_dir(&self.mount_point);
    }
}

/// What was on a disk before a cut.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    bytes: u64,
}

pub(super) fn unmount(mount_point: &Path) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        match shell::run("umount", [mount_point]) {
            Ok(_) => return Ok(()),
            Err(error) if tries >= UNMOUNT_TRIES => return Err(error),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(100)),
        }
        tries += 1;
    }
}

fn bytes_under(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_under(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
