//! The cluster's folder while its authority is changed.

use std::path::PathBuf;

use kith::cluster::{
    ClusterFiles,
    rotation::{Folder, NodeCertificate},
};

use super::Cluster;

impl Cluster {
    /// The folder with the cluster's keys, as an operator has it.
    pub fn authorities(&self) -> Folder {
        Folder::open(&self.shared()).expect("the cluster's folder")
    }

    /// Signs a node anew, for the names that it has.
    pub fn sign(&self, node: u64) -> NodeCertificate {
        let file = |name: &str| self.folder.path().join(format!("node-{node}/{name}"));
        self.authorities().renew_node((&file("cert.pem"), &file("key.pem")), &[]).expect("a certificate")
    }

    /// From now on clients that are made believe what the folder says now.
    pub fn read_files(&mut self) {
        self.files = ClusterFiles::load(&self.shared()).expect("the cluster's folder");
    }

    fn shared(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }
}
