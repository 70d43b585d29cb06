//! A server in the app's own process, for tests of apps: no cluster is needed.
//!
//! In: what a test has happen. Out: what was recorded. Not here: what it does (`kith_client::testing`).

use std::{sync::Arc, time::Duration};

use kith_client::{
    testing::{FakeServer as Server, Fault},
    wire::{
        code::Code,
        id::{ChannelId, UserId},
    },
};

use crate::{error::ChatError, value::channel_of};

/// A server in this process. It ends with its last handle.
#[derive(uniffi::Object)]
pub struct FakeServer(Server);

fn code_of(name: &str) -> Result<Code, ChatError> {
    Code::ALL.iter().copied().find(|code| code.name() == name).ok_or_else(|| ChatError::invalid("this is no name of a code"))
}

#[uniffi::export(async_runtime = "tokio")]
impl FakeServer {
    /// Begins, on a free port of this machine.
    #[uniffi::constructor]
    pub async fn start() -> Result<Arc<Self>, ChatError> {
        Ok(Arc::new(Self(Server::start()?)))
    }
    /// `host:port` of it.
    pub fn address(&self) -> String {
        self.0.address()
    }
    /// The authority that its certificate is believed by.
    pub fn ca_pem(&self) -> String {
        self.0.ca_pem().to_owned()
    }
    /// A token of a user of this name, who is made when they are first asked for.
    pub fn token(&self, name: String) -> String {
        self.0.token(self.0.user(&name))
    }
    /// The direct conversation of two users, by name.
    pub fn direct(&self, one: String, other: String) -> String {
        ChannelId::direct(self.user(&one), self.user(&other)).to_string()
    }
    /// Somebody writes, whom no client of the test is. Gives the place.
    pub fn say(&self, channel: String, name: String, text: String) -> Result<u64, ChatError> {
        Ok(self.0.say(channel_of(&channel)?, self.user(&name), &text).get())
    }
    /// The texts of a conversation, in order.
    pub fn texts(&self, channel: String) -> Result<Vec<String>, ChatError> {
        Ok(self.0.texts(channel_of(&channel)?))
    }
    /// The next request is lost, with its connection, before it is done.
    pub fn lose_request(&self) {
        self.0.next(Fault::LoseRequest);
    }
    /// The next request is done, and its answer is lost with its connection.
    pub fn lose_answer(&self) {
        self.0.next(Fault::LoseAnswer);
    }
    /// The next request is refused, with the code of this name.
    pub fn refuse(&self, code: String) -> Result<(), ChatError> {
        self.0.next(Fault::Refuse(code_of(&code)?, None));
        Ok(())
    }
    /// As a tunnel does it: while it is not reachable, connections end and none is taken.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.0.set_reachable(is_reachable);
    }
    /// Every connection ends; new ones are taken.
    pub fn disconnect(&self) {
        self.0.disconnect();
    }
    /// The next session that is to be opened is refused, with the code of this name.
    pub fn refuse_next_session(&self, code: String) -> Result<(), ChatError> {
        self.0.refuse_next_session(code_of(&code)?);
        Ok(())
    }
    /// The time by the server's clock. It stands still, but for a millisecond with each record.
    pub fn now_ms(&self) -> u64 {
        self.0.now().get()
    }
    /// Time passes.
    pub fn advance(&self, by_ms: u64) {
        self.0.advance(Duration::from_millis(by_ms));
    }
    /// The id of a user of this name, who is made when they are first asked for.
    pub fn user_of(&self, name: String) -> String {
        self.user(&name).to_string()
    }
    /// Every token given so far has expired.
    pub fn expire_tokens(&self) {
        self.0.expire_tokens();
    }
}

impl FakeServer {
    fn user(&self, name: &str) -> UserId {
        self.0.user(name)
    }
}
