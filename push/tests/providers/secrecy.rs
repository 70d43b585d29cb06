//! Nothing that lets somebody push, or read a push, stands in a log, in `Debug`, in an outcome or in a metric: at the finest level, of all libraries.

use std::{
    io,
    sync::{Arc, Mutex},
};

use kith_push::*;
use prometheus_client::{encoding::text::encode, registry::Registry};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    open::Browser,
    server::{Does, answer},
    world::*,
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn tokens_and_keys_are_in_no_log() {
    let world = World::new();
    let server = world.server().await;
    world.write_account(&server, "kith-chat");
    let metrics = Arc::new(PushMetrics::default());
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let push = Push::open(world.settings(&server), no_env(), metrics.clone()).await.unwrap();
    let ann = Browser::new(3);
    let shown = Shows::Text(Shown::new("title-canary".to_owned(), "body-canary".to_owned()).unwrap());
    let mut shows = String::new();
    server.then([answer(200, r#"{"access_token":"ya29-access-canary","expires_in":3600}"#)]);
    for target in [android(), apple(), browser(&server.url(), &ann, None), hook(&server.url())] {
        for does in [answer(200, ""), answer(410, r#"{"reason":"reason-canary"}"#), answer(400, "answer-canary"), Does::Reset] {
            server.then([does]);
            let notification = Notification { shows: shown.clone(), ..to(target.clone()) };
            let outcome = send(&push, &notification).await;
            shows += &format!("{notification:?} {outcome:?} {outcome}\n");
        }
    }
    world.write("AuthKey_KEY1234567.p8", "-----BEGIN PRIVATE KEY-----\nkey-canary\n-----END PRIVATE KEY-----");
    world.write("account.json", "{\"type\": \"service_account\", \"private_key\": \"key-canary\", \"project_id\": [\"canary\"]}");
    shows += &format!("{:?} {:?}", push.reload().await, push.standing(Provider::Apns));
    push.close().await;
    drop(guard);
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    encode(&mut shows, &registry).unwrap();
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("pushed") && log.contains("its credential is in use"), "{log}");
    let asked = server.asked();
    let mut secrets: Vec<String> = asked.iter().map(|asked| asked.header("authorization").to_owned()).filter(|header| !header.is_empty()).collect();
    // A signature of a token says nothing without the rest, but where it stands the rest stands, too.
    secrets.extend(secrets.clone().iter().filter_map(|header| header.split(['.', ',']).nth(2).map(str::to_owned)));
    secrets.extend(["canary", "ca4a51", FCM_TOKEN, "whsec"].map(str::to_owned));
    for secret in secrets {
        for line in log.lines().chain(shows.lines()) {
            assert!(!line.contains(&secret), "{secret} stands in {line}");
        }
    }
    assert!(asked.len() > 16);
}
