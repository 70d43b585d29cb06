//! Who comes to the node's one QUIC endpoint: clients, browsers, nodes, and nodes that join, told apart by ALPN once the handshake is over.
//!
//! In: attempts to connect. Out: connections, each on a lane, given to its side. Bounds: those of `admission`.

use std::sync::Arc;

use kith_raft::Lanes;
use tracing::Instrument;

use super::{Edge, HANDSHAKE_WITHIN, join::Registrar, webtransport};
use crate::{
    peer::{Peers, tls},
    supervise::Tasks,
};

/// Accepts connections until cancelled, places each on a lane in turn, and gives it to its side by ALPN.
pub(crate) async fn run(endpoint: quinn::Endpoint, (peers, edge, registrar): (Peers, Arc<Edge>, Arc<Registrar>), tasks: Tasks, lanes: Arc<Lanes>) {
    let mut number = 0;
    while let Some(incoming) = endpoint.accept().await {
        let is_peer = peers.may_come_from(incoming.remote_address().ip());
        let Some((incoming, handshake)) = edge.admit(incoming, is_peer) else { continue };
        let lane = lanes.handle(lanes.of_number(number)).clone();
        let placed = tasks.on(&lane);
        number += 1;
        let (peers, edge, registrar) = (peers.clone(), edge.clone(), registrar.clone());
        let joins = placed.clone();
        let span = tracing::debug_span!("edge.accept", node = %peers.node());
        let shake = async move {
            // Its driver runs where it is accepted.
            let Ok(connecting) = incoming.accept() else { return };
            match tokio::time::timeout(HANDSHAKE_WITHIN, connecting).await {
                Ok(Ok(connection)) => match tls::alpn(&connection).as_deref() {
                    Some(tls::ALPN_PEER) => peers.accept(connection, &lane),
                    Some(tls::ALPN_JOIN) => joins.spawn("edge.join", async move { registrar.serve(connection).await }),
                    Some(tls::ALPN_WEB) => match tokio::time::timeout(HANDSHAKE_WITHIN, Box::pin(webtransport::enter(connection, &edge))).await {
                        Ok(Some(web)) => edge.serve_web(web, &lane),
                        Ok(None) => {}
                        Err(_) => tracing::debug!("edge.webtransport: the request took too long"),
                    },
                    _ => edge.serve(connection, &lane),
                },
                Ok(Err(error)) => tracing::debug!(cause = %error, "edge.handshake failed"),
                Err(_) => tracing::debug!("edge.handshake took too long"),
            }
            drop(handshake);
        };
        placed.spawn("edge.handshake", shake.instrument(span));
    }
}
