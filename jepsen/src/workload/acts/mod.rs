//! W10: texts are edited, taken away, looked for, sent later and posted to a webhook, and several strangers ask for one name at once; with a few plain sends beside
//! them.
//!
//! In: a cluster. Out: what each of the four loads says below. Not here: judging.

mod edits;
mod found;
mod hooks;
mod later;
mod names;

use std::sync::Arc;

use super::{Audit, Bench, Loads, sender};

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..edits::EDITORS {
        accounts.push(bench.account(&format!("acts-{n}")).await?);
    }
    let sender = bench.account("acts-sender").await?;
    let users: Vec<_> = accounts.iter().chain([&sender]).map(|account| account.user).collect();
    let names = ["acts-plain".to_owned(), "acts-edits-0".to_owned(), "acts-edits-1".to_owned(), "acts-later".to_owned(), "acts-hook".to_owned()];
    let mut rooms = bench.rooms(&sender, &users, names).await?;
    let hook = rooms.split_off(4).remove(0);
    let later = rooms.split_off(3).remove(0);
    let edited = Arc::new(rooms.split_off(1));
    let plain = Arc::new(rooms);
    edits::start(bench, loads, &accounts, &bench.account("acts-stranger").await?, &edited);
    later::start(bench, loads, &accounts, &later);
    names::start(bench, loads, &accounts[0]);
    hooks::start(bench, loads, &sender, hook.clone()).await?;
    loads.spawn(sender::run(Arc::clone(bench), sender.clone(), 0, Arc::clone(&plain), (60, 140), phase));
    Ok(Audit { reader: sender, rooms: plain.iter().cloned().chain([hook]).collect() })
}
