//! A file that takes room for nothing, so that there is some to give up when the disk is full.
//!
//! In: the data directory. Out: `ballast` in it, of a size that is a small part of the disk. Made only while there is much more room than it takes;
//! removed by an operator (`kith node free-ballast`), with the node running or not.

use std::{fs, io, path::Path};

use rustix::fs::{FallocateFlags, fallocate};

/// Name of the file, in the data directory.
const NAME: &str = "ballast";

/// Makes the file, unless it is there. Blocks.
///
/// # Errors
/// The disk has no room for it, or cannot set any aside. What was begun is removed.
pub(super) fn keep(data: &Path, bytes: u64) -> io::Result<()> {
    let path = data.join(NAME);
    if bytes == 0 || fs::metadata(&path).is_ok_and(|found| found.len() >= bytes) {
        return Ok(());
    }
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(|error| {
        // It may not be there.
        let _ = fs::remove_file(&path);
        error.into()
    })
}

/// Removes the file; says how many bytes are free by that, 0 if it was not there.
///
/// # Errors
/// It cannot be removed.
pub fn free(data: &Path) -> io::Result<u64> {
    let path = data.join(NAME);
    let bytes = match fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    fs::remove_file(&path)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballast_is_kept_once_and_given_up_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(free(dir.path()).unwrap(), 0, "none is there");
        for _ in 0..2 {
            keep(dir.path(), 4_096).unwrap();
        }
        assert_eq!(free(dir.path()).unwrap(), 4_096);
        assert_eq!(free(dir.path()).unwrap(), 0);
        keep(dir.path(), 0).unwrap();
        assert!(!dir.path().join(NAME).exists(), "none is wanted");
    }

    #[test]
    fn ballast_that_does_not_fit_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        assert!(keep(dir.path(), 1 << 60).is_err());
        assert!(!dir.path().join(NAME).exists());
    }
}
