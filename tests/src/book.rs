//! The book of a scenario: which conversations there are, and what was acked in them.
//!
//! In: channels made, acks. Out: what every replica and every device must show in the end. Texts of a scenario differ from each other, so
//! that one that stands twice is seen.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kith_wire::id::{ChannelId, Seq};

/// A conversation of the scenario.
#[derive(Clone, Debug)]
pub struct Room {
    /// Its name in the scenario.
    pub name: String,
    /// Its id.
    pub channel: ChannelId,
    /// A person who sees all of it.
    pub reader: String,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    rooms: BTreeMap<String, Room>,
    acked: BTreeMap<ChannelId, BTreeMap<Seq, String>>,
    talks: u64,
}

impl Book {
    /// Notes a conversation.
    pub fn open(&self, room: Room) {
        self.lock().rooms.insert(room.name.clone(), room);
    }

    /// The conversation of that name.
    ///
    /// # Panics
    /// The scenario has made none.
    pub fn room(&self, name: &str) -> Room {
        self.lock().rooms.get(name).cloned().unwrap_or_else(|| panic!("the scenario has made no room {name:?}"))
    }

    /// All conversations.
    pub fn rooms(&self) -> Vec<Room> {
        self.lock().rooms.values().cloned().collect()
    }

    /// Notes an acked text.
    ///
    /// # Panics
    /// Another text was acked with this seq: promise 2 is broken.
    pub fn acked(&self, channel: ChannelId, seq: Seq, text: &str) {
        let mut pages = self.lock();
        let before = pages.acked.entry(channel).or_default().insert(seq, text.to_owned());
        assert!(before.as_deref().is_none_or(|before| before == text), "seq {seq} of {channel} was acked for {before:?} and for {text:?}");
    }

    /// Acked texts of a conversation, by seq.
    pub fn of(&self, channel: ChannelId) -> BTreeMap<Seq, String> {
        self.lock().acked.get(&channel).cloned().unwrap_or_default()
    }

    /// A number that no other talk of the scenario has.
    pub(crate) fn next_talk(&self) -> u64 {
        let mut pages = self.lock();
        pages.talks += 1;
        pages.talks
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
