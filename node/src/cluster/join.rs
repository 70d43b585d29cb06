//! A node that joins a cluster by a token: from an empty folder to one that it starts from.
//!
//! In: the token, where the node listens and is dialled, where it stands. Out: `FOLDER/cluster/` and `FOLDER/node-<id>/`, as bootstrap makes them. The key
//! is drawn here and never leaves; a node of the cluster, which the token's authority proves, dials back to the address that was given and signs.
//! Invariants: nothing is asked of anybody else; the folder is whole when `cluster.toml` is in it; asked again with the same folder, the same node
//! comes of it. Bounds: [`WITHIN`], `limit::JOIN_TOLD_BYTES_MAX`. Not here: letting it in (`edge::join`), what it does then (`node`).

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use kith_wire::{
    client::Refusal,
    code::{Code, Retry},
    id::ClusterId,
    limit,
    log::NodeRow,
    trust::{JoinAsk, JoinTicket, JoinTold, Joined},
};
use thiserror::Error;

use super::{
    NodeSpec,
    authority::NodeKey,
    bootstrap::{Secrecy, make_folder, write},
    files::{ClusterFiles, FilesError},
};
use crate::{
    clock::{SharedClock, jitter},
    config::NodeFile,
    peer::{delay::Distances, endpoint, pin, tls::TlsError},
};

/// What a node joins with.
#[derive(Clone, Debug)]
pub struct Join {
    /// Its token.
    pub ticket: JoinTicket,
    /// Where its folders are made.
    pub folder: PathBuf,
    /// Its UDP socket.
    pub listen: SocketAddr,
    /// Where it is dialled and where it stands; without an id.
    pub node: NodeRow,
}

/// A node could not join.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The folder is another cluster's.
    #[error("{folder} holds a node of cluster {is}, and the token is for cluster {wanted}")]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        is: ClusterId,
        /// Whom the token is for.
        wanted: ClusterId,
    },
    /// The folder holds several nodes.
    #[error("{folder} holds the folders of {count} nodes")]
    Several {
        /// The folder.
        folder: PathBuf,
        /// How many.
        count: usize,
    },
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No key could be made, or the one in the folder is none.
    #[error("cannot make the node's key")]
    Key(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("cannot set up tls")]
    Tls(#[from] TlsError),
    /// A file could not be read or written.
    #[error("cannot use the node's folder")]
    Files(#[from] FilesError),
    /// Its settings could not be written.
    #[error("cannot write the node's settings")]
    Render(#[from] toml::ser::Error),
    /// The cluster says no.
    #[error("the node at {address} refused: {}", .refusal.text)]
    Refused {
        /// Who was asked.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// Nobody whom the token names could be asked in time.
    #[error("no node that the token names let this one in: {}", tried(.0))]
    Nobody(Vec<(String, String)>),
}

fn tried(all: &[(String, String)]) -> String {
    all.iter().map(|(address, why)| format!("{address}: {why}")).collect::<Vec<_>>().join("; ")
}

/// The settings of the node that joined into this folder before; `None`: none has.
///
/// # Errors
/// There are several, or the folder cannot be read.
pub fn joined(folder: &Path) -> Result<Option<PathBuf>, JoinError> {
    if !folder.join("cluster/cluster.toml").exists() {
        return Ok(None);
    }
    let io = |source| FilesError::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let file = entry.map_err(io)?.path().join("node.toml");
        if file.exists() {
            found.push(file);
        }
    }
    match found.len() {
        0 => Ok(None),
        1 => Ok(found.pop()),
        count => Err(JoinError::Several { folder: folder.to_owned(), count }),
    }
}

impl Join {
    /// Joins, and gives the node's settings; a node that has joined already is not asked for again.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn run(&self, clock: &SharedClock) -> Result<PathBuf, JoinError> {
        if let Some(file) = joined(&self.folder)? {
            let is = ClusterFiles::load(&self.folder.join("cluster"))?.id;
            let wanted = self.ticket.cluster;
            let folder = self.folder.clone();
            return if is == wanted { Ok(file) } else { Err(JoinError::Foreign { folder, is, wanted }) };
        }
        let key = self.key()?;
        let told = self.ask_all(&key, clock).await?;
        self.keep(&key, &told)
    }

    /// The key of an attempt before, else a new one.
    fn key(&self) -> Result<NodeKey, JoinError> {
        let path = self.folder.join(JOINING).join("key.pem");
        if let Ok(pem) = fs::read_to_string(&path) {
            return Ok(NodeKey::from_pem(&pem)?);
        }
        let key = NodeKey::draw()?;
        make_folder(&self.folder.join(JOINING))?;
        write(&path, &key.pem(), Secrecy::Owner)?;
        Ok(key)
    }

    async fn ask_all(&self, key: &NodeKey, clock: &SharedClock) -> Result<Joined, JoinError> {
        let address = self.listen;
        let listen = |source| JoinError::Listen { address, source };
        let server = pin::listener(&key.shown()?, &key.pem())?;
        let socket = endpoint::bind_socket(address).map_err(listen)?;
        let endpoint = endpoint::open(socket, server, key.pem().as_bytes(), Distances::default()).map_err(listen)?;
        let dialler = pin::dialler(self.ticket.cluster, self.ticket.authority)?;
        // Whoever dials back is shown the key in the handshake, and goes.
        let shown = async {
            while let Some(incoming) = endpoint.accept().await {
                if let Ok(connecting) = incoming.accept()
                    && let Ok(Ok(connection)) = tokio::time::timeout(DIAL_MAX, connecting).await
                {
                    let _ = tokio::time::timeout(DIAL_MAX, connection.closed()).await;
                }
            }
            std::future::pending().await
        };
        let asked = self.ask_in_turn(&endpoint, &dialler, key, clock);
        // Both branches are dropped when one is done: the endpoint ends with them.
        let told = tokio::select! {
            told = asked => told,
            told = shown => told,
        };
        endpoint.close(quinn::VarInt::from_u32(0), b"");
        let _ = tokio::time::timeout(CLOSE_MAX, endpoint.wait_idle()).await;
        drop(endpoint);
        // Its driver ends a moment later, and with it the socket, whose address the node will take.
        let free = async {
            while endpoint::bind_socket(address).is_err() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let _ = tokio::time::timeout(FREE_MAX, free).await;
        told
    }

    async fn ask_in_turn(
        &self,
        endpoint: &quinn::Endpoint,
        dialler: &quinn::ClientConfig,
        key: &NodeKey,
        clock: &SharedClock,
    ) -> Result<Joined, JoinError> {
        let until = clock.instant() + WITHIN;
        let ask = JoinAsk { secret: self.ticket.secret, key: key.public().into(), node: self.node.clone() }.encode();
        loop {
            let (mut failed, mut is_hopeless) = (Vec::new(), true);
            for address in &self.ticket.addresses {
                let (why, may_pass) = match exchange(endpoint, dialler, address, &ask).await {
                    Ok(JoinTold::Joined(joined)) => return Ok(*joined),
                    // It does not hold the authority's key: another one may.
                    Ok(JoinTold::Refusal(refusal)) if refusal.code == Code::Unsupported => (refusal.text, false),
                    Ok(JoinTold::Refusal(refusal)) if is_final(refusal.code) => return Err(JoinError::Refused { address: address.clone(), refusal }),
                    Ok(JoinTold::Refusal(refusal)) => (refusal.text, true),
                    Err(NotAsked { why, may_pass }) => (why, may_pass),
                };
                failed.push((address.clone(), why));
                is_hopeless &= !may_pass;
            }
            if is_hopeless || clock.instant() >= until {
                return Err(JoinError::Nobody(failed));
            }
            tracing::info!(tried = tried(&failed), "cluster.join: not let in yet, asking again");
            tokio::time::sleep(jitter(PAUSE / 2, PAUSE)).await;
        }
    }

    /// Writes what was told; `cluster.toml` last, so that its presence says that all is there.
    fn keep(&self, key: &NodeKey, told: &Joined) -> Result<PathBuf, JoinError> {
        let row = &told.node;
        let spec = NodeSpec {
            id: row.node.get(),
            address: row.address.clone(),
            http: row.http.clone(),
            region: row.region.get(),
            zone: row.zone.clone(),
            host: row.host.clone(),
        };
        let (own, shared) = (self.folder.join(format!("node-{}", row.node)), self.folder.join("cluster"));
        make_folder(&own.join("data"))?;
        make_folder(&shared)?;
        write(&own.join("key.pem"), &key.pem(), Secrecy::Owner)?;
        write(&own.join("cert.pem"), &told.certificate, Secrecy::Open)?;
        write(&own.join("node.toml"), &toml::to_string(&NodeFile::of(&spec).listening(self.listen))?, Secrecy::Open)?;
        write(&shared.join("ca.pem"), &told.authority, Secrecy::Open)?;
        write(&shared.join("token.key"), told.token_key.reveal(), Secrecy::Owner)?;
        if !told.authority_key.is_empty() {
            write(&shared.join("ca.key"), told.authority_key.reveal(), Secrecy::Owner)?;
        }
        let map = shared.join(super::files::MAP_FILE);
        fs::write(&map, told.map.encode()).map_err(|source| FilesError::Io { path: map, source })?;
        write(&shared.join("cluster.toml"), &told.cluster, Secrecy::Open)?;
        // Left behind, it is in nobody's way.
        let _ = fs::remove_dir_all(self.folder.join(JOINING));
        Ok(own.join("node.toml"))
    }
}

/// Whether asking again, there or elsewhere, would be answered in the same way.
const fn is_final(code: Code) -> bool {
    matches!(code.retry(), Retry::Never | Retry::AfterAuth)
}

/// Nobody whom the token means could be asked at an address.
struct NotAsked {
    why: String,
    /// Whether it may be otherwise in a while.
    may_pass: bool,
}

impl<T: std::fmt::Display> From<T> for NotAsked {
    fn from(why: T) -> Self {
        Self { why: why.to_string(), may_pass: true }
    }
}

async fn exchange(endpoint: &quinn::Endpoint, dialler: &quinn::ClientConfig, address: &str, ask: &[u8]) -> Result<JoinTold, NotAsked> {
    let at = tokio::net::lookup_host(address).await?.next().ok_or("it is no address")?;
    let connecting = endpoint.connect_with(dialler.clone(), at, pin::NAME)?;
    let connection = match tokio::time::timeout(DIAL_MAX, connecting).await.map_err(|_| "it does not answer")? {
        Ok(connection) => connection,
        // Who answers is not proven: it would not be in a while.
        Err(quinn::ConnectionError::TransportError(error)) => {
            return Err(NotAsked { why: format!("it is no node of the token's cluster ({error})"), may_pass: false });
        }
        Err(error) => return Err(error.into()),
    };
    let talk = async {
        let (mut send, mut recv) = connection.open_bi().await?;
        send.write_all(ask).await?;
        send.finish()?;
        Ok::<_, NotAsked>(JoinTold::decode(&recv.read_to_end(limit::JOIN_TOLD_BYTES_MAX).await?)?)
    };
    let told = tokio::time::timeout(TALK_MAX, talk).await.map_err(|_| "it does not answer in time")?;
    connection.close(quinn::VarInt::from_u32(0), b"");
    told
}

/// Where the key waits until the node has a number.
const JOINING: &str = "joining";
/// Until it is given up: a leader may have to be elected.
const WITHIN: Duration = Duration::from_secs(30);
/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// For a handshake.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// For an answer: the other side dials back and logs.
const TALK_MAX: Duration = Duration::from_secs(20);
/// For the address to be free again; if it is not, the node's start says so.
const FREE_MAX: Duration = Duration::from_secs(5);
/// Between two looks whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// For the last packets to leave.
const CLOSE_MAX: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_asked_again_and_what_does_not_is_not() {
        for code in [Code::NoLeader, Code::Busy, Code::Draining, Code::OutcomeUnknown] {
            assert!(!is_final(code), "{code}");
        }
        for code in [Code::BadToken, Code::TokenSpent, Code::TokenExpired, Code::Revoked, Code::NotReached, Code::Invalid, Code::WrongCluster] {
            assert!(is_final(code), "{code}");
        }
    }

    #[test]
    fn one_folder_is_one_node() {
        let dir = tempfile::tempdir().unwrap();
        assert!(joined(dir.path()).unwrap().is_none());
        let make = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        make("node-4/node.toml");
        assert!(joined(dir.path()).unwrap().is_none(), "not whole yet");
        make("cluster/cluster.toml");
        assert_eq!(joined(dir.path()).unwrap(), Some(dir.path().join("node-4/node.toml")));
        make("node-5/node.toml");
        assert!(matches!(joined(dir.path()), Err(JoinError::Several { count: 2, .. })));
    }
}
