//! Texts that their senders edit and take away while others read them.
//!
//! In: rooms and members. Out: `edit_set` with rising versions, one under way for each text, `ok` only when the server acked it; `edit_get` behind a read
//! barrier and from any replica; in the end, from every replica. Bounds: [`TEXTS_MAX`] texts of each editor, one operation of each at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kith_client::wire::id::{NodeId, Seq};
use kith_client::wire::log::{Content, Record};
use kith_client::{Backfill, Client, History};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::super::{Account, Bench, Loads, Phase, Room, reached};
use super::found;
use crate::history::Outcome;
use crate::record::{self, GONE, Voice};
use crate::seed::Chance;

/// Users who send, edit and read.
pub(super) const EDITORS: usize = 3;
/// Texts of one editor.
const TEXTS_MAX: usize = 200;
/// How long replicas may differ after the load.
const CATCH_UP: Duration = Duration::from_secs(60);

/// A text that stands somewhere.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) room: usize,
    pub(super) seq: Seq,
    /// The last one asked for.
    pub(super) version: u64,
    /// Its last change has been answered: another may begin.
    is_free: bool,
    /// It stands as it was asked for last: nothing about it is still under way.
    pub(super) is_sure: bool,
}

/// Versions by room and seq.
type Found = BTreeMap<(usize, u64), u64>;

type Texts = Arc<Mutex<Vec<Text>>>;

/// `stranger` is in none of the rooms.
pub(super) fn start(bench: &Arc<Bench>, loads: &mut Loads, accounts: &[Account], stranger: &Account, rooms: &Arc<Vec<Room>>) {
    let texts: Texts = Arc::default();
    for (n, account) in accounts.iter().enumerate() {
        let phase = loads.phase.clone();
        loads.spawn(edit(Arc::clone(bench), account.clone(), n, Arc::clone(rooms), Arc::clone(&texts), phase.clone()));
        // Whoever reads all in the end looks for all as well.
        let stranger = (n == 0).then(|| stranger.clone());
        loads.spawn(read(Arc::clone(bench), account.clone(), n, stranger, Arc::clone(rooms), Arc::clone(&texts), phase));
    }
}

fn lock(texts: &Texts) -> std::sync::MutexGuard<'_, Vec<Text>> {
    texts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the text of a record says of itself: its name and version.
fn version(record: &Record) -> Option<u64> {
    match &record.content {
        Content::Text { text, .. } => text.split_once(" v")?.1.parse().ok(),
        Content::Gone { .. } => Some(GONE),
        _ => None,
    }
}

async fn edit(
    bench: Arc<Bench>,
    account: Account,
    n: usize,
    rooms: Arc<Vec<Room>>,
    texts: Texts,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0xac70_0000 + n as u64));
    let client = bench.client(&account, n, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &format!("edits-{n}"), &account.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut own: Vec<String> = Vec::new();
    loop {
        let (kind, pick) = (chance.within(1, 100), chance.within(0, u64::MAX - 1));
        let room = chance.within(0, rooms.len() as u64 - 1) as usize;
        let pause = bench.pause(&mut chance, 40, 120);
        tokio::select! {
            // What is not answered by then stays without an end.
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                if own.is_empty() || kind <= 25 && own.len() < TEXTS_MAX {
                    let name = format!("{}-{}", account.name, own.len());
                    // Not a `send` of the history: its text will change.
                    if let Ok(outgoing) = client.channel(rooms[room].id).send(format!("{name} v0")).await
                        && let Ok(message) = outgoing.sent().await
                    {
                        own.push(name.clone());
                        lock(&texts).push(Text { name, room, seq: message.seq(), version: 0, is_free: true, is_sure: true });
                    }
                } else {
                    let name = &own[own.len() - 1 - (pick % own.len().min(12) as u64) as usize];
                    change(&client, &voice, &rooms, &texts, name, kind > 92).await;
                }
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    client.close().await;
    Ok(())
}

/// The next version of a text, or its end. One that was not answered stays taken: nothing may overtake it.
async fn change(client: &Client, voice: &Voice, rooms: &[Room], texts: &Texts, name: &str, is_end: bool) {
    let taken = {
        let mut texts = lock(texts);
        texts.iter_mut().find(|text| text.name == name && text.is_free).map(|text| {
            (text.is_free, text.is_sure) = (false, false);
            text.version = if is_end { GONE } else { text.version + 1 };
            text.clone()
        })
    };
    let Some(text) = taken else { return };
    let room = &rooms[text.room];
    let op = || record::edit_set(&room.name, name, text.version);
    let token = voice.begin(op());
    let channel = client.channel(room.id);
    let begun = if is_end { channel.delete(text.seq).await } else { channel.edit(text.seq, format!("{name} v{}", text.version)).await };
    let done = match begun {
        Ok(outgoing) => outgoing.done().await,
        Err(error) => return voice.end(token, Outcome::Fail { is_final: false }, op(), Some(error.to_string())),
    };
    match done {
        Ok(_) => {
            voice.end(token, Outcome::Ok, op(), None);
            if let Some(text) = lock(texts).iter_mut().find(|text| text.name == name) {
                (text.is_free, text.is_sure) = (!is_end, true);
            }
        }
        Err(error) if error.is_final() => voice.end(token, Outcome::Fail { is_final: true }, op(), Some(error.to_string())),
        Err(error) => voice.end(token, Outcome::Info, op(), Some(error.to_string())),
    }
}

/// One device that reads single texts, half of the time as of now; the first one also reads all in the end.
async fn read(
    bench: Arc<Bench>,
    account: Account,
    n: usize,
    stranger: Option<Account>,
    rooms: Arc<Vec<Room>>,
    texts: Texts,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0xac71_0000 + n as u64));
    let client = bench.client(&account, n + 1, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &format!("edits-eye-{n}"), &account.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    loop {
        let text = {
            let texts = lock(&texts);
            let recent = texts.len().saturating_sub(30);
            (!texts.is_empty()).then(|| chance.one_of(&texts[recent..]).clone())
        };
        let linearizable = chance.percent(50);
        let replica = NodeId::new(bench.lab.nodes[chance.within(0, bench.lab.nodes.len() as u64 - 1) as usize].member());
        let pause = bench.pause(&mut chance, 40, 120);
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                if let Some(text) = text {
                    let want = History { first: text.seq, last: text.seq, newest_first: false, linearizable, ..History::default() };
                    let want = if linearizable { want } else { History { replica: Some(replica), min_seq: text.seq, ..want } };
                    one(&client, &voice, &rooms[text.room], &text, want).await;
                }
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    if let Some(stranger) = stranger {
        settle(&bench, &client, &account, &rooms, &texts).await;
        let texts = lock(&texts).clone();
        found::settle(&bench, &account, &stranger, &rooms, &texts).await?;
    }
    client.close().await;
    Ok(())
}

async fn one(client: &Client, voice: &Voice, room: &Room, text: &Text, want: History) {
    let op = |version| record::edit_get(&room.name, &text.name, version, want.linearizable, false);
    let token = voice.begin(op(None));
    let failed = |why: String| voice.end(token, Outcome::Fail { is_final: false }, op(None), Some(why));
    match client.channel(room.id).history(want).await {
        Ok(page) => match page.records.iter().find(|record| record.at.seq == text.seq).and_then(version) {
            Some(version) => voice.end(token, Outcome::Ok, op(Some(version)), None),
            None => failed("the text is not in the page".to_owned()),
        },
        Err(error) => failed(error.to_string()),
    }
}

/// Reads all texts from all replicas until they agree or the time for it is over, and records what stands then.
async fn settle(bench: &Bench, client: &Client, account: &Account, rooms: &[Room], texts: &Texts) {
    let deadline = Instant::now() + CATCH_UP;
    let texts = lock(texts).clone();
    let all = loop {
        let mut all: Vec<(String, Found)> = Vec::new();
        for node in &bench.lab.nodes {
            let mut found = BTreeMap::new();
            let mut is_whole = true;
            for (at, room) in rooms.iter().enumerate() {
                // A node without a replica of the room says so; any other error leaves the node out of the comparison until it answers.
                match client.channel(room.id).whole_history(Some(NodeId::new(node.member())), Seq::ZERO).await {
                    Ok(records) => found.extend(records.iter().filter_map(|record| Some(((at, record.at.seq.get()), version(record)?)))),
                    Err(error) => is_whole &= error.code == kith_client::wire::code::Code::NotFound,
                }
            }
            if is_whole {
                all.push((node.name(), found));
            }
        }
        let agree = |text: &Text| {
            let mut versions = all.iter().filter_map(|(_, found)| found.get(&(text.room, text.seq.get())));
            let first = versions.next();
            versions.all(|version| Some(version) == first)
        };
        if all.len() == bench.lab.nodes.len() && texts.iter().all(agree) || Instant::now() >= deadline {
            break all;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    for (node, found) in all {
        let voice = Voice::new(&bench.recorder, &format!("edits-final-{node}"), &account.name, Some(node));
        for text in &texts {
            let Some(version) = found.get(&(text.room, text.seq.get())) else { continue };
            let op = |version| record::edit_get(&rooms[text.room].name, &text.name, version, false, true);
            let token = voice.begin(op(None));
            voice.end(token, Outcome::Ok, op(Some(*version)), None);
        }
    }
}
