//! Which pages of browsers may connect, and over which address of this node they reach its QUIC port.
//!
//! In: the origin that a browser says a page is from, the settings, where the nodes of the cluster are, where this one listens. Out: a yes or no, an
//! address. Invariant: one rule for WebSockets and WebTransport. Not here: how they connect (`edge::websocket`, `edge::webtransport`).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use crate::{cluster::map::Places, peer::browser::BrowserCertificate};

/// What is known of pages.
pub struct Pages {
    origins: Vec<String>,
    places: Places,
    certificate: Arc<BrowserCertificate>,
    listen: SocketAddr,
    plain: OnceLock<SocketAddr>,
}

impl Pages {
    /// Pages of `origins`, and those that a node of the cluster serves itself, may connect: when their node is gone, they go on at another. `listen`: of
    /// this node's UDP socket.
    pub fn new(origins: Vec<String>, places: Places, certificate: Arc<BrowserCertificate>, listen: SocketAddr) -> Self {
        Self { origins, places, certificate, listen, plain: OnceLock::new() }
    }
    /// This node serves pages in the clear there, if anywhere; said once. Gives it back.
    pub fn served_at(&self, plain: Option<SocketAddr>) -> Option<SocketAddr> {
        if let Some(plain) = plain {
            let _ = self.plain.set(plain);
        }
        plain
    }
    /// Whether a page of `origin` may connect to `host`, being at `from`. Browsers always say where a page is from; who says nothing is none.
    pub fn may_connect(&self, origin: Option<&str>, host: Option<&str>, from: IpAddr) -> bool {
        let Some(origin) = origin else { return true };
        let is = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        let own = origin.split_once("://").map(|(_, place)| place);
        let is_own = own.is_some_and(|place| host.is_some_and(|host| is(host, place)));
        let is_of_node = || own.is_some_and(|place| origin.starts_with("https://") && (self.places)().iter().any(|node| is(node, place)));
        is_own || self.origins.iter().any(|allowed| is(allowed, origin)) || self.is_plain(origin, from) || is_of_node()
    }
    /// Where the nodes of the cluster are.
    pub fn places(&self) -> Vec<String> {
        (self.places)()
    }
    /// Where a page that came from `host` (`name[:port]`) reaches this node over QUIC, as an origin. A name of this machine stands for two addresses, of which
    /// a browser tries one only, while the node may listen at the other: so it gets the number.
    pub fn quic_origin(&self, host: &str) -> Option<String> {
        let name = name_of(host);
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte));
        let port = self.listen.port();
        match (is_loopback(name), self.listen.ip()) {
            (true, IpAddr::V4(ip)) => Some((if ip.is_unspecified() { Ipv4Addr::LOCALHOST } else { ip }).to_string()),
            (true, IpAddr::V6(ip)) => Some(format!("[{}]", if ip.is_unspecified() { Ipv6Addr::LOCALHOST } else { ip })),
            (false, _) => is_name(name).then(|| name.to_owned()),
        }
        .map(|name| format!("https://{name}:{port}"))
    }
    /// What they are shown there.
    pub fn certificate(&self) -> &BrowserCertificate {
        &self.certificate
    }

    /// Of this machine, and from where this node serves pages in the clear, for development.
    fn is_plain(&self, origin: &str, from: IpAddr) -> bool {
        let Some(place) = origin.strip_prefix("http://").filter(|_| from.to_canonical().is_loopback()) else { return false };
        let port = place.strip_prefix(name_of(place)).and_then(|rest| rest.strip_prefix(':')).and_then(|port| port.parse().ok());
        is_loopback(name_of(place)) && self.plain.get().is_some_and(|plain| Some(plain.port()) == port)
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("origins", &self.origins).field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// `host` without its port.
fn name_of(host: &str) -> &str {
    match host.find(']').filter(|_| host.starts_with('[')) {
        Some(end) => &host[..=end],
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

/// Whether a browser takes it for its own machine.
fn is_loopback(name: &str) -> bool {
    let ip: Option<IpAddr> = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
    name.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of a node that listens there, beside another one at `other.example:7600`; pages of `https://app.example` may connect.
    pub(crate) fn pages(listen: &str) -> Pages {
        let places: Places = Arc::new(|| vec!["other.example:7600".to_owned()]);
        let certificate = Arc::new(BrowserCertificate::default());
        Pages::new(vec!["https://app.example".to_owned()], places, certificate, listen.parse().unwrap())
    }

    #[test]
    fn a_page_of_a_node_or_of_a_named_origin_may_connect_and_no_other() {
        let pages = pages("192.0.2.7:7600");
        let may = |origin, host| pages.may_connect(origin, host, IpAddr::from([192, 0, 2, 1]));
        assert!(may(None, Some("chat.example:7600")), "no browser");
        assert!(may(Some("https://chat.example:7600"), Some("chat.example:7600")));
        assert!(may(Some("http://Localhost:7681"), Some("localhost:7681")));
        assert!(may(Some("https://app.example"), Some("chat.example:7600")));
        assert!(may(Some("https://other.example:7600"), Some("chat.example:7600")), "its node is gone, and it goes on here");
        for other in
            ["https://evil.example", "https://chat.example", "https://chat.example:7600.evil.example", "http://other.example:7600", "null", ""]
        {
            assert!(!may(Some(other), Some("chat.example:7600")), "{other}");
        }
        assert!(!may(Some("https://chat.example"), None));
    }

    #[test]
    fn a_page_in_the_clear_may_connect_from_its_own_machine_to_the_node_that_serves_it() {
        let pages = pages("127.0.0.1:7600");
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        let may = |origin, from| pages.may_connect(Some(origin), Some("127.0.0.1:7600"), from);
        assert!(!may("http://localhost:7681", here), "it serves none");
        pages.served_at(Some("127.0.0.1:7681".parse().unwrap()));
        for origin in ["http://localhost:7681", "http://127.0.0.1:7681", "http://[::1]:7681"] {
            assert!(may(origin, here), "{origin}");
            assert!(!may(origin, there), "{origin}, of another machine");
        }
        for origin in [
            "http://localhost:7682",
            "http://localhost",
            "https://localhost:7681",
            "http://evil.example:7681",
            "http://localhost.evil.example:7681",
            "http://:7681",
        ] {
            assert!(!may(origin, here), "{origin}");
        }
    }

    #[test]
    fn a_page_of_this_machine_gets_the_number_at_which_the_node_listens() {
        let at = |listen, host| pages(listen).quic_origin(host);
        let is = |listen, host, origin: &str| assert_eq!(at(listen, host).as_deref(), Some(origin), "{host} of {listen}");
        is("127.0.0.1:7600", "localhost:7681", "https://127.0.0.1:7600");
        is("127.0.2.1:7600", "127.0.0.1:7681", "https://127.0.2.1:7600");
        is("0.0.0.0:7600", "LOCALHOST:7681", "https://127.0.0.1:7600");
        is("[::]:7600", "localhost:7681", "https://[::1]:7600");
        is("[::1]:7600", "[::1]:7681", "https://[::1]:7600");
        is("0.0.0.0:7600", "chat.example", "https://chat.example:7600");
        is("0.0.0.0:7600", "[2001:db8::1]:443", "https://[2001:db8::1]:7600");
        for host in ["", ":7600", "evil.example; script-src *", "a b"] {
            assert_eq!(at("0.0.0.0:7600", host), None, "{host:?}");
        }
    }
}
