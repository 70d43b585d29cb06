//! Logins and devices of the full client, in the files that the other verbs use, too.
//!
//! Layout: `DIR/logins/NAME.json` for a login, `DIR/devices/login-<nonce>.json` for its device. Invariant: one program at a time uses a login.

use std::path::PathBuf;

use kith_client::{ClientBuilder, Error, SavedLogin, wire::code::Code};
use kith_tui::{Home, Seat};

use super::{device::DeviceFile, failure::Failure, login::LoginFile};

/// Logins of a folder.
pub(super) struct Logins {
    folder: PathBuf,
}

impl Logins {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

impl Home for Logins {
    fn names(&self) -> Vec<String> {
        LoginFile::names(&self.folder)
    }
    fn take(&self, name: &str) -> Result<Box<dyn Seat>, Error> {
        let file = LoginFile::take(&self.folder, name).map_err(Failure::into_error)?;
        Ok(Box::new(Taken { folder: self.folder.clone(), name: name.to_owned(), file }))
    }
}

struct Taken {
    folder: PathBuf,
    name: String,
    file: LoginFile,
}

impl Seat for Taken {
    fn saved(&self) -> Result<SavedLogin, Error> {
        self.file.saved(&self.name).map_err(Failure::into_error)
    }
    fn keep(&self, saved: &SavedLogin) -> Result<(), Error> {
        self.file.write(saved).map_err(|error| Error::new(Code::Internal, format!("the login could not be kept: {error}")))
    }
    fn forget(&self) {
        if let Ok(saved) = self.file.saved(&self.name) {
            DeviceFile::forget_login(&self.folder, &saved.nonce);
        }
        self.file.forget();
    }
    fn store(&self, saved: &SavedLogin, client: ClientBuilder) -> Result<ClientBuilder, Error> {
        let device = DeviceFile::of_login(&self.folder, &saved.nonce).map_err(Failure::into_error)?;
        Ok(client.store(device))
    }
}
