//! The calls to the kernel that no crate wraps.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::sched::{CloneFlags, setns};

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: the journal is not flushed either.
const NO_LOG_FLUSH: u32 = 2;

mod raw {
    #![allow(unsafe_code, reason = "an ioctl has no safe form; this one reads a u32 that lives through the call, and touches no memory of ours")]
    // EXT4_IOC_SHUTDOWN is _IOR('X', 125, __u32), though the kernel reads the argument.
    nix::ioctl_write_ptr_bad!(ext4_shutdown, nix::request_code_read!(b'X', 125, std::mem::size_of::<u32>()), u32);

    pub(super) fn shutdown(fd: std::os::fd::RawFd, flags: u32) -> nix::Result<()> {
        // SAFETY: `fd` is open for the length of the call, and `flags` is a valid u32.
        unsafe { ext4_shutdown(fd, &raw const flags) }.map(drop)
    }
}

/// Cuts an ext4 file system off its disk: what was not synced is gone.
pub(super) fn cut(mount_point: &Path) -> io::Result<()> {
    let folder = File::open(mount_point)?;
    Ok(raw::shutdown(folder.as_raw_fd(), NO_LOG_FLUSH)?)
}

/// Moves this thread, and those that it starts, into a network namespace.
pub(super) fn enter(namespace: &Path) -> io::Result<()> {
    Ok(setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?)
}
