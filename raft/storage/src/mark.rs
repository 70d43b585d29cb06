//! The version of the cluster that a data directory belongs to, beside the databases: read before anything of the directory is touched.
//!
//! ```text
//! DIR/cluster-version   text: "kith cluster version N CRC\n"      replaced as a whole and synced when the cluster's version rises
//! ```
//! In: the version that a build knows. Out: whether it may open the directory. Invariants: a build that does not know the cluster's version, or skips one,
//! changes nothing on the disk; the mark never goes back. Every release reads this one line: its form never changes. CRC: CRC-32 of what stands before it
//! and its space, as eight hex digits, so that a flipped bit makes no other version.
//! A directory without a mark that holds a log is of the first version; a mark that cannot be read says nothing (a flipped bit must not keep a node down: what
//! a group's log says is looked at again when it is applied). Not here: when it rises (the node, before it takes a map of that version).

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use kith_wire::upgrade::{ClusterVersion, Unfit, fits};

const FILE: &str = "cluster-version";
const TEXT: &str = "kith cluster version ";

/// What the directory says, and that this build may open it; `None`: it is new, or does not say.
pub(crate) fn check(dir: &Path, build: ClusterVersion) -> Result<Option<ClusterVersion>, Unfit> {
    let marked = match fs::read_to_string(dir.join(FILE)) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => dir.join("log").exists().then_some(ClusterVersion::FIRST),
        Err(_) => None,
    };
    match marked {
        Some(version) => fits(build, version).map(|()| marked),
        None => Ok(None),
    }
}

/// Brings it onto the disk; what was there stays until it is.
pub(crate) fn write(dir: &Path, version: ClusterVersion) -> io::Result<()> {
    let new = dir.join(format!("{FILE}.new"));
    let mut file = File::create(&new)?;
    file.write_all(line(version).as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

fn line(version: ClusterVersion) -> String {
    let said = format!("{TEXT}{version}");
    format!("{said} {:08x}\n", crc32fast::hash(said.as_bytes()))
}

pub(crate) fn parse(text: &str) -> Option<ClusterVersion> {
    let number = text.strip_prefix(TEXT)?.split(' ').next()?.parse().ok().filter(|number| *number > 0)?;
    let version = ClusterVersion::new(number);
    (text == line(version)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_cannot_be_read_says_nothing() {
        let good = line(ClusterVersion::new(7));
        assert_eq!(parse(&good), Some(ClusterVersion::new(7)));
        for wrong in [
            "",
            "7\n",
            "kith cluster version 7\n",
            "kith cluster version 0 00000000\n",
            "kith cluster version 18446744073709551616 0\n",
            good.trim_end(),
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
        for bit in 0..8 * good.len() {
            let mut flipped = good.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(std::str::from_utf8(&flipped).ok().and_then(parse), None, "bit {bit}");
        }
    }

    #[test]
    fn a_build_that_does_not_fit_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let version = ClusterVersion::new;
        assert_eq!(check(dir.path(), version(2)).unwrap(), None, "new");
        fs::create_dir(dir.path().join("log")).unwrap();
        assert_eq!(check(dir.path(), version(2)).unwrap(), Some(version(1)), "from before there were marks");
        assert!(matches!(check(dir.path(), version(3)), Err(Unfit::TooNew { .. })));
        write(dir.path(), version(2)).unwrap();
        assert!(matches!(check(dir.path(), version(1)), Err(Unfit::TooOld { .. })));
        for build in [2, 3] {
            assert_eq!(check(dir.path(), version(build)).unwrap(), Some(version(2)));
        }
        assert!(matches!(check(dir.path(), version(4)), Err(Unfit::TooNew { .. })));
    }
}
