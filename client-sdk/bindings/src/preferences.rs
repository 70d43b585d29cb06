//! How a conversation stands in the user's list, the same on all devices of the user.

use kith_client::wire::id::{Seq, Timestamp};

use crate::{client::ChatClient, error::ChatError, value::ConversationDraft};

#[uniffi::export(async_runtime = "tokio")]
impl ChatClient {
    /// Puts a conversation on top of the list, or not.
    pub async fn pin_conversation(&self, channel: String, on: bool) -> Result<(), ChatError> {
        Ok(self.at(&channel)?.preferences().pin(on).await?)
    }
    /// No push of a conversation until then, by the server's clock; `None`: push again. The largest number is for ever.
    pub async fn mute_conversation(&self, channel: String, until_ms: Option<u64>) -> Result<(), ChatError> {
        Ok(self.at(&channel)?.preferences().mute(until_ms.map(Timestamp::new)).await?)
    }
    /// Takes a conversation out of the list until something new is said, or for as long as it is muted.
    pub async fn archive_conversation(&self, channel: String, on: bool) -> Result<(), ChatError> {
        Ok(self.at(&channel)?.preferences().archive(on).await?)
    }
    /// Keeps what was written and not sent; an empty text: nothing.
    pub async fn save_draft(&self, channel: String, draft: ConversationDraft) -> Result<(), ChatError> {
        Ok(self.at(&channel)?.preferences().save_draft(draft.into()).await?)
    }
    /// What is here up to a record that this device holds is read, and not to be shown any more.
    pub async fn clear_conversation(&self, channel: String, up_to: u64) -> Result<(), ChatError> {
        Ok(self.at(&channel)?.preferences().clear_to(Seq::new(up_to)).await?)
    }
}
