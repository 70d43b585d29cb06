//! A conversation: its log, its members, the numbers of its devices, and how far its news have spread. Atomic in its group.
//!
//! In: the channel commands. Out: rows of the channel and [`crate::effect::Effect::Appended`] with recipients computed for that very seq.
//! Invariants: a record's seq is `head + 1` ([`append`]); dedup comes before membership ([`dedup`]); a numbered write that is finally
//! refused uses up its number, a retryable refusal uses nothing; `Dirty` stands exactly while head is above `fanned` ([`outbox`]).
//! An edit, a deletion, a reaction, a pin and a change of a group's rules are records like any other ([`act`]); what they replace goes
//! from every row that can be read ([`amend`]), and the seqs stay. What may be done is decided in one place ([`scene`]).
//! Bounds: 100 members, a ring of 32 numbers per device, `limit::STAYS_MAX` stays of a user, `limit::DEPARTING_MAX` removed members in transit.
//! Not here: what homes do with refs ([`crate::user::index`]), who executes an effect (the node).

pub(crate) mod act;
pub(crate) mod amend;
pub(crate) mod append;
pub(crate) mod cursor;
pub(crate) mod dedup;
pub(crate) mod erase;
pub(crate) mod keyed;
pub(crate) mod link;
pub(crate) mod member;
pub(crate) mod outbox;
pub mod pick;
pub mod read;
pub mod refs;
pub(crate) mod rules;
pub(crate) mod scene;
pub(crate) mod timer;
