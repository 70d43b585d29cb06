//! What the fuzz targets need of parsers that nobody else may call. No API.
//!
//! In: any text. Out: whether what must hold of it does. Invariant: nothing here parses by itself.

use kith_wire::id::NodeId;

use crate::{cli, edge::webtransport, http::api, peer::tls};

/// What a request may say in text, read as each of them; see there.
///
/// # Errors
/// What was read and printed is not what is read then.
pub fn of_request(text: &str) -> Result<(), &'static str> {
    api::fuzz::texts(text)
}

/// What is typed on a command line.
///
/// # Errors
/// As [`of_request`].
pub fn of_command_line(text: &str) -> Result<(), &'static str> {
    cli::fuzz::texts(text)
}

/// A text of others, as a command line shows it.
pub fn shown(text: &str) -> String {
    cli::fuzz::shown(text)
}

/// What whoever connects with ALPN `h3` says before it is known, as settings and as a request: whether it is one for us.
pub fn of_page(bytes: &[u8]) -> (bool, bool) {
    webtransport::read_head(bytes)
}

/// The name in a node's certificate.
pub fn node_name(name: &str) -> Option<(NodeId, String)> {
    tls::parse_node_name(name)
}
