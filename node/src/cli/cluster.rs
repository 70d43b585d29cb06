//! Which cluster a verb talks to, and as whom.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use kith_client::{
    Backfill, Channel, Client,
    wire::{
        client::{Answer, Request},
        id::{ChannelId, UserId},
        limit,
    },
};
use tokio::time::timeout;

use super::{device::DeviceFile, failure::Failure};
use crate::operator::{self, Operator};

/// How long a verb tries to reach a node.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Arguments of every verb that talks to a cluster.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ClusterArgs {
    /// The cluster's folder, made by `kith demo` or `kith start --single-node`
    #[arg(long, global = true, env = "KITH_CLUSTER", default_value = "kith-data", value_name = "DIR")]
    pub(crate) cluster: PathBuf,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What was opened, to be closed however the verb ends.
    #[arg(skip)]
    opened: Arc<OnceLock<Operator>>,
}

impl ClusterArgs {
    pub(crate) fn open(&self) -> Result<Operator, Failure> {
        if let Some(operator) = self.opened.get() {
            return Ok(operator.clone());
        }
        let operator = Operator::open(&self.cluster)?;
        Ok(self.opened.get_or_init(|| operator).clone())
    }
    /// Ends all sessions that were begun: a node that is not told keeps them until they have been silent for long.
    pub(super) async fn close(&self) {
        if let Some(operator) = self.opened.get() {
            operator.close().await;
        }
    }
    /// A connected client with an operator's rights.
    pub(crate) async fn admin(&self) -> Result<(Operator, Client), Failure> {
        let operator = self.open()?;
        let admin = operator.admin().await?;
        connect(&admin).await?;
        Ok((operator, admin))
    }
    /// A connected client of a user; the account is made on first use.
    pub(crate) async fn session(&self, name: &str, backfill: Backfill) -> Result<Session, Failure> {
        let operator = self.open()?;
        let device = DeviceFile::take(operator.folder(), name)?;
        let user = match device.user() {
            Some(user) => user,
            None => {
                let admin = operator.admin().await?;
                connect(&admin).await?;
                let (user, _) = operator::ensure_account(&admin, name).await?;
                admin.close().await;
                user
            }
        };
        let client = operator.client(user, name, 0)?.backfill(backfill).store(device).build().await?;
        Ok(Session { client, name: name.to_owned() })
    }
}

/// Connects, or says that nobody answers.
pub(crate) async fn connect(client: &Client) -> Result<(), Failure> {
    match timeout(CONNECT_WITHIN, client.connect()).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Failure::unreachable(format!("no node answered within {} s", CONNECT_WITHIN.as_secs()))),
    }
}

/// A user's client.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Session {
    /// Connects.
    pub(crate) async fn connected(self) -> Result<Self, Failure> {
        connect(&self.client).await?;
        Ok(self)
    }

    /// The conversation that a person means: a group by id, else a group of theirs by title, else the direct one with a user.
    pub(crate) async fn conversation(&self, to: &str) -> Result<Channel, Failure> {
        if let Ok(id) = ChannelId::from_hex(to) {
            return Ok(self.client.channel(id));
        }
        let channels = self.client.channels().await?;
        let (left, present): (Vec<_>, Vec<_>) =
            channels.iter().filter(|summary| summary.row.news.title == to).partition(|summary| summary.row.news.left.is_some());
        // A group that was left can still be read, as far as it was seen.
        let titled = if present.is_empty() { left } else { present };
        match titled[..] {
            [] => Ok(self.client.direct(to).await?),
            [only] => Ok(self.client.channel(only.channel)),
            _ => Err(Failure::usage(
                format!("{} groups of yours are named {to:?}", titled.len()),
                "give the id: `kith group list --as NAME` shows them",
            )),
        }
    }

    /// The group that a person means, by id or by title.
    pub(crate) async fn group(&self, group: &str) -> Result<Channel, Failure> {
        if let Ok(id) = ChannelId::from_hex(group) {
            return Ok(self.client.channel(id));
        }
        let channels = self.client.channels().await?;
        if channels.iter().any(|summary| summary.row.news.title == group) {
            return self.conversation(group).await;
        }
        Err(Failure::usage(format!("no group of yours is named {group:?}"), "`kith group list --as NAME` shows them"))
    }
}

/// Names of users, asked once each.
pub(crate) struct Names {
    client: Client,
    known: HashMap<UserId, String>,
}

impl Names {
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone(), known: HashMap::new() }
    }
    /// Looks up those that are not known yet.
    pub(crate) async fn learn(&mut self, users: impl IntoIterator<Item = UserId>) -> Result<(), Failure> {
        let mut unknown: Vec<UserId> = users.into_iter().filter(|user| !self.known.contains_key(user)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        for some in unknown.chunks(limit::USERS_PER_REQUEST) {
            if let Answer::Users(views) = self.client.request(Request::GetUsers { users: some.to_vec() }).await? {
                self.known.extend(views.into_iter().map(|view| (view.user, view.name)));
            }
        }
        Ok(())
    }
    /// The name, or the id of a user that has none.
    pub(crate) fn of(&self, user: UserId) -> String {
        self.known.get(&user).cloned().unwrap_or_else(|| user.to_string())
    }
}
