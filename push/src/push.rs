//! The four providers behind one door.
//!
//! In: settings, notifications, the time. Out: what came of each attempt. Invariant: nothing is sent without a [`Permit`]: rate and concurrency of a provider cannot
//! be forgotten. Bounds: [`WITHIN`] a request, [`crate::gate::Limits`]. Tasks: one a connection, ended by [`Push::close`]. On cancel of a send, the request may
//! have arrived. Not here: which pushes there are, their order and their record (the node).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kith_wire::{base64, id::Timestamp};
use thiserror::Error;

use crate::{
    Notification, Outcome, Provider, PushMetrics, Settings, Standing, Target, TargetError,
    credential::{Keyring, ReadEnv, Reloaded},
    gate::{Gate, Limits},
    metrics::Stopwatch,
    outbound::{Client, Reach, RootsError},
    provider::{
        Verdict,
        apns::{self, Apns},
        fcm::{self, Fcm},
        unset,
        web_push::WebPush,
        webhook,
    },
    target::{ServerKeyId, parse_topic},
    url::{Url, UrlError},
};

/// For one request. An attempt is one, or two where a token has to be had first; with a token that turns out to be bad, twice that.
pub const WITHIN: Duration = Duration::from_secs(10);
/// A provider is left alone for so long at most; then one more attempt shows whether it is well.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// What push cannot begin with.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum OpenError {
    /// Nobody's certificate could be believed.
    #[error("no server of a provider could be believed")]
    Roots(#[from] RootsError),
    /// An address in the settings.
    #[error("push.{setting} is no address of a server")]
    Url {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        #[source]
        error: UrlError,
    },
    /// What we show there would be seen.
    #[error("push.{setting} does not begin with https://")]
    Plain {
        /// Which setting.
        setting: &'static str,
    },
    /// The topic in the settings.
    #[error("push.apns.topic is none")]
    Topic(#[source] TargetError),
}

/// Pushes. Shared by all tasks that send.
pub struct Push {
    client: Client,
    keyring: Keyring,
    apns: Apns,
    fcm: Fcm,
    web_push: WebPush,
    /// Where devices' own URLs may lead.
    reach: Reach,
    gates: [Arc<Mutex<Gate>>; 4],
    metrics: Arc<PushMetrics>,
}

/// Leave for one attempt. Dropped, its place is free.
pub struct Permit {
    provider: Provider,
    host: String,
    gate: Arc<Mutex<Gate>>,
    metrics: Arc<PushMetrics>,
}

/// The key that browsers subscribe with (`applicationServerKey`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerKey {
    /// Kept with the subscription.
    pub id: ServerKeyId,
    /// Uncompressed point, in base64 of URLs.
    pub text: String,
}

impl Push {
    /// By an operator's settings. Credentials that are missing or bad are told of, and do not keep the others from working.
    ///
    /// # Errors
    /// A setting that can never work.
    pub async fn open(settings: Settings, env: ReadEnv, metrics: Arc<PushMetrics>) -> Result<Self, OpenError> {
        Self::open_within(settings, env, metrics, WITHIN).await
    }
    /// As [`Self::open`], with another deadline of an attempt: for tests of servers that hang.
    ///
    /// # Errors
    /// As there.
    pub async fn open_within(settings: Settings, env: ReadEnv, metrics: Arc<PushMetrics>, within: Duration) -> Result<Self, OpenError> {
        let url = |setting, said: Option<&str>, usual| {
            let url = Url::parse(said.unwrap_or(usual)).map_err(|error| OpenError::Url { setting, error })?;
            if url.is_tls() { Ok(url) } else { Err(OpenError::Plain { setting }) }
        };
        let own = settings.apns.as_ref().and_then(|apns| apns.url.as_deref());
        let topic = settings.apns.as_ref().and_then(|apns| apns.topic.as_deref()).map(parse_topic).transpose().map_err(OpenError::Topic)?;
        let apns = Apns::new(url("apns.url", own, apns::PRODUCTION)?, url("apns.url", own, apns::SANDBOX)?, topic);
        let fcm = Fcm::new(url("fcm.url", settings.fcm.as_ref().and_then(|fcm| fcm.url.as_deref()), fcm::GOOGLE)?);
        let reach = Reach::private(settings.allow_private);
        let client = Client::new(settings.ca_file.as_deref(), within)?;
        let gates = Provider::ALL.map(|provider| Arc::new(Mutex::new(Gate::new(limits(provider)))));
        let is_any = settings.apns.is_some() || settings.fcm.is_some() || settings.web_push.is_some();
        let keyring = Keyring::new(settings, env);
        let push = Self { client, keyring, apns, fcm, web_push: WebPush::new(reach), reach, gates, metrics };
        push.reload().await;
        if !is_any {
            tracing::info!("no push provider is set up: only webhooks of devices are posted");
        }
        Ok(push)
    }
    /// Looks at files and variables of credentials again, and uses what is new and good. Cheap: to be called every few seconds, and on a signal.
    pub async fn reload(&self) -> Vec<Reloaded> {
        let changed = self.keyring.reload().await;
        for Reloaded { provider, result } in &changed {
            match result {
                Ok(()) => tracing::info!(%provider, "its credential is in use"),
                Err(error) => tracing::warn!(%provider, cause = ?std::error::Error::source(error).map(ToString::to_string), "{error}"),
            }
        }
        for provider in Provider::ALL {
            self.metrics.stands(provider, &self.standing(provider));
        }
        changed
    }
    /// What a provider can do now.
    pub fn standing(&self, provider: Provider) -> Standing {
        self.keyring.standing(provider)
    }
    /// What browsers subscribe with; `None`: they cannot.
    pub fn server_key(&self) -> Option<ServerKey> {
        let keys = self.keyring.vapid()?;
        let key = keys.of(None)?;
        Some(ServerKey { id: key.id, text: base64::write_url(&key.public) })
    }
    /// Asks for leave to send to a device.
    ///
    /// # Errors
    /// Its provider or host is busy, or wants to be left alone: not before so long.
    pub fn admit(&self, target: &Target, now: Timestamp) -> Result<Permit, Duration> {
        let (provider, host) = (target.provider(), target.host());
        let gate = &self.gates[provider as usize];
        let entered = gate.lock().unwrap_or_else(PoisonError::into_inner).enter(host, now);
        entered.inspect_err(|_| self.metrics.held(provider))?;
        self.metrics.begun(provider);
        Ok(Permit { provider, host: host.to_owned(), gate: gate.clone(), metrics: self.metrics.clone() })
    }
    /// Tries once. `permit` is one for this device.
    pub async fn send(&self, permit: Permit, notification: &Notification, now: Timestamp) -> Outcome {
        debug_assert_eq!(
            (permit.provider, permit.host.as_str()),
            (notification.target.provider(), notification.target.host()),
            "leave for somebody else"
        );
        let watch = Stopwatch::start();
        let verdict = self.verdict(notification, now).await;
        if let Some(pause) = verdict.pause {
            let pause = u64::try_from(pause.min(PAUSE_MAX).as_millis()).unwrap_or(u64::MAX);
            let until = Timestamp::new(now.get().saturating_add(pause));
            permit.gate.lock().unwrap_or_else(PoisonError::into_inner).pause(&permit.host, until, now);
        }
        self.metrics.came_of(permit.provider, &verdict.outcome, watch.elapsed());
        tracing::debug!(provider = %permit.provider, outcome = %verdict.outcome, "pushed");
        verdict.outcome
    }
    async fn verdict(&self, notification: &Notification, now: Timestamp) -> Verdict {
        if notification.kept_seconds(now).is_none() {
            return Outcome::never("expired").into();
        }
        match &notification.target {
            Target::Apns(target) => match self.keyring.apns() {
                Some(key) => self.apns.send(&self.client, &key, target, notification, now).await,
                None => unset(),
            },
            Target::Fcm(target) => match self.keyring.fcm() {
                Some(account) => self.fcm.send(&self.client, &account, target, notification, now).await,
                None => unset(),
            },
            Target::WebPush(target) => match self.keyring.vapid() {
                Some(keys) => self.web_push.send(&self.client, &keys, target, notification, now).await,
                None => unset(),
            },
            Target::Webhook(target) => webhook::send(&self.client, self.reach, target, notification, now).await,
        }
    }
    /// Ends all connections, and waits until they have ended.
    pub async fn close(&self) {
        self.client.close().await;
    }
}

const fn limits(provider: Provider) -> Limits {
    match provider {
        Provider::Apns | Provider::Fcm => Limits::ONE_HOST,
        Provider::WebPush | Provider::Webhook => Limits::MANY_HOSTS,
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).leave(&self.host);
        self.metrics.ended(self.provider);
    }
}
