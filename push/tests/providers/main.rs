//! Each provider against a real server on this machine, over TLS: what it is asked, and what it does when it misbehaves. Signatures are verified and messages
//! opened by other code than that which made them (`open`).
#![allow(clippy::unwrap_used)]

mod apns;
mod credentials;
mod faults;
mod fcm;
mod open;
mod secrecy;
mod server;
mod web_push;
mod webhook;
mod world;
