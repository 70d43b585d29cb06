//! Who is here, of those that the screen shows: whom to look at, and in what words it is said.
//!
//! In: the screen that is on top, views of the SDK. Out: users to look at, when they are others than before. Bound: `limit::WATCHES_MAX`.

use std::collections::BTreeSet;

use kith_client::{
    PresenceMap,
    wire::{
        id::{Timestamp, UserId},
        limit,
        people::ContactState,
        presence::{PresenceState, PresenceView},
    },
};

use crate::{app::App, screen::Screen, time::Zone};

#[derive(Debug, Default)]
pub(crate) struct Presence {
    looked_at: BTreeSet<UserId>,
    map: PresenceMap,
}

impl Presence {
    pub(crate) fn take(&mut self, map: PresenceMap) {
        self.map = map;
    }
    /// Whom to look at from now on, if that is new.
    pub(crate) fn poll(&mut self, wanted: BTreeSet<UserId>) -> Option<Vec<UserId>> {
        if wanted == self.looked_at {
            return None;
        }
        self.looked_at = wanted;
        Some(self.looked_at.iter().copied().collect())
    }
    /// A dot for somebody who is here.
    pub(crate) fn dot(&self, user: UserId) -> &'static str {
        match self.map.get(&user).map(|view| view.state) {
            Some(PresenceState::Online) => " ●",
            Some(PresenceState::Away) => " ○",
            _ => "",
        }
    }
    /// In words; empty if there is nothing to be said.
    pub(crate) fn words(&self, user: UserId, zone: &Zone, now: Timestamp) -> String {
        match self.map.get(&user) {
            Some(PresenceView { state: PresenceState::Online, .. }) => "online".to_owned(),
            Some(PresenceView { state: PresenceState::Away, .. }) => "away".to_owned(),
            Some(PresenceView { last_seen: Some(at), .. }) => format!("last seen {}", zone.short(*at, now)),
            _ => String::new(),
        }
    }
}

/// Those who are on the screen: contacts there, or the other sides of conversations.
pub(crate) fn on_screen(app: &App) -> BTreeSet<UserId> {
    let others = |channels: &mut dyn Iterator<Item = kith_client::wire::id::ChannelId>| {
        channels.filter_map(|channel| channel.peer_of(app.me)).filter(|peer| *peer != app.me).take(limit::WATCHES_MAX).collect()
    };
    match app.ground() {
        Screen::Contacts(_) => {
            let mutual = app.contacts.iter().flatten().filter(|contact| contact.state == ContactState::Mutual);
            mutual.map(|contact| contact.user).take(limit::WATCHES_MAX).collect()
        }
        Screen::Talk { channel } => others(&mut std::iter::once(*channel)),
        Screen::List { archived, .. } => {
            let list = if *archived { &app.archived } else { &app.list };
            others(&mut list.iter().map(|summary| summary.channel))
        }
        _ => BTreeSet::new(),
    }
}
