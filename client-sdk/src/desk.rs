//! Moderation: reports of texts, and what operators do about them.
//!
//! In: calls. Out: requests, each of which may be repeated. Not here: running a group (`act`).

use kith_wire::{
    client::{Answer, Request},
    desk::{AuditView, DeskAnswer, DeskRequest, ReportView},
    id::Seq,
};

use crate::{
    channel::Channel,
    client::{Client, unexpected},
    error::Error,
};

/// What operators do. Each call needs an operator's token. Cheap to clone; no IO by itself.
#[derive(Clone)]
pub struct Desk {
    client: Client,
}

impl Client {
    /// Reports, bans, the audit log: for operators.
    pub fn desk(&self) -> Desk {
        Desk { client: self.clone() }
    }
    async fn ask_desk(&self, asked: DeskRequest) -> Result<DeskAnswer, Error> {
        match self.request(Request::Desk(asked)).await? {
            Answer::Desk(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }
}

impl Channel {
    /// Tells the operators of a text of somebody else.
    ///
    /// # Errors
    /// `NotFound` for what this user may not read, `TextGone`, `Busy` while too many reports are open; or as [`Client::request`].
    pub async fn report(&self, seq: Seq, reason: impl Into<String>) -> Result<(), Error> {
        self.client.ask_desk(DeskRequest::Report { channel: self.id(), seq, reason: reason.into() }).await.map(drop)
    }
}

impl Desk {
    /// Open reports after this one, the oldest first, and whether there are more.
    ///
    /// # Errors
    /// `NotAdmin`; or as [`Client::request`].
    pub async fn reports(&self, after: u64) -> Result<(Vec<ReportView>, bool), Error> {
        match self.client.ask_desk(DeskRequest::Reports { after }).await? {
            DeskAnswer::Reports { reports, more } => Ok((reports, more)),
            _ => Err(unexpected()),
        }
    }
    /// Has seen to a report.
    ///
    /// # Errors
    /// `NotFound`, `NotAdmin`; or as [`Client::request`].
    pub async fn close_report(&self, id: u64, note: impl Into<String>) -> Result<(), Error> {
        self.client.ask_desk(DeskRequest::CloseReport { id, note: note.into() }).await.map(drop)
    }
    /// Shuts a user out of the cluster: their sessions end within a second, and they cannot log in. Or lets them in again.
    ///
    /// # Errors
    /// `NoSuchUser`, `NotAdmin`; or as [`Client::request`].
    pub async fn ban(&self, name: &str, banned: bool, note: impl Into<String>) -> Result<(), Error> {
        self.client.ask_desk(DeskRequest::Ban { name: name.to_owned(), banned, note: note.into() }).await.map(drop)
    }
    /// The audit log before this entry (0: from the newest), the newest first, and whether there are older ones.
    ///
    /// # Errors
    /// `NotAdmin`; or as [`Client::request`].
    pub async fn audit(&self, before: u64) -> Result<(Vec<AuditView>, bool), Error> {
        match self.client.ask_desk(DeskRequest::Audit { before }).await? {
            DeskAnswer::Audit { entries, more } => Ok((entries, more)),
            _ => Err(unexpected()),
        }
    }
}
