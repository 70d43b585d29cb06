//! Makes a cluster: its id, CA, token key, and a folder for each node to start from.
//!
//! Used by `kith start --single-node`, `kith demo` and tests. Nothing runs yet: the first leader of the meta group logs the map.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use kith_wire::id::{ClusterId, NodeId};
use thiserror::Error;

use super::{
    authority::Authority,
    files::{self, ClusterFiles, ClusterSpec, FilesError, NodeSpec},
};
use crate::{
    auth::{TokenKey, token::TokenKeyError},
    config::NodeFile,
};

/// A cluster could not be made.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// There are no nodes, an id is 0 or twice there, or there are no groups.
    #[error("a cluster needs nodes with different ids from 1, and at least one group")]
    Spec,
    /// There is a cluster in the folder already.
    #[error("there is a cluster in {path} already")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("cannot make certificates")]
    Certificate(#[from] rcgen::Error),
    /// A key could not be made.
    #[error("cannot make the token key")]
    TokenKey(#[from] TokenKeyError),
    /// A settings file could not be written.
    #[error("cannot write settings")]
    Render(#[from] toml::ser::Error),
    /// A file could not be written.
    #[error("cannot write the cluster's files")]
    Files(#[from] FilesError),
}

/// Makes the folder of a cluster. Keys are readable by their owner only.
///
/// # Errors
/// The spec is not a cluster, one is there already, or a file cannot be written.
pub fn bootstrap(folder: &Path, spec: &ClusterSpec) -> Result<ClusterId, BootstrapError> {
    check(spec)?;
    let shared = folder.join("cluster");
    make_folder(&shared)?;
    // Of two that begin at once the second waits, and finds what the first has made. The lock ends with the file.
    let io = |source| FilesError::Io { path: shared.clone(), source };
    let begun = fs::File::open(&shared).map_err(io)?;
    begun.lock().map_err(io)?;
    if shared.join("cluster.toml").exists() {
        return Err(BootstrapError::Exists { path: folder.to_owned() });
    }
    let id = ClusterId::new(uuid_like());
    let authority = Authority::create(id)?;
    let (_, token_pem) = TokenKey::generate()?;
    write(&shared.join("ca.pem"), authority.cert_pem(), Secrecy::Open)?;
    write(&shared.join("ca.key"), authority.key_pem(), Secrecy::Owner)?;
    write(&shared.join("token.key"), &token_pem, Secrecy::Owner)?;
    for node in &spec.nodes {
        make_node(folder, &authority, id, node)?;
    }
    // Last: its presence says that the folder is whole.
    write(&shared.join("cluster.toml"), &files::render(id, spec)?, Secrecy::Open)?;
    Ok(id)
}

/// Makes the folder of one more node of a cluster that is there, and gives it; one that is there already stays as it is. Nobody knows the node yet.
///
/// # Errors
/// The cluster's key is not here, the id is one of the first nodes', or a file cannot be written.
pub fn add_node(folder: &Path, node: &NodeSpec) -> Result<PathBuf, BootstrapError> {
    let shared = folder.join("cluster");
    let files = ClusterFiles::load(&shared)?;
    if node.id == 0 || files.spec.nodes.iter().any(|first| first.id == node.id) {
        return Err(BootstrapError::Spec);
    }
    let own = folder.join(format!("node-{}", node.id));
    if !own.join("node.toml").exists() {
        let path = shared.join("ca.key");
        let key = fs::read_to_string(&path).map_err(|source| FilesError::Io { path, source })?;
        make_node(folder, &Authority::load(files.id, &files.ca_pem, &key)?, files.id, node)?;
    }
    Ok(own)
}

fn make_node(folder: &Path, authority: &Authority, cluster: ClusterId, node: &NodeSpec) -> Result<(), BootstrapError> {
    let own = folder.join(format!("node-{}", node.id));
    make_folder(&own.join("data"))?;
    let (cert, key) = authority.issue(NodeId::new(node.id), cluster, &hosts(&node.address))?;
    write(&own.join("cert.pem"), &cert, Secrecy::Open)?;
    write(&own.join("key.pem"), &key, Secrecy::Owner)?;
    Ok(write(&own.join("node.toml"), &toml::to_string(&NodeFile::of(node))?, Secrecy::Open)?)
}

fn check(spec: &ClusterSpec) -> Result<(), BootstrapError> {
    let rising = spec.nodes.windows(2).all(|pair| pair[0].id < pair[1].id);
    let sound = rising && spec.nodes.first().is_some_and(|first| first.id > 0) && spec.groups > 0;
    if sound { Ok(()) } else { Err(BootstrapError::Spec) }
}

/// Names that clients may dial: the advertised one, and this machine.
pub(crate) fn hosts(address: &str) -> Vec<String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if !hosts.contains(&host) {
        hosts.push(host);
    }
    hosts
}

fn uuid_like() -> [u8; 16] {
    let mut raw = [0; 16];
    raw[..8].copy_from_slice(&crate::clock::draw().to_be_bytes());
    raw[8..].copy_from_slice(&crate::clock::draw().to_be_bytes());
    raw
}

/// Who may read a file.
pub(super) enum Secrecy {
    /// Everybody.
    Open,
    /// Its owner.
    Owner,
}

pub(super) fn make_folder(path: &Path) -> Result<(), FilesError> {
    fs::create_dir_all(path).map_err(|source| FilesError::Io { path: path.to_owned(), source })
}

pub(super) fn write(path: &Path, text: &str, secrecy: Secrecy) -> Result<(), FilesError> {
    let mode = match secrecy {
        Secrecy::Open => 0o644,
        Secrecy::Owner => 0o600,
    };
    let wrote = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    wrote().map_err(|source| FilesError::Io { path: path.to_owned(), source })
}

/// Writes a text that its owner alone may read.
///
/// # Errors
/// The file cannot be written.
pub fn write_secret(path: &Path, text: &str) -> Result<(), FilesError> {
    write(path, text, Secrecy::Owner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{cluster::ClusterFiles, config::Config, peer::tls::Identity};

    fn spec(nodes: u64) -> ClusterSpec {
        let node = |id| NodeSpec {
            id,
            address: format!("127.0.0.1:{}", 7000 + id),
            http: format!("127.0.0.1:{}", 8000 + id),
            region: 0,
            zone: format!("zone-{id}"),
            host: String::new(),
        };
        ClusterSpec { groups: 3, nodes: (1..=nodes).map(node).collect() }
    }

    #[test]
    fn folder_holds_all_that_each_node_needs() {
        let dir = tempfile::tempdir().unwrap();
        let id = bootstrap(dir.path(), &spec(3)).unwrap();
        let files = ClusterFiles::load(&dir.path().join("cluster")).unwrap();
        assert_eq!(files.id, id);
        let map = files.first_map();
        assert_eq!(map.nodes.len(), 3);
        assert_eq!(map.groups.len(), 4, "the meta group and three others");
        for node in 1..=3 {
            let config = Config::load(&dir.path().join(format!("node-{node}/node.toml"))).unwrap();
            assert_eq!(config.node.id, node);
            let read = |path: &Path| fs::read_to_string(path).unwrap();
            let identity = Identity::from_pem(&files.ca_pem, &read(&config.node.cert), &read(&config.node.key)).unwrap();
            identity.server().unwrap();
            identity.dialler().unwrap();
        }
        for secret in ["cluster/ca.key", "cluster/token.key", "node-1/key.pem"] {
            assert_eq!(fs::metadata(dir.path().join(secret)).unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
        }
    }

    #[test]
    fn of_two_that_make_a_cluster_at_once_in_a_folder_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let made: Vec<_> = std::thread::scope(|scope| {
            let begun: Vec<_> = (0..4).map(|_| scope.spawn(|| bootstrap(dir.path(), &spec(3)))).collect();
            begun.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let ids: Vec<ClusterId> = made.iter().filter_map(|one| one.as_ref().ok().copied()).collect();
        assert_eq!(ids, [ClusterFiles::load(&dir.path().join("cluster")).unwrap().id], "{made:?}");
        assert!(made.iter().filter_map(|one| one.as_ref().err()).all(|error| matches!(error, BootstrapError::Exists { .. })), "{made:?}");
    }

    #[test]
    fn second_cluster_in_a_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        bootstrap(dir.path(), &spec(1)).unwrap();
        assert!(matches!(bootstrap(dir.path(), &spec(1)), Err(BootstrapError::Exists { .. })));
        assert!(matches!(bootstrap(dir.path(), &spec(0)), Err(BootstrapError::Spec)));
    }
}
