//! Search for messages in all conversations that the user may read, by the cluster's index.
//!
//! In: what is looked for. Out: hits, the newest first, each with a part of its text. What a node could not answer for is said in the page. Not
//! here: the search for users (`contact`), titles of conversations that the device has (`client`).

use kith_wire::{
    client::{Answer, Request},
    search::{SearchPage, SearchQuery},
};

use crate::{
    client::{Client, unexpected},
    error::Error,
};

impl Client {
    /// Messages that have what is looked for: words in any order, `"a phrase"`, `beginn*`, `-unwanted`; and more by the fields of
    /// [`SearchQuery`]. The next page is found with `below` set to `next` of this one; a page may have fewer than `limit` although there is one.
    ///
    /// # Errors
    /// `Invalid`, `TooLarge`: what cannot be looked for; `RateLimited`; or as [`Client::request`].
    pub async fn search(&self, query: impl Into<SearchQuery>) -> Result<SearchPage, Error> {
        match self.request(Request::Search(query.into())).await? {
            Answer::Found(page) => Ok(page),
            _ => Err(unexpected()),
        }
    }
}
