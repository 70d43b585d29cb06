//! Users who write to each other, and never give up: each write is sent, byte for byte the same, until it is answered.
//!
//! In: a cluster. Out: writes, what the oracle is told. Retries go to any node, two at once, and now and then again after the answer.
//! Not here: what the answers mean (`oracle`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join;
use kith_machine::reply::Reply;
use kith_raft::ProposeError;
use kith_wire::{
    code::Retry,
    id::{ChannelId, ClientSeq, DeviceId, GroupId, OwnerEpoch, RegionId, UserId},
    log::{Author, Command, Content, MemberChange, PeerCheck},
};
use tokio::time::{sleep, timeout};

use crate::{
    cluster::{Cluster, buckets_of, group_of},
    oracle::{Key, Oracle},
    random::Random,
};

/// Everybody.
pub(crate) struct People {
    cluster: Arc<Cluster>,
    /// What they know.
    pub(crate) oracle: Oracle,
    /// Direct channels and group chats, with who writes there.
    pub(crate) channels: Vec<(ChannelId, Vec<Writer>)>,
    users: Vec<UserId>,
    rest: AtomicBool,
}

/// A device that writes to a channel.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    user: UserId,
    device: DeviceId,
    /// Whom it adds and removes now and then.
    churns: Vec<UserId>,
}

impl People {
    /// Draws users, channels and writers.
    pub(crate) fn new(cluster: Arc<Cluster>, random: &mut Random) -> Self {
        let users: Vec<_> = (0..7).map(|_| UserId::new(random.next() >> 8)).collect();
        let mut channels = Vec::new();
        let mut device = 0;
        let mut writer = |user: UserId| {
            device += 1;
            Writer { user, device: DeviceId::new(device), churns: Vec::new() }
        };
        for (a, b) in [(0, 1), (2, 3)] {
            channels.push((ChannelId::direct(users[a], users[b]), vec![writer(users[a]), writer(users[b])]));
        }
        for creator in [1, 4] {
            let mut owner = writer(users[creator]);
            let id = ChannelId::group(RegionId::FIRST, owner.user, owner.device, 1);
            owner.churns = vec![users[5], users[6]];
            channels.push((id, vec![owner, writer(users[2]), writer(users[(creator + 2) % 5])]));
        }
        Self { cluster, oracle: Oracle::default(), channels, users, rest: AtomicBool::new(false) }
    }

    /// Gives the groups their buckets, and makes users and group chats.
    pub(crate) async fn settle(&self) {
        let groups = self.cluster.shape().groups;
        for group in self.cluster.groups() {
            let (first, last) = buckets_of(group, groups);
            self.propose(group, Command::OwnBuckets { region: RegionId::FIRST, first, last, epoch: OwnerEpoch::new(1) }).await;
        }
        for user in &self.users {
            self.propose(group_of(user.bucket(), groups), Command::CreateUser { user: *user, name: format!("{user}"), key: [7; 32] }).await;
        }
        for (channel, writers) in &self.channels[2..] {
            let creator = &writers[0];
            let members = writers[1..].iter().map(|writer| writer.user).chain([self.users[5]]).collect();
            let command = Command::CreateGroup {
                channel: *channel,
                creator: creator.user,
                device: creator.device,
                op: 1,
                title: "a group".to_owned(),
                members,
            };
            self.propose(group_of(channel.bucket(), groups), command).await;
        }
    }

    /// All users.
    pub(crate) fn users(&self) -> &[UserId] {
        &self.users
    }

    /// Everybody ends what they are at, and writes no more.
    pub(crate) fn rest(&self) {
        self.rest.store(true, Ordering::Relaxed);
    }

    /// One device's life.
    pub(crate) async fn write(self: Arc<Self>, channel: ChannelId, writer: Writer, mut random: Random) {
        let mut number = ClientSeq::new(1);
        let mut settled = number;
        while !self.rest.load(Ordering::Relaxed) {
            sleep(random.between(Duration::from_millis(20), Duration::from_millis(400))).await;
            let content = match &writer.churns[..] {
                [] => text(&writer, number),
                others if random.percent(60) => text(&writer, others.first().map_or(number, |_| number)),
                others => {
                    let user = *random.pick(others);
                    Content::Members(if random.percent(50) { MemberChange::Add(user) } else { MemberChange::Remove(user) })
                }
            };
            let key = (channel, writer.device, number);
            let command = command(channel, &writer, number, settled, content.clone());
            self.oracle.begin(key, content);
            if !self.until_answered(key, &command, &mut random).await {
                return;
            }
            if random.percent(15) {
                // The answer was lost, so it seems.
                self.once(key, &command, &mut random).await;
            }
            number = ClientSeq::new(number.get() + 1);
            if random.percent(60) || number.get() > settled.get() + 20 {
                settled = number;
            }
        }
    }

    async fn until_answered(&self, key: Key, command: &Command, random: &mut Random) -> bool {
        loop {
            let answered = if random.percent(20) {
                let mut other = random.fork();
                let (first, second) = join(self.once(key, command, random), self.once(key, command, &mut other)).await;
                first || second
            } else {
                self.once(key, command, random).await
            };
            if answered {
                return true;
            }
            if self.cluster.watch().violation().is_some() {
                return false;
            }
            sleep(random.between(Duration::from_millis(5), Duration::from_millis(80))).await;
        }
    }

    /// One attempt, at the leader or anywhere. Says whether it got a final answer.
    async fn once(&self, key: Key, command: &Command, random: &mut Random) -> bool {
        let group = group_of(key.0.bucket(), self.cluster.shape().groups);
        let up = self.cluster.up();
        let Some(node) = self.cluster.leader(group).filter(|_| random.percent(85)).or_else(|| (!up.is_empty()).then(|| *random.pick(&up))) else {
            return false;
        };
        let Some(handle) = self.cluster.handle(node, group) else { return false };
        let patience = random.between(Duration::from_millis(30), Duration::from_millis(1_500));
        let Ok(Ok(reply)) = timeout(patience, handle.propose(kith_machine::item(command.clone()))).await else { return false };
        let watch = self.cluster.watch();
        let judged = match reply {
            Reply::Sent { seq, duplicate, .. } => {
                watch.note("acked", &[u64::from(group.get()), key.1.get(), key.2.get(), seq.get(), u64::from(duplicate)]);
                self.oracle.acked(key, seq)
            }
            Reply::Rejected(code) if code.retry() == Retry::Never => {
                watch.note("refused", &[key.1.get(), key.2.get()]);
                self.oracle.refused(key)
            }
            Reply::Rejected(_) => return false,
            other => Err(format!("number {} of device {} in {} was answered with {other:?}", key.2, key.1, key.0)),
        };
        judged.unwrap_or_else(|found| watch.violate(format!("a client was told: {found}")));
        true
    }

    async fn propose(&self, group: GroupId, command: Command) {
        loop {
            if let Some(handle) = self.cluster.leader(group).and_then(|node| self.cluster.handle(node, group)) {
                match handle.propose(kith_machine::item(command.clone())).await {
                    Ok(Reply::Rejected(code)) => return self.cluster.watch().violate(format!("{command:?} was refused: {code}")),
                    Ok(_) => return,
                    Err(ProposeError::NotLeader { .. } | ProposeError::Busy { .. } | ProposeError::Unknown | ProposeError::Stopped) => {}
                }
            }
            if self.cluster.watch().violation().is_some() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn text(writer: &Writer, number: ClientSeq) -> Content {
    Content::Text { text: format!("{number} of {} by {}", writer.device, writer.user), reply_to: None, mentions: Vec::new(), extra: None }
}

fn command(channel: ChannelId, writer: &Writer, client_seq: ClientSeq, settled: ClientSeq, content: Content) -> Command {
    let author = Author { user: writer.user, device: writer.device, client_seq, settled, digest: client_seq.get() * 31 + 7, key: None };
    match content {
        Content::Members(change) => Command::ChangeMembers { channel, author, change },
        content => Command::Append { channel, author, content, peer: PeerCheck::Exists },
    }
}
