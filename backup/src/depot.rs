//! What lies at a place: backups and their objects.
//!
//! In: contents, manifests. Out: the same, checked; what is there. Invariants: an object is written before a manifest names it; what is read is what
//! its name says; of two who would change the place at once the second is refused. Bounds: an object in memory at a time; digests of
//! all chunks of one backup. Not here: what is in a chunk ([`crate::chunk`]).

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use thiserror::Error;

use crate::{
    chunk::Chunk,
    manifest::{self, ChunkRef, Group, Manifest, ManifestError},
    object::{self, Digest, ObjectError},
    place::Place,
};

/// Something at a place cannot be read or written.
#[derive(Debug, Error)]
pub enum DepotError {
    /// The store refuses.
    #[error("cannot {what} {name}")]
    Store {
        /// What was to be done.
        what: &'static str,
        /// With what.
        name: String,
        /// Why.
        #[source]
        source: Box<object_store::Error>,
    },
    /// An object that a backup names is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// An object is damaged.
    #[error("{name} is damaged")]
    Object {
        /// Which.
        name: String,
        /// How.
        #[source]
        source: ObjectError,
    },
    /// A manifest or list cannot be read.
    #[error("{name} cannot be read")]
    Manifest {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// Somebody is at it.
    #[error("somebody is making or deleting a backup there ({0}); if they are not any more, delete the file `lock` in it")]
    Locked(String),
    /// There is no such backup.
    #[error("there is no backup {0} there")]
    NoBackup(String),
}

/// A backup of a place, whether its manifest can be read or not.
#[derive(Debug)]
pub struct Summary {
    /// Its name.
    pub id: String,
    /// What it says.
    pub manifest: Result<Manifest, DepotError>,
}

/// A chunk as it is written.
#[derive(Debug)]
pub struct Sealed {
    /// What a list says of it.
    pub chunk: ChunkRef,
    /// Its bytes; `None`: it is there already.
    stored: Option<Bytes>,
}

impl Sealed {
    /// Names a chunk, and packs it unless it is known. Takes its time: not for a thread that others wait for.
    pub fn of(chunk: &Chunk, known: &HashSet<Digest>) -> Self {
        let digest = Digest::of(&chunk.bytes);
        let bytes = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
        let stored = (!known.contains(&digest)).then(|| object::seal(&chunk.bytes));
        Self { chunk: ChunkRef { digest, rows: chunk.rows, bytes }, stored }
    }
}

/// The backups of a place. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Depot {
    place: Place,
}

impl Depot {
    /// Of a place.
    pub fn new(place: Place) -> Self {
        Self { place }
    }
    /// Its URL.
    pub fn url(&self) -> &str {
        self.place.url()
    }

    // ---- writing

    /// Says that the place is being changed, by whom and since when, for as long as the lock is not taken away.
    ///
    /// # Errors
    /// Somebody else does; the place cannot be written.
    pub async fn lock(&self, who: &str) -> Result<(), DepotError> {
        let path = self.path("lock");
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store().put_opts(&path, Bytes::from(who.to_owned()).into(), options).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let by = self.get("lock").await.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
                Err(DepotError::Locked(by))
            }
            Err(source) => Err(failed("write", "lock", source)),
        }
    }
    /// Takes the lock away.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn unlock(&self) -> Result<(), DepotError> {
        match self.store().delete(&self.path("lock")).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed("delete", "lock", source)),
        }
    }
    /// Writes a content under its own name; gives the name and the bytes that were written.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn put(&self, content: &[u8]) -> Result<(Digest, u64), DepotError> {
        let digest = Digest::of(content);
        let sealed = object::seal(content);
        let bytes = sealed.len() as u64;
        self.write(&object_name(&digest), sealed).await?;
        Ok((digest, bytes))
    }
    /// Writes a chunk, unless it was known to be there; gives the bytes that were written.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn put_chunk(&self, sealed: Sealed) -> Result<u64, DepotError> {
        let Some(stored) = sealed.stored else { return Ok(0) };
        let bytes = stored.len() as u64;
        self.write(&object_name(&sealed.chunk.digest), stored).await?;
        Ok(bytes)
    }
    /// Writes the list of those who are erased, which outlives its backup.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn put_erased(&self, id: &str, users: &[u64]) -> Result<(), DepotError> {
        let content: Vec<u8> = users.iter().flat_map(|user| user.to_be_bytes()).collect();
        self.write(&format!("erased/{id}"), object::seal(&content)).await
    }
    /// Writes a manifest: from then on there is the backup.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn put_manifest(&self, manifest: &Manifest) -> Result<(), DepotError> {
        self.write(&manifest_name(&manifest.id), Bytes::from(manifest.encode())).await
    }

    // ---- reading

    /// All backups, the oldest first.
    ///
    /// # Errors
    /// The place cannot be listed.
    pub async fn list(&self) -> Result<Vec<Summary>, DepotError> {
        let mut ids = self.ids().await?;
        ids.sort();
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            let manifest = self.manifest(&id).await;
            all.push(Summary { id, manifest });
        }
        Ok(all)
    }
    /// The manifest of a backup.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub async fn manifest(&self, id: &str) -> Result<Manifest, DepotError> {
        let name = manifest_name(id);
        if !manifest::is_id(id) {
            return Err(DepotError::NoBackup(id.to_owned()));
        }
        let bytes = self.get(&name).await.map_err(|error| match error {
            DepotError::Missing(_) => DepotError::NoBackup(id.to_owned()),
            other => other,
        })?;
        let manifest = Manifest::decode(&bytes).map_err(|source| DepotError::Manifest { name: name.clone(), source })?;
        if manifest.id == id { Ok(manifest) } else { Err(DepotError::Manifest { name, source: ManifestError::Field("it is of another backup") }) }
    }
    /// The newest backup that was taken by then, of those whose manifest can be read.
    ///
    /// # Errors
    /// The place cannot be listed, or there is none.
    pub async fn newest(&self, until_ms: Option<u64>) -> Result<Manifest, DepotError> {
        let all = self.list().await?;
        let newest = all.into_iter().filter_map(|one| one.manifest.ok()).rfind(|one| until_ms.is_none_or(|until| one.taken_ms <= until));
        newest.ok_or_else(|| DepotError::NoBackup(if until_ms.is_some() { "of that time or before it".to_owned() } else { "at all".to_owned() }))
    }
    /// What an object holds.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub async fn content(&self, digest: &Digest) -> Result<Vec<u8>, DepotError> {
        let name = object_name(digest);
        let stored = self.get(&name).await?;
        object::open(digest, &stored).map_err(|source| DepotError::Object { name, source })
    }
    /// A list of chunks.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub async fn chunks(&self, list: &Digest) -> Result<Vec<ChunkRef>, DepotError> {
        let content = self.content(list).await?;
        manifest::decode_list(&content).map_err(|source| DepotError::Manifest { name: object_name(list), source })
    }
    /// Names of all chunks of a backup that can be found out: what lists cannot be read of is left out.
    pub async fn known(&self, manifest: &Manifest) -> HashSet<Digest> {
        let mut known = HashSet::new();
        for list in manifest.groups.iter().flat_map(Group::lists) {
            known.extend(self.chunks(&list).await.unwrap_or_default().iter().map(|chunk| chunk.digest));
        }
        known
    }
    /// All users that any backup of the place knows to be erased, rising.
    ///
    /// # Errors
    /// A list cannot be read.
    pub async fn erased(&self) -> Result<Vec<u64>, DepotError> {
        let mut users = Vec::new();
        for name in self.names("erased").await? {
            let stored = self.get(&name).await?;
            let content = object::unpack(&stored).map_err(|source| DepotError::Object { name: name.clone(), source })?;
            users.extend(content.chunks_exact(8).filter_map(|raw| raw.first_chunk::<8>().map(|raw| u64::from_be_bytes(*raw))));
        }
        users.sort_unstable();
        users.dedup();
        Ok(users)
    }

    // ---- deleting

    /// Deletes backups, then every object that none of those which are left names. Gives how many objects went. The list of who was erased stays.
    ///
    /// # Errors
    /// There is no such backup; what is left cannot be read, in which case no object goes.
    pub async fn delete(&self, ids: &[String]) -> Result<u64, DepotError> {
        for id in ids {
            let name = manifest_name(id);
            if !manifest::is_id(id) || !self.ids().await?.contains(id) {
                return Err(DepotError::NoBackup(id.clone()));
            }
            self.store().delete(&self.path(&name)).await.map_err(|source| failed("delete", &name, source))?;
        }
        let mut used = HashSet::new();
        for summary in self.list().await? {
            for list in summary.manifest?.groups.iter().flat_map(Group::lists) {
                used.extend(self.chunks(&list).await?.iter().map(|chunk| chunk.digest.to_string()));
                used.insert(list.to_string());
            }
        }
        let mut gone = 0;
        for name in self.names("objects").await? {
            if name.rsplit('/').next().is_some_and(|file| !used.contains(file)) {
                self.store().delete(&self.path(&name)).await.map_err(|source| failed("delete", &name, source))?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    async fn ids(&self) -> Result<Vec<String>, DepotError> {
        let names = self.names("backups").await?;
        let id = |name: &String| name.strip_prefix("backups/")?.strip_suffix(".json").map(str::to_owned);
        Ok(names.iter().filter_map(id).filter(|id| manifest::is_id(id)).collect())
    }
    async fn names(&self, folder: &str) -> Result<Vec<String>, DepotError> {
        let prefix = self.path(folder);
        let found: Vec<_> = self.store().list(Some(&prefix)).try_collect().await.map_err(|source| failed("list", folder, source))?;
        let skip = if self.place.root.as_ref().is_empty() { 0 } else { self.place.root.as_ref().len() + 1 };
        Ok(found.iter().filter_map(|meta| meta.location.as_ref().get(skip..).map(str::to_owned)).collect())
    }
    async fn get(&self, name: &str) -> Result<Bytes, DepotError> {
        let found = match self.store().get(&self.path(name)).await {
            Ok(found) => found.bytes().await,
            Err(source) => Err(source),
        };
        found.map_err(|source| match source {
            object_store::Error::NotFound { .. } => DepotError::Missing(name.to_owned()),
            source => failed("read", name, source),
        })
    }
    async fn write(&self, name: &str, bytes: Bytes) -> Result<(), DepotError> {
        self.store().put(&self.path(name), bytes.into()).await.map_err(|source| failed("write", name, source))?;
        Ok(())
    }
    fn store(&self) -> &dyn ObjectStore {
        &*self.place.store
    }
    fn path(&self, name: &str) -> Path {
        let root = self.place.root.as_ref();
        if root.is_empty() { Path::from(name) } else { Path::from(format!("{root}/{name}")) }
    }
}

fn failed(what: &'static str, name: &str, source: object_store::Error) -> DepotError {
    DepotError::Store { what, name: name.to_owned(), source: Box::new(source) }
}

fn manifest_name(id: &str) -> String {
    format!("backups/{id}.json")
}

/// Where an object lies: in one of 256 folders, so that none gets too long.
pub fn object_name(digest: &Digest) -> String {
    let name = digest.to_string();
    format!("objects/{}/{name}", &name[..2])
}
