//! A write on its way.

use kith_wire::{
    code::Code,
    id::{ChannelId, ClientSeq, Seq},
    log::Position,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{driver::Command, error::Error, live::Live, timeline::LocalId};

/// A record of a channel, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageRef {
    /// Where.
    pub channel: ChannelId,
    /// Its place and the running number of texts.
    pub at: Position,
    /// Server time, in milliseconds since 1970.
    pub ts: u64,
}

impl MessageRef {
    /// Its place.
    pub const fn seq(&self) -> Seq {
        self.at.seq
    }
}

/// How far a write got.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// Stored here, to be sent.
    Queued,
    /// Sent at least once; its fate is not known yet.
    Sending,
    /// On the disks of a quorum.
    Sent(MessageRef),
    /// Done on a quorum, without a record of its own, under this id; 0 where it has none.
    Kept(u64),
    /// Refused for good: it will never appear. A text is kept, over restarts too, until [`Outgoing::retry`] or [`Outgoing::discard`].
    Failed(Error),
    /// Given up by [`Outgoing::discard`]: it will never appear.
    Discarded,
}

/// What a write came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// A record.
    Record(MessageRef),
    /// No record, since others need not know or nothing changed; its id, 0 where it has none.
    Kept(u64),
}

/// A write on its way. Dropping it changes nothing: the write goes on.
#[derive(Clone, Debug)]
pub struct Outgoing {
    channel: ChannelId,
    client_seq: ClientSeq,
    state: watch::Receiver<Delivery>,
    /// Not the client: a write that is looked at keeps no session open.
    commands: mpsc::WeakSender<Command>,
}

impl Outgoing {
    pub(crate) fn new(channel: ChannelId, client_seq: ClientSeq, state: watch::Receiver<Delivery>, commands: mpsc::WeakSender<Command>) -> Self {
        Self { channel, client_seq, state, commands }
    }
    /// Where to.
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }
    /// This device's number for it: unique in its channel.
    pub const fn client_seq(&self) -> ClientSeq {
        self.client_seq
    }
    /// Names it in every list of this device.
    pub const fn id(&self) -> LocalId {
        LocalId::own(self.client_seq)
    }
    /// How far it got.
    pub fn state(&self) -> Live<Delivery> {
        Live::new(self.state.clone())
    }
    /// Waits for the server's answer. Cancel safe: the write goes on.
    ///
    /// # Errors
    /// It was refused for good, or done without a record (see [`Outgoing::done`]); or the client was closed before an answer: then its fate is unknown, and the store's next client
    /// goes on with it.
    pub async fn sent(&self) -> Result<MessageRef, Error> {
        match self.done().await? {
            Done::Record(message) => Ok(message),
            Done::Kept(_) => Err(Error::new(Code::Invalid, "this was done without a record: there is nothing that stands somewhere")),
        }
    }
    /// As [`Outgoing::sent`], for a write that may be done without a record.
    ///
    /// # Errors
    /// It was refused for good; or the client was closed before an answer.
    pub async fn done(&self) -> Result<Done, Error> {
        let mut state = self.state.clone();
        let end = state.wait_for(|state| state.is_over()).await;
        match end.as_deref() {
            Ok(Delivery::Sent(message)) => Ok(Done::Record(*message)),
            Ok(Delivery::Kept(id)) => Ok(Done::Kept(*id)),
            Ok(Delivery::Failed(error)) => Err(error.clone()),
            Ok(Delivery::Discarded) => Err(Error::new(Code::Voided, "it was discarded")),
            _ => Err(Error::new(Code::Disconnected, "the client was closed before the write was answered")),
        }
    }
    /// Sends it again: at once, if it waits, under the same number; a text that was refused under a new one, as a new write at the end of the outbox.
    /// Resolves once that is stored.
    ///
    /// # Errors
    /// `NotFound`: it stands, was discarded, or is no text that was refused. Or the client is closed.
    pub async fn retry(&self) -> Result<Self, Error> {
        let (done, outgoing) = oneshot::channel();
        let (channel, client_seq) = (self.channel, self.client_seq);
        ask(&self.commands, Command::Retry { channel, client_seq, done }, outgoing).await
    }
    /// Gives it up: it leaves the lists, and a text that was refused is forgotten. One that is on its way may be too far: then it stands, and is
    /// shown as any record. Resolves once that is stored; [`Outgoing::state`] tells how it ends.
    ///
    /// # Errors
    /// As [`Outgoing::retry`].
    pub async fn discard(&self) -> Result<(), Error> {
        let (done, gone) = oneshot::channel();
        let (channel, client_seq) = (self.channel, self.client_seq);
        ask(&self.commands, Command::Discard { channel, client_seq, done }, gone).await
    }
}

async fn ask<T>(commands: &mpsc::WeakSender<Command>, command: Command, answer: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
    let commands = commands.upgrade().ok_or_else(Error::closed)?;
    commands.send(command).await.map_err(|_| Error::closed())?;
    drop(commands);
    answer.await.map_err(|_| Error::closed())?
}

impl Delivery {
    /// Whether it is as far as it gets.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Sent(_) | Self::Kept(_) | Self::Failed(_) | Self::Discarded)
    }
}
