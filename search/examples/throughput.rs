//! What indexing costs: texts from standard input, one a line, as records of a hundred conversations, over and over.
//!
//! `cargo run --release -p kith-search --example throughput -- [TEXTS] < FILE` prints texts a second, processor time and disk for each, and how long searches take.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a measurement for people: it reads the clock, and ends by panicking")]

use std::{
    fs,
    io::{BufRead, stdin},
    path::Path,
    sync::Arc,
    time::Instant,
};

use kith_search::{Bounds, Change, Filter, Index, Query, Stand, words};
use kith_wire::{
    id::{ChannelId, ClientSeq, DeviceId, GroupId, Incarnation, LogIndex, Seq, StoreId, Timestamp, UserId},
    log::{Content, Position, Record},
};

const CHANNELS: u64 = 100;

fn main() {
    let texts: Vec<String> = stdin().lock().lines().map(|line| line.unwrap()).filter(|line| !line.is_empty()).collect();
    let wanted: usize = std::env::args().nth(1).map_or(texts.len(), |count| count.parse().unwrap());
    if texts.is_empty() || wanted == 0 {
        eprintln!("no texts: give it a file of them, one a line, on standard input");
        return;
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{} texts of {} bytes on average, {wanted} are indexed", texts.len(), bytes / texts.len());

    let begun = Instant::now();
    let count: usize = texts.iter().map(|text| words(text).len()).sum();
    println!(
        "splitting: {:.2} us for each text, {:.1} words",
        begun.elapsed().as_secs_f64() * 1e6 / texts.len() as f64,
        count as f64 / texts.len() as f64
    );

    let folder = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(folder.path(), StoreId::new([1; 16]), Bounds::default()).unwrap();
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let (mut feeding, mut commits) = (0.0, 0);
    for (at, text) in texts.iter().cycle().take(wanted).enumerate() {
        let at = at as u64;
        let record = record(at / CHANNELS + 1, at, text);
        let stand = Stand { index: LogIndex::new(at), read: LogIndex::new(0), walk: None };
        let one = Instant::now();
        index.put(GroupId::new(1), [Change::Put { channel: channel(at), record, fresh: true }], stand);
        feeding += one.elapsed().as_secs_f64();
        if index.is_pressing() {
            index.commit().unwrap();
            commits += 1;
        }
    }
    index.commit().unwrap();
    let (took, used) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "indexing: {:.0} texts/s, {:.1} us of processor for each, of that {:.2} us in the feed; {commits} commits, {} bytes on disk for each",
        wanted as f64 / took,
        used * 1e6 / wanted as f64,
        feeding * 1e6 / wanted as f64,
        folder_bytes(folder.path()) / wanted as u64,
    );
    let mut channels: Vec<ChannelId> = (0..CHANNELS).map(channel).collect();
    channels.sort();
    for (typed, channels) in [
        ("the", &channels[..]),
        ("the", &channels[..1]),
        ("install ubuntu", &channels[..]),
        ("\"apt get install\"", &channels[..]),
        ("inst*", &channels[..]),
    ] {
        let query = Query::parse(typed).unwrap();
        let filter = Filter { channels, sender: None, since: None, until: None, below: None, limit: 64 };
        let begun = Instant::now();
        let found = (0..20).map(|_| index.candidates(&query, &filter).unwrap().spots.len()).sum::<usize>() / 20;
        println!("search {typed:?} in {} conversations: {:.2} ms, {found} proposed", channels.len(), begun.elapsed().as_secs_f64() * 50.0);
    }
    println!("{:?}", index.stats());
}

fn channel(at: u64) -> ChannelId {
    ChannelId::direct(UserId::new(at % CHANNELS), UserId::new(1_000))
}

fn record(seq: u64, at: u64, text: &str) -> Arc<Record> {
    let content = Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: None };
    let (sender, device) = (UserId::new(at % 7), DeviceId::new(1));
    let at_seq = Position { seq: Seq::new(seq), cnt: seq };
    Arc::new(Record {
        at: at_seq,
        incarnation: Incarnation::default(),
        sender,
        device,
        client_seq: ClientSeq::new(seq),
        ts: Timestamp::new(at),
        content,
    })
}

/// User and system time of this process, as Linux tells: in ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn folder_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}
