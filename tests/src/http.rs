//! A caller with nothing but HTTP/1.1: one request a connection, as a shell script makes them.
//!
//! In: a method, a path, headers, a body. Out: status, headers and JSON; or the events of a stream, one by one. Invariant: whatever a node
//! answers is JSON of the kind that it says, or this panics. Not here: what the answers mean (the scenarios).

use std::{net::SocketAddr, sync::Arc};

use kith_wire::id::UserId;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::cluster::{Cluster, PATIENCE};

/// A person who asks over HTTP.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Their name.
    pub name: String,
    /// Their id.
    pub user: UserId,
    token: String,
}

/// What a node answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub json: Value,
}

/// An open stream of events.
#[derive(Debug)]
pub struct Events(BufReader<TcpStream>);

/// One event of a stream.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Where to go on after it, if it says so.
    pub id: Option<String>,
    /// What it says.
    pub data: String,
}

impl Caller {
    /// A person of a cluster, whose account is made on first use.
    pub async fn new(cluster: &Cluster, name: &str) -> Self {
        let user = cluster.user(name).await;
        Self { name: name.to_owned(), user, token: cluster.token(name, user) }
    }
    /// One who shows this token, whatever it is.
    pub fn with_token(token: &str) -> Self {
        Self { name: String::new(), user: UserId::new(0), token: token.to_owned() }
    }
    /// Asks for something.
    pub async fn get(&self, cluster: &Cluster, node: u64, path: &str) -> Answer {
        self.ask(cluster, node, "GET", path, &[], None).await
    }
    /// Writes something.
    pub async fn post(&self, cluster: &Cluster, node: u64, path: &str, body: Value) -> Answer {
        self.ask(cluster, node, "POST", path, &[], Some(body)).await
    }
    /// Writes something under a key.
    pub async fn post_once(&self, cluster: &Cluster, node: u64, path: &str, key: &str, body: Value) -> Answer {
        self.ask(cluster, node, "POST", path, &[("idempotency-key", key)], Some(body)).await
    }
    /// Asks one node, in the clear.
    pub async fn ask(&self, cluster: &Cluster, node: u64, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let stream = TcpStream::connect(plain(cluster, node)).await.expect("the node listens");
        self.exchange(stream, method, path, headers, body).await
    }
    /// Asks one node over TLS, as the cluster's own authority has it.
    pub async fn ask_tls(&self, cluster: &Cluster, node: u64, path: &str) -> Answer {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(cluster.files().ca_pem.as_bytes()) {
            roots.add(cert.expect("the cluster's own authority")).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("tls 1.3");
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
        let address = cluster.node(node).api_addr().expect("the api listens");
        let stream = TcpStream::connect(address).await.expect("the node listens");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let stream = tls.connect(name, stream).await.expect("the node's certificate is of the cluster");
        self.exchange(stream, "GET", path, &[], None).await
    }
    /// Listens to a node from a cursor on.
    pub async fn listen(&self, cluster: &Cluster, node: u64, cursor: Option<&str>) -> Events {
        self.listen_at(cluster, node, "/v1/events", cursor).await
    }
    /// As [`Caller::listen`], at a path with what is asked for.
    pub async fn listen_at(&self, cluster: &Cluster, node: u64, path: &str, cursor: Option<&str>) -> Events {
        let mut stream = TcpStream::connect(plain(cluster, node)).await.expect("the node listens");
        let last = cursor.map(|cursor| ("last-event-id", cursor));
        let head = self.head("GET", path, last.as_slice(), 0);
        stream.write_all(head.as_bytes()).await.expect("the node reads");
        let mut stream = BufReader::new(stream);
        let (status, _) = read_head(&mut stream).await;
        assert_eq!(status, 200, "a stream begins");
        Events(stream)
    }

    async fn exchange(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = self.head(method, path, headers, body.len()) + &body;
        let exchange = async {
            stream.write_all(request.as_bytes()).await.expect("the node reads");
            let mut stream = BufReader::new(stream);
            let (status, headers) = read_head(&mut stream).await;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.expect("the node writes");
            let kind = headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value.as_str());
            let expected = if status < 300 { "application/json" } else { "application/problem+json" };
            assert_eq!(kind, expected, "{method} {path}: {status} {}", String::from_utf8_lossy(&bytes));
            let json = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
            Answer { status, headers, json }
        };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("{method} {path} was not answered"))
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let body = if length > 0 { format!("content-type: application/json\r\ncontent-length: {length}\r\n") } else { String::new() };
        let token = &self.token;
        format!("{method} {path} HTTP/1.1\r\nhost: kith\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{more}{body}\r\n")
    }
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }
    /// The body, of an answer that must be this status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.json);
        self.json
    }
}

impl Events {
    /// The next event; comments are passed over. `None` at the end.
    pub async fn next(&mut self) -> Option<Event> {
        timeout(PATIENCE, self.read()).await.expect("something happens")
    }
    /// Passes over events until one of this name, which may be required to say something.
    pub async fn until(&mut self, name: &str, part: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name == name && event.data.contains(part) {
                return event;
            }
        }
    }
    async fn read(&mut self) -> Option<Event> {
        let mut event = Event { name: String::new(), id: None, data: String::new() };
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            // Sizes of chunks stand on lines of their own: none of them has a colon.
            match line.split_once(':') {
                Some(("event", name)) => event.name = name.trim().to_owned(),
                Some(("id", id)) => event.id = Some(id.trim().to_owned()),
                Some(("data", data)) => event.data = data.trim().to_owned(),
                None if line.is_empty() && !event.name.is_empty() => return Some(event),
                _ => {}
            }
        }
    }
}

fn plain(cluster: &Cluster, node: u64) -> SocketAddr {
    cluster.node(node).api_plain_addr().expect("the setup is with_api")
}

async fn read_head(stream: &mut (impl AsyncBufRead + Unpin)) -> (u16, Vec<(String, String)>) {
    let (mut status, mut headers) = (0, Vec::new());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("the node writes");
        let line = line.trim_end();
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
            None if line.is_empty() => return (status, headers),
            None => status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line"),
        }
    }
}

/// A key as callers draw them: dated, and told apart by a number.
pub fn key(number: u64) -> String {
    let now_ms = kith::clock::Clock::now(&kith::clock::SystemClock).get();
    key_at(now_ms, number)
}

/// A key of that time.
pub fn key_at(ms: u64, number: u64) -> String {
    format!("{:08x}-{:04x}-7000-8000-{number:012x}", ms >> 16, ms & 0xffff)
}
