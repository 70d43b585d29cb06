//! What the app remembers: people, conversations, forms. No IO, no clock, no terminal.

pub(crate) mod form;
pub(crate) mod people;
pub(crate) mod presence;
pub(crate) mod talk;
pub(crate) mod trouble;
