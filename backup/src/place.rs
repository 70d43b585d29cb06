//! Where backups lie: a folder, or memory for tests.
//!
//! In: a URL. Out: a store and the path in it. Invariant: what is said to be written is synced. Not here:
//! what lies there ([`crate::depot`]).

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory, path::Path};
use thiserror::Error;

/// A place for backups. Clones are the same place.
#[derive(Clone)]
pub struct Place {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
    url: String,
}

/// A URL names no place.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// It is no URL of a kind that is known.
    #[error("{url:?} is no place for backups: give file:///FOLDER")]
    Kind {
        /// As it was given.
        url: String,
    },
    /// The folder cannot be made or read.
    #[error("cannot use the folder {folder}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store refuses its settings.
    #[error("cannot use {url}")]
    Store {
        /// As it was given.
        url: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

impl Place {
    /// The place that a URL names: `file:///folder` (made, if it is not there), or `memory:name` for tests, which is one place for the whole process.
    ///
    /// # Errors
    /// It names none, or it cannot be used.
    pub fn open(url: &str) -> Result<Self, PlaceError> {
        let kind = || PlaceError::Kind { url: url.to_owned() };
        if let Some(name) = url.strip_prefix("memory:") {
            return Ok(Self { store: memory(name), root: Path::default(), url: url.to_owned() });
        }
        let path = url.strip_prefix("file://").ok_or_else(kind)?;
        let folder = PathBuf::from(path);
        if !folder.is_absolute() {
            return Err(kind());
        }
        let broken = |source| PlaceError::Folder { folder: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(broken)?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(|source| PlaceError::Store { url: url.to_owned(), source })?;
        // What was told to be written must be there after a loss of power.
        Ok(Self { store: Arc::new(store.with_fsync(true)), root: Path::default(), url: url.to_owned() })
    }
    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.url).finish()
    }
}

/// A place in memory is shared by whoever names it: writer and reader are two nodes of one process.
fn memory(name: &str) -> Arc<InMemory> {
    static PLACES: OnceLock<Mutex<HashMap<String, Arc<InMemory>>>> = OnceLock::new();
    let mut places = PLACES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(places.entry(name.to_owned()).or_default())
}
