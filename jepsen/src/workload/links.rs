//! Part of W5: a link to a group that lets in one, shown by several strangers at the same moment, each over another node: one gets in.
//!
//! In: somebody who makes groups and links. Out: `name_take` of the link, `ok` with who got in by it; when the load has stopped, `name_get` with each stranger who is a member.
//! Bounds: [`RIVALS`] at a time, a round every two seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kith_client::wire::code::Code;
use kith_client::wire::id::{ChannelId, Timestamp, UserId};
use kith_client::{Backfill, Client, Error, Joined, Link, NewChannel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Account, Bench, Loads, Phase, reached};
use crate::history::Outcome;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Who shows each link.
const RIVALS: usize = 3;
/// For a question; then its fate is unknown.
const ASK_WITHIN: Duration = Duration::from_secs(12);
/// Tries of each last question.
const LAST_TRIES: u32 = 20;

/// One who has a link, and what they do with it.
struct Rival {
    account: Account,
    client: Client,
    voice: Voice,
}

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads, owner: &Account) -> anyhow::Result<()> {
    let mut accounts = Vec::new();
    for n in 0..RIVALS {
        accounts.push(bench.account(&format!("links-{n}")).await?);
    }
    let phase = loads.phase.clone();
    loads.spawn(rounds(Arc::clone(bench), owner.clone(), accounts, phase));
    Ok(())
}

async fn rounds(bench: Arc<Bench>, owner: Account, accounts: Vec<Account>, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ 0x114c_0000);
    let maker = bench.client(&owner, 0, Backfill::Off)?.build().await?;
    let _ = timeout(Duration::from_secs(5), maker.connect()).await;
    let mut rivals = Vec::new();
    for (n, account) in accounts.into_iter().enumerate() {
        let client = bench.client(&account, n, Backfill::Off)?.build().await?;
        let _ = timeout(Duration::from_secs(5), client.connect()).await;
        let voice = Voice::new(&bench.recorder, &account.name, &account.name, None);
        rivals.push(Arc::new(Rival { account, client, voice }));
    }
    let mut groups: BTreeMap<String, ChannelId> = BTreeMap::new();
    let mut number = 0_u64;
    loop {
        let name = format!("link-{number}");
        number += 1;
        let pause = bench.pause(&mut chance, 1_500, 2_500);
        // One that could not be made in its time is nobody's business.
        if let Ok(Ok((channel, link))) = timeout(ASK_WITHIN, make(&maker, &name)).await {
            groups.insert(name.clone(), channel);
            let mut asking = JoinSet::new();
            for rival in &rivals {
                let (rival, name) = (Arc::clone(rival), name.clone());
                asking.spawn(async move { take(&rival, &name, link).await });
            }
            while let Some(done) = asking.join_next().await {
                done?;
            }
        }
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    let voice = Voice::new(&bench.recorder, "links-eye", &owner.name, None);
    for (name, channel) in &groups {
        settle(&maker, &voice, &rivals, name, *channel).await;
    }
    maker.close().await;
    Ok(())
}

/// A group with a link that lets in one.
async fn make(maker: &Client, name: &str) -> Result<(ChannelId, Link), Error> {
    let channel = maker.create_channel(NewChannel::group(name)).await?;
    let (link, outgoing) = channel.invite(Timestamp::new(0), 1).await?;
    outgoing.done().await?;
    Ok((channel.id(), link))
}

async fn take(rival: &Rival, name: &str, link: Link) {
    let token = rival.voice.begin(record::name_take(name, None));
    let (outcome, owner, error) = match timeout(ASK_WITHIN, rival.client.join(link)).await {
        Ok(Ok(Joined::Member(_))) => (Outcome::Ok, Some(rival.account.name.clone()), None),
        Ok(Ok(Joined::Pending)) => (Outcome::Info, None, Some("waits for an admin".to_owned())),
        Ok(Err(error)) if error.code == Code::LinkEnded => (Outcome::Fail { is_final: false }, None, Some(error.to_string())),
        Ok(Err(error)) => (Outcome::Info, None, Some(error.to_string())),
        Err(_) => (Outcome::Info, None, Some("no answer in time".to_owned())),
    };
    rival.voice.end(token, outcome, record::name_take(name, owner), error);
}

/// Who is in the group now, besides who made it: a line for each, or one that says nobody.
async fn settle(maker: &Client, voice: &Voice, rivals: &[Arc<Rival>], name: &str, channel: ChannelId) {
    for _ in 0..LAST_TRIES {
        let token = voice.begin(record::name_get(name, None));
        match maker.channel(channel).view().await {
            Ok(view) => {
                let is_in = |user: UserId| view.members.iter().any(|member| member.user == user);
                let mut owners = rivals.iter().filter(|rival| is_in(rival.account.user)).map(|rival| rival.account.name.clone());
                voice.end(token, Outcome::Ok, record::name_get(name, Some(owners.next().unwrap_or_default())), None);
                for owner in owners {
                    let token = voice.begin(record::name_get(name, None));
                    voice.end(token, Outcome::Ok, record::name_get(name, Some(owner)), None);
                }
                return;
            }
            Err(error) => voice.end(token, Outcome::Fail { is_final: false }, record::name_get(name, None), Some(error.to_string())),
        }
    }
}
