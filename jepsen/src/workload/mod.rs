//! Loads: what clients do while faults come and go, all of it recorded.
//!
//! In: a running cluster, the phase of the run. Out: lines of the history. Invariants: what is not known is written as `info` or left without an end, never as
//! `fail`; a load ends soon after the phase says so. Bounds: writes under way per device, named in each load. Not here: judging (`checker`).

mod acts;
mod append;
mod cursors;
mod devices;
mod direct;
mod finals;
mod http;
mod links;
mod membership;
mod moves;
mod presence;
mod push;
mod raw;
mod reads;
mod restarted;
mod retry;
mod sender;
pub(crate) mod snapshot;
mod text;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kith_client::wire::id::{ChannelId, UserId};
use kith_client::{Backfill, Channel, Client, ClientBuilder, Endpoint, Error, History, NewChannel, RetryPolicy, Transport, Trust};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use finals::final_reads;

use crate::history::{Item, Withheld};
use crate::lab::{Lab, PORT};
use crate::name::{Nemesis, Workload};
use crate::plan::Plan;
use crate::record::Recorder;
use crate::seed::Chance;

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    /// Accounts and channels are being made.
    Preparing,
    /// Load, with faults.
    Faults,
    /// All is healed, the load goes on.
    Healed,
    /// No new operations.
    Stopped,
}

/// Waits until the run is as far as this.
pub(crate) async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // A run that is gone has stopped.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// The tasks of all loads; each begins with the load.
#[derive(Debug)]
pub(crate) struct Loads {
    pub(crate) tasks: JoinSet<anyhow::Result<()>>,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Loads {
    fn spawn(&mut self, work: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let mut phase = self.phase.clone();
        self.tasks.spawn(async move {
            reached(&mut phase, Phase::Faults).await;
            work.await
        });
    }
}

/// What loads share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) lab: Arc<Lab>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) seed: u64,
    pub(crate) ca_pem: Vec<u8>,
    trust: Trust,
    /// Loads that share the cluster: each is the lighter for it.
    loads: u64,
}

/// A user, with a token.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) token: String,
}

/// A channel and who may read all of it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) id: ChannelId,
    pub(crate) name: String,
}

/// How long making accounts and channels may take.
const PREPARE_WITHIN: Duration = Duration::from_secs(20);
/// Tries to make an account: the first may come before the cluster's first leaders.
const ACCOUNT_TRIES: u32 = 5;

impl Bench {
    pub(crate) fn new(lab: Arc<Lab>, recorder: Arc<Recorder>, seed: u64, loads: usize) -> anyhow::Result<Self> {
        let ca_pem = std::fs::read(lab.cluster().join("cluster/ca.pem")).context("reading the cluster's CA")?;
        let trust = Trust::ca_pem(&ca_pem)?;
        Ok(Self { lab, recorder, seed, ca_pem, trust, loads: loads as u64 })
    }

    /// A pause of so many milliseconds, longer where more loads share the machine: together they stay about as heavy as two.
    pub(crate) fn pause(&self, chance: &mut Chance, from: u64, to: u64) -> Duration {
        Duration::from_millis(chance.within(from, to) * self.loads.max(2) / 2)
    }

    /// The account of a name, made through the product's own command line.
    pub(crate) async fn account(&self, name: &str) -> anyhow::Result<Account> {
        let mut tries = 0;
        let answer = loop {
            tries += 1;
            match self.lab.kith(&["token", name], PREPARE_WITHIN).await {
                Ok(answer) => break answer,
                Err(error) if tries >= ACCOUNT_TRIES => return Err(error.context("making an account")),
                Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        };
        let text =
            |key: &str| answer.get(key).and_then(serde_json::Value::as_str).map(str::to_owned).with_context(|| format!("no {key} in the answer"));
        let user = text("user")?;
        let raw = user.strip_prefix('u').and_then(|digits| u64::from_str_radix(digits, 16).ok()).context("reading a user's id")?;
        Ok(Account { user: UserId::new(raw), name: name.to_owned(), token: text("token")? })
    }

    /// Addresses, the one of `first` in front.
    fn addresses(&self, first: usize) -> Vec<String> {
        let mut all: Vec<String> = self.lab.nodes.iter().map(|node| format!("{}:{PORT}", node.place.address)).collect();
        let turn = first % all.len().max(1);
        all.rotate_left(turn);
        all
    }

    /// What is hurt is the path of QUIC: nobody is to go around it, but where that is the fault.
    fn transports(&self) -> &'static [Transport] {
        if self.lab.has_tcp { &[Transport::Quic, Transport::WebSocket] } else { &[Transport::Quic] }
    }

    /// Begins a client that dials node `first` first and has a socket of its own.
    pub(crate) fn client(&self, account: &Account, first: usize, backfill: Backfill) -> anyhow::Result<ClientBuilder> {
        let addresses = self.addresses(first);
        let (head, rest) = addresses.split_first().context("a lab without nodes")?;
        Ok(Client::builder(head)
            .seeds(rest)
            .user(account.user)
            .tokens(account.token.clone())
            .trust(self.trust.clone())
            .endpoint(Endpoint::bind()?)
            .transports(self.transports())
            .backfill(backfill)
            .heartbeat(Duration::from_secs(3))
            .patience(Duration::from_millis(750))
            .request_timeout(Duration::from_secs(5))
            .retry(RetryPolicy { min: Duration::from_millis(200), max: Duration::from_secs(2) }))
    }

    /// As [`Bench::client`], for one that knows no other node as long as it is not told of one.
    pub(crate) fn client_of(&self, account: &Account, node: usize) -> anyhow::Result<ClientBuilder> {
        let place = &self.lab.nodes.get(node).context("no such node")?.place;
        Ok(Client::builder(&format!("{}:{PORT}", place.address))
            .user(account.user)
            .tokens(account.token.clone())
            .trust(self.trust.clone())
            .endpoint(Endpoint::bind()?)
            .transports(self.transports())
            .backfill(Backfill::Off)
            .heartbeat(Duration::from_secs(3))
            .patience(Duration::from_millis(750))
            .request_timeout(Duration::from_secs(5))
            .retry(RetryPolicy { min: Duration::from_millis(200), max: Duration::from_secs(2) }))
    }

    /// Makes group channels with these members.
    pub(crate) async fn rooms(&self, maker: &Account, members: &[UserId], names: impl IntoIterator<Item = String>) -> anyhow::Result<Vec<Room>> {
        let client = self.client(maker, 0, Backfill::Off)?.request_timeout(PREPARE_WITHIN).build().await?;
        tokio::time::timeout(PREPARE_WITHIN, client.connect()).await.context("connecting the first client")??;
        let mut rooms = Vec::new();
        for name in names {
            let others = members.iter().copied().filter(|user| *user != maker.user);
            let channel = client.create_channel(NewChannel::group(name.as_str()).members(others)).await.context("making a channel")?;
            rooms.push(Room { id: channel.id(), name });
        }
        client.close().await;
        Ok(rooms)
    }
}

/// What final reads must cover: channels with somebody who may read them.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    pub(crate) reader: Account,
    pub(crate) rooms: Vec<Room>,
}

/// Reads from where `want` says to the end, page by page.
async fn pages(channel: &Channel, mut want: History) -> Result<(Vec<Item<'static>>, Vec<Withheld>), Error> {
    let (mut items, mut withheld) = (Vec::new(), Vec::new());
    loop {
        let page = channel.history(want).await?;
        items.extend(page.records.iter().map(text::item));
        withheld.extend(page.withheld.iter().map(|(from, to)| Withheld { from: from.get(), to: to.get() }));
        match page.covered {
            Some((_, last)) if last < page.head.seq && last >= want.first => want.first = last.next(),
            _ => return Ok((items, withheld)),
        }
    }
}

/// What comes after the loads.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// What is to be read in the end.
    pub(crate) audits: Vec<Audit>,
    /// A node that is taken away before.
    pub(crate) away: Option<snapshot::Away>,
}

/// Settings that nodes are started with, besides those of the cluster: short logs where snapshots are to be sent, and webhooks may be here.
pub(crate) fn settings(plan: &Plan) -> Vec<&'static str> {
    let needs_snapshots = plan.request.workloads.contains(&Workload::Snapshot) || plan.required().contains(&Nemesis::Failpoint);
    let snapshots = if needs_snapshots { snapshot::SETTINGS } else { &[] };
    snapshots.iter().copied().chain(["hooks.allow_private=true", "push.allow_private=true"]).collect()
}

/// What is added to the cluster's file before the first start.
pub(crate) fn cluster_settings(plan: &Plan) -> String {
    // Leaders go where faults send them and nowhere else, so that a run can be repeated; `member` is what moves them.
    let mut settings = "\n[layout]\nbalance = false\nmove_within_s = 5\n".to_owned();
    if plan.required().contains(&Nemesis::Upgrade) {
        settings += "\n[upgrade]\nfinalize = false\n";
    }
    if plan.request.workloads.iter().any(|workload| matches!(workload, Workload::Presence | Workload::Push)) {
        settings += &format!("\n[presence]\ngrace_s = {}\n", presence::GRACE_S);
    }
    settings
}

/// Prepares and starts the loads.
pub(crate) async fn start(bench: &Arc<Bench>, workloads: &[Workload], loads: &mut Loads) -> anyhow::Result<Prepared> {
    let mut prepared = Prepared::default();
    for workload in workloads {
        prepared.audits.push(match workload {
            Workload::Append => append::start(bench, loads).await?,
            Workload::Retry => retry::start(bench, loads).await?,
            Workload::Devices => devices::start(bench, loads).await?,
            Workload::Reads => reads::start(bench, loads).await?,
            Workload::Membership => membership::start(bench, loads).await?,
            Workload::Cursors => cursors::start(bench, loads).await?,
            Workload::Http => http::start(bench, loads).await?,
            Workload::Acts => acts::start(bench, loads).await?,
            Workload::Presence => presence::start(bench, loads).await?,
            Workload::Push => push::start(bench, loads).await?,
            Workload::Move => moves::start(bench, loads).await?,
            Workload::Snapshot => {
                let (audit, away) = snapshot::start(bench, loads).await?;
                prepared.away = Some(away);
                audit
            }
        });
    }
    Ok(prepared)
}
