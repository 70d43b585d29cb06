//! The cluster's own files, which every node starts from: who the nodes are, whom to trust.
//!
//! Layout: `DIR/cluster/{ca.pem, ca.key, token.key, cluster.toml}` and `DIR/node-<id>/{node.toml, cert.pem, key.pem, data/}`. A node needs
//! all of `cluster/` but `ca.key`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use kith_machine::{
    meta::{layout::DOWN_AFTER_MS, plan},
    presence::GRACE,
};
use kith_wire::{
    id::{ClusterId, MapEpoch, NodeId, RegionId},
    log::{ClusterMap, NodeRow, NodeState},
    upgrade::ClusterVersion,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::upgrade::UpgradeSettings;
use crate::auth::{TokenKey, token::TokenKeyError};

/// What a cluster is made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterSpec {
    /// Groups that hold data, besides the meta group; at least one.
    pub groups: u32,
    /// Its nodes, by rising id.
    pub nodes: Vec<NodeSpec>,
}

/// One node of a new cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Its id, from 1.
    pub id: u64,
    /// `host:port` that clients and peers dial.
    pub address: String,
    /// `host:port` of health and metrics.
    pub http: String,
    /// Region by number.
    #[serde(default)]
    pub region: u8,
    /// Zone label: replicas of a group stand in different ones.
    pub zone: String,
    /// Host label.
    #[serde(default)]
    pub host: String,
}

/// In `cluster/` of a node that joined: the map of then, encoded.
pub(super) const MAP_FILE: &str = "map";

/// What `cluster/` says.
#[derive(Clone, Debug)]
pub struct ClusterFiles {
    /// The cluster.
    pub id: ClusterId,
    /// How it was made.
    pub spec: ClusterSpec,
    /// Certificate of its CA, PEM.
    pub ca_pem: String,
    /// The key of its tokens.
    pub token_key: TokenKey,
    /// How presence is told.
    pub presence: PresenceSettings,
    /// What the cluster moves by itself.
    pub layout: LayoutSettings,
    /// When the cluster goes to its next version.
    pub upgrade: UpgradeSettings,
    /// The map when this node joined: the nodes that the cluster began with may be gone since. `None`: it is one of them, or was added by its operator.
    pub map: Option<Vec<u8>>,
}

/// `[presence]` of `cluster.toml`: the same for the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PresenceSettings {
    /// Who is told of a change.
    pub fanout: PresenceFanout,
    /// A user whose last session has ended is offline after so many seconds.
    pub grace_s: u64,
}

impl Default for PresenceSettings {
    fn default() -> Self {
        Self { fanout: PresenceFanout::default(), grace_s: GRACE.as_secs() }
    }
}

impl PresenceSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `[layout]` of `cluster.toml`: the same for the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayoutSettings {
    /// Whether leaders and replicas are moved to balance. Repair, growth and emptying go on without.
    pub balance: bool,
    /// Nothing is balanced before all has been well for so many seconds.
    pub calm_s: u64,
    /// Sessions of a node that gives them up are told to move, spread over so many seconds.
    pub move_within_s: u64,
    /// What a node held is made elsewhere when it has been silent for so many seconds.
    pub down_after_s: u64,
}

impl Default for LayoutSettings {
    fn default() -> Self {
        Self { balance: true, calm_s: 60, move_within_s: 60, down_after_s: DOWN_AFTER_MS / 1_000 }
    }
}

impl LayoutSettings {
    /// How long all must have been well.
    pub const fn calm(&self) -> Duration {
        Duration::from_secs(self.calm_s)
    }
    /// Over how long sessions move.
    pub const fn move_within(&self) -> Duration {
        Duration::from_secs(self.move_within_s)
    }
    /// How long a node is silent before it counts as gone.
    pub const fn down_after(&self) -> Duration {
        Duration::from_secs(self.down_after_s)
    }
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who is told of a change of presence: `"screens"` or `"all"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceFanout {
    /// Contacts whose screens show the user.
    #[default]
    Screens,
    /// All contacts who have a session: for small clusters.
    All,
}

/// A cluster's folder cannot be used.
#[derive(Debug, Error)]
pub enum FilesError {
    /// Reading or writing failed.
    #[error("cannot access {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `cluster.toml` does not say what it should.
    #[error("cannot read {path}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: toml::de::Error,
    },
    /// The id is not 32 hexadecimal digits.
    #[error("the cluster id in {path} is not 32 hexadecimal digits")]
    Id {
        /// Which file.
        path: PathBuf,
    },
    /// The token key cannot be used.
    #[error("cannot use {path}")]
    TokenKey {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: TokenKeyError,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    id: String,
    groups: u32,
    #[serde(default, skip_serializing_if = "PresenceSettings::is_default")]
    presence: PresenceSettings,
    #[serde(default, skip_serializing_if = "LayoutSettings::is_default")]
    layout: LayoutSettings,
    #[serde(default, skip_serializing_if = "UpgradeSettings::is_default")]
    upgrade: UpgradeSettings,
    nodes: Vec<NodeSpec>,
}

impl ClusterFiles {
    /// Reads a `cluster/` folder.
    ///
    /// # Errors
    /// A file is missing or malformed.
    pub fn load(folder: &Path) -> Result<Self, FilesError> {
        let path = folder.join("cluster.toml");
        let raw: Raw = toml::from_str(&read(&path)?).map_err(|source| FilesError::Parse { path: path.clone(), source })?;
        let id = raw.id.parse().ok().ok_or(FilesError::Id { path })?;
        let ca_pem = read(&folder.join("ca.pem"))?;
        let map = fs::read(folder.join(MAP_FILE)).ok();
        let path = folder.join("token.key");
        let token_key = TokenKey::from_pem(&read(&path)?).map_err(|source| FilesError::TokenKey { path, source })?;
        Ok(Self {
            id,
            spec: ClusterSpec { groups: raw.groups, nodes: raw.nodes },
            ca_pem,
            token_key,
            presence: raw.presence,
            layout: raw.layout,
            upgrade: raw.upgrade,
            map,
        })
    }

    /// The first map: what the meta group is told to log, by whichever node first leads it. The same on every node.
    pub fn first_map(&self) -> ClusterMap {
        let nodes: Vec<NodeRow> = self.spec.nodes.iter().map(NodeSpec::row).collect();
        let plan = plan::first_placement(&nodes, self.spec.groups);
        ClusterMap {
            cluster: self.id,
            epoch: MapEpoch::default(),
            nodes: nodes.into_iter().map(|row| (row.node, row)).collect(),
            groups: plan.groups.into_iter().map(|row| (row.group, row)).collect(),
            runs: plan.runs.into_iter().map(|row| ((row.region, row.first), row)).collect(),
            version: ClusterVersion::default(),
        }
    }
}

impl NodeSpec {
    fn row(&self) -> NodeRow {
        NodeRow {
            node: NodeId::new(self.id),
            address: self.address.clone(),
            http: self.http.clone(),
            region: RegionId::new(self.region),
            zone: self.zone.clone(),
            host: self.host.clone(),
            capacity: 1,
            state: NodeState::Up,
            ..NodeRow::default()
        }
    }
}

pub(super) fn render(id: ClusterId, spec: &ClusterSpec) -> Result<String, toml::ser::Error> {
    toml::to_string(&Raw {
        id: id.to_string(),
        groups: spec.groups,
        presence: PresenceSettings::default(),
        layout: LayoutSettings::default(),
        upgrade: UpgradeSettings::default(),
        nodes: spec.nodes.clone(),
    })
}

fn read(path: &Path) -> Result<String, FilesError> {
    fs::read_to_string(path).map_err(|source| FilesError::Io { path: path.to_owned(), source })
}
