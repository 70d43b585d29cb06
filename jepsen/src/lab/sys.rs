//! The calls to the kernel that no crate wraps.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;
use nix::sched::{CloneFlags, setns};

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: the journal is not flushed either.
const NO_LOG_FLUSH: u32 = 2;

mod raw {
    #![allow(unsafe_code, reason = "an ioctl has no safe form; these read a value that lives through the call, and TUNSETIFF writes it")]
    // EXT4_IOC_SHUTDOWN is _IOR('X', 125, __u32), though the kernel reads the argument.
    nix::ioctl_write_ptr_bad!(ext4_shutdown, nix::request_code_read!(b'X', 125, std::mem::size_of::<u32>()), u32);

    pub(super) fn shutdown(fd: std::os::fd::RawFd, flags: u32) -> nix::Result<()> {
        // SAFETY: `fd` is open for the length of the call, and `flags` is a valid u32.
        unsafe { ext4_shutdown(fd, &raw const flags) }.map(drop)
    }

    nix::ioctl_write_ptr_bad!(tun_set_iff, nix::request_code_write!(b'T', 202, std::mem::size_of::<std::ffi::c_int>()), nix::libc::ifreq);

    pub(super) fn set_tap(fd: std::os::fd::RawFd, name: &[u8], flags: i16) -> nix::Result<()> {
        // SAFETY: an all-zero `ifreq` is a valid one: integers and unions of integers.
        let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
        // The last byte stays zero, as the kernel expects.
        let room = request.ifr_name.len() - 1;
        request.ifr_name.iter_mut().take(room).zip(name).for_each(|(to, from)| *to = *from as std::ffi::c_char);
        request.ifr_ifru.ifru_flags = flags;
        // SAFETY: `fd` is open for the length of the call; the kernel copies an `ifreq` in, and back, of which this is one that nobody else sees.
        unsafe { tun_set_iff(fd, &raw mut request) }.map(drop)
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

/// Makes a TAP, a network card whose cable ends in this file, in the namespace of this thread. It is gone when the file is closed.
pub(super) fn open_tap(name: &str) -> io::Result<File> {
    let tap = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    raw::set_tap(tap.as_raw_fd(), name.as_bytes(), (libc::IFF_TAP | libc::IFF_NO_PI) as i16)?;
    Ok(tap)
}
