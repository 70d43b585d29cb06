//! Whether a backup can be restored: reads all of it and compares.
//!
//! In: a manifest. Out: what is missing, damaged or counted otherwise, by name. Invariant: what is found sound here can be read by a restore. Bound: one chunk in
//! memory; [`FAULTS_MAX`] are named, the rest is counted.

use crate::{
    chunk::{self, ChunkError},
    depot::{Depot, DepotError, object_name},
    manifest::{Group, Manifest},
};

/// So many faults are named.
pub const FAULTS_MAX: usize = 100;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Objects that were read, lists among them.
    pub objects: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of the rows.
    pub bytes: u64,
    /// What is wrong, each with the name of the object.
    pub faults: Vec<String>,
    /// Faults that are not named.
    pub more: u64,
}

impl Found {
    /// Whether it can be restored.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
    fn fault(&mut self, text: String) {
        if self.faults.len() < FAULTS_MAX { self.faults.push(text) } else { self.more += 1 }
    }
}

/// Reads a whole backup.
pub async fn verify(depot: &Depot, manifest: &Manifest) -> Found {
    let mut found = Found::default();
    for group in &manifest.groups {
        of_group(depot, group, &mut found).await;
    }
    found
}

async fn of_group(depot: &Depot, group: &Group, found: &mut Found) {
    let before = (found.rows, found.bytes, found.faults.len() as u64 + found.more);
    let mut chunks = 0;
    for list in group.lists() {
        found.objects += 1;
        let refs = match depot.chunks(&list).await {
            Ok(refs) => refs,
            Err(error) => {
                found.fault(text_of(&error));
                continue;
            }
        };
        for chunk in refs {
            found.objects += 1;
            chunks += 1;
            match depot.content(&chunk.digest).await {
                Ok(content) => match chunk::rows(&content) {
                    Ok(rows) if rows.len() as u64 == u64::from(chunk.rows) => {
                        found.rows += rows.len() as u64;
                        found.bytes += content.len() as u64;
                    }
                    Ok(_) => found.fault(format!("{} has another number of rows than its list says", object_name(&chunk.digest))),
                    Err(error) => found.fault(format!("{}: {}", object_name(&chunk.digest), why(&error))),
                },
                Err(error) => found.fault(text_of(&error)),
            }
        }
    }
    let has_faults = found.faults.len() as u64 + found.more > before.2;
    let counts = (chunks, found.rows - before.0, found.bytes - before.1);
    if !has_faults && counts != (group.chunks, group.rows, group.bytes) {
        found.fault(format!(
            "group {} has {} rows in {} chunks, its manifest says {} in {}",
            group.group, counts.1, counts.0, group.rows, group.chunks
        ));
    }
}

fn why(error: &ChunkError) -> String {
    error.to_string()
}

fn text_of(error: &DepotError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
