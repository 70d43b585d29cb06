//! Pushes: where this device is reached while it is not connected, and what it does with one.
//!
//! In: what the system gave the app (a token, a subscription), payloads that a provider delivered. Out: requests; the record that a push is about. Invariant: a
//! payload is a pointer: what it is about is asked of the cluster, and shown once whether or not the same push comes again. Bounds: a wait that the app sets. Not
//! here: what a payload looks like (kith-wire's `push`), when a device is pushed to (its home).

use std::{sync::Arc, time::Duration};

use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{ChannelId, Seq},
    log::{PushTarget, QuietHours, Record},
    push::{PushAbout, PushPayload},
    push_device::{PushAnswer, PushRequest, PushState, PushTested},
};

use crate::{
    client::{Client, unexpected},
    error::Error,
};

/// The store is looked at so often while a record is waited for: it comes with the session, which says nothing of it here.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A message that a push is about.
#[derive(Clone, PartialEq, Debug)]
pub struct PushedMessage {
    /// Its conversation.
    pub channel: ChannelId,
    /// The newest record there when the push was decided.
    pub record: Arc<Record>,
    /// Something up to there mentions the user.
    pub is_mention: bool,
    /// Sum of unread over all conversations, for the app's badge.
    pub badge: u32,
}

impl Client {
    /// Has this device pushed to while it is not connected, in the place of what was registered for it. To be called at each start of the app: a token may change, and one that
    /// is not registered anew for nine months is forgotten. From then on it
    /// tells the edge what it holds, so that it is not pushed what it has.
    ///
    /// # Errors
    /// `Invalid`, with the reason: it reaches no device. Else as [`Client::request`].
    pub async fn register_push(&self, target: PushTarget) -> Result<(), Error> {
        self.push_done(PushRequest::Register { target }).await?;
        self.confirm(true).await
    }
    /// Has this device pushed to no more. Who logs out is not pushed to anyway.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn unregister_push(&self) -> Result<(), Error> {
        self.push_done(PushRequest::Unregister).await?;
        self.confirm(false).await
    }
    /// When the user wants to hear of mentions only, on all devices; `None`: at no time.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn set_quiet_hours(&self, quiet: Option<QuietHours>) -> Result<(), Error> {
        self.push_done(PushRequest::SetQuiet { quiet }).await
    }
    /// Which of the user's devices are pushed to, what last went wrong with each, and what browsers subscribe with.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn pushes(&self) -> Result<PushState, Error> {
        match self.request(Request::Push(PushRequest::Get)).await? {
            Answer::Push(PushAnswer::State(state)) => Ok(state),
            _ => Err(unexpected()),
        }
    }
    /// Sends each of the user's devices a push that says nothing, and tells what came of it.
    ///
    /// # Errors
    /// `RateLimited`: it was tried a moment ago. Else as [`Client::request`].
    pub async fn test_push(&self) -> Result<Vec<PushTested>, Error> {
        match self.request(Request::Push(PushRequest::Test)).await? {
            Answer::Push(PushAnswer::Tested(tested)) => Ok(tested),
            _ => Err(unexpected()),
        }
    }
    /// The message that a push is about: connects if need be, and waits until this device holds it, so long at most. `payload` is what stands under `kith` in what the provider
    /// delivered, as text or as bytes. `None`: there is nothing to show, since it was read elsewhere
    /// ([`Client::taken_back`] says of which conversation), is a test, or did not come in time; the app syncs all the same.
    /// Cancel safe.
    ///
    /// # Errors
    /// `Invalid`: it is no push of this cluster, or of another user. The client was closed; its store failed.
    pub async fn open_push(&self, payload: &[u8], within: Duration) -> Result<Option<PushedMessage>, Error> {
        let payload = self.payload_of_mine(payload)?;
        let PushAbout::Grown { channel, seq, is_mention } = payload.about else { return Ok(None) };
        let found = tokio::time::timeout(within, async {
            if let Some(record) = self.held_record(channel, seq).await? {
                return Ok::<_, Error>(Some(record));
            }
            self.connect().await?;
            loop {
                if let Some(record) = self.held_record(channel, seq).await? {
                    return Ok(Some(record));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        let record: Option<Arc<Record>> = found.await.unwrap_or(Ok(None))?;
        let row = self.channels().await?.into_iter().find(|summary| summary.channel == channel);
        let is_read = row.is_some_and(|summary| summary.row.read.seq >= seq);
        Ok(record.filter(|_| !is_read).map(|record| PushedMessage { channel, record, is_mention, badge: payload.badge }))
    }

    /// What a push takes back: the conversation, and up to which record the user has read it on another device. The app removes what it shows of it, and sets the badge.
    /// `None`: it is a push about something new, or a test. Asks nobody.
    ///
    /// # Errors
    /// `Invalid`: it is no push of this cluster, or of another user.
    pub fn taken_back(&self, payload: &[u8]) -> Result<Option<(ChannelId, Seq)>, Error> {
        Ok(match self.payload_of_mine(payload)?.about {
            PushAbout::Read { channel, seq } => Some((channel, seq)),
            PushAbout::Grown { .. } | PushAbout::Test { .. } => None,
        })
    }

    fn payload_of_mine(&self, payload: &[u8]) -> Result<PushPayload, Error> {
        let text = std::str::from_utf8(payload).ok().map(str::trim);
        let decoded = text.and_then(|text| PushPayload::decode_text(text).ok()).map_or_else(|| PushPayload::decode(payload), Ok);
        let payload = decoded.map_err(|error| Error::caused(Code::Invalid, "reading a push", error))?;
        if payload.user != self.me() {
            return Err(Error::new(Code::Invalid, "this push is for another user"));
        }
        Ok(payload)
    }
    async fn held_record(&self, channel: ChannelId, seq: Seq) -> Result<Option<Arc<Record>>, Error> {
        Ok(self.channel(channel).records(seq, seq, 1).await?.into_iter().next())
    }
    async fn push_done(&self, asked: PushRequest) -> Result<(), Error> {
        match self.request(Request::Push(asked)).await? {
            Answer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }
}
