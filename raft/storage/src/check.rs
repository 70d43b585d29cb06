//! The offline check of a data directory: everything is read, nothing is changed.
//!
//! In: a directory that no process has open. Out: what is there, group by group, and every problem found. Verified: the envelope and the body of
//! every value, keys and their buckets, that each log is dense with rising terms from its purge point on, that no state is ahead of its log,
//! the machine's invariants of the rows.
//! Bound: [`PROBLEMS_MAX`] problems are kept; the rest are counted. Not here: comparing replicas.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use kith_machine::mutant::Quirk;
use kith_machine::{
    invariant::{self, Violation},
    view::{Row, RowKey, Scan, StateView, ViewError},
};
use kith_wire::{
    id::{GroupId, LogIndex, Term},
    log::Applied,
};
use thiserror::Error;

use crate::{
    codec,
    db::{CF_LOCAL, CF_LOG, CF_META, Databases, Identity, OpenError},
    key::{self, Family},
    log::{self, Bounds, parse_entry, parse_entry_key},
    merge::{self, Source},
    options::Options,
    row,
    state::{AppliedError, scan_applied},
};

/// Problems kept in a report. More are counted only.
pub const PROBLEMS_MAX: usize = 1_000;

/// The check could not be made.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The databases do not open.
    #[error("cannot open the data directory for checking")]
    Open(#[from] OpenError),
    /// There is no data directory there.
    #[error("{0} holds no data directory")]
    Absent(String),
    /// The list of groups cannot be read.
    #[error("cannot read which groups there are")]
    Groups(#[from] AppliedError),
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the directory is; `None` if it was never started.
    pub identity: Option<Identity>,
    /// Every group that has anything on the disk, rising.
    pub groups: Vec<GroupReport>,
    /// What is wrong: at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub problems_dropped: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn note(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.problems_dropped += 1;
        }
    }
}

/// What a group has on the disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupReport {
    /// Which group.
    pub group: GroupId,
    /// Entries in its log.
    pub entries: u64,
    /// Where its log stands, as far as it can be read.
    pub log: Bounds,
    /// Rows of its state.
    pub rows: u64,
    /// What its state says is applied.
    pub applied: Applied,
    /// An install was cut short: the next start completes it, so its rows are not judged.
    pub is_installing: bool,
}

/// Something is wrong. `cause` is text: what was found, with no content of users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// A value, or the key it lies at, cannot be read.
    Value { group: Option<GroupId>, place: String, cause: String },
    /// The database cannot be read on from somewhere in this column family.
    Unreadable { family: &'static str, cause: String },
    /// The log does not begin after its purge point.
    Start { group: GroupId, purged: LogIndex, first: LogIndex },
    /// Entries are missing in between.
    Hole { group: GroupId, after: LogIndex, found: LogIndex },
    /// A term is lower than the one before it.
    Term { group: GroupId, index: LogIndex, term: Term, before: Term },
    /// The state holds what the log never had.
    Ahead { group: GroupId, applied: LogIndex, last: Option<LogIndex> },
    /// The log was purged beyond what the state holds.
    Behind { group: GroupId, applied: Option<LogIndex>, purged: LogIndex },
    /// There are rows, but nothing says up to where they are applied.
    NothingApplied { group: GroupId, rows: u64 },
    /// Whether a row and those that belong to it hold together cannot be said, since one of them cannot be read.
    Unchecked { group: GroupId, of: String, cause: String },
    /// The rows do not hold together.
    Invariant { group: GroupId, violation: Violation },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { group: Some(group), place, cause } => write!(f, "group {group}: {place}: {cause}"),
            Self::Value { group: None, place, cause } => write!(f, "{place}: {cause}"),
            Self::Unreadable { family, cause } => write!(f, "column family {family} cannot be read on: {cause}"),
            Self::Start { group, purged, first } => write!(f, "group {group}: log is purged up to {purged}, but begins at {first}"),
            Self::Hole { group, after, found } => write!(f, "group {group}: log goes from entry {after} to {found}"),
            Self::Term { group, index, term, before } => write!(f, "group {group}: entry {index} is of term {term}, after one of term {before}"),
            Self::Ahead { group, applied, last } => match last {
                Some(last) => write!(f, "group {group}: {applied} is applied, but the log ends at {last}"),
                None => write!(f, "group {group}: {applied} is applied, but the log is empty"),
            },
            Self::Behind { group, applied, purged } => match applied {
                Some(applied) => write!(f, "group {group}: log is purged up to {purged}, but only {applied} is applied"),
                None => write!(f, "group {group}: log is purged up to {purged}, but nothing is applied"),
            },
            Self::NothingApplied { group, rows } => write!(f, "group {group}: {rows} rows, but no applied row"),
            Self::Unchecked { group, of, cause } => write!(f, "group {group}: cannot check {of}: {cause}"),
            Self::Invariant { group, violation } => write!(f, "group {group}: {violation}"),
        }
    }
}

/// Checks a data directory that no process has open.
///
/// # Errors
/// It is in use, is not one, or its databases do not open at all.
pub fn check(dir: &Path) -> Result<Report, CheckError> {
    if !dir.join("log").is_dir() || !dir.join("state").is_dir() {
        return Err(CheckError::Absent(dir.display().to_string()));
    }
    let databases = Databases::open_read_only(dir, &Options::default())?;
    let mut check = Check { databases: Arc::new(databases), groups: BTreeMap::new(), report: Report::default() };
    check.local();
    check.meta();
    check.entries();
    check.applied()?;
    for family in Family::ALL {
        check.rows(family);
    }
    check.compare();
    Ok(check.report)
}

struct Check {
    databases: Arc<Databases>,
    groups: BTreeMap<GroupId, GroupReport>,
    report: Report,
}

impl Check {
    fn group(&mut self, group: GroupId) -> &mut GroupReport {
        self.groups.entry(group).or_insert_with(|| GroupReport { group, ..GroupReport::default() })
    }

    /// The identity and the marks.
    fn local(&mut self) {
        match self.databases.identity() {
            Ok(identity) => self.report.identity = identity,
            Err(error) => self.report.note(Problem::Value { group: None, place: "identity".to_owned(), cause: chain(&error) }),
        }
        let databases = Arc::clone(&self.databases);
        let mut rows = databases.log.raw_iterator_cf(databases.log_cf(CF_LOCAL));
        rows.seek_to_first();
        while let Some((name, value)) = rows.item() {
            let name = String::from_utf8_lossy(name);
            if let Err(error) = codec::open(value) {
                self.report.note(Problem::Value { group: None, place: format!("local value {name}"), cause: chain(&error) });
            }
            if let Some(group) = crate::install::marked(&name) {
                self.group(group).is_installing = true;
            }
            rows.next();
        }
        self.ended(CF_LOCAL, rows.status());
    }

    /// Votes, purge points and commit hints.
    fn meta(&mut self) {
        let databases = Arc::clone(&self.databases);
        let mut rows = databases.log.raw_iterator_cf(databases.log_cf(CF_META));
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            match log::parse_meta_key(key) {
                Ok((group, field)) => {
                    let mut bounds = self.group(group).log;
                    if let Err(error) = log::parse_meta(group, field, value, &mut bounds) {
                        self.report.note(Problem::Value { group: Some(group), place: "log meta".to_owned(), cause: chain(&error) });
                    }
                    self.group(group).log = bounds;
                }
                Err(error) => self.report.note(Problem::Value { group: None, place: hex(key), cause: chain(&error) }),
            }
            rows.next();
        }
        self.ended(CF_META, rows.status());
    }

    /// Every entry of every log.
    fn entries(&mut self) {
        let databases = Arc::clone(&self.databases);
        let mut rows = databases.log.raw_iterator_cf(databases.log_cf(CF_LOG));
        rows.seek_to_first();
        let mut before: Option<(GroupId, LogIndex, Option<Term>)> = None;
        while let Some((key, value)) = rows.item() {
            match parse_entry_key(key) {
                Ok((group, index)) => before = Some(self.entry(group, index, value, before)),
                Err(error) => self.report.note(Problem::Value { group: None, place: hex(key), cause: chain(&error) }),
            }
            rows.next();
        }
        self.ended(CF_LOG, rows.status());
    }

    fn entry(
        &mut self,
        group: GroupId,
        index: LogIndex,
        value: &[u8],
        before: Option<(GroupId, LogIndex, Option<Term>)>,
    ) -> (GroupId, LogIndex, Option<Term>) {
        let entry = parse_entry(Quirk::default(), group, index, value);
        let found = self.group(group);
        found.entries += 1;
        let purged = found.log.purged;
        if let Ok(entry) = &entry {
            found.log.last = Some(entry.id);
        }
        let mut term_before = None;
        match before.filter(|(before, ..)| *before == group) {
            Some((_, after, term)) => {
                term_before = term;
                if after.next() != index {
                    self.report.note(Problem::Hole { group, after, found: index });
                }
            }
            None => {
                if let Some(purged) = purged.filter(|purged| purged.index.next() != index) {
                    self.report.note(Problem::Start { group, purged: purged.index, first: index });
                }
            }
        }
        match entry {
            Ok(entry) => {
                if let Some(before) = term_before.filter(|before| *before > entry.id.term) {
                    self.report.note(Problem::Term { group, index, term: entry.id.term, before });
                }
                (group, index, Some(entry.id.term))
            }
            Err(error) => {
                self.report.note(Problem::Value { group: Some(group), place: format!("log entry {index}"), cause: chain(&error) });
                (group, index, term_before)
            }
        }
    }

    fn applied(&mut self) -> Result<(), AppliedError> {
        for (group, applied) in scan_applied(&self.databases)? {
            match applied {
                Ok(applied) => self.group(group).applied = applied,
                Err(error) => self.report.note(Problem::Value { group: Some(group), place: "applied row".to_owned(), cause: chain(&error) }),
            }
        }
        Ok(())
    }

    /// Every row of a column family.
    fn rows(&mut self, family: Family) {
        let databases = Arc::clone(&self.databases);
        let mut rows = databases.state.raw_iterator_cf(databases.state_cf(family));
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            match key::decode(family, key).and_then(|(group, row)| key::verify_bucket(key, &row).map(|()| (group, row))) {
                Ok((group, row)) => {
                    self.group(group).rows += 1;
                    if let Err(error) = row::decode(&row, value) {
                        self.report.note(Problem::Value { group: Some(group), place: format!("{row:?}"), cause: chain(&error) });
                    }
                    self.invariants(group, &row);
                }
                Err(error) => {
                    self.report.note(Problem::Value { group: None, place: format!("{} {}", family.name(), hex(key)), cause: chain(&error) })
                }
            }
            rows.next();
        }
        self.ended(family.name(), rows.status());
    }

    /// What the machine promises of a row and of those that belong to it.
    fn invariants(&mut self, group: GroupId, key: &RowKey) {
        if self.group(group).is_installing {
            return;
        }
        let view = Offline { databases: Arc::clone(&self.databases), group };
        let checked = match key {
            RowKey::GroupState => invariant::group(&view),
            RowKey::Channel(channel) => invariant::channel(&view, *channel),
            RowKey::Dedup(channel, device) => invariant::ring_is_dense(&view, *channel, *device),
            RowKey::Former(channel, user) => invariant::former_is_closed(&view, *channel, *user),
            RowKey::User(user) => invariant::user(&view, *user),
            RowKey::Index(user, channel) => invariant::index_row_is_found_by_rev(&view, *user, *channel),
            _ => Ok(Vec::new()),
        };
        match checked {
            Ok(violations) => violations.into_iter().for_each(|violation| self.report.note(Problem::Invariant { group, violation })),
            Err(error) => self.report.note(Problem::Unchecked { group, of: format!("{key:?}"), cause: chain(&error) }),
        }
    }

    /// Logs against states.
    fn compare(&mut self) {
        for found in std::mem::take(&mut self.groups).into_values() {
            let GroupReport { group, log, rows, ref applied, is_installing, .. } = found;
            let purged = log.purged.map(|purged| purged.index);
            let last = log.last.map(|last| last.index).max(purged);
            let applied = applied.last.map(|applied| applied.index);
            if !is_installing {
                // A state ahead of a log that was purged up to it came with a snapshot.
                if let Some(applied) = applied.filter(|applied| last.is_none_or(|last| last < *applied)) {
                    self.report.note(Problem::Ahead { group, applied, last });
                }
                if let Some(purged) = purged.filter(|purged| applied.is_none_or(|applied| applied < *purged)) {
                    self.report.note(Problem::Behind { group, applied, purged });
                }
                if applied.is_none() && rows > 0 {
                    self.report.note(Problem::NothingApplied { group, rows });
                }
            }
            self.report.groups.push(found);
        }
    }

    fn ended(&mut self, family: &'static str, status: Result<(), rocksdb::Error>) {
        if let Err(error) = status {
            self.report.note(Problem::Unreadable { family, cause: error.to_string() });
        }
    }
}

/// One group's rows of a directory that no process has open.
struct Offline {
    databases: Arc<Databases>,
    group: GroupId,
}

impl StateView for Offline {
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        Source::Latest(&self.databases).get(self.group, key)
    }

    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        merge::scan(Source::Latest(&self.databases), self.group, &[], scan, reverse, limit)
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
