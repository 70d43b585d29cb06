//! kith-wire: what crosses a process or a disk boundary.
//!
//! In: bytes. Out: parsed types that cannot be wrong. Three stability classes: [`client`] (promised to app developers), [`peer`]
//! (node to node, N and N-1) and [`log`] (persisted, for ever). Invariants: any bytes give a value, "need more" or a typed error,
//! never a panic, and never use more memory than the limit. Not here: IO, time, tokio, any other package of ours.

pub mod act;
pub mod address;
pub mod admin;
pub mod base64;
pub mod client;
pub mod code;
mod convert;
pub mod desk;
pub mod error;
pub mod frame;
pub mod hello;
pub mod hex;
pub mod hook;
pub mod id;
pub mod layout;
pub mod limit;
pub mod log;
pub mod moving;
pub mod peer;
pub mod people;
pub mod presence;
pub mod push;
pub mod push_device;
mod refusal;
pub mod search;
pub mod secret;
pub mod sign;
pub mod trust;
pub mod upgrade;
