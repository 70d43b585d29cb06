//! The own account of a client that is in: devices, password, name, bots, export, end.

use std::sync::Arc;

use kith_client::{
    Export, ExportCursor, ExportItem as Item,
    wire::people::{DeviceView, ProfileView},
};
use tokio::sync::Mutex;

use crate::{
    client::ChatClient,
    error::ChatError,
    message::Message,
    people::{Contact, Profile},
    value::{Conversation, device_of, user_of},
};

/// A device of the user.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// When it was first seen.
    pub created_ms: u64,
    /// When it last signed in.
    pub seen_ms: u64,
    /// It is this one.
    pub is_current: bool,
}

impl From<DeviceView> for Device {
    fn from(view: DeviceView) -> Self {
        let DeviceView { device, title, created, seen, current } = view;
        Self { id: device.to_string(), title, created_ms: created.get(), seen_ms: seen.get(), is_current: current }
    }
}

/// A bot, and the token by which a program is it.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct Bot {
    /// Its user.
    pub user: String,
    /// Its name.
    pub name: String,
    /// Shown once.
    pub token: String,
}

impl From<kith_client::Bot> for Bot {
    fn from(bot: kith_client::Bot) -> Self {
        Self { user: bot.user.to_string(), name: bot.name, token: bot.token.reveal().to_owned() }
    }
}

/// A bot of the user.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct BotName {
    /// Its user.
    pub user: String,
    /// Its name; empty: gone, or not known now.
    pub name: String,
}

/// One thing that the service holds of the user.
#[derive(Clone, PartialEq, Debug, uniffi::Enum)]
pub enum ExportItem {
    /// What others see of the user.
    Profile {
        /// It.
        profile: Profile,
    },
    /// A device.
    Device {
        /// It.
        device: Device,
    },
    /// A contact, or who asked, was asked or is blocked.
    Contact {
        /// It.
        contact: Contact,
    },
    /// A conversation, with pin, mute, archive and draft.
    Conversation {
        /// It.
        conversation: Conversation,
    },
    /// A text, as it reads now.
    Text {
        /// It.
        message: Message,
    },
    /// Something that this version does not know.
    Other,
}

/// The user's account.
#[derive(uniffi::Object)]
pub struct ChatAccount {
    client: kith_client::Client,
    account: kith_client::Account,
}

/// Reads all that the service holds of the user.
#[derive(uniffi::Object)]
pub struct ChatExport {
    client: kith_client::Client,
    export: Mutex<Export>,
}

#[uniffi::export]
impl ChatClient {
    /// The own account: devices, password, name.
    pub fn account(&self) -> Arc<ChatAccount> {
        Arc::new(ChatAccount { client: self.client.clone(), account: self.client.account() })
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatAccount {
    /// The user's devices, the last seen first.
    pub async fn devices(&self) -> Result<Vec<Device>, ChatError> {
        Ok(self.account.devices().await?.into_iter().map(Into::into).collect())
    }
    /// Ends a device: its session within a second, its tokens for ever.
    pub async fn end_device(&self, device: String) -> Result<(), ChatError> {
        Ok(self.account.end_device(device_of(&device)?).await?)
    }
    /// Ends all devices but this one.
    pub async fn end_others(&self) -> Result<(), ChatError> {
        Ok(self.account.end_others().await?)
    }
    /// Ends this device; the client ends with it.
    pub async fn log_out(&self) -> Result<(), ChatError> {
        Ok(self.account.log_out().await?)
    }
    /// Another password; ends all other devices.
    pub async fn change_password(&self, old: String, new: String) -> Result<(), ChatError> {
        Ok(self.account.change_password(old, new).await?)
    }
    /// A new recovery code in the place of the old one.
    pub async fn new_recovery_code(&self, password: String) -> Result<String, ChatError> {
        Ok(self.account.new_recovery_code(password).await?.reveal().to_owned())
    }
    /// Another name; the old one is nobody else's for 30 days. Once a day at most.
    pub async fn rename(&self, name: String) -> Result<(), ChatError> {
        Ok(self.account.rename(&name).await?)
    }
    /// Ends the account for ever.
    pub async fn delete(&self, password: String) -> Result<(), ChatError> {
        Ok(self.account.delete(password).await?)
    }
    /// All that the service holds of the user; after a text that was given before (`cursor` of an export), or from the beginning.
    #[uniffi::method(default(after = None))]
    pub fn export(&self, after: Option<String>) -> Result<Arc<ChatExport>, ChatError> {
        let after: Option<ExportCursor> = after.map(|after| after.parse()).transpose()?;
        Ok(Arc::new(ChatExport { client: self.client.clone(), export: Mutex::new(self.account.export(after)) }))
    }

    /// Makes a bot: a user of its own that this one looks after, and the token by which a program is it. The token is shown this once.
    pub async fn make_bot(&self, name: String) -> Result<Bot, ChatError> {
        Ok(self.account.make_bot(&name).await?.into())
    }
    /// Another token for a bot. The one before is refused within ten seconds.
    pub async fn bot_token(&self, bot: String) -> Result<Bot, ChatError> {
        Ok(self.account.bot_token(user_of(&bot)?).await?.into())
    }
    /// Ends the token of a bot.
    pub async fn end_bot_token(&self, bot: String) -> Result<(), ChatError> {
        Ok(self.account.end_bot_token(user_of(&bot)?).await?)
    }
    /// Ends a bot for ever.
    pub async fn delete_bot(&self, bot: String) -> Result<(), ChatError> {
        Ok(self.account.delete_bot(user_of(&bot)?).await?)
    }
    /// The user's bots, in the order in which they were made.
    pub async fn bots(&self) -> Result<Vec<BotName>, ChatError> {
        Ok(self.account.bots().await?.into_iter().map(|bot| BotName { user: bot.user.to_string(), name: bot.name }).collect())
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatExport {
    /// The next item; `None`: that was all. After an error it may be called again. One caller at a time.
    pub async fn next(&self) -> Result<Option<ExportItem>, ChatError> {
        Ok(self.export.lock().await.next().await?.map(|item| self.item(item)))
    }
    /// The last text that was given: `export` goes on after it.
    pub async fn cursor(&self) -> Option<String> {
        self.export.lock().await.cursor().map(|cursor| cursor.to_string())
    }
}

impl ChatExport {
    fn item(&self, item: Item) -> ExportItem {
        match item {
            Item::Profile(profile) => ExportItem::Profile { profile: ProfileView::into(profile) },
            Item::Device(device) => ExportItem::Device { device: device.into() },
            Item::Contact(contact) => ExportItem::Contact { contact: contact.into() },
            Item::Conversation(row) => ExportItem::Conversation { conversation: Conversation::new(self.client.me(), (*row).into()) },
            Item::Text { channel, record } => ExportItem::Text { message: Message::new(channel, &record) },
            _ => ExportItem::Other,
        }
    }
}
