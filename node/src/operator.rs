//! What an operator's tools need to talk to a cluster: its folder, tokens minted here, clients that trust its CA.
//!
//! In: the folder that bootstrap made. Out: SDK clients, as anyone or as the operator. Invariant: whoever can read the token key may be
//! anyone, so it is readable by its owner only. Not here: what is asked (`cli`, `demo`).

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kith_client::{Backfill, Client, ClientBuilder, Door, Endpoint, Error, Login, RetryPolicy, Trust};
use kith_wire::{
    client::{Answer, ClusterStatus, Request},
    code::Code,
    id::{UserId, digest},
    secret::Secret,
};
use thiserror::Error;

use crate::{
    auth::{Claims, mint},
    clock::{Clock, SystemClock},
    cluster::{ClusterFiles, files::FilesError},
};

/// How long tokens last that a tool mints for itself.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// Silence after which a tool's client probes its edge.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Silence of an edge that owes an answer, before it is probed, and again before it is given up: a tool is near its cluster.
const PATIENCE: Duration = Duration::from_millis(750);

/// The folder holds no cluster that can be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A file is missing or malformed.
    #[error("there is no usable cluster in {folder}")]
    Files {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: Box<FilesError>,
    },
    /// No socket, or the CA's certificate is malformed.
    #[error("the client could not be set up")]
    Client(#[from] Error),
}

/// Access to a cluster, by its folder. Clients that it makes share one UDP socket.
#[derive(Clone, Debug)]
pub struct Operator {
    files: ClusterFiles,
    folder: PathBuf,
    endpoint: Endpoint,
    trust: Trust,
}

impl Operator {
    /// Reads the folder that bootstrap made. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A file is missing or malformed, or no socket can be bound.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let files =
            ClusterFiles::load(&folder.join("cluster")).map_err(|source| OpenError::Files { folder: folder.to_owned(), source: Box::new(source) })?;
        let trust = Trust::ca_pem(files.ca_pem.as_bytes())?;
        Ok(Self { endpoint: Endpoint::bind()?, trust, files, folder: folder.to_owned() })
    }
    /// The cluster's files.
    pub const fn files(&self) -> &ClusterFiles {
        &self.files
    }
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the sessions of all its clients, and waits until the nodes were told.
    pub async fn close(&self) {
        self.endpoint.close().await;
    }

    /// A token for a user.
    ///
    /// # Errors
    /// The crypto library fails.
    pub fn token(&self, user: UserId, name: &str, ttl: Duration) -> Result<String, Error> {
        self.mint(user, name, false, ttl)
    }

    /// Begins a client of a user. It dials the cluster's nodes in their order, beginning with that of number `first`, from 0 and round.
    ///
    /// # Errors
    /// As [`Operator::token`].
    pub fn client(&self, user: UserId, name: &str, first: usize) -> Result<ClientBuilder, Error> {
        self.begin(user, name, false, first)
    }

    /// As [`Operator::client`], of one who knows a single node.
    ///
    /// # Errors
    /// As [`Operator::token`].
    pub fn client_at(&self, user: UserId, name: &str, address: &str) -> Result<ClientBuilder, Error> {
        Ok(self.begin_at(user, name, false, address, &[]))
    }

    /// Where strangers of this cluster ask to be let in.
    pub fn door(&self) -> Door {
        let addresses: Vec<&str> = self.files.spec.nodes.iter().map(|node| node.address.as_str()).collect();
        Door::with_endpoint(&addresses, self.trust.clone(), self.endpoint.clone())
    }

    /// Begins a client of somebody who logged in.
    ///
    /// # Errors
    /// The cluster's file names no node.
    pub fn account_client(&self, login: Login) -> Result<ClientBuilder, Error> {
        Ok(self.begin(login.user(), "", false, 0)?.login(login))
    }

    /// A client with an operator's rights and no account. It is not connected yet.
    ///
    /// # Errors
    /// As [`Operator::token`].
    pub async fn admin(&self) -> Result<Client, Error> {
        self.begin(UserId::default(), "operator", true, 0)?.backfill(Backfill::Off).build().await
    }

    /// As [`Operator::admin`], at one node.
    ///
    /// # Errors
    /// As [`Operator::token`].
    pub async fn admin_at(&self, address: &str) -> Result<Client, Error> {
        self.begin_at(UserId::default(), "operator", true, address, &[]).backfill(Backfill::Off).build().await
    }

    fn begin(&self, user: UserId, name: &str, admin: bool, first: usize) -> Result<ClientBuilder, Error> {
        let mut addresses: Vec<&str> = self.files.spec.nodes.iter().map(|node| node.address.as_str()).collect();
        let turn = first % addresses.len().max(1);
        addresses.rotate_left(turn);
        let (head, rest) = addresses.split_first().ok_or_else(|| missing("a node in the cluster's file"))?;
        Ok(self.begin_at(user, name, admin, head, rest))
    }

    fn begin_at(&self, user: UserId, name: &str, admin: bool, head: &str, rest: &[&str]) -> ClientBuilder {
        let tokens = {
            let (operator, name) = (self.clone(), name.to_owned());
            move |_| operator.mint(user, &name, admin, TOKEN_TTL)
        };
        Client::builder(head)
            .seeds(rest)
            .user(user)
            .cluster(self.files.id)
            .tokens(tokens)
            .trust(self.trust.clone())
            .endpoint(self.endpoint.clone())
            .heartbeat(HEARTBEAT)
            .patience(PATIENCE)
            .retry(RetryPolicy { min: Duration::from_millis(200), max: Duration::from_secs(3) })
    }

    fn mint(&self, user: UserId, name: &str, admin: bool, ttl: Duration) -> Result<String, Error> {
        let now_s = SystemClock.now().get() / 1_000;
        let claims = Claims {
            user,
            name: name.to_owned(),
            cluster: self.files.id,
            admin,
            expires_s: now_s + ttl.as_secs(),
            issued_s: now_s,
            ..Claims::default()
        };
        mint(&self.files.token_key, &claims).map_err(|error| Error::new(Code::Internal, error.to_string()))
    }
}

/// A client with the rights of an admin token, at the first of these nodes that answers. It is not connected yet.
///
/// # Errors
/// There is no address.
pub async fn admin_by_token(addresses: &[String], trust: Trust, endpoint: Endpoint, token: Secret) -> Result<Client, Error> {
    let (head, rest) = addresses.split_first().ok_or_else(|| Error::new(Code::Invalid, "no address was given"))?;
    let tokens = move |_| Ok::<_, Error>(token.reveal().to_owned());
    let client = Client::builder(head).seeds(rest).user(UserId::default()).tokens(tokens).trust(trust).endpoint(endpoint);
    let retry = RetryPolicy { min: Duration::from_millis(200), max: Duration::from_secs(3) };
    client.heartbeat(HEARTBEAT).patience(PATIENCE).retry(retry).backfill(Backfill::Off).build().await
}

/// The account of a name, made if there is none. Says whether it was made.
///
/// # Errors
/// The name is malformed, or the request fails.
pub async fn ensure_account(admin: &Client, name: &str) -> Result<(UserId, bool), Error> {
    // Fresh randomness each time: a name that exists keeps its user, whatever the key.
    let key = digest(&[b"kith/operator/1", name.as_bytes(), &crate::clock::draw().to_be_bytes(), &crate::clock::draw().to_be_bytes()]);
    match admin.request(Request::EnsureAccount { name: name.to_owned(), key }).await? {
        Answer::Account { user, created, .. } => Ok((user, created)),
        _ => Err(Error::new(Code::Internal, "an answer of another kind")),
    }
}

/// The state of the cluster, as one node sees it.
///
/// # Errors
/// The request fails.
pub async fn status(admin: &Client) -> Result<ClusterStatus, Error> {
    match admin.request(Request::Status).await? {
        Answer::Status(status) => Ok(status),
        _ => Err(Error::new(Code::Internal, "an answer of another kind")),
    }
}

/// Something that must be there is not.
pub(crate) fn missing(what: &str) -> Error {
    Error::new(Code::Internal, format!("{what} is missing"))
}
