//! Who is who: names and display names, asked for once each.
//!
//! In: ids that are to be shown, profiles. Out: names, made harmless. Bound: `PEOPLE_MAX`; beyond it all are forgotten and asked anew.

use std::collections::{BTreeMap, BTreeSet};

use kith_client::wire::{
    id::{Timestamp, UserId},
    limit,
    people::ProfileView,
};

use crate::text;

/// People that are remembered.
const PEOPLE_MAX: usize = 20_000;
/// After a failure, until they are asked for again.
const AGAIN_MS: u64 = 3_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) display: String,
    pub(crate) about: String,
}

#[derive(Debug, Default)]
pub(crate) struct People {
    known: BTreeMap<UserId, Person>,
    wanted: BTreeSet<UserId>,
    asked: BTreeSet<UserId>,
    /// After a failure nobody is asked for a while.
    not_before: Timestamp,
}

impl People {
    /// These are to be shown: they will be asked for if need be.
    pub(crate) fn want(&mut self, users: impl IntoIterator<Item = UserId>) {
        for user in users {
            if user != UserId::default() && !self.known.contains_key(&user) && !self.asked.contains(&user) {
                self.wanted.insert(user);
            }
        }
    }
    /// Whom to ask for now, if anybody.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<Vec<UserId>> {
        let some: Vec<UserId> = self.wanted.iter().copied().take(limit::USERS_PER_REQUEST).collect();
        if some.is_empty() || now < self.not_before {
            return None;
        }
        for user in &some {
            self.wanted.remove(user);
            self.asked.insert(*user);
        }
        Some(some)
    }
    pub(crate) fn learn(&mut self, profiles: Vec<ProfileView>) {
        if self.known.len() > PEOPLE_MAX {
            self.known.clear();
        }
        for profile in profiles {
            self.asked.remove(&profile.user);
            let person = Person { name: text::line(&profile.name), display: text::line(&profile.display), about: text::block(&profile.about) };
            self.known.insert(profile.user, person);
        }
    }
    /// They could not be asked for: next time, then.
    pub(crate) fn failed(&mut self, users: &[UserId], now: Timestamp) {
        self.not_before = Timestamp::new(now.get() + AGAIN_MS);
        users.iter().for_each(|user| {
            self.asked.remove(user);
        });
    }
    /// Whoever is still not known has no account any more: not asked for again.
    pub(crate) fn missing(&mut self, users: &[UserId]) {
        let gone = users.iter().filter(|user| !self.known.contains_key(user)).copied();
        self.asked.extend(gone.collect::<Vec<_>>());
    }
    /// They may have other names by now.
    pub(crate) fn forget(&mut self, user: UserId) {
        self.known.remove(&user);
    }
    pub(crate) fn get(&self, user: UserId) -> Option<&Person> {
        self.known.get(&user)
    }
    /// What is shown: the display name, and the name, which tells them apart, unless it says the same.
    pub(crate) fn shown(&self, user: UserId) -> String {
        match self.known.get(&user) {
            Some(person) => shown(&person.name, &person.display),
            // An account that is gone has no name; one that is not known yet has none for a moment.
            None => format!("user {}", &format!("{:016x}", user.get())[..6]),
        }
    }
    /// By the unique name, among those that are known.
    pub(crate) fn by_name(&self, name: &str, among: impl IntoIterator<Item = UserId>) -> Option<UserId> {
        let name = name.to_lowercase();
        among.into_iter().find(|user| self.known.get(user).is_some_and(|person| person.name == name))
    }
}

/// A name and a display name as one.
pub(crate) fn shown(name: &str, display: &str) -> String {
    let (name, display) = (text::line(name), text::line(display));
    if display.trim().is_empty() || display.to_lowercase() == name {
        return name;
    }
    format!("{} ({name})", display.trim())
}
