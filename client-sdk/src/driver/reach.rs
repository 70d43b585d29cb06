//! Which edge, and by which way: dialling, moving to a nearer one, and from a WebSocket to QUIC.
//!
//! In: what `core::near`, `core::dial` and `core::way` want, what was measured and connected. Out: connections. Invariant: a session that runs is left
//! only for one that is there, or at the edge's wish. Not here: what goes over it (`driver`), how one connects (`link`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kith_wire::{code::Code, id::NodeId};
use rand::RngExt;

use super::{Driver, Measured, Phase, link, link::Link};
use crate::{
    core::Want,
    error::Error,
    status::{Connection, Status},
    transport::{Transport, Transports},
};

/// First and longest time for a handshake: it grows with failures, for a loaded machine is not a dead one.
const CONNECT_WITHIN_MIN: Duration = Duration::from_secs(3);
const CONNECT_WITHIN_MAX: Duration = Duration::from_secs(12);
/// Until a session has left for a nearer edge.
const MOVE_WITHIN: Duration = Duration::from_secs(2);

impl Driver {
    pub(super) fn measured(&mut self, now: Instant, found: Vec<Measured>) {
        self.measuring = None;
        for (_, address, _) in found.iter().filter(|(.., rtt)| rtt.is_some()) {
            self.parts.dial.forgive(address);
        }
        let ms = |rtt: Duration| u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX);
        let found: Vec<_> = found.into_iter().map(|(node, _, rtt)| (node, rtt.map(ms))).collect();
        self.near.handle_measured(now, self.rng.random(), &found);
    }
    /// Does what it takes to be near.
    pub(super) fn approach(&mut self, now: Instant) {
        while let Some(want) = self.near.poll_want() {
            match want {
                Want::Ask(measured) => self.parts.core.handle_measured(measured),
                Want::Measure { edges, newer_than } => {
                    let endpoint = self.parts.endpoint.clone();
                    self.measuring = Some(Box::pin(async move {
                        let (nodes, addresses): (Vec<NodeId>, Vec<String>) = edges.into_iter().unzip();
                        let rtts = endpoint.measure(&addresses, newer_than).await;
                        nodes.into_iter().zip(addresses).zip(rtts).map(|((node, address), rtt)| (node, address, rtt)).collect()
                    }));
                }
                Want::Move(address) => {
                    tracing::debug!(from = %self.address, to = %address, "moving to a nearer edge");
                    self.parts.dial.forgive(&address);
                    let leave_at = now + MOVE_WITHIN.mul_f64(self.rng.random::<f64>());
                    self.leave_at = Some(self.leave_at.map_or(leave_at, |at| at.min(leave_at)));
                }
            }
        }
    }
    /// A session may begin.
    pub(super) fn up(&mut self, now: Instant, link: Link) {
        let transport = link.transport();
        self.parts.connection.send_modify(|connection| connection.transport = Some(transport));
        let network = link.network().filter(|_| self.parts.transports.is_second_best(transport));
        self.better_at = network.and_then(|network| self.parts.endpoint.ways().again_at(network));
        self.phase = Phase::Up(Box::new(link));
        self.parts.core.handle_connected(now);
    }
    /// Tries QUIC beside the session that runs.
    pub(super) fn better(&mut self) {
        self.better_at = None;
        let Phase::Up(_) = &self.phase else { return };
        let (endpoint, trust, address) = (self.parts.endpoint.clone(), self.parts.trust.clone(), self.address.clone());
        let server_name = self.parts.server_name.clone();
        self.bettering = Some(Box::pin(async move {
            let transports = Transports::new(&[Transport::Quic]);
            link::connect(&endpoint, &trust, &address, server_name.as_deref(), &transports, CONNECT_WITHIN_MIN).await
        }));
    }
    pub(super) fn bettered(&mut self, now: Instant, link: Result<Link, Error>) {
        self.bettering = None;
        let Phase::Up(old) = &mut self.phase else { return };
        match link {
            Ok(link) => {
                tracing::debug!(edge = %self.address, "QUIC gets through: the session goes on over it");
                old.close();
                self.traffic = self.traffic();
                self.ended();
                self.up(now, link);
            }
            Err(_) => {
                if let Some(network) = old.network() {
                    let mut ways = self.parts.endpoint.ways();
                    ways.handle_blocked(now, self.rng.random(), network);
                    self.better_at = ways.again_at(network);
                }
            }
        }
    }
    pub(super) fn dial(&mut self) {
        let Some(address) = self.parts.dial.choose(self.rng.random()) else { return };
        self.address.clone_from(&address);
        self.parts.connection.send_modify(|connection| *connection = Connection { edge: address.clone(), next_try: None, ..*connection });
        self.parts.status.send_replace(Status::Connecting);
        let (endpoint, trust, tokens) = (self.parts.endpoint.clone(), self.parts.trust.clone(), Arc::clone(&self.parts.tokens));
        let (token, why, server_name) = (self.parts.token.take(), self.why_token, self.parts.server_name.clone());
        let transports = self.parts.transports.clone();
        let within = CONNECT_WITHIN_MIN.saturating_mul(1 << self.connect_failures.min(4)).min(CONNECT_WITHIN_MAX);
        self.phase = Phase::Dialing(Box::pin(async move {
            let token = match token {
                Some(token) => token,
                None => match tokens.token(why).await {
                    Ok(token) => token,
                    // Only a password opens this account again.
                    Err(error) if matches!(error.code, Code::LoginNeeded | Code::Revoked) => return (None, Err(error)),
                    // Whatever else it failed for: it is asked again, with backoff.
                    Err(error) => return (None, Err(Error::caused(Code::Disconnected, "getting a token", error))),
                },
            };
            let link = link::connect(&endpoint, &trust, &address, server_name.as_deref(), &transports, within).await;
            (Some(token), link)
        }));
    }
}
