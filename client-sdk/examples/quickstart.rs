//! Sends one message and prints what comes: `quickstart URL CA.pem NAME` with the token in `KITH_TOKEN`.

use anyhow::Context;
use kith_client::{Client, Event, Trust, wire::log::Content};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (url, ca, name) = (args.next().context("URL")?, args.next().context("CA.pem")?, args.next().context("NAME")?);
    let token = std::env::var("KITH_TOKEN").context("KITH_TOKEN holds no token")?;
    let trust = Trust::ca_pem(&std::fs::read(ca)?)?;

    let client = Client::builder(&url).tokens(token).trust(trust).build().await?;
    let mut events = client.events();
    client.connect().await?;
    let room = client.direct(name).await?;
    let message = room.send("hello").await?.sent().await?;
    println!("stands at {}", message.seq());
    while let Some(event) = events.next().await {
        if let Event::Record { channel, record } = event
            && let Content::Text { text, .. } = &record.content
        {
            println!("{channel} {} {}: {text}", record.at.seq, record.sender);
        }
    }
    Ok(())
}
