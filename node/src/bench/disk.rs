//! Bytes on disk of a message of real chat: one replica, compacted, with everything that a message leaves besides its text.
//!
//! In: the shipped sample of chat, how many messages. Out: [`Outcome`]. The sample is repeated, each room beginning at another place of it: it is
//! longer than a block of the store, so that no message lies beside itself and compression gains nothing by the repetition.
//! Counted are records, dedup, positions, rosters and the members' index rows. Not here: the log, which is purged and bounded.

use std::path::Path;

use kith_wire::{id::UserId, log::Command};
use serde::Serialize;

use super::{
    BenchError,
    local::{Local, accounts, assert_sound, compacted_bytes, group_chat, person, text},
    rate::share,
};
use crate::{demo::replay::Plan, usage::folder_bytes};

/// People in all.
const PEOPLE: u64 = 400;
/// People in a room: 5.5 who receive what one says.
const ROOM: u64 = 6;
/// Messages in a room.
const ROOM_MESSAGES: u64 = 1_000;

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Messages.
    pub messages: u64,
    /// Bytes of a text, on average.
    pub text_bytes: f64,
    /// Bytes of the state on disk for each message, compacted.
    pub bytes_per_message: f64,
    /// Bytes of the log that is kept for followers who come back, in all.
    pub log_bytes: u64,
}

/// Measures so many messages of the sample at `sample`.
///
/// # Errors
/// The sample cannot be read, the node cannot be run, or refuses a command.
pub async fn run(sample: &Path, messages: u64) -> Result<Outcome, BenchError> {
    let lines = lines(sample)?;
    let folder = super::stage::temporary_folder()?;
    let local = Local::open(folder.path()).await?;
    local.apply(accounts(0..PEOPLE)).await?;
    let rooms = messages.div_ceil(ROOM_MESSAGES);
    local.apply((0..rooms).map(|room| group_chat(member(room, 0), room, (1..ROOM).map(|place| member(room, place)).collect()).1)).await?;
    local.apply(said(&lines, messages)).await?;
    local.close().await;
    let path = folder.path().to_owned();
    let bytes = tokio::task::spawn_blocking(move || {
        assert_sound(&path)?;
        compacted_bytes(&path)
    });
    let bytes = bytes.await.map_err(|error| BenchError::Io { what: "measuring a store", source: std::io::Error::other(error) })??;
    let text_bytes = (0..messages).map(|number| lines[place(number, lines.len())].len() as u64).sum::<u64>();
    Ok(Outcome {
        messages,
        text_bytes: share(text_bytes as f64, messages as f64),
        bytes_per_message: share(bytes as f64, messages as f64),
        log_bytes: folder_bytes(&folder.path().join("node-1").join("data").join("log")),
    })
}

/// The texts of the sample, in order.
///
/// # Errors
/// It cannot be read.
pub fn lines(sample: &Path) -> Result<Vec<String>, BenchError> {
    let failed = |error| BenchError::Io { what: "reading the sample of chat", source: std::io::Error::other(error) };
    let plan = Plan::read(sample, None).map_err(failed)?;
    Ok(plan.days.into_iter().flat_map(|day| day.messages).map(|message| message.text).collect())
}

fn member(room: u64, place: u64) -> UserId {
    person((room * (ROOM - 1) + place) % PEOPLE)
}

/// Which line of the sample a message is.
fn place(number: u64, lines: usize) -> usize {
    const STEP: u64 = 37;
    let (room, at) = (number / ROOM_MESSAGES, number % ROOM_MESSAGES);
    ((room * STEP + at) % lines as u64) as usize
}

/// What is said in the rooms: room after room in turn would be many conversations at once, as here.
fn said(lines: &[String], messages: u64) -> impl Iterator<Item = Command> + Send {
    let rooms = messages.div_ceil(ROOM_MESSAGES);
    (0..messages).map(move |turn| {
        // All rooms speak in turns, each room's members as well.
        let (room, at) = (turn % rooms, turn / rooms);
        let speaker = member(room, at % ROOM);
        let (channel, _) = group_chat(member(room, 0), room, Vec::new());
        text(channel, speaker, 1 + at / ROOM, lines[place(room * ROOM_MESSAGES + at, lines.len())].clone())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use kith_wire::log::Content;

    use super::*;

    #[test]
    fn numbers_of_each_device_are_dense_and_no_text_lies_beside_itself() {
        let lines: Vec<String> = (0..300).map(|number| format!("line {number}")).collect();
        let (mut numbers, mut last) = (HashMap::new(), HashMap::new());
        for command in said(&lines, 5_000) {
            let Command::Append { channel, author, content: Content::Text { text, .. }, .. } = command else { panic!("{command:?}") };
            let number = numbers.entry((channel, author.device)).or_insert(0);
            *number += 1;
            assert_eq!(author.client_seq.get(), *number);
            assert_ne!(last.insert(channel, text.clone()).as_ref(), Some(&text));
        }
    }
}
