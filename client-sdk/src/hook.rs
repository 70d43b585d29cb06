//! Webhooks: what happens in a channel is posted to a URL, in order, at least once, with Standard Webhooks signatures.
//!
//! In: calls of a group's owner, or of an operator. Out: requests, each of which may be repeated. Not here: checking a signature (any library of
//! <https://www.standardwebhooks.com>).

use bytes::Bytes;
use kith_wire::{
    client::{Answer, Request},
    hook::{HookAnswer, HookEvents, HookKey, HookRequest, HookScope, HookView},
    id::HookId,
};
use rand::RngExt;

use crate::{
    client::{Client, unexpected},
    error::Error,
};

/// Webhooks of one scope. Cheap to clone; no IO by itself.
#[derive(Clone)]
pub struct Hooks {
    client: Client,
    scope: HookScope,
}

impl Client {
    /// Webhooks of a channel (for its owner), or of all channels or a bot's (for operators).
    pub fn hooks(&self, scope: HookScope) -> Hooks {
        Hooks { client: self.clone(), scope }
    }
}

impl Hooks {
    /// Registers one; posts are signed by this key, or by one that is drawn. Gives both: the key is told by nobody again.
    ///
    /// # Errors
    /// `Invalid` for a URL that may not be posted to, `NotAllowed`, `LimitReached`; or as [`Client::request`].
    pub async fn add(&self, url: &str, secret: Option<HookKey>, events: HookEvents) -> Result<(HookId, HookKey), Error> {
        // Drawn here, so that a repeated request is the same webhook with the same key. No generator is held over an await: it would bind the call to a thread.
        let secret = secret.unwrap_or_else(|| HookKey::new(Bytes::copy_from_slice(&rand::rng().random::<[u8; 32]>())));
        let key = rand::rng().random();
        let asked = HookRequest::Add { scope: self.scope, url: url.to_owned(), secret: secret.clone(), events, key };
        match self.ask(asked).await? {
            HookAnswer::Added { id } => Ok((id, secret)),
            _ => Err(unexpected()),
        }
    }
    /// Those there are, without their keys.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn list(&self) -> Result<Vec<HookView>, Error> {
        match self.ask(HookRequest::List(self.scope)).await? {
            HookAnswer::Hooks(hooks) => Ok(hooks),
            _ => Err(unexpected()),
        }
    }
    /// Removes one.
    ///
    /// # Errors
    /// `NotFound`; or as [`Client::request`].
    pub async fn remove(&self, id: HookId) -> Result<(), Error> {
        self.ask(HookRequest::Remove { scope: self.scope, id }).await.map(drop)
    }
    /// Posts an event of no meaning now. Gives the HTTP status that the other side gave.
    ///
    /// # Errors
    /// `Invalid` says why it could not be posted; or as [`Client::request`].
    pub async fn test(&self, id: HookId) -> Result<u32, Error> {
        match self.ask(HookRequest::Test { scope: self.scope, id }).await? {
            HookAnswer::Tested(status) => Ok(status),
            _ => Err(unexpected()),
        }
    }

    async fn ask(&self, asked: HookRequest) -> Result<HookAnswer, Error> {
        match self.client.request(Request::Hook(asked)).await? {
            Answer::Hook(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }
}
