//! A full chat client for a terminal, on top of the SDK: everything that a user does, by keys.
//!
//! In: keys, the SDK's events, what is saved on this machine ([`Home`]). Out: a screen, and calls of the SDK. The core ([`App`]) is pure: an
//! event and the time give state and [`Action`]s, and [`view()`] draws the state; the shell ([`run`]) owns terminal, client and tasks.
//! Invariants: no key, event or size of the terminal makes it panic; the terminal is given back however it ends; the keys that help shows are the
//! table that dispatches them (`keys`); what others wrote cannot move the cursor or turn text round (`text`); no password is shown.
//! Bounds: named where they are. Not here: where logins lie (the program's [`Home`]), the protocol and the outbox (`kith-client`).

mod action;
mod answer;
mod app;
mod clock;
mod deed;
mod field;
#[doc(hidden)]
pub mod fuzz;
mod home;
mod keys;
mod screen;
mod session;
mod shell;
mod state;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod view;
mod work;

pub use crate::{
    action::{Action, Answer, Ask, Entry, Event, Link, Looked, Progress, Server, Stand, Want, Wish, Write},
    app::App,
    home::{Home, Seat},
    shell::{Options, run},
    time::Zone,
    view::view,
};
