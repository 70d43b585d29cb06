//! The handlers, by what they are about: each ten lines, from a request to the service and back.

pub(super) mod accounts;
pub(super) mod acts;
pub(super) mod admins;
pub(super) mod bots;
pub(super) mod channels;
pub(super) mod cluster;
pub(super) mod contacts;
pub(super) mod desk;
pub(super) mod export;
pub(super) mod groups;
pub(super) mod joins;
pub(super) mod layout;
pub(super) mod members;
pub(super) mod messages;
pub(super) mod people;
pub(super) mod preferences;
pub(super) mod presence;
pub(super) mod push;
pub(super) mod scheduled;
pub(super) mod search;
pub(super) mod shards;
pub(super) mod updates;
pub(super) mod upgrade;
pub(super) mod webhooks;
mod write;
