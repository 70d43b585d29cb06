//! The stage of a benchmark: a cluster of processes in a temporary folder, and what it has used.
//!
//! In: how many nodes and Raft groups. Out: running nodes, access to them, their processor time and memory. Invariant: no process and no data
//! outlives it, unless the folder was given. Not here: who talks (`people`).

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{BenchError, machine::Machine, strain::Sample};
use crate::{demo::nodes::Nodes, operator::Operator, usage};

/// A running cluster.
pub struct Stage {
    /// Its processes.
    pub nodes: Nodes,
    /// Access to it.
    pub operator: Operator,
    /// The machine, measured before the load.
    pub machine: Machine,
    folder: Folder,
}

enum Folder {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }
}

impl Stage {
    /// Makes the cluster and starts it; with a folder, its data is kept there.
    ///
    /// # Errors
    /// It cannot be made, or a node does not become ready.
    pub async fn set(nodes: usize, groups: u32, folder: Option<PathBuf>) -> Result<Self, BenchError> {
        let stage = Self::prepare(nodes, groups, folder)?;
        stage.nodes.start_all().await?;
        Ok(stage)
    }

    /// Makes the cluster; nothing runs yet.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn prepare(nodes: usize, groups: u32, folder: Option<PathBuf>) -> Result<Self, BenchError> {
        let io = |what| move |source| BenchError::Io { what, source };
        let folder = match folder {
            Some(folder) => {
                std::fs::create_dir_all(&folder).map_err(io("making the folder"))?;
                Folder::Kept(folder)
            }
            None => Folder::Temporary(temporary_folder()?),
        };
        let machine = Machine::measure(folder.path())?;
        let nodes = Nodes::prepare(folder.path(), nodes, groups)?;
        let operator = Operator::open(folder.path())?;
        Ok(Self { nodes, operator, machine, folder })
    }

    /// Where its data is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `host:port` of the nodes.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.spec().nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// What nodes, load and machine have used so far.
    pub async fn sample(&self) -> Sample {
        Sample::take(&self.processes(), &self.nodes.metrics().await)
    }

    /// Processor seconds of all nodes since they began.
    pub fn cpu_seconds(&self) -> f64 {
        usage::cpu_seconds(&self.processes())
    }

    /// Resident bytes of all nodes.
    pub fn resident_bytes(&self) -> u64 {
        self.nodes.memory_bytes().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Stops it.
    pub async fn strike(self) {
        self.operator.close().await;
        self.nodes.stop_all().await;
    }

    /// Processes of the nodes that run.
    pub fn processes(&self) -> Vec<u32> {
        self.nodes.processes().into_iter().map(|(_, process)| process).collect()
    }
}

/// A folder that is gone when it is dropped.
///
/// # Errors
/// It cannot be made.
pub fn temporary_folder() -> Result<TempDir, BenchError> {
    tempfile::Builder::new().prefix("kith-bench-").tempdir().map_err(|source| BenchError::Io { what: "making a temporary folder", source })
}
