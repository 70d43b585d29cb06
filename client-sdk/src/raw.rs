//! The protocol by hand: one session whose frames the caller writes and reads, for load generators and for checks of the server.
//!
//! In: frames. Out: frames, pages. Invariants: those of the framing only. Bounds: a frame's body at most `limit::FRAME_BYTES_MAX`; the caller
//! bounds what it adds. Not here: numbers, order, retries, resume, heartbeats: that is what a [`crate::Client`] is for.

use std::{sync::Arc, time::Duration};

use kith_wire::{
    client::{Hello, Page, Pull, ToClient, ToEdge, Welcome},
    code::Code,
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    driver::link::{self, Link},
    endpoint::{Endpoint, Trust},
    error::Error,
    transport::{Transport, Transports},
};

/// A session.
pub struct Session {
    link: Link,
    pulls: Arc<Semaphore>,
    welcome: Welcome,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("welcome", &self.welcome).finish_non_exhaustive()
    }
}

impl Session {
    /// Shakes hands with the edge at `host:port` and opens a session.
    ///
    /// # Errors
    /// The edge does not answer in time, is not believed, or refuses.
    pub async fn open(endpoint: &Endpoint, trust: &Trust, address: &str, hello: Hello, within: Duration) -> Result<Self, Error> {
        let mut link = link::connect(endpoint, trust, address, None, &Transports::new(&[Transport::Quic]), within).await?;
        link.add(&ToEdge::Hello(hello));
        let welcome = timeout(within, async {
            loop {
                match link.poll_frame()? {
                    Some(ToClient::Welcome(welcome)) => return Ok(welcome),
                    Some(ToClient::Bye(refusal)) => return Err(Error::refused(refusal, None)),
                    Some(_) => {}
                    None => link.poll().await?,
                }
            }
        });
        let welcome = welcome.await.unwrap_or_else(|_| Err(Error::new(Code::Timeout, "the edge did not answer Hello")))?;
        Ok(Self { link, pulls: endpoint.pulls.clone(), welcome })
    }

    /// What the edge answered to Hello.
    pub const fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Queues a frame; [`Session::poll`] writes it.
    pub fn add(&mut self, frame: &ToEdge) {
        self.link.add(frame);
    }

    /// Moves bytes both ways until something arrived, or everything queued was written. Cancel safe.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn poll(&mut self) -> Result<(), Error> {
        self.link.poll().await
    }

    /// The next frame of those that arrived. A [`ToClient::Bye`] is an error here.
    ///
    /// # Errors
    /// The edge ended the session, or sent what is no frame.
    pub fn poll_frame(&mut self) -> Result<Option<ToClient>, Error> {
        match self.link.poll_frame()? {
            Some(ToClient::Bye(refusal)) => Err(Error::refused(refusal, None)),
            other => Ok(other),
        }
    }

    /// Waits for the next frame. Cancel safe.
    ///
    /// # Errors
    /// As [`Session::poll`] and [`Session::poll_frame`].
    pub async fn next(&mut self) -> Result<ToClient, Error> {
        loop {
            if let Some(frame) = self.poll_frame()? {
                return Ok(frame);
            }
            self.poll().await?;
        }
    }

    /// A pull on a stream of its own.
    pub fn pull(&self, pull: &Pull) -> impl Future<Output = Result<Page, Error>> + Send + use<> {
        self.link.pull(pull, self.pulls.clone())
    }

    /// Ends the session.
    pub fn close(mut self) {
        self.link.close();
    }
}
