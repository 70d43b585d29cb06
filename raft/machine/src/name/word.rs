//! The search index: words of names, each with whose it is, where the word's beginning says.
//!
//! In: words folded by the proposer, each with the version of the profile that has it. Out: one row per (word, user). Invariant: a higher
//! version holds. An old word that comes late stays: who searches asks the homes of those found what is true, so that it shows nobody.
//! Bounds: `limit::SEARCH_WORDS_MAX` words a user. Not here: what the words of a name are, who feeds them (the node).

use kith_wire::{code::Code, id::UserId, limit, log::WordRow};

use crate::{
    Context,
    reply::Reply,
    view::{RowKey, Scan, StateView, ViewError},
};

/// Takes a word in, or out.
pub(crate) fn index(ctx: &mut Context<'_>, word: String, user: UserId, version: u64, gone: bool) -> Result<Reply, ViewError> {
    if word.is_empty() || word.chars().count() > limit::SEARCH_WORD_CHARS_MAX {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    let key = RowKey::Word(word, user);
    let held = ctx.rows.row::<WordRow>(&key)?.map(|row| row.version);
    match held {
        Some(held) if held > version => {}
        Some(_) if gone => ctx.rows.delete(key),
        None if gone => {}
        Some(held) if held == version => {}
        _ => ctx.rows.put(key, WordRow { version }),
    }
    Ok(Reply::Done)
}

/// Words that begin so and whose they are, rising; at most `limit`.
///
/// # Errors
/// A row cannot be read.
pub fn find(view: &dyn StateView, prefix: &str, limit: usize) -> Result<Vec<(String, UserId)>, ViewError> {
    let rows = view.scan(&Scan::Words(prefix.to_owned()), false, limit)?;
    Ok(rows.into_iter().filter_map(|(key, _)| if let RowKey::Word(word, user) = key { Some((word, user)) } else { None }).collect())
}
