//! Two small files beside the databases, so that a loss of the log is noticed by the node itself.
//!
//! ```text
//! DIR/identity  sealed: store id 16 B | boot u64 BE                       replaced and synced at each open
//! DIR/synced    position u64 BE | crc32 u32 BE of it | 0 u32              overwritten in place after each sync of the log, never synced itself
//! ```
//! Invariant: `synced` never says more than the log's disk holds, since it is written after the sync; after a power cut it may say less.
//! Not here: what is made of a loss (`loss`).

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    codec,
    db::{Identity, parse_identity, render_identity},
};

/// Where the log stood after its last sync.
pub(crate) struct Witness {
    file: File,
    is_broken: AtomicBool,
}

impl Witness {
    /// Opens it; gives what it says, if it says anything that can be read.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Option<u64>)> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(dir.join("synced"))?;
        let mut raw = [0; 16];
        let said = match file.read_exact_at(&mut raw, 0) {
            Ok(()) => parse(&raw),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                file.set_len(16)?;
                None
            }
            Err(error) => return Err(error),
        };
        file.sync_all()?;
        Ok((Self { file, is_broken: AtomicBool::new(false) }, said))
    }

    /// Notes where the log stands now. A failure costs only the notice: the log itself is on the disk.
    pub(crate) fn note(&self, position: u64) {
        let number = position.to_be_bytes();
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&number);
        raw[8..12].copy_from_slice(&crc32fast::hash(&number).to_be_bytes());
        if let Err(error) = self.file.write_all_at(&raw, 0)
            && !self.is_broken.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "storage: cannot note how far the log is synced");
        }
    }
}

pub(crate) fn parse(raw: &[u8; 16]) -> Option<u64> {
    let (number, rest) = raw.split_first_chunk::<8>()?;
    let crc = rest.first_chunk::<4>().map(|crc| u32::from_be_bytes(*crc))?;
    (crc32fast::hash(number) == crc).then(|| u64::from_be_bytes(*number))
}

/// The identity as the file has it; `None` if there is none that can be read.
pub(crate) fn read_identity(dir: &Path) -> Option<Identity> {
    let raw = fs::read(dir.join("identity")).ok()?;
    let body = codec::open(&raw).inspect_err(|error| tracing::error!(%error, "storage: the file `identity` is damaged")).ok()?;
    parse_identity(body).ok()
}

/// Replaces the file; it lasts when this returns.
pub(crate) fn write_identity(dir: &Path, identity: Identity) -> io::Result<()> {
    let (path, next) = (dir.join("identity"), dir.join("identity.next"));
    let mut file = File::create(&next)?;
    file.write_all(&codec::seal(&render_identity(identity)))?;
    file.sync_all()?;
    fs::rename(next, path)?;
    File::open(dir)?.sync_all()
}
