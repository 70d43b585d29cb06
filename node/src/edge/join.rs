//! Nodes that come to join: ALPN `kith-join/1`, one question and one answer.
//!
//! In: connections of who has no certificate yet, a token in the question. Out: what a node starts from, or why not. Order: the token is looked at,
//! then the address that was given is dialled back and must be answered by who holds the key, then the meta group lets it in, then it is signed. So
//! nobody without a token has this node dial anywhere, and a wrong address uses no token up. Invariant: only a node with the cluster's
//! `ca.key` beside its other files signs; others say so, and the next one is asked. Bounds: [`AT_ONCE`], `limit::JOIN_ASK_BYTES_MAX`, [`WITHIN`].
//! Not here: the rules of tokens (kith-machine's `meta::trust`), the side that joins (`cluster::join`).

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use kith_wire::{
    client::Refusal,
    code::Code,
    id::ClusterId,
    limit,
    log::NodeRow,
    secret::Secret,
    trust::{JoinAsk, JoinTold, Joined, key_digest},
};
use quinn::{Connection, VarInt};
use thiserror::Error;
use tokio::sync::Semaphore;

use super::metrics::{EdgeMetrics, JoinOutcome};
use crate::{
    clock::SharedClock,
    cluster::{authority::Authority, bootstrap::hosts},
    peer::{pin, tls::TlsError},
    router::{refuse, refuse_for},
    service::Service,
};

/// Nodes that are let in at once; the next is `Busy`.
const AT_ONCE: usize = 4;
/// For the question to come.
const ASK_MAX: Duration = Duration::from_secs(5);
/// For an answer: a leader may have to be elected.
const WITHIN: Duration = Duration::from_secs(15);
/// For who joins to answer at its address.
const BACK_MAX: Duration = Duration::from_secs(3);
/// For the answer to be read.
const READ_MAX: Duration = Duration::from_secs(5);
/// When too many come at once.
const BUSY_MS: u32 = 1_000;

/// Lets nodes in.
pub(crate) struct Registrar {
    pub(crate) cluster: ClusterId,
    /// Of `cluster.toml` and the keys.
    pub(crate) folder: PathBuf,
    pub(crate) service: Service,
    /// Dials back.
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Arc<EdgeMetrics>,
    pub(crate) room: Arc<Semaphore>,
}

impl Registrar {
    /// Room for those that come at once.
    pub(crate) fn room() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(AT_ONCE))
    }

    /// Answers one connection, and ends it.
    pub(crate) async fn serve(&self, connection: Connection) {
        match self.talk(&connection).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(cause = %error, "edge.join: a question was not answered"),
        }
        connection.close(VarInt::from_u32(0), b"");
    }

    async fn talk(&self, connection: &Connection) -> Result<(), TalkError> {
        let first = async {
            let (send, mut recv) = connection.accept_bi().await?;
            Ok::<_, TalkError>((send, recv.read_to_end(limit::JOIN_ASK_BYTES_MAX).await?))
        };
        let (mut send, asked) = tokio::time::timeout(ASK_MAX, first).await.map_err(|_| TalkError::Late)??;
        let told = match (self.room.try_acquire(), JoinAsk::decode(&asked)) {
            (Err(_), _) => Err(refuse_for(Code::Busy, BUSY_MS)),
            (Ok(_), Err(error)) => Err(refuse(Code::Invalid).with_text(error.to_string())),
            (Ok(permit), Ok(ask)) => {
                let told = self.let_in(ask).await;
                drop(permit);
                told
            }
        };
        let told = match told {
            Ok(joined) => {
                self.metrics.join(JoinOutcome::Joined);
                tracing::info!(node = %joined.node.node, address = joined.node.address, zone = joined.node.zone, "edge.join: a node has joined");
                JoinTold::Joined(Box::new(joined))
            }
            Err(refusal) => {
                let outcome = if refusal.code == Code::NotReached { JoinOutcome::Unreached } else { JoinOutcome::Refused };
                self.metrics.join(outcome);
                tracing::info!(code = %refusal.code, text = refusal.text, "edge.join: a node was not let in");
                JoinTold::Refusal(refusal)
            }
        };
        let answer = async {
            send.write_all(&told.encode()).await?;
            // It was not ended before.
            let _ = send.finish();
            Ok::<_, TalkError>(())
        };
        tokio::time::timeout(READ_MAX, answer).await.map_err(|_| TalkError::Late)??;
        // Whoever asked closes when all is read.
        let _ = tokio::time::timeout(READ_MAX, connection.closed()).await;
        Ok(())
    }

    async fn let_in(&self, ask: JoinAsk) -> Result<Joined, Refusal> {
        let deadline = self.clock.instant() + WITHIN;
        let proof = (ask.secret.digest(), key_digest(&ask.key));
        let row = self.service.may_join(proof, ask.node.clone(), deadline).await?;
        let files = Files::read(self.folder.clone()).await?;
        let Some(authority_key) = files.authority_key.clone() else {
            let text = "this node does not hold the cluster's ca.key, so that it signs for nobody: name one that does, or use kith node add";
            return Err(refuse(Code::Unsupported).with_text(text));
        };
        self.dial_back(&row, ask.key.to_vec()).await?;
        let row = self.service.join(proof, ask.node, deadline).await?;
        let certificate = || {
            let authority = Authority::load(self.cluster, &files.authority, authority_key.reveal())?;
            authority.certify(row.node, self.cluster, &hosts(&row.address), &ask.key)
        };
        let certificate = certificate().map_err(|error| {
            tracing::error!(cause = %error, "edge.join: a certificate cannot be made");
            refuse(Code::Invalid).with_text("no certificate can be made for this key and this address")
        })?;
        Ok(Joined {
            certificate,
            node: row,
            authority: files.authority,
            authority_key,
            token_key: files.token_key,
            cluster: files.cluster,
            map: (**self.service.router().maps().current()).clone(),
        })
    }

    /// Whoever answers at the address must hold the key: else others would dial in vain, or somebody else.
    async fn dial_back(&self, row: &NodeRow, key: Vec<u8>) -> Result<(), Refusal> {
        let address = &row.address;
        let dial = async {
            let at = tokio::net::lookup_host(address).await.map_err(BackError::Resolve)?.next().ok_or(BackError::Nothing)?;
            let connection = match self.endpoint.connect_with(pin::back(key)?, at, pin::NAME)?.await {
                Err(quinn::ConnectionError::TransportError(_)) => return Err(BackError::Another),
                reached => reached?,
            };
            connection.close(VarInt::from_u32(0), b"");
            Ok::<_, BackError>(())
        };
        let reached = tokio::time::timeout(BACK_MAX, dial).await.unwrap_or(Err(BackError::Late));
        reached.map_err(|error| {
            let text = format!(
                "the cluster cannot reach this node at {address} ({error}): give the address at which the other nodes reach its UDP port, --advertise HOST:PORT"
            );
            refuse(Code::NotReached).with_text(text)
        })
    }
}

/// What every node of the cluster has.
struct Files {
    cluster: String,
    authority: String,
    authority_key: Option<Secret>,
    token_key: Secret,
}

impl Files {
    /// Read at each use: they are few, and a key may have come or gone.
    async fn read(folder: PathBuf) -> Result<Self, Refusal> {
        let text = async |name: &str| tokio::fs::read_to_string(folder.join(name)).await;
        let read = async {
            let authority_key = match text("ca.key").await {
                Ok(key) => Some(Secret::new(key)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let (cluster, authority) = (text("cluster.toml").await?, text("ca.pem").await?);
            Ok(Self { cluster, authority, authority_key, token_key: Secret::new(text("token.key").await?) })
        };
        read.await.map_err(|error| {
            tracing::error!(cause = %error, "edge.join: the cluster's files cannot be read");
            refuse(Code::Internal)
        })
    }
}

/// Why nobody was reached.
#[derive(Debug, Error)]
enum BackError {
    #[error("it cannot be resolved")]
    Resolve(#[source] io::Error),
    #[error("it is no address")]
    Nothing,
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Dial(#[from] quinn::ConnectError),
    #[error("{0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("somebody else answers")]
    Another,
    #[error("nobody answers")]
    Late,
}

/// Why a question was not answered.
#[derive(Debug, Error)]
enum TalkError {
    #[error("the connection ended")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the question cannot be read")]
    Read(#[from] quinn::ReadToEndError),
    #[error("the answer cannot be written")]
    Write(#[from] quinn::WriteError),
    #[error("too late")]
    Late,
}
