//! Webhooks of a group, for its owner: what happens there is posted to a URL.

use std::sync::Arc;

use kith_client::wire::{
    hook::{HookEvents, HookKey, HookScope, HookView},
    id::HookId,
};

use crate::{
    client::ChatClient,
    error::ChatError,
    value::{channel_of, set},
};

/// What a webhook hears of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum HookEvent {
    /// A text was sent.
    Created,
    /// A text was edited.
    Edited,
    /// A text was deleted, or its author erased.
    Deleted,
    /// Somebody was added, removed, left, joined, or got another role.
    Members,
}

const EVENTS: [(HookEvent, HookEvents); 4] = [
    (HookEvent::Created, HookEvents::CREATED),
    (HookEvent::Edited, HookEvents::EDITED),
    (HookEvent::Deleted, HookEvents::DELETED),
    (HookEvent::Members, HookEvents::MEMBERS),
];

/// A webhook, without its key.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Webhook {
    /// Names it.
    pub id: String,
    /// Where its posts go.
    pub url: String,
    /// What it hears of.
    pub events: Vec<HookEvent>,
    /// Who registered it.
    pub by: String,
    /// When.
    pub made_ms: u64,
    /// Since when it is told nothing any more; `None`: it is told.
    pub disabled_ms: Option<u64>,
    /// Since when nothing gets through; `None`: it does, as far as is known.
    pub failing_ms: Option<u64>,
}

impl From<HookView> for Webhook {
    fn from(view: HookView) -> Self {
        let HookView { id, url, events, by, made, disabled, failing } = view;
        let events = EVENTS.iter().filter(|(_, bit)| events.holds(*bit)).map(|(event, _)| *event).collect();
        Self { id: id.to_string(), url, events, by: by.to_string(), made_ms: made.get(), disabled_ms: set(disabled), failing_ms: set(failing) }
    }
}

/// A webhook that was registered.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct NewWebhook {
    /// Names it.
    pub id: String,
    /// What its posts are signed with: told this once.
    pub key: Vec<u8>,
}

/// Webhooks of one group.
#[derive(uniffi::Object)]
pub struct ChatWebhooks(kith_client::Hooks);

#[uniffi::export]
impl ChatClient {
    /// Webhooks of a group, for its owner.
    pub fn webhooks(&self, channel: String) -> Result<Arc<ChatWebhooks>, ChatError> {
        Ok(Arc::new(ChatWebhooks(self.client.hooks(HookScope::Channel(channel_of(&channel)?)))))
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatWebhooks {
    /// Registers one; posts are signed by this key, or by one that is drawn.
    #[uniffi::method(default(key = None))]
    pub async fn add(&self, url: String, events: Vec<HookEvent>, key: Option<Vec<u8>>) -> Result<NewWebhook, ChatError> {
        let bits = EVENTS.iter().filter(|(event, _)| events.contains(event)).fold(0, |bits, (_, bit)| bits | bit.0);
        let (id, key) = self.0.add(&url, key.map(|key| HookKey::new(key.into())), HookEvents(bits)).await?;
        Ok(NewWebhook { id: id.to_string(), key: key.reveal().to_vec() })
    }
    /// Those there are.
    pub async fn list(&self) -> Result<Vec<Webhook>, ChatError> {
        Ok(self.0.list().await?.into_iter().map(Into::into).collect())
    }
    /// Removes one.
    pub async fn remove(&self, id: String) -> Result<(), ChatError> {
        Ok(self.0.remove(hook_of(&id)?).await?)
    }
    /// Posts an event of no meaning now. Gives the HTTP status that the other side gave.
    pub async fn test(&self, id: String) -> Result<u32, ChatError> {
        Ok(self.0.test(hook_of(&id)?).await?)
    }
}

fn hook_of(id: &str) -> Result<HookId, ChatError> {
    id.parse().map(HookId::new).map_err(|_| ChatError::invalid("this is no id of a webhook"))
}
