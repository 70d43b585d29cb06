//! What a record makes of older ones that a device holds: an edited or deleted text is not kept, nor what somebody wrote whose account has ended.
//!
//! In: a record and an older one. Out: the older one as it is to be kept from now on. Not here: where they are kept (`memory`, `sqlite`).

use std::sync::Arc;

use kith_wire::{
    act::{Act, Gone},
    id::{Seq, UserId},
    log::{Content, Record},
};

/// Which older records a record may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Touches {
    Nothing,
    /// This one, and acts that have it for their target too.
    Target(Seq),
    /// Any that is older.
    All,
}

pub(crate) fn touches(by: &Record) -> Touches {
    match &by.content {
        Content::Act(Act::Edit { target, .. } | Act::Delete { target }) => Touches::Target(*target),
        Content::Erased { .. } => Touches::All,
        _ => Touches::Nothing,
    }
}

/// What is kept of `record` after `by`; `None`: it stays as it is.
pub(crate) fn amended(record: &Record, by: &Record) -> Option<Arc<Record>> {
    let content = match &by.content {
        Content::Act(Act::Edit { target, text, mentions }) if !text.is_empty() => match &record.content {
            Content::Text { reply_to, extra, .. } if record.at.seq == *target => {
                Content::Text { text: text.clone(), reply_to: *reply_to, mentions: mentions.clone(), extra: extra.clone() }
            }
            content => emptied(content, *target)?,
        },
        Content::Act(Act::Delete { target }) => match &record.content {
            Content::Text { .. } if record.at.seq == *target => Content::Gone { why: Gone::Deleted, counted: true },
            content => emptied(content, *target)?,
        },
        Content::Erased { user } if record.at.seq < by.at.seq => erased(record, *user)?,
        _ => return None,
    };
    Some(Arc::new(Record { content, ..record.clone() }))
}

/// An older edit of the same text says nothing any more.
fn emptied(content: &Content, target: Seq) -> Option<Content> {
    matches!(content, Content::Act(Act::Edit { target: of, .. }) if *of == target)
        .then(|| Content::Act(Act::Edit { target, text: String::new(), mentions: Vec::new() }))
}

/// What somebody wrote, copies of it, and how they reacted.
fn erased(record: &Record, user: UserId) -> Option<Content> {
    let is_copy = record.content.extra().and_then(|extra| extra.origin).is_some_and(|origin| origin.sender == user);
    if record.sender != user && !is_copy {
        return None;
    }
    match &record.content {
        Content::Act(Act::React { target, on, .. }) => Some(Content::Act(Act::React { target: *target, emoji: String::new(), on: *on })),
        Content::Text { .. } => Some(Content::Gone { why: Gone::Erased, counted: true }),
        Content::Act(Act::Edit { target, .. }) => Some(Content::Act(Act::Edit { target: *target, text: String::new(), mentions: Vec::new() })),
        _ => None,
    }
}
