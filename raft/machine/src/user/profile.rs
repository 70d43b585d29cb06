//! What others see of a user, and what search may know of them.
//!
//! In: changes of single parts. Out: the profile's row, and the debt that search is to hear of it. Bounds: `limit::DISPLAY_CHARS_MAX` and those
//! after it. Not here: what a name may look like, what its words are (the node).

use kith_wire::{
    code::Code,
    id::UserId,
    limit,
    log::{Debt, ProfileField, ProfileRow, UserRow, UserState},
};

use crate::{
    Context,
    reply::Reply,
    user::{account, debt},
    view::{RowKey, ViewError},
};

/// Parts that change.
pub(crate) struct Change {
    pub(crate) display: Option<String>,
    pub(crate) about: Option<String>,
    pub(crate) avatar: Option<String>,
    pub(crate) searchable: Option<bool>,
    pub(crate) fields: Vec<ProfileField>,
}

/// Changes the parts that are given.
pub(crate) fn set(ctx: &mut Context<'_>, user: UserId, change: Change) -> Result<Reply, ViewError> {
    let Some(mut account) = account::active(ctx, user)? else { return Ok(Reply::Rejected(Code::Revoked)) };
    let old = held(ctx, user)?;
    let mut row = old.clone();
    row.display = change.display.unwrap_or(row.display);
    row.about = change.about.unwrap_or(row.about);
    row.avatar = change.avatar.unwrap_or(row.avatar);
    row.hidden = change.searchable.map_or(row.hidden, |searchable| !searchable);
    for field in change.fields {
        let at = row.fields.binary_search_by(|held| held.key.cmp(&field.key));
        match at {
            Ok(at) if field.value.is_empty() => drop(row.fields.remove(at)),
            Ok(at) => row.fields[at] = field,
            Err(_) if field.value.is_empty() => {}
            Err(at) => row.fields.insert(at, field),
        }
    }
    let over = |text: &str, max: usize| text.chars().count() > max;
    let too_large = over(&row.display, limit::DISPLAY_CHARS_MAX)
        || over(&row.about, limit::PROFILE_ABOUT_CHARS_MAX)
        || row.avatar.len() > limit::AVATAR_BYTES_MAX
        || row.fields.iter().any(|field| field.key.len() > limit::PROFILE_KEY_BYTES_MAX || over(&field.value, limit::PROFILE_VALUE_CHARS_MAX));
    if too_large {
        return Ok(Reply::Rejected(Code::TooLarge));
    }
    if row.fields.len() > limit::PROFILE_FIELDS_MAX {
        return Ok(Reply::Rejected(Code::LimitReached));
    }
    if (&row.display, row.hidden) != (&old.display, old.hidden) {
        row.version += 1;
        debt::owe(ctx, user, &mut account, Debt::Search);
        ctx.rows.put(RowKey::User(user), account);
    }
    if row != old {
        ctx.rows.put(RowKey::Profile(user), row);
    }
    Ok(Reply::Done)
}

/// The name changed, or the account ended: search is to hear of it. The account is the caller's to put.
pub(crate) fn renamed(ctx: &mut Context<'_>, user: UserId, account: &mut UserRow) -> Result<(), ViewError> {
    let old = held(ctx, user)?;
    let version = old.version + 1;
    // Of one that has ended nothing is kept but what search must forget.
    let row = if account.state == UserState::Active {
        ProfileRow { version, ..old }
    } else {
        ProfileRow { version, words: old.words, ..ProfileRow::default() }
    };
    ctx.rows.put(RowKey::Profile(user), row);
    debt::owe(ctx, user, account, Debt::Search);
    Ok(())
}

/// The search index may have these words of this version.
pub(crate) fn indexed(ctx: &mut Context<'_>, user: UserId, version: u64, words: Vec<String>) -> Result<Reply, ViewError> {
    if words.len() > 2 * (limit::SEARCH_WORDS_MAX + 1) {
        return Ok(Reply::Rejected(Code::TooLarge));
    }
    let old = held(ctx, user)?;
    if old.version == version && old.words != words {
        ctx.rows.put(RowKey::Profile(user), ProfileRow { words, ..old });
    }
    Ok(Reply::Done)
}

fn held(ctx: &Context<'_>, user: UserId) -> Result<ProfileRow, ViewError> {
    Ok(ctx.rows.row::<ProfileRow>(&RowKey::Profile(user))?.map(|row| row.clone()).unwrap_or_default())
}
