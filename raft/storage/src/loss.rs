//! What a database has lost: looked for when it is opened, and put aside when it is lost as a whole.
//!
//! In: a database's folder. Out: the database, sound, or a new one in its place with the reason; damaged values of single groups.
//! Invariants: a database that cannot be read in some place is not used on (its compaction would meet that place again): it is moved to
//! `NAME.lost`, for people, and a new one begins empty. An error of the disk itself is no damage: it ends the start.
//! Bound: [`Options::inspect_bytes_max`]; a larger one is not read through, and damage shows when it is met. Not here: what follows (`quarantine`).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::Path,
};

use kith_machine::mutant::Mutant;
use kith_wire::id::GroupId;
use rocksdb::{DB, ErrorKind, ReadOptions};

use crate::{USER_VALUES, codec, db::OpenError, log::parse_entry_key, options::Options};

/// Damaged values by group: the first of each, as text.
pub(crate) type Damaged = BTreeMap<GroupId, String>;

/// Column families of a database, and whether their keys begin with a group.
pub(crate) type Families = Vec<(&'static str, bool)>;

/// A database that was opened, and what is wrong with it.
pub(crate) struct Found {
    pub(crate) db: DB,
    /// It is a new one, since the old one could not be used.
    pub(crate) lost: Option<String>,
    pub(crate) damaged: Damaged,
}

/// Whether RocksDB says that bytes are not what was written.
pub(crate) fn is_damage(error: &rocksdb::Error) -> bool {
    match error.kind() {
        ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotFound => true,
        ErrorKind::IOError => error.as_ref().contains("No such file"),
        _ => false,
    }
}

/// Notes, for the next start, that a database met damage: it is then put aside.
pub(crate) fn mark(dir: &Path, name: &str) {
    let marked = File::create(dir.join(format!("{name}.damaged"))).and_then(|file| file.sync_all()).and_then(|()| File::open(dir)?.sync_all());
    if let Err(error) = marked {
        tracing::error!(name, %error, "storage: cannot note that a database is damaged");
    }
}

/// Opens a database, or a new one in its place.
pub(crate) fn open(
    dir: &Path,
    name: &'static str,
    families: &Families,
    options: &Options,
    open: impl Fn(&Path) -> Result<DB, rocksdb::Error>,
) -> Result<Found, OpenError> {
    let refused = |source| OpenError::Database { database: name, source };
    let (path, mark) = (dir.join(name), dir.join(format!("{name}.damaged")));
    let found = if mark.exists() {
        Err("an earlier run met damage in it".to_owned())
    } else {
        let opened = open(&path).and_then(|db| {
            let small = bytes_under(&path) <= options.inspect_bytes_max && !options.quirk.is(Mutant::ChecksumSkipped);
            let damaged = if small { inspect(&db, families)? } else { Damaged::default() };
            Ok(Found { db, lost: None, damaged })
        });
        match opened {
            Ok(found) => Ok(found),
            Err(error) if is_damage(&error) => Err(error.to_string()),
            Err(error) => return Err(refused(error)),
        }
    };
    match found {
        Ok(found) => Ok(found),
        Err(cause) => {
            tracing::error!(name, cause, "storage: a database is damaged and put aside; its groups are rebuilt from their peers");
            put_aside(dir, name).map_err(|source| OpenError::Directory { path: path.clone(), source })?;
            Ok(Found { db: open(&path).map_err(refused)?, lost: Some(cause), damaged: Damaged::default() })
        }
    }
}

fn put_aside(dir: &Path, name: &str) -> io::Result<()> {
    let absent_is_fine = |done: io::Result<()>| match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let aside = dir.join(format!("{name}.lost"));
    absent_is_fine(fs::remove_dir_all(&aside))?;
    absent_is_fine(fs::rename(dir.join(name), aside))?;
    absent_is_fine(fs::remove_file(dir.join(format!("{name}.damaged"))))?;
    File::open(dir)?.sync_all()
}

/// Reads every block and opens every envelope.
fn inspect(db: &DB, families: &Families) -> Result<Damaged, rocksdb::Error> {
    let mut damaged = Damaged::default();
    for (name, is_grouped) in families {
        let Some(family) = db.cf_handle(name) else { continue };
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut rows = db.raw_iterator_cf_opt(family, options);
        rows.seek_to_first();
        let mut entry_before = None;
        while let Some((key, value)) = rows.item() {
            let group = key.first_chunk::<4>().filter(|_| *is_grouped).map(|raw| GroupId::new(u32::from_be_bytes(*raw)));
            let mut note = |cause: String| match group {
                Some(group) => drop(damaged.entry(group).or_insert(cause)),
                None => drop(damaged.entry(EVERY_GROUP).or_insert(cause)),
            };
            // What the node keeps for itself and can do without is judged when it is read.
            if !key.starts_with(USER_VALUES.as_bytes())
                && let Err(error) = codec::open(value)
            {
                note(format!("a value in {name} is damaged: {error}"));
            }
            if *name == crate::db::CF_LOG {
                let here = parse_entry_key(key).ok();
                if let (Some((group, index)), Some((group_before, before))) = (here, entry_before)
                    && group == group_before
                    && index != kith_wire::id::LogIndex::next(before)
                {
                    note(format!("the log goes from entry {before} to {index}"));
                }
                entry_before = here;
            }
            rows.next();
        }
        rows.status()?;
    }
    Ok(damaged)
}

/// Stands for a value that belongs to no group, without which none can be relied on.
pub(crate) const EVERY_GROUP: GroupId = GroupId::new(u32::MAX);

fn bytes_under(folder: &Path) -> u64 {
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
