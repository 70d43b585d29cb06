//! Where logins and devices are kept: the shell asks for them here, the program that opens it says how.
//!
//! Invariants: a login is used by one program at a time, since a refresh token is used once; a device's store outlives the program, so that
//! what was not sent is sent by the next one. Not here: files (the program's).

use kith_client::{ClientBuilder, Error, SavedLogin};

/// What outlives the program on this machine.
pub trait Home: Send + Sync + 'static {
    /// Names that are logged in here, sorted.
    fn names(&self) -> Vec<String>;
    /// Takes the place of a name, for as long as it is held.
    ///
    /// # Errors
    /// Another program holds it, or it cannot be used.
    fn take(&self, name: &str) -> Result<Box<dyn Seat>, Error>;
}

/// The place of one login.
pub trait Seat: Send + Sync + 'static {
    /// What was kept.
    ///
    /// # Errors
    /// Nothing was, or it cannot be read.
    fn saved(&self) -> Result<SavedLogin, Error>;
    /// Keeps it. Durable when it returns.
    ///
    /// # Errors
    /// It could not be kept.
    fn keep(&self, saved: &SavedLogin) -> Result<(), Error>;
    /// Forgets the login and its device.
    fn forget(&self);
    /// Gives a client the store of this login's device.
    ///
    /// # Errors
    /// The store cannot be used.
    fn store(&self, saved: &SavedLogin, client: ClientBuilder) -> Result<ClientBuilder, Error>;
}
