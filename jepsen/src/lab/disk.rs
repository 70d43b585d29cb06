//! A node's own disk: an ext4 file system in a file. It can lose what was not synced.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

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
}

impl Disk {
    /// Makes and mounts an empty one.
    ///
    /// # Errors
    /// The image cannot be made, or this machine mounts none.
    pub fn make(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let disk = Self { image: folder.join(format!("{name}.img")), mount_point: folder.join(name) };
        fs::create_dir_all(&disk.mount_point).context("making the folder of a disk")?;
        File::create(&disk.image).and_then(|file| file.set_len(IMAGE_BYTES)).context("making the image of a disk")?;
        shell::run("mkfs.ext4", ["-q".as_ref(), "-F".as_ref(), "-m".as_ref(), "0".as_ref(), disk.image.as_os_str()])?;
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts it; the journal is replayed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn mount(&self) -> anyhow::Result<()> {
        shell::run("mount", ["-o".as_ref(), "loop".as_ref(), self.image.as_os_str(), self.mount_point.as_os_str()]).map(drop)
    }

    /// Unmounts it, which frees its loop device.
    ///
    /// # Errors
    /// Something still uses it.
    pub fn unmount(&self) -> anyhow::Result<()> {
        unmount(&self.mount_point)
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
        let block = vec![0x5a; 1 << 20];
        let mut taken = 0;
        let mut size = block.len();
        while size >= 512 {
            match file.write(&block[..size]) {
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
        let _ = shell::run("e2fsck", ["-p".as_ref(), "-f".as_ref(), self.image.as_os_str()]);
    }

    fn filler(&self) -> PathBuf {
        self.mount_point.join("filler")
    }

    /// Removes the image, unmounted.
    pub(super) fn remove(&self) {
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
