//! One authority of a cluster takes the place of another, step by step, in the cluster's folder.
//!
//! In: `cluster/` with `ca.pem` (who is trusted) and `ca.key` (who can sign: the first of its keys does). Out: the same two files, each replaced as a whole.
//! Invariants: who signs is trusted; each step may be interrupted and done again, and done twice it changes nothing; no step takes trust away but
//! [`Folder::drop_ca`]. Not here: that nodes read `ca.pem` again (`peer::renew`), and bringing it to where they run.

use std::{
    fs, io,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use kith_wire::{
    id::{ClusterId, NodeId, Timestamp},
    trust::authority_digest,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use super::{
    authority::Authority,
    files::{ClusterFiles, FilesError},
};
use crate::peer::{
    tls::{node_name, parse_node_name},
    trusted::{AUTHORITIES_MAX, Anchors},
};

/// Names an authority: the first bytes of its certificate's digest, in hex.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorityId(String);

impl AuthorityId {
    fn of(digest: [u8; 32]) -> Self {
        Self(digest[..4].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl std::fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An authority as the folder has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthorityView {
    /// Which one.
    pub id: AuthorityId,
    /// Whether new certificates are signed by it.
    pub signs: bool,
    /// Whether its key is here.
    pub has_key: bool,
}

/// A node's certificate, and who has signed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeCertificate {
    /// Whose it is.
    pub node: NodeId,
    /// Which of the trusted authorities; `None`: none of them.
    pub by: Option<AuthorityId>,
    /// When it ends, in seconds since 1970.
    pub end_s: i64,
    /// The names and addresses that clients dial.
    pub hosts: Vec<String>,
}

/// A step that cannot be done.
#[derive(Debug, Error)]
pub enum RotationError {
    /// The cluster's folder cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A file cannot be read or written.
    #[error("{path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key is malformed.
    #[error("{what} cannot be read")]
    Malformed {
        /// Which.
        what: &'static str,
    },
    /// The crypto library fails.
    #[error("signing a certificate")]
    Sign(#[from] rcgen::Error),
    /// No key of an authority is here.
    #[error("ca.key is not in {folder}: who has it signs")]
    NoKey {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no such authority.
    #[error("no authority {asked} is trusted here")]
    Unknown {
        /// As it was named.
        asked: String,
    },
    /// It is trusted, but cannot sign here.
    #[error("the key of authority {id} is not here")]
    Keyless {
        /// Which.
        id: AuthorityId,
    },
    /// It signs: nothing would prove new nodes.
    #[error("authority {id} is the one that signs")]
    Signs {
        /// Which.
        id: AuthorityId,
    },
    /// There are enough.
    #[error("{AUTHORITIES_MAX} authorities are trusted already")]
    TooMany,
    /// The certificate that is there names no node of this cluster.
    #[error("{path} is no certificate of a node of this cluster")]
    NotANode {
        /// The certificate.
        path: PathBuf,
    },
}

/// A cluster's folder, whose authorities are changed by whoever holds it: one process at a time.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    cluster: ClusterId,
    trusted: Vec<Trusted>,
    /// The first one signs.
    keys: Vec<Authority>,
    /// Held as long as this is.
    _lock: fs::File,
}

#[derive(Debug)]
struct Trusted {
    pem: String,
    id: AuthorityId,
    key: Vec<u8>,
}

impl Folder {
    /// Reads the `cluster/` folder.
    ///
    /// # Errors
    /// A file is missing or malformed, or another process is at it.
    pub fn open(path: &Path) -> Result<Self, RotationError> {
        let io = |source| RotationError::Io { path: path.to_owned(), source };
        let lock = fs::File::open(path).map_err(io)?;
        lock.lock().map_err(io)?;
        let files = ClusterFiles::load(path)?;
        let key_path = path.join("ca.key");
        let keys = match fs::read_to_string(&key_path) {
            Ok(text) => blocks(&text).iter().map(|pem| Authority::load(files.id, "", pem)).collect::<Result<Vec<_>, _>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(RotationError::Io { path: key_path, source }),
        };
        let trusted = blocks(&files.ca_pem).into_iter().map(Trusted::of).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { path: path.to_owned(), cluster: files.id, trusted, keys, _lock: lock })
    }

    /// Who is trusted.
    pub fn authorities(&self) -> Vec<AuthorityView> {
        let signing = self.keys.first().map(Authority::public);
        let view = |one: &Trusted| AuthorityView {
            id: one.id.clone(),
            signs: signing.as_ref() == Some(&one.key),
            has_key: self.keys.iter().any(|key| key.public() == one.key),
        };
        self.trusted.iter().map(view).collect()
    }

    /// Makes the next authority, which is trusted and does not sign yet; the one that was made before, if there is one. Gives it, and whether it is new.
    ///
    /// # Errors
    /// The key of the one that signs is not here, or a file cannot be written.
    pub fn create_ca(&mut self) -> Result<(AuthorityId, bool), RotationError> {
        let signing = self.keys.first().ok_or_else(|| RotationError::NoKey { folder: self.path.clone() })?.public();
        if let Some(next) = self.authorities().into_iter().find(|one| one.has_key && !one.signs) {
            return Ok((next.id, false));
        }
        if self.trusted.len() >= AUTHORITIES_MAX {
            return Err(RotationError::TooMany);
        }
        let next = Authority::create(self.cluster)?;
        let found = Trusted::of(next.cert_pem().to_owned())?;
        let id = found.id.clone();
        // A key that nobody trusts is of a step that was interrupted.
        self.keys.retain(|key| key.public() == signing);
        self.keys.push(next);
        // Its key first: trust in an authority without a key would be of no use to anybody.
        self.write_keys()?;
        self.trusted.push(found);
        self.write_trusted()?;
        Ok((id, true))
    }

    /// New certificates are signed by this one; it must be trusted wherever one is shown. Gives it, and whether that is a change.
    ///
    /// # Errors
    /// It is not trusted, its key is not here, or a file cannot be written.
    pub fn use_ca(&mut self, asked: &str) -> Result<(AuthorityId, bool), RotationError> {
        let (id, key) = self.find(asked)?;
        match self.keys.iter().position(|one| one.public() == key) {
            None => Err(RotationError::Keyless { id }),
            Some(0) => Ok((id, false)),
            Some(at) => {
                self.keys[..=at].rotate_right(1);
                self.write_keys()?;
                Ok((id, true))
            }
        }
    }

    /// This one is trusted no more, and its key is gone. Gives whether that is a change.
    ///
    /// # Errors
    /// It signs, or a file cannot be written.
    pub fn drop_ca(&mut self, asked: &str) -> Result<bool, RotationError> {
        let (id, key) = match self.find(asked) {
            Err(RotationError::Unknown { .. }) => return Ok(false),
            found => found?,
        };
        match self.keys.first() {
            None => return Err(RotationError::NoKey { folder: self.path.clone() }),
            Some(signing) if signing.public() == key => return Err(RotationError::Signs { id }),
            Some(_) => {}
        }
        // Its key first: an authority that is trusted without one is dropped by the same command again.
        self.keys.retain(|one| one.public() != key);
        self.write_keys()?;
        self.trusted.retain(|one| one.id != id);
        self.write_trusted()?;
        Ok(true)
    }

    /// Who has signed a node's certificate.
    ///
    /// # Errors
    /// It cannot be read, or is none of a node of this cluster.
    pub fn look(&self, path: &Path) -> Result<NodeCertificate, RotationError> {
        let text = fs::read_to_string(path).map_err(|source| RotationError::Io { path: path.to_owned(), source })?;
        let not = || RotationError::NotANode { path: path.to_owned() };
        let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| not())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| not())?;
        let names = names(&parsed);
        let node = names.iter().filter_map(|name| parse_node_name(name)).find(|(_, cluster)| *cluster == self.cluster.to_string());
        let (node, _) = node.ok_or_else(not)?;
        let hosts = names.into_iter().filter(|name| parse_node_name(name).is_none()).collect();
        let chain = [der.clone()];
        let name = ServerName::try_from(node_name(node, self.cluster)).map_err(|_| not())?;
        // As of when it was made: one that has ended was signed by somebody too.
        let made = Timestamp::new(1_000 * u64::try_from(parsed.validity().not_before.timestamp()).unwrap_or_default());
        let all: String = self.trusted.iter().map(|one| one.pem.as_str()).collect();
        let signer = Anchors::from_pem(&all).map_err(|_| malformed())?.signer(&chain, &name, made);
        Ok(NodeCertificate { node, by: signer.map(AuthorityId::of), end_s: parsed.validity().not_after.timestamp(), hosts })
    }

    /// A new certificate and key in the place of a node's, for the same names, or for `hosts` if any are given. Key first, then certificate: a running node takes
    /// them when they fit.
    ///
    /// # Errors
    /// What is there is no certificate of a node of this cluster, no key of an authority is here, or a file cannot be written.
    pub fn renew_node(&self, (cert, key): (&Path, &Path), hosts: &[String]) -> Result<NodeCertificate, RotationError> {
        let before = self.look(cert)?;
        let authority = self.keys.first().ok_or_else(|| RotationError::NoKey { folder: self.path.clone() })?;
        let hosts = if hosts.is_empty() { &before.hosts } else { hosts };
        let (cert_pem, key_pem) = authority.issue(before.node, self.cluster, hosts)?;
        replace(key, &key_pem, 0o600)?;
        replace(cert, &cert_pem, 0o644)?;
        self.look(cert)
    }

    fn find(&self, asked: &str) -> Result<(AuthorityId, Vec<u8>), RotationError> {
        let found = self.trusted.iter().find(|one| one.id.0 == asked);
        found.map(|one| (one.id.clone(), one.key.clone())).ok_or_else(|| RotationError::Unknown { asked: asked.to_owned() })
    }
    fn write_keys(&self) -> Result<(), RotationError> {
        let text: String = self.keys.iter().map(Authority::key_pem).collect();
        replace(&self.path.join("ca.key"), &text, 0o600)
    }
    fn write_trusted(&self) -> Result<(), RotationError> {
        let text: String = self.trusted.iter().map(|one| one.pem.as_str()).collect();
        replace(&self.path.join("ca.pem"), &text, 0o644)
    }
}

impl Trusted {
    fn of(pem: String) -> Result<Self, RotationError> {
        let der = certificate(&pem)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| malformed())?;
        Ok(Self { id: AuthorityId::of(authority_digest(&der)), key: parsed.public_key().raw.to_vec(), pem })
    }
}

fn malformed() -> RotationError {
    RotationError::Malformed { what: "an authority's certificate in ca.pem" }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, RotationError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| malformed())
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(found)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(raw) => match raw.len() {
            4 => <[u8; 4]>::try_from(*raw).ok().map(|raw| IpAddr::from(raw).to_string()),
            _ => <[u8; 16]>::try_from(*raw).ok().map(|raw| IpAddr::from(raw).to_string()),
        },
        _ => None,
    };
    found.value.general_names.iter().filter_map(name).collect()
}

/// The blocks of a PEM text, each with its lines.
fn blocks(text: &str) -> Vec<String> {
    let (mut found, mut block) = (Vec::new(), String::new());
    for line in text.lines() {
        if line.starts_with("-----BEGIN ") {
            block.clear();
        }
        block.push_str(line);
        block.push('\n');
        if line.starts_with("-----END ") {
            found.push(std::mem::take(&mut block));
        }
    }
    found
}

/// Another text in the place of a file's, with the same owner: whoever reads it has the one or the other, also after the loss of power.
fn replace(path: &Path, text: &str, mode: u32) -> Result<(), RotationError> {
    let next = path.with_extension("next");
    let wrote = || -> io::Result<()> {
        // One that was left over may have other rights.
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&next)?;
        let (before, new) = (fs::metadata(path), file.metadata()?);
        if let Some(before) = before.ok().filter(|before| (before.uid(), before.gid()) != (new.uid(), new.gid())) {
            std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, path)?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    wrote().map_err(|source| RotationError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        ClusterSpec, NodeSpec,
        bootstrap::{add_node, bootstrap},
    };

    fn node(id: u64) -> NodeSpec {
        let zone = format!("zone-{id}");
        NodeSpec { id, address: format!("10.0.0.{id}:7600"), http: format!("10.0.0.{id}:7680"), region: 0, zone, host: String::new() }
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            bootstrap(dir.path(), &ClusterSpec { groups: 1, nodes: vec![node(1), node(2)] }).unwrap();
            Self(dir)
        }
        fn folder(&self) -> Folder {
            Folder::open(&self.0.path().join("cluster")).unwrap()
        }
        fn file(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
        /// Every step is another process's.
        fn signer(&self, id: u64) -> Option<AuthorityId> {
            self.folder().look(&self.file(&format!("node-{id}/cert.pem"))).unwrap().by
        }
        fn seen(&self) -> Vec<(bool, bool)> {
            self.folder().authorities().iter().map(|one| (one.signs, one.has_key)).collect()
        }
    }

    #[test]
    fn one_authority_takes_the_place_of_another_in_steps_that_may_be_done_twice() {
        let place = Place::new();
        let old = place.folder().authorities()[0].id.clone();
        assert_eq!((place.seen(), place.signer(1)), (vec![(true, true)], Some(old.clone())));
        assert!(matches!(place.folder().drop_ca(&old.0), Err(RotationError::Signs { .. })));

        let (new, is_new) = place.folder().create_ca().unwrap();
        assert!(is_new && new != old);
        assert_eq!(place.folder().create_ca().unwrap(), (new.clone(), false));
        assert_eq!(place.seen(), [(true, true), (false, true)]);

        assert_eq!(place.folder().use_ca(&new.0).unwrap(), (new.clone(), true));
        assert_eq!(place.folder().use_ca(&new.0).unwrap(), (new.clone(), false));
        assert_eq!(place.seen(), [(false, true), (true, true)]);
        assert_eq!(place.signer(1), Some(old.clone()), "what was signed stays so");
        let files = (place.file("node-1/cert.pem"), place.file("node-1/key.pem"));
        let renewed = place.folder().renew_node((&files.0, &files.1), &[]).unwrap();
        assert_eq!((renewed.by, place.signer(1), place.signer(2)), (Some(new.clone()), Some(new.clone()), Some(old.clone())));
        assert_eq!(renewed.hosts, ["localhost", "127.0.0.1", "::1", "10.0.0.1"]);
        add_node(place.0.path(), &node(3)).unwrap();
        assert_eq!(place.signer(3), Some(new.clone()), "a node that is added is signed by the one that signs");

        assert!(place.folder().drop_ca(&old.0).unwrap());
        assert!(!place.folder().drop_ca(&old.0).unwrap());
        assert_eq!((place.seen(), place.signer(1), place.signer(2)), (vec![(true, true)], Some(new), None));
        assert!(matches!(place.folder().use_ca(&old.0), Err(RotationError::Unknown { .. })));
    }

    #[test]
    fn a_step_that_was_interrupted_is_done_again() {
        let place = Place::new();
        let (before, keys) = (fs::read(place.file("cluster/ca.pem")).unwrap(), place.file("cluster/ca.key"));
        let old = place.folder().authorities()[0].id.clone();
        let (lost, _) = place.folder().create_ca().unwrap();
        // Its key was written, and its certificate was not: it is made anew.
        fs::write(place.file("cluster/ca.pem"), before).unwrap();
        let (new, is_new) = place.folder().create_ca().unwrap();
        assert!(is_new && new != lost);
        assert_eq!(blocks(&fs::read_to_string(&keys).unwrap()).len(), 2, "what nobody trusts is not kept");

        place.folder().use_ca(&new.0).unwrap();
        let both = fs::read(place.file("cluster/ca.pem")).unwrap();
        assert!(place.folder().drop_ca(&old.0).unwrap());
        // The old key was gone, and its certificate was not.
        fs::write(place.file("cluster/ca.pem"), both).unwrap();
        assert_eq!(place.seen(), [(false, false), (true, true)]);
        assert!(matches!(place.folder().use_ca(&old.0), Err(RotationError::Keyless { .. })));
        assert!(place.folder().drop_ca(&old.0).unwrap());
        assert_eq!(place.seen(), [(true, true)]);
    }

    #[test]
    fn who_has_no_key_signs_nothing() {
        let place = Place::new();
        fs::remove_file(place.file("cluster/ca.key")).unwrap();
        let files = (place.file("node-1/cert.pem"), place.file("node-1/key.pem"));
        assert!(matches!(place.folder().create_ca(), Err(RotationError::NoKey { .. })));
        assert!(matches!(place.folder().renew_node((&files.0, &files.1), &[]), Err(RotationError::NoKey { .. })));
        assert!(matches!(place.folder().look(&place.file("cluster/ca.pem")), Err(RotationError::NotANode { .. })));
    }
}
