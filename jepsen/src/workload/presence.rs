//! W7: people who come and go, contacts at every node who watch them, and a stranger who does too.
//!
//! In: accounts that are contacts of the watcher. Out: `presence_set` when somebody has come or has left for certain, `presence_shown` for each change that a
//! watcher's screen shows, `presence_read` of each node: final ones when the load is over, by what is shown there and by a question; `presence_spy` of the stranger.
//! Bounds: one operation at a time of each person. Not here: judging.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kith_client::wire::id::UserId;
use kith_client::wire::presence::PresenceState;
use kith_client::{Backfill, Client, Live, PresenceMap};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{Account, Audit, Bench, Loads, PREPARE_WITHIN, Phase, reached};
use crate::history::Outcome;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// People who come and go.
const PEOPLE: usize = 6;
/// A node without a connection that was closed well knows of it after so long; then the grace, and the next renewal.
const SETTLED_WITHIN: Duration = Duration::from_secs(100);
/// Settings of the cluster: the usual grace would outlast most runs.
pub(crate) const GRACE_S: u64 = 4;

/// Names by user.
type Names = Arc<BTreeMap<UserId, String>>;

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(bench.account(&format!("presence-{n}")).await?);
    }
    let (watcher, stranger) = (bench.account("presence-watcher").await?, bench.account("presence-stranger").await?);
    befriend(bench, &watcher, &people).await?;
    let names: Names = Arc::new(people.iter().map(|account| (account.user, account.name.clone())).collect());
    let (done, all_done) = watch::channel(0_usize);
    let done = Arc::new(done);
    for (n, account) in people.into_iter().enumerate() {
        loads.spawn(person(Arc::clone(bench), account, n, Arc::clone(&done), all_done.clone(), phase.clone()));
    }
    for at in 0..bench.lab.nodes.len() {
        loads.spawn(watch_at(Arc::clone(bench), watcher.clone(), at, Arc::clone(&names), Arc::clone(&done), all_done.clone(), phase.clone()));
    }
    loads.spawn(spy(Arc::clone(bench), stranger.clone(), names, phase.clone()));
    let rooms = bench.rooms(&watcher, &[watcher.user], ["presence".to_owned()]).await?;
    Ok(Audit { reader: watcher, rooms })
}

/// Makes the watcher a contact of all.
async fn befriend(bench: &Bench, watcher: &Account, people: &[Account]) -> anyhow::Result<()> {
    let client = bench.client(watcher, 0, Backfill::Off)?.request_timeout(PREPARE_WITHIN).build().await?;
    timeout(PREPARE_WITHIN, client.connect()).await.context("connecting the watcher")??;
    for one in people {
        client.contacts().request(one.user).await.context("asking a contact")?;
        let other = bench.client(one, 0, Backfill::Off)?.request_timeout(PREPARE_WITHIN).build().await?;
        timeout(PREPARE_WITHIN, other.connect()).await.context("connecting a contact")??;
        other.contacts().request(watcher.user).await.context("accepting a contact")?;
        other.close().await;
    }
    client.close().await;
    Ok(())
}

/// Comes and goes; in the end every other one stays until all have been looked at.
async fn person(
    bench: Arc<Bench>,
    account: Account,
    n: usize,
    done: Arc<watch::Sender<usize>>,
    mut all_done: watch::Receiver<usize>,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0xb5e0_0000 + n as u64));
    let voice = Voice::new(&bench.recorder, &account.name, &account.name, None);
    let mut client: Option<Client> = None;
    let mut is_known = false;
    loop {
        let pause = bench.pause(&mut chance, 1_000, 8_000);
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = tokio::time::sleep(pause) => {}
        }
        match client.take() {
            Some(client) => leave(client, &voice).await,
            None => {
                let new = bench.client(&account, n, Backfill::Off)?.build().await?;
                is_known = come(&new, &voice).await;
                client = Some(new);
            }
        }
    }
    match client.take() {
        Some(still) if n.is_multiple_of(2) && is_known => client = Some(still),
        still if n.is_multiple_of(2) => {
            let here = match still {
                Some(still) => still,
                None => bench.client(&account, n, Backfill::Off)?.build().await?,
            };
            come(&here, &voice).await;
            client = Some(here);
        }
        Some(still) => leave(still, &voice).await,
        None => {}
    }
    done.send_modify(|count| *count += 1);
    // Who stays does so until every watcher has looked.
    let watchers = bench.lab.nodes.len();
    let _ = all_done.wait_for(|count| *count >= PEOPLE + watchers).await;
    if let Some(client) = client {
        client.close().await;
    }
    Ok(())
}

/// Somebody is here once they were welcomed. Of who was not in time it is not said; that they are not is not said either.
async fn come(client: &Client, voice: &Voice) -> bool {
    let is_here = matches!(timeout(SETTLED_WITHIN, client.connect()).await, Ok(Ok(())));
    if is_here {
        voice.happened(record::presence_set(true));
    }
    is_here
}

async fn leave(client: Client, voice: &Voice) {
    client.close().await;
    voice.happened(record::presence_set(false));
}

/// Looks at all from one node.
async fn watch_at(
    bench: Arc<Bench>,
    account: Account,
    at: usize,
    names: Names,
    done: Arc<watch::Sender<usize>>,
    mut all_done: watch::Receiver<usize>,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let client = bench.client_of(&account, at)?.build().await?;
    let node = bench.lab.nodes[at].place.address.to_string();
    let voice = Voice::new(&bench.recorder, &format!("{}-{at}", account.name), &account.name, Some(node));
    let users: Vec<UserId> = names.keys().copied().collect();
    let mut live = client.presence(&users);
    let mut shown = BTreeSet::new();
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    loop {
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            map = live.changed() => match map {
                Some(map) => note(&voice, &names, &map, &mut shown),
                None => break,
            },
        }
    }
    // When nobody comes or goes any more.
    let _ = all_done.wait_for(|count| *count >= PEOPLE).await;
    settle(&client, &voice, &names, &mut live, &mut shown).await;
    done.send_modify(|count| *count += 1);
    client.close().await;
    Ok(())
}

/// What is new on the screen.
fn note(voice: &Voice, names: &Names, map: &PresenceMap, shown: &mut BTreeSet<UserId>) {
    for (user, name) in &**names {
        let is_here = match map.get(user).map(|view| view.state) {
            Some(PresenceState::Online | PresenceState::Away) => true,
            Some(PresenceState::Offline) => false,
            Some(PresenceState::Unknown) | None => continue,
        };
        let is_new = if is_here { shown.insert(*user) } else { shown.remove(user) };
        if is_new {
            voice.happened(record::presence_shown(name, is_here));
        }
    }
}

/// The last word of a node, once what it shows is what it says, and every other one is here; or when the time for it is over.
async fn settle(client: &Client, voice: &Voice, names: &Names, live: &mut Live<PresenceMap>, shown: &mut BTreeSet<UserId>) {
    let expected = staying(names);
    let deadline = Instant::now() + SETTLED_WITHIN;
    let (mut on_screen, mut asked);
    loop {
        let map = live.get();
        note(voice, names, &map, shown);
        on_screen = here(names, &map);
        asked = ask(client, names).await;
        if (asked.as_ref() == Some(&expected) && on_screen == expected) || Instant::now() >= deadline {
            break;
        }
        let _ = timeout(Duration::from_millis(300), live.changed()).await;
    }
    let token = voice.begin(record::presence_read(Vec::new(), true, true));
    voice.end(token, Outcome::Ok, record::presence_read(on_screen, true, true), None);
    let token = voice.begin(record::presence_read(Vec::new(), true, true));
    match asked {
        Some(users) => voice.end(token, Outcome::Ok, record::presence_read(users, true, true), None),
        None => voice.end(token, Outcome::Fail { is_final: false }, record::presence_read(Vec::new(), true, true), Some("no answer".to_owned())),
    }
}

/// Who is here in the end, as [`here`] lists them.
fn staying(names: &Names) -> Vec<String> {
    sorted(names.values().filter(|name| stays(name)).cloned())
}

/// Whether somebody of this name stays in the end.
fn stays(name: &str) -> bool {
    name.bytes().last().is_some_and(|digit| digit % 2 == 0)
}

fn here(names: &Names, map: &PresenceMap) -> Vec<String> {
    let is_here = |user: &UserId| map.get(user).is_some_and(|view| matches!(view.state, PresenceState::Online | PresenceState::Away));
    sorted(names.iter().filter(|(user, _)| is_here(user)).map(|(_, name)| name.clone()))
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Who is here, by a question.
async fn ask(client: &Client, names: &Names) -> Option<Vec<String>> {
    let users: Vec<UserId> = names.keys().copied().collect();
    let views = client.presence_now(&users).await.ok()?;
    Some(here(names, &views.into_iter().map(|view| (view.user, view)).collect()))
}

/// Somebody who is nobody's contact, asks and looks.
async fn spy(bench: Arc<Bench>, account: Account, names: Names, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ 0xb5e1_0000);
    let client = bench.client(&account, 0, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &account.name, &account.name, None);
    let users: Vec<UserId> = names.keys().copied().collect();
    let live = client.presence(&users);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    loop {
        let pause = bench.pause(&mut chance, 300, 1_500);
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = tokio::time::sleep(pause) => {}
        }
        let token = voice.begin(record::presence_read(Vec::new(), false, false));
        match ask(&client, &names).await {
            Some(mut found) => {
                found.extend(here(&names, &live.get()));
                voice.end(token, Outcome::Ok, record::presence_read(found, false, false), None);
            }
            None => {
                voice.end(token, Outcome::Fail { is_final: false }, record::presence_read(Vec::new(), false, false), Some("no answer".to_owned()))
            }
        }
    }
    client.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use kith_client::wire::presence::PresenceView;

    use super::*;

    /// Ids are hashes: their order is not that of the names.
    #[test]
    fn who_stays_is_listed_as_who_is_here() {
        let names: Names = Arc::new((0..PEOPLE).map(|n| (UserId::new((PEOPLE - n) as u64), format!("presence-{n}"))).collect());
        let view = |user: &UserId| PresenceView { state: PresenceState::Online, ..PresenceView::unknown(*user) };
        let map: PresenceMap = names.iter().filter(|(_, name)| stays(name)).map(|(user, _)| (*user, view(user))).collect();
        assert_eq!(staying(&names), here(&names, &map));
    }
}
