//! A phone without a screen: `phone URL CA.pem FOLDER NAME STEPS`, with the token in `KITH_TOKEN`; `KITH_SEED` repeats a run.
//!
//! It chats with NAME as somebody on the way does: writes, reads, puts the app away, changes networks, and now and then the system kills the app in the middle. At the end
//! it asks the cluster whether each text that it stored stands once, in order.

use std::time::Duration;

use anyhow::{Context, bail};
use kith_client::{Anchor, Client, SqliteStore, StoreTrouble, TimelineItem, Trust, wire::id::Seq};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::{sleep, timeout};

/// For anything to come to rest.
const REST: Duration = Duration::from_secs(60);
/// Between two things that somebody does.
const PAUSE_MS: u64 = 100;

struct Phone {
    url: String,
    trust: Trust,
    token: String,
    folder: String,
}

impl Phone {
    /// Starts the app. What was queued before it was killed goes on by itself.
    async fn open(&self) -> anyhow::Result<Client> {
        let store = loop {
            match SqliteStore::open(&self.folder).await {
                Ok(store) => break store,
                // The app that was killed has not let go of it yet.
                Err(error) if error.trouble == StoreTrouble::InUse => sleep(Duration::from_millis(10)).await,
                Err(error) => bail!(error),
            }
        };
        Ok(Client::builder(&self.url).tokens(self.token.clone()).trust(self.trust.clone()).store(store).build().await?)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (url, ca, folder) = (args.next().context("URL")?, args.next().context("CA.pem")?, args.next().context("FOLDER")?);
    let (name, steps): (String, u32) = (args.next().context("NAME")?, args.next().context("STEPS")?.parse()?);
    let token = std::env::var("KITH_TOKEN").context("KITH_TOKEN holds no token")?;
    let seed: u64 = std::env::var("KITH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("again: KITH_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let phone = Phone { url, trust: Trust::ca_pem(&std::fs::read(ca)?)?, token, folder };

    let mut app = phone.open().await?;
    timeout(REST, app.connect()).await.context("not online in time")??;
    let room = app.direct(name.as_str()).await?.id();
    // Two people's conversation begins with its first text: before that there is nothing to read.
    let hello = format!("{seed:x}: hello");
    app.channel(room).send(hello.as_str()).await?.sent().await?;
    let mut stored = vec![hello];
    let (mut kills, mut naps) = (0, 0);
    for step in 0..steps {
        match rng.random_range(0..10) {
            0..=4 => {
                let text = format!("{seed:x}: {step}");
                // From here on it is sent, whatever happens to the app.
                app.channel(room).send(text.as_str()).await?;
                stored.push(text);
            }
            5 | 6 => {
                let timeline = app.channel(room).timeline(Anchor::Latest).await?;
                let newest = timeline.items().items().iter().rev().find_map(|item| match item {
                    TimelineItem::Record { record, .. } => Some(record.at.seq),
                    _ => None,
                });
                if let Some(seq) = newest.filter(|_| app.status().get().is_online()) {
                    app.channel(room).mark_read(seq).await?;
                }
            }
            7 => {
                naps += 1;
                app.enter_background(REST).await?;
                sleep(Duration::from_millis(rng.random_range(0..PAUSE_MS))).await;
                app.enter_foreground().await;
            }
            8 => app.network_changed().await,
            _ => {
                kills += 1;
                drop(app);
                app = phone.open().await?;
                // Whether it is online soon is the network's; nothing waits for it.
                let _ = timeout(Duration::from_millis(rng.random_range(0..PAUSE_MS)), app.connect()).await;
            }
        }
        sleep(Duration::from_millis(rng.random_range(0..PAUSE_MS))).await;
    }

    timeout(REST, app.connect()).await.context("not online in time")??;
    let mut waiting = app.outbox();
    timeout(REST, waiting.wait_for(|items| items.is_empty())).await.context("texts are still on their way")?;
    let history = app.channel(room).whole_history(None, Seq::ZERO).await?;
    let mark = format!("{seed:x}: ");
    let stand: Vec<&str> = history.iter().filter_map(|record| record.content.text()).filter(|text| text.starts_with(&mark)).collect();
    app.close().await;
    if stand != stored {
        bail!("{} texts were stored, and there stand {stand:?}", stored.len());
    }
    println!("{} texts stand, each once and in order; the app was killed {kills} times and put away {naps} times", stand.len());
    Ok(())
}
