//! What builds run the cluster: this node's and those that its peers say theirs are, and the version of the cluster that this node has noted on its disk.
//!
//! In: hellos and beats of peers, versions of maps. Out: a refusal of a peer whose build does not serve this cluster, or is not served by it; that this node
//! must stop. Invariants: a map of a version is taken only when the disk says so, so that an older build does not start on it afterwards; a node whose build
//! does not know the version of its cluster takes nothing of it and stops. Soft state but for that mark. Not here: raising the version
//! (`cluster::upgrade`), what the mark looks like (kith-storage's `mark`).

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, Weak},
};

use kith_raft::storage::Storage;
use kith_wire::{
    client::Refusal,
    code::Code,
    id::NodeId,
    peer::PeerHello,
    upgrade::{ClusterVersion, fits},
};
use tokio::sync::watch;

use crate::router::refuse;

/// Why a node must not go on in its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fenced {
    /// A peer has refused its data directory as another one than this node had.
    Directory(String),
    /// Its build does not go with the cluster.
    Build(String),
}

/// A node's build, as it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Build {
    /// The newest cluster version that it knows.
    pub knows: ClusterVersion,
    /// As people call it.
    pub name: String,
}

/// What is known of builds. Clones are the same.
#[derive(Clone, Debug)]
pub struct Release {
    own: Build,
    met: Arc<RwLock<BTreeMap<NodeId, Build>>>,
    storage: Weak<Storage>,
    fenced: watch::Sender<Option<Fenced>>,
}

impl Release {
    /// Of this node. The store is not kept open by it.
    pub fn new(storage: &Arc<Storage>) -> Self {
        let own = Build { knows: storage.quirk().build(), name: env!("CARGO_PKG_VERSION").to_owned() };
        Self { own, met: Arc::default(), storage: Arc::downgrade(storage), fenced: watch::Sender::new(None) }
    }

    /// This node's build.
    pub fn own(&self) -> &Build {
        &self.own
    }

    /// The version of the cluster that is noted on this node's disk.
    pub fn noted(&self) -> ClusterVersion {
        self.storage.upgrade().map_or_else(ClusterVersion::default, |storage| storage.cluster_version())
    }

    /// Notes the version of a map before that is taken; whether it may be. Blocks where the version is a new one.
    pub fn admits(&self, cluster: ClusterVersion) -> bool {
        let cluster = cluster.or_first();
        if let Err(error) = fits(self.own.knows, cluster) {
            self.fence(Fenced::Build(error.to_string()));
            return false;
        }
        let Some(storage) = self.storage.upgrade() else { return false };
        if cluster <= storage.cluster_version() {
            return true;
        }
        match storage.mark(cluster) {
            Ok(()) => {
                tracing::info!(version = %cluster, "peer.release: the cluster is at a new version; older builds do not start on this disk any more");
                true
            }
            Err(error) => {
                tracing::error!(version = %cluster, cause = %error, "peer.release: the cluster's version cannot be noted; its map is not taken yet");
                false
            }
        }
    }

    /// Takes a peer's build, or says why not.
    ///
    /// # Errors
    /// It does not serve this cluster, or this node's build does not serve the peer's.
    pub fn check(&self, hello: &PeerHello) -> Result<(), Refusal> {
        // 0: a build that does not tell.
        let knows = hello.knows.or_first();
        // Whoever was away has noted less than where the cluster is.
        let cluster = hello.noted.max(self.noted());
        if let Err(error) = fits(self.own.knows, cluster) {
            self.fence(Fenced::Build(format!("node {} says where the cluster is: {error}", hello.node)));
            return Err(refuse(Code::Draining).with_text("this node stops: its build is too old"));
        }
        fits(knows, cluster).map_err(|error| refuse(Code::VersionMismatch).with_text(error.to_string()))?;
        let build = Build { knows, name: hello.build.clone() };
        self.met.write().unwrap_or_else(PoisonError::into_inner).insert(hello.node, build);
        Ok(())
    }

    /// What a node said that its build is, when it was met last since this node began.
    pub fn of(&self, node: NodeId) -> Option<Build> {
        self.met.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// This node must stop: the first reason counts.
    pub fn fence(&self, why: Fenced) {
        self.fenced.send_if_modified(|fenced| {
            let is_first = fenced.is_none();
            fenced.get_or_insert(why);
            is_first
        });
    }

    /// Becomes `Some` when this node must stop.
    pub fn fenced(&self) -> watch::Receiver<Option<Fenced>> {
        self.fenced.subscribe()
    }
}
