//! Strangers who ask for one name at the same moment, each over another node: one gets it.
//!
//! In: addresses of the nodes. Out: `name_take`, `ok` with the new account; when the load has stopped, `name_get` by search and by the password that was given for it.
//! Bounds: [`RIVALS`] sign-ups at a time, a round every two seconds: each costs a node a password hash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kith_client::wire::code::Code;
use kith_client::{Backfill, Door};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::{Account, Bench, Loads, Phase, reached};
use crate::history::Outcome;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Who asks for each name.
const RIVALS: usize = 3;
/// How long one question may take; then its fate is unknown.
const ASK_WITHIN: Duration = Duration::from_secs(12);
/// Names whose password is tried in the end.
const ENTERED_MAX: usize = 8;
/// Tries of each last question.
const LAST_TRIES: u32 = 20;

pub(super) fn start(bench: &Arc<Bench>, loads: &mut Loads, reader: &Account) {
    let phase = loads.phase.clone();
    loads.spawn(rounds(Arc::clone(bench), reader.clone(), phase));
}

fn password(name: &str, rival: usize) -> String {
    format!("a long enough secret of {rival} for {name}")
}

async fn rounds(bench: Arc<Bench>, reader: Account, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ 0x4a3e_0000);
    let mut rivals = Vec::new();
    for n in 0..RIVALS {
        let door = Door::new(&bench.addresses(n), bench.trust.clone()).context("a socket for a stranger")?;
        rivals.push(Arc::new((door, Voice::new(&bench.recorder, &format!("names-{n}"), &format!("names-{n}"), None))));
    }
    let mut winners: BTreeMap<String, Option<usize>> = BTreeMap::new();
    let mut number = 0_u64;
    loop {
        let name = format!("rival{number}");
        number += 1;
        let pause = bench.pause(&mut chance, 1_500, 2_500);
        let mut asking = JoinSet::new();
        for (n, rival) in rivals.iter().enumerate() {
            let (rival, name) = (Arc::clone(rival), name.clone());
            asking.spawn(async move { (n, take(&rival.0, &rival.1, &name, &password(&name, n)).await) });
        }
        let mut winner = None;
        while let Some(done) = asking.join_next().await {
            let (n, has_it) = done?;
            winner = if has_it { Some(n) } else { winner };
        }
        winners.insert(name, winner);
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    settle(&bench, &reader, &rivals[0].0, &winners).await
}

async fn take(door: &Door, voice: &Voice, name: &str, password: &str) -> bool {
    let token = voice.begin(record::name_take(name, None));
    let (outcome, owner, error) = match timeout(ASK_WITHIN, door.sign_up(name, password, "jepsen")).await {
        Ok(Ok(entered)) => (Outcome::Ok, Some(entered.login.user().to_string()), None),
        Ok(Err(error)) if error.code == Code::NameTaken => (Outcome::Fail { is_final: false }, None, Some(error.to_string())),
        Ok(Err(error)) => (Outcome::Info, None, Some(error.to_string())),
        Err(_) => (Outcome::Info, None, Some("no answer in time".to_owned())),
    };
    let has_it = owner.is_some();
    voice.end(token, outcome, record::name_take(name, owner), error);
    has_it
}

/// Whose each name is, by search; and for some, whom the winner's password lets in.
async fn settle(bench: &Bench, reader: &Account, door: &Door, winners: &BTreeMap<String, Option<usize>>) -> anyhow::Result<()> {
    let client = bench.client(reader, 0, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, "names-eye", &reader.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    for name in winners.keys() {
        for _ in 0..LAST_TRIES {
            let found = match client.find_user(name).await {
                Ok(user) => Ok(user.to_string()),
                Err(error) if error.code == Code::NoSuchUser => Ok(String::new()),
                Err(error) => Err(error),
            };
            if told(&voice, name, found.map_err(|error| error.to_string())) {
                break;
            }
        }
    }
    for (name, winner) in winners.iter().rev().filter_map(|(name, winner)| Some((name, (*winner)?))).take(ENTERED_MAX) {
        for _ in 0..LAST_TRIES {
            let found = match door.log_in(name, password(name, winner), "jepsen").await {
                Ok(entered) => Ok(entered.login.user().to_string()),
                // Nobody has that name with that password.
                Err(error) if error.code == Code::BadLogin => Ok(String::new()),
                Err(error) => Err(error),
            };
            if told(&voice, name, found.map_err(|error| error.to_string())) {
                break;
            }
        }
    }
    client.close().await;
    Ok(())
}

fn told(voice: &Voice, name: &str, found: Result<String, String>) -> bool {
    let token = voice.begin(record::name_get(name, None));
    match found {
        Ok(owner) => {
            voice.end(token, Outcome::Ok, record::name_get(name, Some(owner)), None);
            true
        }
        Err(error) => {
            voice.end(token, Outcome::Fail { is_final: false }, record::name_get(name, None), Some(error));
            false
        }
    }
}
