//! A page of history that nobody has read for long: how long it takes, and what is read from the disk for it.
//!
//! In: how many messages are stored, and where the store is kept. Out: [`Outcome`]. The store is made once, by commands through log and apply,
//! and must be sound before it is used. Each page is of another channel, the node was just started, and before each page the kernel is told to
//! forget the store's files. Bounds: `PAGES` pages. Not here: pages of what was said just now, which come from memory (`mixed`).

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use kith_wire::{
    client::{HistoryQuery, Page, Pull},
    id::{ChannelId, Seq},
    log::Command,
};
use serde::Serialize;

use super::{
    BenchError,
    local::{Local, accounts, assert_sound, group_chat, person, text},
    people::People,
    stage::Stage,
};
use crate::{
    clock::Stopwatch,
    spread::{Percentiles, Spread},
    usage::read_bytes,
};

/// Messages in a channel.
const CHANNEL_MESSAGES: u64 = 1_000;
/// Besides the one who reads, who is in every channel.
const OTHERS: u64 = 500;
/// Records of a page.
const PAGE: u64 = 50;
/// Pages that are read.
const PAGES: u64 = 200;
/// Says that a store is whole, and of which form.
const WHOLE: &str = "whole-1";

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Messages stored.
    pub messages: u64,
    /// Bytes on disk.
    pub store_bytes: u64,
    /// Seconds that making the store took; 0 when it was there.
    pub made_s: f64,
    /// From asking for a page to having it.
    pub page_ms: Percentiles,
    /// Read from the disk for each page, in KiB.
    pub kib_read_per_page: f64,
}

/// Measures; the store of so many messages is below `kept`, and made there if it is not.
///
/// # Errors
/// The store cannot be made or is not sound, or the node cannot be run.
pub async fn run(messages: u64, kept: &Path) -> Result<Outcome, BenchError> {
    let channels = (messages / CHANNEL_MESSAGES).max(PAGES);
    let each = messages / channels;
    let folder = kept.join(format!("{messages}-messages"));
    let begun = Stopwatch::start();
    let made_s = if folder.join(WHOLE).exists() {
        0.0
    } else {
        Box::pin(make(&folder, channels, each)).await?;
        begun.elapsed().as_secs_f64()
    };
    let stage = Stage::set(1, 1, Some(folder.clone())).await?;
    let measured = read(&stage, &folder, channels, each).await;
    stage.strike().await;
    let (page_ms, kib_read_per_page) = measured?;
    Ok(Outcome { messages, store_bytes: crate::usage::folder_bytes(&folder), made_s, page_ms, kib_read_per_page })
}

async fn make(folder: &Path, channels: u64, each: u64) -> Result<(), BenchError> {
    let io = |what| move |source| BenchError::Io { what, source };
    // One that was cut short is begun anew.
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(io("removing half a store"))?;
    }
    std::fs::create_dir_all(folder).map_err(io("making a folder for the store"))?;
    let local = Local::open(folder).await?;
    local.apply(accounts(0..OTHERS + 1)).await?;
    local.apply((0..channels).map(|number| room(number).1)).await?;
    // Channel after channel would put each page into one block: all speak in turns, as people do.
    let said = (0..each).flat_map(|turn| (0..channels).map(move |number| says(number, turn)));
    local.apply(said).await?;
    local.close().await;
    let path = folder.to_owned();
    let sound = tokio::task::spawn_blocking(move || assert_sound(&path)).await;
    sound.map_err(|error| BenchError::Io { what: "checking a store", source: std::io::Error::other(error) })??;
    std::fs::write(folder.join(WHOLE), []).map_err(io("marking the store as whole"))
}

/// A channel: the one who reads, and two of the others.
fn room(number: u64) -> (ChannelId, Command) {
    group_chat(person(0), number, vec![person(1 + number % OTHERS), person(1 + (number + 1) % OTHERS)])
}

fn says(channel: u64, turn: u64) -> Command {
    let filler = super::tally::filler(90);
    let speaker = person(1 + (channel + turn % 2) % OTHERS);
    text(room(channel).0, speaker, 1 + turn / 2, format!("{turn} of channel {channel}: {}", &filler[(turn % 60) as usize..]))
}

async fn read(stage: &Stage, folder: &Path, channels: u64, each: u64) -> Result<(Percentiles, f64), BenchError> {
    let people = People::known(stage, vec![(person(0), "person-0".to_owned())])?;
    let session = people.session(0, 0).await?;
    let files = files_below(&folder.join("node-1").join("data").join("state"));
    let node = stage.processes().first().copied().unwrap_or_default();
    let before = read_bytes(node).unwrap_or_default();
    let mut spread = Spread::default();
    for page in 0..PAGES {
        // Spread over all channels and over their length, the same ones in each run.
        let channel = room(page * (channels / PAGES).max(1)).0;
        let first = 2 + (page * 37) % (each.saturating_sub(PAGE)).max(1);
        forget(&files);
        let (first, last) = (Seq::new(first), Seq::new(first + PAGE - 1));
        let query = HistoryQuery {
            channel,
            first,
            last,
            newest_first: false,
            limit: PAGE as u32,
            min_seq: last,
            replica: None,
            linearizable: false,
            place: None,
        };
        let asked = Stopwatch::start();
        match session.pull(&Pull::History(query)).await? {
            Page::History(page) if page.records.len() as u64 == PAGE => spread.record(asked.elapsed()),
            Page::Refused(refusal) => return Err(kith_client::Error::new(refusal.code, refusal.text).into()),
            _ => return Err(crate::operator::missing("a record of a page").into()),
        }
    }
    let kib = read_bytes(node).unwrap_or_default().saturating_sub(before) as f64 / 1024.0 / PAGES as f64;
    session.close();
    people.leave().await;
    Ok((spread.percentiles(), kib))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

/// Has the kernel drop what it holds of these files.
fn forget(files: &[PathBuf]) {
    for file in files.iter().filter_map(|path| File::open(path).ok()) {
        // Advice: where it is not taken, the page is not cold, and the bytes read say so.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}
