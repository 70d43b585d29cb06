//! What happens to a user while somebody listens over HTTP: a session like any other, without a store behind it.
//!
//! In: the pushes of the user's home, through the session's outbox. Out: [`News`], in order. Invariant: registered before it is told where the
//! index stands, so that nothing is missed between; forgotten when it is dropped. Bounds: the outbox's; `limit::DEVICES_MAX` listeners and
//! devices of a user at once, `streams_max` listeners of a node. Not here: how it is written (`sync`, `events`).

use std::{collections::VecDeque, sync::Arc};

use kith_wire::{
    client::{Event, Refusal, ToClient},
    code::Code,
    frame::{self, Kind},
    id::{Conn, DeviceId, SessionId, UserId, UserRev},
    limit,
    presence::PresenceRequest,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{Api, problem::Problem};
use crate::{
    auth::Claims,
    clock,
    outbox::{Item, Outbox},
    session::{Sessions, Whose, codec},
};

/// Somebody who listens.
pub(super) struct Live {
    sessions: Arc<dyn Sessions>,
    id: SessionId,
    outbox: Arc<Outbox>,
    waiting: VecDeque<News>,
    /// Where the user's index stood when this was registered.
    pub(super) user_rev: UserRev,
    api: Api,
    _place: OwnedSemaphorePermit,
}

/// Something that happened.
#[derive(Debug)]
pub(super) enum News {
    /// As a session is told.
    Event(Event),
    /// Something was dropped: the index is to be read up to here.
    SyncNeeded(UserRev),
    /// The node is closing: go elsewhere.
    GoAway,
    /// The end, and why.
    Bye(Refusal),
}

impl Live {
    /// Listens for whoever shows the token: as its device, or as nobody's when it is for any.
    pub(super) async fn open(api: &Api, claims: &Claims) -> Result<Self, Problem> {
        let place = api.streams.clone().try_acquire_owned().map_err(|_| Problem::from(Refusal::busy(FULL_MS)))?;
        let outbox = Arc::new(Outbox::new(api.outbox_metrics.clone()));
        let nonce = (u128::from(clock::draw()) << 64) | u128::from(clock::draw());
        let device = claims.device.unwrap_or_else(|| DeviceId::from_nonce(claims.user, &nonce.to_be_bytes()));
        // The last one to listen as a device is the one that does.
        let conn = Conn::new(api.clock.now().get());
        let whose = Whose { user: claims.user, device, conn, grant: claims.grant() };
        let sessions = api.sessions.clone();
        let id = sessions.open(whose, outbox.clone());
        // From here on the drop forgets it, whatever becomes of the registration.
        let mut live = Self { sessions, id, outbox, waiting: VecDeque::new(), user_rev: UserRev::ZERO, api: api.clone(), _place: place };
        live.user_rev = live.sessions.watch(id, whose).await?.user_rev;
        Ok(live)
    }

    /// Whom the listener wants to hear of.
    pub(super) fn watch(&self, users: Vec<UserId>) {
        if !users.is_empty() {
            self.sessions.presence(self.id, &PresenceRequest::Watch { users });
        }
    }

    /// Waits for what happens next. Cancel safe.
    pub(super) async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.waiting.pop_front() {
                return news;
            }
            self.outbox.ready().await;
            let mut items = Vec::new();
            while self.outbox.drain(limit::OUTBOX_BYTES_MAX, &mut items, self.api.clock.instant()) {}
            self.waiting.extend(items.into_iter().filter_map(news));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.sessions.close(self.id);
    }
}

fn news(item: Item) -> Option<News> {
    Some(match item {
        Item::Frame(bytes) => {
            let mut decoder = frame::Decoder::new(codec::FRAMING, limit::FRAME_BYTES_MAX);
            decoder.push(&bytes);
            let frame = decoder.poll().ok()??;
            match (frame.kind == Kind::ToClient).then(|| ToClient::decode(&frame.body)) {
                Some(Ok(ToClient::Event(event))) => News::Event(event),
                _ => {
                    tracing::error!(code = %Code::Internal, "http.live: the outbox holds what is no event");
                    return None;
                }
            }
        }
        Item::SyncNeeded(to) => News::SyncNeeded(to),
        Item::GoAway(_) => News::GoAway,
        Item::Bye(why) => News::Bye(why),
    })
}

/// When all places for listeners are taken.
const FULL_MS: u32 = 5_000;
