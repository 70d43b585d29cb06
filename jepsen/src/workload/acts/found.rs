//! Texts that were edited and taken away, looked for by their words when all is healed: over each node, by a reader of theirs and by somebody who is none.
//!
//! In: what stands where, by whoever wrote it. Out: `search_get` and `search_spy`, one for each text and version by whose words it was found, or one that says that it was
//! not. Bounds: one question at a time; [`CATCH_UP`] for all nodes to find what they should, then what they find is written. Not here: texts whose last change was never
//! answered: they may still change.

use std::collections::BTreeMap;
use std::time::Duration;

use kith_client::wire::search::SearchQuery;
use kith_client::{Backfill, Client, Error};
use tokio::time::{Instant, timeout};

use super::super::{Account, Bench, Room};
use super::edits::Text;
use crate::history::Outcome;
use crate::record::{self, GONE, Voice};

/// How long indexes may be behind when replicas agree.
const CATCH_UP: Duration = Duration::from_secs(30);

/// By a text's place: the versions by whose words it was found, as often as it was.
type Found = BTreeMap<(usize, u64), Vec<u64>>;

/// One node, as two users ask it.
struct Eye {
    node: String,
    reader: Client,
    stranger: Client,
}

pub(super) async fn settle(bench: &Bench, reader: &Account, stranger: &Account, rooms: &[Room], texts: &[Text]) -> anyhow::Result<()> {
    let sure: Vec<&Text> = texts.iter().filter(|text| text.is_sure).collect();
    let last = texts.iter().map(|text| text.version).filter(|version| *version != GONE).max().unwrap_or(0);
    let mut eyes = Vec::new();
    for (at, node) in bench.lab.nodes.iter().enumerate() {
        let (reader, stranger) = (bench.client(reader, at, Backfill::Off)?.build().await?, bench.client(stranger, at, Backfill::Off)?.build().await?);
        for client in [&reader, &stranger] {
            let _ = timeout(Duration::from_secs(5), client.connect()).await;
        }
        eyes.push(Eye { node: node.name(), reader, stranger });
    }
    let deadline = Instant::now() + CATCH_UP;
    for eye in &eyes {
        let found = loop {
            let found = look(&eye.reader, rooms, last).await;
            let is_over = Instant::now() >= deadline;
            match found {
                Ok(Some(found)) if is_over || sure.iter().all(|text| is_right(&found, text)) => break Ok(found),
                Ok(_) if is_over => break Err("some conversations were not searched".to_owned()),
                Err(error) if is_over => break Err(error.to_string()),
                _ => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        };
        let voice = Voice::new(&bench.recorder, &format!("found-{}", eye.node), &reader.name, Some(eye.node.clone()));
        sure.iter().for_each(|text| tell(&voice, rooms, text, &found, true));
        let voice = Voice::new(&bench.recorder, &format!("spied-{}", eye.node), &stranger.name, Some(eye.node.clone()));
        let spied = look(&eye.stranger, rooms, last).await.map(Option::unwrap_or_default).map_err(|error| error.to_string());
        sure.iter().for_each(|text| tell(&voice, rooms, text, &spied, false));
    }
    for eye in eyes {
        eye.reader.close().await;
        eye.stranger.close().await;
    }
    Ok(())
}

fn is_right(found: &Found, text: &Text) -> bool {
    let found = found.get(&(text.room, text.seq.get())).map_or(&[][..], Vec::as_slice);
    if text.version == GONE { found.is_empty() } else { found == [text.version] }
}

/// Everything that is found by the words of each version; none where not all conversations were searched.
async fn look(client: &Client, rooms: &[Room], last: u64) -> Result<Option<Found>, Error> {
    let mut found = Found::new();
    for version in 0..=last {
        let mut query = SearchQuery::from(format!("v{version}").as_str());
        loop {
            let page = client.search(query.clone()).await?;
            if page.unsearched > 0 {
                return Ok(None);
            }
            for hit in page.hits {
                // Other loads' rooms are none of these.
                let Some(room) = rooms.iter().position(|room| room.id == hit.spot.channel) else { continue };
                found.entry((room, hit.spot.seq.get())).or_default().push(version);
            }
            match page.next {
                Some(below) => query.below = Some(below),
                None => break,
            }
        }
    }
    Ok(Some(found))
}

fn tell(voice: &Voice, rooms: &[Room], text: &Text, found: &Result<Found, String>, is_member: bool) {
    let op = |version| record::search_get(&rooms[text.room].name, &text.name, version, is_member);
    let versions = match found {
        Ok(found) => found.get(&(text.room, text.seq.get())).cloned().unwrap_or_else(|| vec![GONE]),
        Err(error) => {
            let token = voice.begin(op(None));
            return voice.end(token, Outcome::Fail { is_final: false }, op(None), Some(error.clone()));
        }
    };
    for version in versions {
        let token = voice.begin(op(None));
        voice.end(token, Outcome::Ok, op(Some(version)), None);
    }
}
