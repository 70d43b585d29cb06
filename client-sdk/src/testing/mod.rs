//! What tests of apps are made with. Only with the feature `testing`; not for what is shipped.
//!
//! [`FakeServer`] is a cluster in this process: people, conversations, tokens, a clock, and faults by script; an app's real client talks to it
//! over real QUIC. [`Device`] is a client without IO, for simulations. Not here: a real cluster (`kith demo`).

#[cfg(all(test, feature = "sqlite"))]
mod conformance;
#[cfg(all(test, feature = "sqlite"))]
mod day;
#[cfg(all(test, feature = "sqlite"))]
mod death;
mod device;
mod fake_server;
#[cfg(all(test, feature = "sqlite"))]
mod lists;
#[cfg(all(test, feature = "sqlite"))]
mod tests;
mod town;

pub use self::{
    device::{Device, DeviceOptions, Does, Pulls, echo},
    fake_server::FakeServer,
    town::{Fault, WriteStep},
};
