//! Which cluster a verb talks to, and as whom.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use kith_client::{
    Backfill, Channel, Client, Door, Endpoint, Trust,
    wire::{
        admin::{AdminSecret, AdminSecretError},
        client::{Answer, Request},
        id::{ChannelId, UserId},
        limit,
        secret::Secret,
    },
};
use serde_json::Value;
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
    /// Without the folder: addresses of nodes, host:port or https://host:port, between commas; for `kith chat`, and with an admin token
    #[arg(long, global = true, env = "KITH_SERVER", value_name = "ADDRESSES")]
    pub(crate) server: Option<String>,
    /// With --server: the file with the cluster's certificate (ca.pem)
    #[arg(long, global = true, env = "KITH_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// With --server: an admin token, of `kith admin token create`. Others on this machine can see it: rather use --admin-token-file
    #[arg(long, global = true, env = "KITH_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN", conflicts_with = "admin_token_file")]
    admin_token: Option<String>,
    /// With --server: the file with an admin token
    #[arg(long, global = true, env = "KITH_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What was opened, to be closed however the verb ends.
    #[arg(skip)]
    opened: Arc<OnceLock<Operator>>,
    /// Its socket, where it is not by the folder.
    #[arg(skip)]
    remote: Arc<OnceLock<Endpoint>>,
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
        if let Some(endpoint) = self.remote.get() {
            endpoint.close().await;
        }
    }
    /// A connected client with an operator's rights: by the cluster's folder, or by an admin token from anywhere.
    pub(crate) async fn admin(&self) -> Result<Client, Failure> {
        let admin = match self.admin_token()? {
            None => self.open()?.admin().await?,
            Some(token) => {
                let (addresses, trust, endpoint) = self.elsewhere()?;
                operator::admin_by_token(&addresses, trust, endpoint, token).await?
            }
        };
        connect(&admin).await?;
        Ok(admin)
    }
    /// Says what was done: as data where that was asked for.
    pub(super) fn say(&self, value: &Value, text: &str) {
        println!("{}", if self.json { value.to_string() } else { text.to_owned() });
    }
    /// Where a stranger asks.
    pub(super) fn door(&self) -> Result<Door, Failure> {
        if self.server.is_none() {
            return Ok(self.open()?.door());
        }
        let (addresses, trust, endpoint) = self.elsewhere()?;
        Ok(Door::with_endpoint(&addresses, trust, endpoint))
    }

    fn admin_token(&self) -> Result<Option<Secret>, Failure> {
        let text = match (&self.admin_token, &self.admin_token_file) {
            (Some(text), _) => text.clone(),
            (None, Some(file)) => fs::read_to_string(file)
                .map_err(|error| Failure::local("reading the admin token", &error, "give the file that holds it: --admin-token-file FILE"))?,
            (None, None) => return Ok(None),
        };
        let secret: AdminSecret =
            text.parse().map_err(|error: AdminSecretError| Failure::usage(error.to_string(), "an admin makes one: kith admin token create"))?;
        if secret.is_first() {
            return Err(Failure::usage(
                "this is the cluster's first token: it opens nothing by itself",
                "turn it into an admin token: kith admin claim",
            ));
        }
        Ok(Some(secret.text()))
    }

    fn elsewhere(&self) -> Result<(Vec<String>, Trust, Endpoint), Failure> {
        let (Some(server), Some(ca)) = (&self.server, &self.ca) else {
            return Err(Failure::usage(
                "it is not said where the cluster is, and whose certificates to believe",
                "give --server HOST:PORT and --ca ca.pem: the file is in the cluster's folder",
            ));
        };
        let pem = fs::read(ca).map_err(|error| Failure::local("reading the cluster's certificate", &error, "give its ca.pem: --ca FILE"))?;
        let trust = Trust::ca_pem(&pem)?;
        let endpoint = match self.remote.get() {
            Some(endpoint) => endpoint.clone(),
            None => {
                let bound = Endpoint::bind()?;
                self.remote.get_or_init(|| bound).clone()
            }
        };
        let addresses = server.split(',').map(|one| one.trim().trim_end_matches('/').to_owned()).filter(|one| !one.is_empty()).collect();
        Ok((addresses, trust, endpoint))
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
