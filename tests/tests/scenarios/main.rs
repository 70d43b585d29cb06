//! Scenarios over whole clusters: one module per theme, one binary, so that it is linked once.
//!
//! Each starts its own cluster, does what its name says, and checks every replica against what was acked.

mod accounts;
mod acts;
mod admin_tokens;
mod canary;
mod chat;
mod crash;
mod erase;
#[cfg(feature = "failpoint")]
mod failpoint;
mod health;
mod hook;
mod hostile;
mod http;
mod http_acts;
mod http_bots;
mod http_curl;
mod http_desk;
mod http_keys;
mod http_layout;
mod http_people;
mod http_search;
mod layout;
mod limits;
mod meta;
mod moderation;
#[cfg(feature = "failpoint")]
mod moving;
mod nearest;
mod no_udp;
mod outsiders;
mod overload;
mod partition;
mod people;
mod presence;
mod push;
mod push_many;
mod quickstart;
mod repair;
mod reset;
mod roam;
mod rotation;
mod search;
mod slow;
mod socket;
mod trust;
#[cfg(feature = "failpoint")]
mod upgrade;
mod web;
