//! The people of a load: accounts of the cluster, each with one device that speaks the protocol by hand.
//!
//! In: how many, and which node each is connected to. Out: open sessions. Bounds: `AT_ONCE` accounts or handshakes under way.
//! Not here: what they say.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use kith_client::{Endpoint, Trust, raw::Session};
use kith_wire::{
    client::{Answer, Hello, Request, ToClient, ToEdge},
    code::Code,
    hello,
    id::{ChannelId, Conn, DeviceId, RequestId, UserId, UserRev},
};

use super::{BenchError, stage::Stage};
use crate::operator::{ensure_account, missing};

/// Accounts or handshakes under way.
const AT_ONCE: usize = 64;
/// Longest handshake, and longest answer while the load is set up.
const WITHIN: Duration = Duration::from_secs(20);
/// Longer than any run.
const TOKEN_TTL: Duration = Duration::from_secs(12 * 3600);
/// The nonce of each person's only device.
const NONCE: [u8; 16] = [1; 16];

/// A person.
#[derive(Clone, Debug)]
pub struct Person {
    /// Account.
    pub user: UserId,
    token: Arc<str>,
}

impl Person {
    /// Their only device.
    pub fn device(&self) -> DeviceId {
        DeviceId::from_nonce(self.user, &NONCE)
    }
}

/// How a session begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The how-manieth of its device.
    pub conn: Conn,
    /// What the device holds of its index.
    pub user_rev: UserRev,
    /// Whether a ticket of an earlier connection may shorten the handshake.
    pub resumes: bool,
    /// When it is given up.
    pub within: Duration,
}

impl Default for Opening {
    fn default() -> Self {
        Self { conn: Conn::new(1), user_rev: UserRev::ZERO, resumes: true, within: WITHIN }
    }
}

/// Everyone, and how they reach the cluster.
pub struct People {
    endpoint: Endpoint,
    ca_pem: String,
    trust: Trust,
    addresses: Vec<String>,
    people: Vec<Person>,
}

impl People {
    /// Makes so many accounts, which begin with this name.
    ///
    /// # Errors
    /// The cluster refuses, or cannot be reached.
    pub async fn make(stage: &Stage, name: &str, count: usize) -> Result<Self, BenchError> {
        let admin = stage.operator.admin().await?;
        admin.connect().await?;
        let (admin_ref, operator) = (&admin, &stage.operator);
        let make = |number: usize| async move {
            let name = format!("{name}-{number}");
            let (user, _) = ensure_account(admin_ref, &name).await?;
            let token = operator.token(user, &name, TOKEN_TTL)?;
            Ok::<_, kith_client::Error>(Person { user, token: token.into() })
        };
        let people = stream::iter(0..count).map(make).buffered(AT_ONCE).try_collect().await?;
        admin.close().await;
        Self::of(stage, people)
    }

    /// People whose accounts are there already.
    ///
    /// # Errors
    /// A token cannot be minted, or no socket be bound.
    pub fn known(stage: &Stage, users: Vec<(UserId, String)>) -> Result<Self, BenchError> {
        let person = |(user, name): (UserId, String)| {
            let token = stage.operator.token(user, &name, TOKEN_TTL)?;
            Ok::<_, kith_client::Error>(Person { user, token: token.into() })
        };
        let people = users.into_iter().map(person).collect::<Result<_, _>>()?;
        Self::of(stage, people)
    }

    fn of(stage: &Stage, people: Vec<Person>) -> Result<Self, BenchError> {
        let ca_pem = stage.operator.files().ca_pem.clone();
        let trust = Trust::ca_pem(ca_pem.as_bytes())?;
        Ok(Self { endpoint: Endpoint::bind()?, trust, ca_pem, addresses: stage.addresses(), people })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.people.len()
    }

    /// One of them.
    pub fn get(&self, number: usize) -> &Person {
        &self.people[number]
    }

    /// Opens a session of a person at a node, by its place.
    ///
    /// # Errors
    /// The node refuses or does not answer.
    pub async fn session(&self, number: usize, node: usize) -> Result<Session, BenchError> {
        self.session_as(number, node, Opening::default()).await
    }

    /// As [`People::session`], in this way.
    ///
    /// # Errors
    /// As there.
    pub async fn session_as(&self, number: usize, node: usize, opening: Opening) -> Result<Session, BenchError> {
        let person = self.get(number);
        let hello = Hello {
            version: hello::CURRENT,
            features: hello::FEATURES,
            cluster: None,
            token: person.token.to_string(),
            device: person.device(),
            conn: opening.conn,
            user_rev: opening.user_rev,
        };
        let address = &self.addresses[node % self.addresses.len()];
        // Tickets are kept with the trust: one of its own has none.
        let fresh = if opening.resumes { None } else { Some(Trust::ca_pem(self.ca_pem.as_bytes())?) };
        Ok(Session::open(&self.endpoint, fresh.as_ref().unwrap_or(&self.trust), address, hello, opening.within).await?)
    }

    /// Opens sessions of these people, each at a node.
    ///
    /// # Errors
    /// As [`People::session`].
    pub async fn sessions(&self, who: impl IntoIterator<Item = (usize, usize)>) -> Result<Vec<Session>, BenchError> {
        stream::iter(who).map(|(number, node)| self.session(number, node)).buffered(AT_ONCE).try_collect().await
    }

    /// Makes a group chat; its maker is a member.
    ///
    /// # Errors
    /// The cluster refuses, or does not answer.
    pub async fn group(&self, maker: &mut Session, op: u64, members: Vec<UserId>) -> Result<ChannelId, BenchError> {
        let request = Request::CreateGroup { op, title: format!("load {op}"), members };
        match ask(maker, op, request).await? {
            Answer::Created { channel, .. } => Ok(channel),
            _ => Err(missing("the answer to a new group").into()),
        }
    }

    /// Ends all sessions.
    pub async fn leave(self) {
        self.endpoint.close().await;
    }
}

/// Asks, and waits for the answer; everything else that comes meanwhile is passed over.
///
/// # Errors
/// The cluster refuses, or does not answer.
pub async fn ask(session: &mut Session, id: u64, request: Request) -> Result<Answer, BenchError> {
    let id = RequestId::new(id);
    session.add(&ToEdge::Request { id, request });
    let answered = async {
        loop {
            if let ToClient::Answer { id: of, answer } = session.next().await?
                && of == id
            {
                return answer.map_err(|refusal| kith_client::Error::new(refusal.code, refusal.text));
            }
        }
    };
    let answer = tokio::time::timeout(WITHIN, answered).await;
    Ok(answer.unwrap_or_else(|_| Err(kith_client::Error::new(Code::Timeout, "no answer while the load was set up")))?)
}
