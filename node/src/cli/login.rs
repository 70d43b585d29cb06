//! Log-ins of the command line: what a device of an account needs to go on without its password.
//!
//! In: what the SDK says is to be kept. Out: the login of the last call. Layout: `DIR/logins/NAME.json`, readable by its owner only, locked
//! while in use, since a refresh token is used once. Invariant: the next token is in the file before it is used.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use kith_client::{
    Door, Error, Login, SavedLogin,
    wire::{code::Code, secret::Secret},
};
use kith_search::fold;
use serde::{Deserialize, Serialize};

use super::{
    device::{file_stem, hex, replace, unhex},
    failure::Failure,
};

/// A login in a file. It is free for the next call when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct LoginFile {
    path: Arc<Path>,
    _lock: Arc<File>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    user: String,
    name: String,
    nonce: String,
    refresh: String,
}

impl LoginFile {
    /// Takes the login file of a name.
    pub(crate) fn take(folder: &Path, name: &str) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::local("opening this user's login file", error, "see that you may write to the cluster's folder");
        let logins = folder.join("logins");
        fs::create_dir_all(&logins).map_err(|error| failed(&error))?;
        let path: PathBuf = logins.join(format!("{}.json", stem_of(&logins, name)));
        let lock = OpenOptions::new().create(true).write(true).truncate(false).open(path.with_extension("lock")).map_err(|error| failed(&error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: Arc::new(lock) }),
            Err(TryLockError::WouldBlock) => Err(Failure::usage(format!("another program is logged in as {name} now"), "end it first")),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }
    /// Names that are logged in here, sorted.
    pub(crate) fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = kept_in(&folder.join("logins")).map(|(_, kept)| kept.name).collect();
        names.sort();
        names.dedup();
        names
    }
    /// The login that it holds, which keeps itself here.
    pub(crate) fn login(&self, door: &Door, name: &str) -> Result<Login, Failure> {
        Ok(self.kept(door.resume(self.saved(name)?)))
    }
    /// What it holds.
    pub(crate) fn saved(&self, name: &str) -> Result<SavedLogin, Failure> {
        let hint = "log in: kith account log-in NAME";
        let bytes = fs::read(&self.path).map_err(|error| Failure::local(&format!("{name} is not logged in here"), &error, hint))?;
        let saved = serde_json::from_slice::<Kept>(&bytes).ok().and_then(|kept| {
            let nonce = unhex(&kept.nonce)?.try_into().ok()?;
            Some(SavedLogin { user: kept.user.parse().ok()?, name: kept.name, nonce, refresh: Secret::new(kept.refresh) })
        });
        saved.ok_or_else(|| Failure::usage(format!("{} is malformed", self.path.display()), hint))
    }
    /// Has a login keep itself here.
    pub(crate) fn kept(&self, login: Login) -> Login {
        let file = self.clone();
        login.keep(move |saved| file.write(saved).map_err(|error| Error::new(Code::Internal, format!("the login could not be kept: {error}"))))
    }
    /// Keeps a login.
    pub(crate) fn write(&self, saved: &SavedLogin) -> io::Result<()> {
        let kept =
            Kept { user: saved.user.to_string(), name: saved.name.clone(), nonce: hex(&saved.nonce), refresh: saved.refresh.reveal().to_owned() };
        replace(&self.path, &serde_json::to_vec(&kept)?)
    }
    /// Forgets the login.
    pub(crate) fn forget(&self) {
        // One that is not there is forgotten.
        let _ = fs::remove_file(&self.path);
    }
}

/// What is kept in a folder, by the stems of the files.
fn kept_in(logins: &Path) -> impl Iterator<Item = (String, Kept)> {
    let files = fs::read_dir(logins).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).filter_map(|path| {
        let kept = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        Some((path.file_stem()?.to_str()?.to_owned(), kept))
    })
}

/// The file of a name: the one that says so, since an account may have been renamed; else the one that it is given.
fn stem_of(logins: &Path, name: &str) -> String {
    let folded = fold(name.trim());
    let held = kept_in(logins).find(|(_, kept)| kept.name == folded);
    held.map_or_else(|| file_stem(&folded), |(stem, _)| stem)
}
