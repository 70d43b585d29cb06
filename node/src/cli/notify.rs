//! Telling the service manager how the node is: started, ending, alive (`sd_notify(3)`).
//!
//! In: `NOTIFY_SOCKET` and `WATCHDOG_USEC` of the environment; without them nothing is told. Out: datagrams of one line. Invariant: who watches is told
//! that the node is alive only while it is, so that one that stands still is started anew.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use crate::{Node, http::Outcome};

/// The service manager, if there is one.
pub(super) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    every: Option<Duration>,
}

impl Manager {
    /// As the environment says.
    pub(super) fn of_environment() -> Self {
        let open = || {
            let name = env::var("NOTIFY_SOCKET").ok()?;
            Some((UnixDatagram::unbound().ok()?, address(&name).ok()?))
        };
        let micros = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        Self { socket: open(), every: micros.map(|micros: u64| Duration::from_micros(micros) / 3) }
    }

    /// It takes connections.
    pub(super) fn started(&self) {
        self.tell("READY=1");
    }
    /// It hands over and ends.
    pub(super) fn ending(&self) {
        self.tell("STOPPING=1");
    }
    /// Tells it as often as it wants to know, while the node is alive. Never ends.
    pub(super) async fn watch(&self, node: &Node) {
        let Some(every) = self.every else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            if node.health().live().iter().all(|check| check.outcome == Outcome::Pass) {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, state: &str) {
        if let Some((socket, manager)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), manager)
        {
            tracing::warn!(cause = %error, "start.notify: the service manager was not told");
        }
    }
}

/// A path, or with `@` a name that is in no file system.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told_at_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let there = UnixDatagram::bind(&path).unwrap();
        let manager = Manager { socket: Some((UnixDatagram::unbound().unwrap(), address(path.to_str().unwrap()).unwrap())), every: None };
        manager.started();
        let mut told = [0; 64];
        let bytes = there.recv(&mut told).unwrap();
        assert_eq!(&told[..bytes], b"READY=1");
        assert!(address("@kith").unwrap().as_abstract_name().is_some());
    }
}
