//! Answers every text of others with the same text: `echo_bot URL CA.pem` with the token in `KITH_TOKEN`.

use anyhow::Context;
use kith_client::{Client, Draft, Event, Trust, wire::log::Content};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (url, ca) = (args.next().context("URL")?, args.next().context("CA.pem")?);
    let token = std::env::var("KITH_TOKEN").context("KITH_TOKEN holds no token")?;
    let trust = Trust::ca_pem(&std::fs::read(ca)?)?;

    let bot = Client::builder(&url).tokens(token).trust(trust).build().await?;
    let mut events = bot.events();
    bot.connect().await?;
    println!("{} echoes", bot.me());
    while let Some(event) = events.next().await {
        let Event::Record { channel, record } = event else { continue };
        if record.sender == bot.me() {
            continue;
        }
        if let Content::Text { text, .. } = &record.content {
            // Stored here before it is sent: the bot may be killed now, and still answers exactly once.
            bot.channel(channel).send(Draft::text(text.clone()).reply_to(record.at.seq)).await?;
        }
    }
    Ok(())
}
