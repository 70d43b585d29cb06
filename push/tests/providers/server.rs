//! A server that answers as it is told, and remembers what it was asked.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Request, Response, Version,
    body::{Body, Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What it does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// It takes the request, and says nothing.
    Hang,
    /// It ends the connection before it answers.
    Reset,
    /// It ends the connection in the middle of the answer's body.
    ResetInBody(u16),
}

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// On which of its connections, from 0.
    pub(crate) connection: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct State {
    asked: Mutex<Vec<Asked>>,
    script: Mutex<VecDeque<Does>>,
    open: Mutex<Vec<CancellationToken>>,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// For `names`, with a certificate of that issuer, speaking `protocols` (ALPN).
    pub(crate) async fn start(issuer: &Issuer<'_, KeyPair>, names: &[&str], protocols: &[&[u8]]) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, mut tasks) = (Arc::new(State::default()), JoinSet::new());
        tasks.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), state.clone()));
        Self { port, state, _tasks: tasks }
    }
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
    /// What it does with the next requests; with all others, 200.
    pub(crate) fn then(&self, does: impl IntoIterator<Item = Does>) {
        self.state.script.lock().unwrap().extend(does);
    }
    /// Ends all connections, whatever is on them.
    pub(crate) fn hang_up(&self) {
        self.state.open.lock().unwrap().drain(..).for_each(|cut| cut.cancel());
    }
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }
    /// The only request since the last look.
    pub(crate) fn only(&self) -> Asked {
        let asked = std::mem::take(&mut *self.state.asked.lock().unwrap());
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.into_iter().next().unwrap()
    }
}

pub(crate) fn answer(status: u16, body: &str) -> Does {
    Does::Answer(status, Vec::new(), body.to_owned())
}

pub(crate) fn answer_after(status: u16, retry_after: &str) -> Does {
    Does::Answer(status, vec![("retry-after", retry_after.to_owned())], String::new())
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    let (mut connections, mut count) = (JoinSet::new(), 0);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, state, number) = (acceptor.clone(), state.clone(), count);
        count += 1;
        connections.spawn(async move {
            // A client that does not believe us ends here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let cut = CancellationToken::new();
            state.open.lock().unwrap().push(cut.clone());
            let service = service_fn({
                let cut = cut.clone();
                move |request| serve(request, state.clone(), cut.clone(), number)
            });
            let io = TokioIo::new(stream);
            let tracker = Tasks(TaskTracker::new());
            tokio::select! {
                () = cut.cancelled() => {}
                _ = async {
                    if is_http2 { http2::Builder::new(tracker).serve_connection(io, service).await } else { http1::Builder::new().serve_connection(io, service).await }
                } => {}
            }
        });
    }
}

#[derive(Clone)]
struct Tasks(TaskTracker);
impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

async fn serve(request: Request<Incoming>, state: Arc<State>, cut: CancellationToken, connection: usize) -> Result<Response<Told>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let asked = Asked { method: head.method, version: head.version, path, headers: head.headers, body, connection };
    state.asked.lock().unwrap().push(asked);
    let does = state.script.lock().unwrap().pop_front();
    let told = |status: u16, body: String, then: Option<CancellationToken>| {
        let told = Told { next: Some(Bytes::from(body)), then, patience: 1_000 };
        Response::builder().status(status).body(told).unwrap()
    };
    Ok(match does {
        None => told(200, "{}".to_owned(), None),
        Some(Does::Answer(status, headers, body)) => {
            let mut response = told(status, body, None);
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Some(Does::ResetInBody(status)) => told(status, "{\"access_token\": \"cut".to_owned(), Some(cut)),
        Some(Does::Hang) => std::future::pending().await,
        Some(Does::Reset) => {
            cut.cancel();
            std::future::pending().await
        }
    })
}

/// A body of one piece, after which the connection may end.
struct Told {
    next: Option<Bytes>,
    then: Option<CancellationToken>,
    /// So often it is asked for more before that: meanwhile what there was is sent. What is not sent when a stream is reset never is.
    patience: u32,
}

impl Body for Told {
    type Data = Bytes;
    type Error = std::io::Error;
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(Ok(Frame::data(next))));
        }
        let Some(cut) = self.then.clone() else { return Poll::Ready(None) };
        if self.patience > 0 {
            self.patience -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        cut.cancel();
        Poll::Ready(Some(Err(std::io::Error::other("cut"))))
    }
}
