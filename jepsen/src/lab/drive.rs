//! The harness's end of a disk that is a program: starts it, gives it a loop device, tells it what to do.
//!
//! In: an image. Out: a block device whose writes are lost, torn or slow on command. Invariants: the device is there only while it is mounted, so that
//! no cache of the kernel outlives a cut; the program ends with this process, however that ends. Not here: what the program does (`block`).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};

use super::block::{self, Counts};
use super::shell;

/// A disk's program and its loop device.
#[derive(Debug)]
pub(super) struct Drive {
    folder: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    child: Child,
    /// The program ends when it closes.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    device: Option<PathBuf>,
}

impl Drive {
    /// Starts the program on an image.
    pub(super) fn start(image: &Path) -> anyhow::Result<Self> {
        let folder = image.with_extension("fuse");
        fs::create_dir_all(&folder).context("making the folder of a disk's file")?;
        let own = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(own)
            .arg("serve-disk")
            .arg(image)
            .arg(&folder)
            // A terminal's Ctrl-C is not for it: it must outlive what is mounted on it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a disk")?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { bail!("a disk has no pipes") };
        let drive = Self { folder, inner: Mutex::new(Inner { child, stdin: Some(stdin), stdout: BufReader::new(stdout), device: None }) };
        drive.lock().answer().context("a disk does not start (is there /dev/fuse?)")?;
        Ok(drive)
    }

    pub(super) fn tell(&self, command: block::Command) -> anyhow::Result<Counts> {
        let mut inner = self.lock();
        let line = serde_json::to_string(&command)? + "\n";
        inner.stdin.as_mut().context("a disk has ended")?.write_all(line.as_bytes()).context("telling a disk")?;
        inner.answer()
    }

    /// Gives it a device.
    pub(super) fn attach(&self) -> anyhow::Result<PathBuf> {
        let mut inner = self.lock();
        if let Some(device) = &inner.device {
            return Ok(device.clone());
        }
        let said = shell::run("losetup", ["-f".as_ref(), "--show".as_ref(), "--direct-io=on".as_ref(), self.file().as_os_str()])?;
        let device = PathBuf::from(said.trim());
        inner.device = Some(device.clone());
        Ok(device)
    }

    /// Takes the device away, and with it all that the kernel remembers of it.
    pub(super) fn detach(&self) -> anyhow::Result<()> {
        match self.lock().device.take() {
            Some(device) => shell::run("losetup", ["-d".as_ref(), device.as_os_str()]).map(drop),
            None => Ok(()),
        }
    }

    /// The file that is the disk.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join(block::FILE)
    }

    /// Ends the program, unmounted.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        drop(inner.stdin.take());
        // It ends at once, with or without its mount.
        let _ = inner.child.wait();
        let _ = fs::remove_dir(&self.folder);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked in between leaves at worst an answer unread, which the next command would notice.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn answer(&mut self) -> anyhow::Result<Counts> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line).context("hearing a disk")? == 0 {
            bail!("a disk's program has ended");
        }
        serde_json::from_str(&line).with_context(|| format!("a disk says {line:?}"))
    }
}

/// Removes loop devices of files in a folder and the mounts of disks' programs in it: what a crash left.
pub(super) fn sweep(folder: &Path) {
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let backing = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if Path::new(backing.trim_end()).starts_with(folder) {
            let device = Path::new("/dev").join(entry.file_name());
            if let Err(error) = shell::run("losetup", ["-d".as_ref(), device.as_os_str()]) {
                eprintln!("warning: {error:#}");
            }
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fuse = mounts.lines().map(|line| line.split(' ')).filter_map(|mut words| Some((words.nth(1)?, words.next()?)));
    for (point, _) in fuse.filter(|(point, kind)| kind.starts_with("fuse") && Path::new(point).starts_with(folder)) {
        // Lazily: its program may be gone.
        if let Err(error) = shell::run("umount", ["-l", point]) {
            eprintln!("warning: {error:#}");
        }
    }
}
