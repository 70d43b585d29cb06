//! Values of the node itself, by name, in the log database: the last map, and marks of what is under way.
//!
//! Invariant: synced before `put` returns. Not here: anything replicated.

use std::sync::{Arc, mpsc};

use kith_wire::id::GroupId;
use thiserror::Error;

use crate::{
    codec::{self, EnvelopeError},
    commit::{Change, Job, Queue},
    db::{CF_LOCAL, Databases},
    log::WriteFailed,
};

/// A local value cannot be read.
#[derive(Debug, Error)]
pub enum LocalError {
    /// RocksDB refuses.
    #[error("cannot read local value {name}")]
    Database { name: String, source: rocksdb::Error },
    /// The value is damaged.
    #[error("local value {name} is damaged")]
    Envelope { name: String, source: EnvelopeError },
}

pub(crate) struct Local {
    databases: Arc<Databases>,
    queue: Arc<Queue>,
}

impl Local {
    pub(crate) fn new(databases: Arc<Databases>, queue: Arc<Queue>) -> Self {
        Self { databases, queue }
    }

    /// Writes or, with `None`, deletes a value; blocks until it is synced.
    pub(crate) fn set(&self, name: &str, value: Option<&[u8]>) -> Result<(), WriteFailed> {
        let (done, is_done) = mpsc::sync_channel(1);
        let done = Box::new(move |result| drop(done.send(result)));
        let change = Change::Local(name.to_owned(), value.map(codec::seal));
        let job = Job { group: GroupId::META, log: None, change, done: Some(done) };
        self.queue.push(job).map_err(|(error, _)| error)?;
        is_done.recv().unwrap_or(Err(WriteFailed::Closed))
    }

    pub(crate) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, LocalError> {
        let value = self.databases.log.get_cf(self.databases.log_cf(CF_LOCAL), name);
        let value = value.map_err(|source| LocalError::Database { name: name.to_owned(), source })?;
        value.map(|value| open(name, &value)).transpose()
    }

    /// All values whose name begins so, without that beginning.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, LocalError> {
        let mut rows = self.databases.log.raw_iterator_cf(self.databases.log_cf(CF_LOCAL));
        rows.seek(prefix);
        let mut found = Vec::new();
        while let Some((key, value)) = rows.item() {
            let Some(rest) = key.strip_prefix(prefix.as_bytes()) else { break };
            let name = String::from_utf8_lossy(rest).into_owned();
            found.push((name.clone(), open(&name, value)?));
            rows.next();
        }
        rows.status().map_err(|source| LocalError::Database { name: prefix.to_owned(), source })?;
        Ok(found)
    }
}

fn open(name: &str, value: &[u8]) -> Result<Vec<u8>, LocalError> {
    codec::open(value).map(<[u8]>::to_vec).map_err(|source| LocalError::Envelope { name: name.to_owned(), source })
}
