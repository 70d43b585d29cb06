//! The web chat and the operators' console: two pages and what belongs to them, as they were built, out of the program itself.
//!
//! In: requests for the files of `node/assets`. Out: each with a tag of its content, packed for browsers that take it so. Invariants: the page may load,
//! run nothing but what its own node gives it and reach nothing but nodes of the cluster, and nobody may put it into a frame; the console reaches its own node alone; names are fixed, so a browser asks each time and mostly
//! hears that nothing has changed. Bound: `PACKED_BYTES_MAX` for each. Not here: their sources (`client-sdk/web/chat` and `console`), what they
//! talk to (`edge::webtransport`, `edge::websocket`, `http::api`).

use std::{io::Write, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use crate::pages::Pages;

/// A file of a page: which page's, where it is asked for, what it is, its bytes.
struct File {
    page: Page,
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

/// Which page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Page {
    /// Where people chat.
    Chat,
    /// Where operators look.
    Console,
}

macro_rules! files {
    ($($page:ident $path:literal $name:literal $kind:literal;)*) => {
        const FILES: &[File] = &[$(File { page: Page::$page, path: $path, kind: $kind, bytes: include_bytes!(concat!("../../assets/", $name)) },)*];
        #[cfg(test)]
        const NAMES: &[&str] = &[$($name,)*];
    };
}

files! {
    Chat "/" "index.html" "text/html; charset=utf-8";
    Chat "/app.js" "app.js" "text/javascript; charset=utf-8";
    Chat "/app.css" "app.css" "text/css; charset=utf-8";
    Chat "/sw.js" "sw.js" "text/javascript; charset=utf-8";
    Chat "/icon.svg" "icon.svg" "image/svg+xml";
    Chat "/manifest.webmanifest" "manifest.webmanifest" "application/manifest+json";
    Console "/console" "console/index.html" "text/html; charset=utf-8";
    Console "/console/app.js" "console/app.js" "text/javascript; charset=utf-8";
    Console "/console/app.css" "console/app.css" "text/css; charset=utf-8";
}

/// The routes of both pages. The chat may go on at another node when this one is gone.
pub(crate) fn routes(pages: &Arc<Pages>) -> Router {
    FILES.iter().fold(Router::new(), |router, file| {
        let (packed, pages) = (Arc::new(Packed::new(file)), pages.clone());
        router.route(file.path, get(move |headers| async move { packed.answer(&headers, &pages) }))
    })
}

/// A file, ready to be sent.
struct Packed {
    page: Page,
    kind: &'static str,
    plain: Bytes,
    packed: Bytes,
    tag: HeaderValue,
}

impl Packed {
    fn new(file: &File) -> Self {
        let digest: String = Sha256::digest(file.bytes).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        Self {
            page: file.page,
            kind: file.kind,
            plain: Bytes::from_static(file.bytes),
            packed: packed(file.bytes),
            tag: HeaderValue::from_str(&format!("\"{digest}\"")).expect("hex digits between quotes"),
        }
    }

    fn answer(&self, asked: &HeaderMap, pages: &Pages) -> Response {
        let has = |name, what: &str| asked.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(what));
        let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known == self.tag);
        let is_packed = has(header::ACCEPT_ENCODING, "gzip");
        let mut answer = Response::new(Body::empty());
        if is_known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *answer.body_mut() = Body::from(if is_packed { self.packed.clone() } else { self.plain.clone() });
        }
        let headers = answer.headers_mut();
        if is_packed && !is_known {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        let policy = match self.page {
            Page::Chat => policy(asked.get(header::HOST), pages),
            Page::Console => HeaderValue::from_static(CONSOLE_POLICY),
        };
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        for (name, value) in PROTECTION {
            headers.insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

/// What the page may do. Browsers differ over whether a WebSocket to the page's own host is its own: so it is named. WebTransport is to another port, and
/// to other nodes both go; what a page needs for it is asked for over HTTP.
fn policy(host: Option<&HeaderValue>, pages: &Pages) -> HeaderValue {
    let is_plain = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte));
    let host = host.and_then(|host| host.to_str().ok()).filter(is_plain);
    let mut nodes = host.map_or_else(String::new, |host| format!(" ws://{host} wss://{host}"));
    if let Some(origin) = host.and_then(|host| pages.quic_origin(host)) {
        nodes.push(' ');
        nodes.push_str(&origin);
    }
    let places = pages.places();
    for place in places.iter().map(String::as_str).filter(is_plain).take(PLACES_MAX) {
        for scheme in [" wss://", " https://"] {
            nodes.push_str(scheme);
            nodes.push_str(place);
        }
    }
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; manifest-src 'self'; connect-src 'self'{nodes}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // Of visible characters only: what stands in it was looked at.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

fn packed(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory cannot fail; what could not be packed would be sent empty, which a test would see.
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    packed.unwrap_or_default().into()
}

/// Nodes that the policy names: far more than a client is ever told of.
const PLACES_MAX: usize = 64;

/// What the console may do: talk to its own node, and nothing else.
const CONSOLE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                              form-action 'none'; frame-ancestors 'none'";

/// What a built page may weigh, packed: a phone on a poor network is to see it within seconds.
#[cfg(test)]
const PACKED_BYTES_MAX: usize = 200 * 1024;
/// Further headers of every file.
const PROTECTION: [(header::HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, io::Read, path::Path};

    use axum::{body::to_bytes, http::Request};
    use flate2::read::GzDecoder;
    use tower::ServiceExt;

    use super::*;
    use crate::pages::tests::pages;

    async fn ask(path: &str, headers: &[(header::HeaderName, &str)]) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = routes(&Arc::new(pages("127.0.0.1:7600"))).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        (head.status, head.headers, to_bytes(body, usize::MAX).await.unwrap())
    }

    #[test]
    fn every_built_file_is_served_and_both_pages_are_light() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let names = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>();
        let chat = names(&folder).into_iter().filter(|name| name != "console");
        let console = names(&folder.join("console")).into_iter().map(|name| format!("console/{name}"));
        let built: BTreeSet<String> = chat.chain(console).collect();
        assert_eq!(built, NAMES.iter().map(|name| (*name).to_owned()).collect());
        for page in [Page::Chat, Page::Console] {
            let packed: usize = FILES.iter().filter(|file| file.page == page).map(|file| packed(file.bytes).len()).sum();
            assert!(packed <= PACKED_BYTES_MAX, "{page:?}: {packed} bytes");
        }
    }

    #[tokio::test]
    async fn a_file_is_sent_once_and_packed_for_who_takes_it() {
        let (status, headers, plain) = ask("/app.js", &[]).await;
        assert_eq!(status, StatusCode::OK);
        let (_, packed_headers, packed) = ask("/app.js", &[(header::ACCEPT_ENCODING, "br, gzip")]).await;
        assert_eq!(packed_headers[header::CONTENT_ENCODING], "gzip");
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
        let tag = headers[header::ETAG].to_str().unwrap();
        let (status, _, body) = ask("/app.js", &[(header::IF_NONE_MATCH, tag)]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    }

    #[tokio::test]
    async fn the_page_may_reach_the_nodes_and_nothing_else() {
        let policy = async |host: &str| {
            let (_, headers, _) = ask("/", &[(header::HOST, host)]).await;
            headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned()
        };
        let own = policy("localhost:7681").await;
        assert!(own.starts_with("default-src 'none'; script-src 'self';"), "{own}");
        let nodes = "ws://localhost:7681 wss://localhost:7681 https://127.0.0.1:7600 wss://other.example:7600 https://other.example:7600";
        assert!(own.contains(&format!("connect-src 'self' {nodes};")), "{own}");
        assert!(own.ends_with("frame-ancestors 'none'") && !own.contains("unsafe"), "{own}");
        assert!(
            policy("evil.example; script-src *").await.contains("connect-src 'self' wss://other.example:7600 https://other.example:7600;"),
            "a host is a host"
        );
    }

    #[tokio::test]
    async fn the_console_may_reach_its_own_node_alone() {
        let (status, headers, _) = ask("/console", &[(header::HOST, "localhost:7681")]).await;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert_eq!(status, StatusCode::OK);
        assert!(policy.contains("connect-src 'self';") && !policy.contains("unsafe") && !policy.contains("ws"), "{policy}");
    }

    #[test]
    fn neither_page_has_a_script_or_style_of_its_own() {
        for (path, base) in [("/", "/"), ("/console", "/console/")] {
            let file = FILES.iter().find(|file| file.path == path).unwrap();
            let page = std::str::from_utf8(file.bytes).unwrap();
            assert!(page.contains(&format!(r#"src="{base}app.js""#)) && page.contains(&format!(r#"href="{base}app.css""#)), "{path}");
            assert!(
                !page.contains("<style")
                    && !page.contains("javascript:")
                    && page.matches("<script").count() == page.matches("<script type=\"module\" crossorigin src=").count(),
                "{path}"
            );
        }
    }
}
