//! One node inside this process, to which commands are given at its log: stores of any size, and what applying costs.
//!
//! In: a folder, commands. Out: a store that was made as any other is, through log and apply. Invariants: commands of one call keep their order;
//! one that is refused ends the run. Bounds: `AT_ONCE` commands under way. Not here: sessions and their cost.

use std::{path::Path, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use kith_client::Error;
use kith_machine::{item, reply::Reply};
use kith_raft::{
    GroupHandle,
    storage::{Options, Storage, check},
};
use kith_wire::{
    code::Code,
    id::{ChannelId, ClientSeq, DeviceId, GroupId, RegionId, UserId, digest},
    log::{Author, Command, Content, PeerCheck},
};
use tokio::time::{sleep, timeout};

use super::BenchError;
use crate::{Node, NodeOptions, config::Config, demo::nodes::Nodes, usage::folder_bytes};

/// Commands under way: half of what a group's proposer holds, so that those of the node itself find room.
const AT_ONCE: usize = 4_096;
/// Commands of one call, as the fan-out of a group gives them.
const PROPOSED_AT_ONCE: usize = 512;
/// Longest wait until the group leads itself and owns its buckets.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A node of a cluster of its own, in this process.
pub struct Local {
    node: Node,
    group: GroupHandle,
}

impl Local {
    /// Makes it in the folder, or goes on with the one that is there, and waits until it takes commands.
    ///
    /// # Errors
    /// It cannot be made or started, or is not ready in time.
    pub async fn open(folder: &Path) -> Result<Self, BenchError> {
        Nodes::prepare(folder, 1, 1)?;
        let io = |what| move |source: Box<dyn std::error::Error + Send + Sync>| BenchError::Io { what, source: std::io::Error::other(source) };
        let config = Config::load(&folder.join("node-1").join("node.toml")).map_err(|error| io("reading a node's settings")(error.into()))?;
        let node = Node::start(NodeOptions::new(config)).await.map_err(|error| io("starting a node")(error.into()))?;
        let late = || BenchError::from(Error::new(Code::Timeout, "a node in this process was not ready"));
        let group = timeout(READY_WITHIN, async {
            loop {
                if let Some(group) = node.groups().get(GroupId::new(1)).filter(|group| group.leadership().serving) {
                    // Refused until the group has taken its buckets.
                    let probe = Command::CreateUser { user: person(u64::MAX), name: "probe".to_owned(), key: [0; 32] };
                    if let Ok(Reply::Account { .. }) = group.propose(item(probe)).await {
                        return group;
                    }
                }
                sleep(LOOK).await;
            }
        });
        let group = group.await.map_err(|_| late())?;
        Ok(Self { node, group })
    }

    /// Logs and applies commands, as many at a time as fit.
    ///
    /// # Errors
    /// One is refused.
    pub async fn apply(&self, commands: impl Iterator<Item = Command> + Send) -> Result<(), BenchError> {
        let refused = |why: String| BenchError::Client(Error::new(Code::Internal, format!("a command of the load was refused: {why}")));
        stream::iter(commands.map(item))
            .chunks(PROPOSED_AT_ONCE)
            .map(|items| self.group.propose_many(items))
            .buffered(AT_ONCE / PROPOSED_AT_ONCE)
            .flat_map(stream::iter)
            .map(|answer| match answer {
                Ok(Reply::Rejected(code)) => Err(refused(format!("{code:?}"))),
                Ok(reply @ (Reply::WrongGroup | Reply::OutOfSequence { .. })) => Err(refused(format!("{reply:?}"))),
                Ok(_) => Ok(()),
                Err(error) => Err(refused(error.to_string())),
            })
            .try_collect()
            .await
    }

    /// Stops it in order.
    pub async fn close(self) {
        drop(self.group);
        self.node.shutdown().await;
    }
}

/// Compacts the state of a stopped node; gives its bytes on disk.
///
/// # Errors
/// It cannot be opened or written.
pub fn compacted_bytes(folder: &Path) -> Result<u64, BenchError> {
    let data = folder.join("node-1").join("data");
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| BenchError::Io { what: "compacting a store", source: std::io::Error::other(source) };
    let storage = Storage::open(&data, Options::default()).map_err(|error| failed(error.into()))?;
    storage.state().compact().map_err(|error| failed(error.into()))?;
    storage.close().map_err(|error| failed(error.into()))?;
    drop(storage);
    Ok(folder_bytes(&data.join("state")))
}

/// Looks a stopped node's store through, as `kith check` does.
///
/// # Errors
/// It is not sound, or cannot be read.
pub fn assert_sound(folder: &Path) -> Result<(), BenchError> {
    let report = check::check(&folder.join("node-1").join("data"))
        .map_err(|error| BenchError::Io { what: "checking a store", source: std::io::Error::other(error) })?;
    match report.problems.first() {
        None => Ok(()),
        Some(problem) => Err(BenchError::Io { what: "checking a store", source: std::io::Error::other(problem.to_string()) }),
    }
}

/// A made-up person.
pub fn person(number: u64) -> UserId {
    UserId::from_sign_up_key(RegionId::FIRST, &digest(&[b"kith bench person", &number.to_be_bytes()]))
}

/// Their only device.
pub fn device(user: UserId) -> DeviceId {
    DeviceId::from_nonce(user, &[1; 16])
}

/// Makes the accounts of people.
pub fn accounts(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Command> + Send {
    numbers.map(|number| Command::CreateUser { user: person(number), name: format!("person-{number}"), key: digest(&[&number.to_be_bytes()]) })
}

/// A group chat that `creator` makes; `op` tells theirs apart.
pub fn group_chat(creator: UserId, op: u64, members: Vec<UserId>) -> (ChannelId, Command) {
    let device = device(creator);
    let channel = ChannelId::group(RegionId::FIRST, creator, device, op);
    (channel, Command::CreateGroup { channel, creator, device, op, title: format!("room {op}"), members })
}

/// The how-manieth text of someone in a channel.
pub fn text(channel: ChannelId, user: UserId, number: u64, text: String) -> Command {
    let author =
        Author { user, device: device(user), client_seq: ClientSeq::new(number), settled: ClientSeq::new(number), digest: number, key: None };
    Command::Append { channel, author, content: Content::Text { text, reply_to: None, mentions: Vec::new(), extra: None }, peer: PeerCheck::NotAsked }
}
