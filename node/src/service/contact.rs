//! Profiles, contacts, blocks and the search for users, as any node serves them.
//!
//! In: an authenticated caller's requests. Out: views, which name nobody who does not exist. Invariants: the search index only proposes; what is
//! shown, and whether it may be, is said by the homes of those found. Bounds: `limit::SEARCH_FOUND_MAX`, `limit::CONTACTS_PER_PAGE`. Not here:
//! what the rows mean (kith-machine), who tells other homes (`debt`).

use std::collections::BTreeMap;

use kith_wire::{
    client::Refusal,
    code::Code,
    id::UserId,
    limit,
    log::{ContactRow, ProfileField, UserChange, bucket_of_word},
    peer::{Caller, Inner, InnerAnswer},
    people::{ContactState, ContactView, PeopleAnswer, ProfileView},
};

use super::account::ask_homes;
use crate::{
    auth::name::{is_showable, search_prefix, words},
    clock::Instant,
    router::{Router, refuse},
};

/// A profile that cannot be used to deceive: no character of it is unseen or turns what is around it; an about may have lines.
///
/// # Errors
/// `Invalid`.
pub(super) fn check_profile(texts: [&Option<String>; 3], fields: &[ProfileField]) -> Result<(), Refusal> {
    let [display, about, avatar] = texts;
    let lines = about.iter().flat_map(|about| about.split('\n'));
    let shown = display.iter().chain(avatar).map(String::as_str).chain(lines);
    let of_fields = fields.iter().flat_map(|field| [field.key.as_str(), field.value.as_str()]);
    if !shown.chain(of_fields).all(is_showable) {
        return Err(refuse(Code::Invalid).with_text("a profile has no control or invisible characters"));
    }
    match avatar {
        Some(url) if !url.is_empty() && !url.starts_with("https://") => Err(refuse(Code::Invalid).with_text("a picture is an https:// URL")),
        _ => Ok(()),
    }
}

/// A change of the caller.
///
/// # Errors
/// What their home says.
pub(super) async fn change(router: &Router, caller: &Caller, change: UserChange, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
    router.inner(caller.user.bucket(), Inner::User { user: caller.user, change }, deadline).await.map(|_| PeopleAnswer::Done)
}

/// Asks somebody who exists to be a contact.
///
/// # Errors
/// `NoSuchUser`, `LimitReached`, `NotAllowed`.
pub(super) async fn ask(router: &Router, caller: &Caller, peer: UserId, asked: bool, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
    if asked && profiles(router, vec![peer], deadline).await?.is_empty() {
        return Err(refuse(Code::NoSuchUser));
    }
    change(router, caller, UserChange::AskContact { peer, asked }, deadline).await
}

/// What is seen of users, by rising id, each with whether search may show it; asked for by group, all groups at once.
///
/// # Errors
/// `TooLarge`, or a group has no leader.
pub(super) async fn profiles(router: &Router, users: Vec<UserId>, deadline: Instant) -> Result<Vec<(ProfileView, bool)>, Refusal> {
    if users.len() > limit::USERS_PER_REQUEST {
        return Err(refuse(Code::TooLarge));
    }
    let mut found = Vec::new();
    for answer in ask_homes(router, users, |users| Inner::GetProfiles { users }, deadline).await? {
        if let InnerAnswer::Profiles(profiles) = answer {
            found.extend(profiles);
        }
    }
    found.sort_by_key(|(profile, _)| profile.user);
    Ok(found)
}

/// Users by the beginning of a word. Who does not want to be found is not, nor who has another name by now.
///
/// # Errors
/// `Invalid`: nothing to look for. Else a group has no leader.
pub(super) async fn search(router: &Router, typed: &str, deadline: Instant) -> Result<PeopleAnswer, Refusal> {
    let prefix = search_prefix(typed).ok_or_else(|| refuse(Code::Invalid).with_text("type the beginning of a name"))?;
    let answer = router.inner(bucket_of_word(&prefix), Inner::FindWords { prefix: prefix.clone() }, deadline).await?;
    let InnerAnswer::Words(found) = answer else { return Err(refuse(Code::Internal)) };
    let mut users: Vec<UserId> = found.into_iter().map(|(_, user)| user).collect();
    users.sort_unstable();
    users.dedup();
    let mut shown = profiles(router, users, deadline).await?;
    shown.retain(|(profile, searchable)| *searchable && words(&profile.name, &profile.display).iter().any(|word| word.starts_with(&prefix)));
    // Whoever is called just so comes first.
    shown.sort_by_key(|(profile, _)| (profile.name != prefix, profile.name.clone()));
    shown.truncate(limit::SEARCH_FOUND_MAX);
    Ok(PeopleAnswer::Profiles(shown.into_iter().map(|(profile, _)| profile).collect()))
}

/// A page of contacts with what is seen of them; what is not known now is left empty rather than waited for.
pub(super) async fn named(router: &Router, page: PeopleAnswer, deadline: Instant) -> PeopleAnswer {
    let PeopleAnswer::Contacts { mut contacts, more } = page else { return page };
    let users = contacts.iter().map(|contact| contact.user).collect();
    if let Ok(profiles) = profiles(router, users, deadline).await {
        let mut by_user: BTreeMap<UserId, ProfileView> = profiles.into_iter().map(|(profile, _)| (profile.user, profile)).collect();
        for contact in &mut contacts {
            if let Some(profile) = by_user.remove(&contact.user) {
                (contact.name, contact.display) = (profile.name, profile.display);
            }
        }
    }
    PeopleAnswer::Contacts { contacts, more }
}

/// How a row looks to its user. A request that was declined does not, nor one of somebody blocked.
pub(super) fn view_of(user: UserId, row: &ContactRow) -> Option<ContactView> {
    let state = match row {
        row if row.blocked => ContactState::Blocked,
        row if row.is_mutual() => ContactState::Mutual,
        row if row.mine => ContactState::Asked,
        row if row.theirs && !row.declined => ContactState::Asking,
        _ => return None,
    };
    Some(ContactView { user, name: String::new(), display: String::new(), state, since: row.since })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_deceives_nobody() {
        let check = |display: &str, about: &str, avatar: &str| {
            let texts = [&Some(display.to_owned()), &Some(about.to_owned()), &Some(avatar.to_owned())];
            check_profile(texts, &[]).err().map(|refusal| refusal.code)
        };
        assert_eq!(check("Ann \u{1f980} 山田", "two\nlines", "https://example.org/a.png"), None);
        assert_eq!(check("", "", ""), None);
        assert_eq!(check("a\u{202e}b", "", ""), Some(Code::Invalid));
        assert_eq!(check("two\nlines", "", ""), Some(Code::Invalid));
        assert_eq!(check("", "", "javascript:alert(1)"), Some(Code::Invalid));
        let field = ProfileField { key: "x".into(), value: "a\u{0}".into() };
        assert!(check_profile([&None, &None, &None], &[field]).is_err());
    }

    #[test]
    fn what_is_declined_or_blocked_is_not_shown_as_asking() {
        let row = |mine, theirs, blocked, declined| view_of(UserId::new(1), &ContactRow { mine, theirs, blocked, declined, ..ContactRow::default() });
        let state = |view: Option<ContactView>| view.map(|view| view.state);
        assert_eq!(state(row(true, true, false, false)), Some(ContactState::Mutual));
        assert_eq!(state(row(true, false, false, false)), Some(ContactState::Asked));
        assert_eq!(state(row(false, true, false, false)), Some(ContactState::Asking));
        assert_eq!(state(row(false, true, false, true)), None);
        assert_eq!(state(row(false, true, true, false)), Some(ContactState::Blocked));
    }
}
