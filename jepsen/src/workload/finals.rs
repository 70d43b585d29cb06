//! Final reads: every channel from every replica in turn, until all agree or the time for it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kith_client::wire::code::Code;
use kith_client::wire::id::{NodeId, Seq};
use kith_client::{Backfill, Client};

use super::{Audit, Bench, text};
use crate::history::Outcome;
use crate::record::{self, Voice};

/// Between two passes.
const PAUSE: Duration = Duration::from_millis(500);

/// Reads until all replicas agree; gives whether they did.
pub(crate) async fn final_reads(bench: &Arc<Bench>, audits: &[Audit], within: Duration) -> anyhow::Result<bool> {
    let deadline = Instant::now() + within;
    // Each replica is asked through a node that is not it, and through itself: the way there must not matter.
    let mut readers = Vec::new();
    for (n, audit) in audits.iter().enumerate() {
        let client = bench.client(&audit.reader, n, Backfill::Off)?.build().await?;
        let _ = tokio::time::timeout(Duration::from_secs(10), client.connect()).await;
        readers.push(client);
    }
    let mut absent: BTreeSet<(String, u64)> = BTreeSet::new();
    let agreed = loop {
        let mut is_equal = true;
        for (audit, client) in audits.iter().zip(&readers) {
            is_equal &= pass(bench, audit, client, &mut absent, Some(deadline)).await;
        }
        if is_equal {
            break true;
        }
        if Instant::now() >= deadline {
            // The last word: a replica that still knows of no such user or channel holds nothing of it.
            for (audit, client) in audits.iter().zip(&readers) {
                pass(bench, audit, client, &mut absent, None).await;
            }
            break false;
        }
        tokio::time::sleep(PAUSE).await;
    };
    for reader in readers {
        reader.close().await;
    }
    Ok(agreed)
}

/// Reads each room from each replica; without a deadline it is the last time, and what is refused for good is taken for empty.
async fn pass(bench: &Bench, audit: &Audit, client: &Client, absent: &mut BTreeSet<(String, u64)>, deadline: Option<Instant>) -> bool {
    let voices: Vec<Voice> = bench
        .lab
        .nodes
        .iter()
        .map(|node| Voice::new(&bench.recorder, &format!("final-{}-{}", audit.reader.name, node.name()), &audit.reader.name, Some(node.name())))
        .collect();
    let mut is_equal = true;
    // Whoever did not answer the last question is not asked the rest: each would be waited for.
    let mut silent: BTreeSet<u64> = BTreeSet::new();
    for room in &audit.rooms {
        let mut heads: BTreeMap<u64, usize> = BTreeMap::new();
        for (node, voice) in bench.lab.nodes.iter().zip(&voices) {
            if absent.contains(&(room.name.clone(), node.id)) || silent.contains(&node.id) {
                continue;
            }
            let token = voice.begin(record::read(&room.name, Some(1), None, true, Vec::new(), Vec::new()));
            match client.channel(room.id).whole_history(Some(NodeId::new(node.member())), Seq::ZERO).await {
                Ok(records) => {
                    *heads.entry(records.last().map_or(0, |record| record.at.seq.get())).or_default() += 1;
                    let items = records.iter().map(text::item).collect();
                    voice.end(token, Outcome::Ok, record::read(&room.name, Some(1), None, true, items, Vec::new()), None);
                }
                Err(error) if deadline.is_none() && matches!(error.code, Code::NotMember | Code::NoSuchUser) => {
                    let op = record::read(&room.name, Some(1), None, true, Vec::new(), Vec::new());
                    voice.end(token, Outcome::Ok, op, Some(error.to_string()));
                }
                Err(error) => {
                    let op = record::read(&room.name, Some(1), None, true, Vec::new(), Vec::new());
                    voice.end(token, Outcome::Fail { is_final: false }, op, Some(error.to_string()));
                    if error.code == Code::NotFound {
                        // It has no replica of this channel.
                        absent.insert((room.name.clone(), node.id));
                    } else {
                        is_equal = false;
                        if deadline.is_none() && is_silence(error.code) {
                            silent.insert(node.id);
                        }
                    }
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
        }
        is_equal &= heads.len() <= 1 && heads.values().sum::<usize>() >= bench.lab.nodes.len().min(3);
    }
    is_equal
}

/// Whether nobody answered: a node that cannot reach the replica it was asked for says that nobody leads.
const fn is_silence(code: Code) -> bool {
    matches!(code, Code::Timeout | Code::Disconnected | Code::NoLeader)
}
