//! Damage to the files of a node that is down: which file, how, where, all from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail};

use crate::seed::Chance;

/// Most bytes of a file that get a bit flipped.
const FLIPS_MAX: u64 = 16;

/// A file that can be damaged, by its path in the data folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    path: String,
    bytes: u64,
}

/// What is done to a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Harm {
    /// One bit of each of these bytes is turned.
    Flip(BTreeMap<u64, u8>),
    /// It ends here.
    Truncate(u64),
}

/// A file and what is done to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Damage {
    /// Of which database, and what it holds.
    pub(super) kind: String,
    pub(super) path: String,
    pub(super) harm: Harm,
    /// Bytes that differ afterwards or are gone.
    pub(super) bytes: u64,
}

/// What a file holds; none where damage would show nothing (text logs, locks, options).
fn kind(path: &str) -> Option<String> {
    let (store, name) = path.split_once('/')?;
    let what = match (store, name) {
        ("staging", _) => return Some("staged snapshot".to_owned()),
        (_, "CURRENT") => "CURRENT",
        (_, name) if name.starts_with("MANIFEST-") => "MANIFEST",
        (_, name) if name.ends_with(".sst") => "table",
        (_, name) if name.ends_with(".blob") => "blob file",
        (_, name) if name.ends_with(".log") => "write-ahead log",
        _ => return None,
    };
    Some(format!("{what} of the {store}"))
}

/// Chooses: first a kind, so that rare files are hit as often as common ones, then the file, then the harm.
pub(super) fn choose(files: &[Candidate], chance: &mut Chance) -> Option<Damage> {
    let of_kind = |file: &Candidate| kind(&file.path).filter(|_| file.bytes > 0);
    let kinds: Vec<String> = files.iter().filter_map(of_kind).collect::<BTreeSet<_>>().into_iter().collect();
    if kinds.is_empty() {
        return None;
    }
    let kind = chance.one_of(&kinds).clone();
    let files: Vec<&Candidate> = files.iter().filter(|file| of_kind(file).as_ref() == Some(&kind)).collect();
    let file = *chance.one_of(&files);
    let harm = if chance.percent(40) {
        Harm::Truncate(chance.within(0, file.bytes - 1))
    } else {
        let count = chance.within(1, FLIPS_MAX);
        Harm::Flip((0..count).map(|_| (chance.within(0, file.bytes - 1), 1 << chance.within(0, 7))).collect())
    };
    let bytes = match &harm {
        Harm::Flip(at) => at.len() as u64,
        Harm::Truncate(to) => file.bytes - to,
    };
    Some(Damage { kind, path: file.path.clone(), harm, bytes })
}

/// Damages one file of a data folder that nobody uses.
///
/// # Errors
/// There is none, or it cannot be written.
pub(super) fn damage(data: &Path, seed: u64) -> anyhow::Result<Damage> {
    let mut files = Vec::new();
    for folder in ["log", "state", "staging"] {
        for entry in fs::read_dir(data.join(folder)).into_iter().flatten().flatten() {
            let meta = entry.metadata().context("reading a file's size")?;
            if meta.is_file() {
                files.push(Candidate { path: format!("{folder}/{}", entry.file_name().to_string_lossy()), bytes: meta.len() });
            }
        }
    }
    // A folder's own order is chance that no seed repeats.
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let Some(damage) = choose(&files, &mut Chance::new(seed)) else { bail!("no file of {} can be damaged", data.display()) };
    let file = OpenOptions::new().read(true).write(true).open(data.join(&damage.path)).context("opening what is to be damaged")?;
    match &damage.harm {
        Harm::Truncate(to) => file.set_len(*to).context("truncating")?,
        Harm::Flip(at) => {
            for (offset, mask) in at {
                let mut byte = [0];
                file.read_exact_at(&mut byte, *offset).context("reading a byte")?;
                file.write_all_at(&[byte[0] ^ mask], *offset).context("turning a bit")?;
            }
        }
    }
    file.sync_all().context("keeping the damage")?;
    Ok(damage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<Candidate> {
        let sizes = [
            ("log/000012.log", 90_000),
            ("log/000013.sst", 4_000),
            ("log/CURRENT", 16),
            ("log/LOG", 30_000),
            ("log/MANIFEST-000011", 700),
            ("state/000009.sst", 1_000),
            ("state/000010.sst", 1_000),
            ("state/000011.blob", 0),
            ("state/000010.log", 0),
            ("state/MANIFEST-000004", 900),
            ("staging/group-3-1.snap", 5_000),
        ];
        sizes.iter().map(|(path, bytes)| Candidate { path: (*path).to_owned(), bytes: *bytes }).collect()
    }

    #[test]
    fn the_seed_decides_and_every_kind_has_its_turn() {
        let chosen: Vec<Damage> = (0..200).map(|seed| choose(&files(), &mut Chance::new(seed)).unwrap()).collect();
        assert_eq!(choose(&files(), &mut Chance::new(17)).unwrap(), chosen[17]);
        let kinds: BTreeSet<&str> = chosen.iter().map(|damage| damage.kind.as_str()).collect();
        let all = [
            "CURRENT of the log",
            "MANIFEST of the log",
            "MANIFEST of the state",
            "staged snapshot",
            "table of the log",
            "table of the state",
            "write-ahead log of the log",
        ];
        assert_eq!(kinds, BTreeSet::from(all), "neither text logs nor empty files");
        assert!(chosen.iter().any(|damage| matches!(damage.harm, Harm::Truncate(_))));
    }

    #[test]
    fn damage_changes_exactly_the_bytes_that_it_counts() {
        for seed in 0..50 {
            let data = tempfile::tempdir().unwrap();
            let before = vec![0x55; 3_000];
            for path in ["log/000012.log", "state/MANIFEST-000004"] {
                fs::create_dir_all(data.path().join(path).parent().unwrap()).unwrap();
                fs::write(data.path().join(path), &before).unwrap();
            }
            let done = damage(data.path(), seed).unwrap();
            let after = fs::read(data.path().join(&done.path)).unwrap();
            let differ = before.iter().zip(&after).filter(|(a, b)| a != b).count() + before.len() - after.len();
            assert_eq!(differ as u64, done.bytes, "{done:?}");
            assert!(done.bytes > 0);
        }
    }

    #[test]
    fn nothing_to_damage_is_an_error() {
        assert!(damage(tempfile::tempdir().unwrap().path(), 1).is_err());
    }
}
