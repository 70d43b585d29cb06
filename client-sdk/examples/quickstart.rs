use kith_client::{Client, Trust};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let trust = Trust::ca_pem(&std::fs::read(std::env::var("KITH_CA")?)?)?;
    let client = Client::builder(&std::env::var("KITH_URL")?).tokens(std::env::var("KITH_TOKEN")?).trust(trust).build().await?;
    client.connect().await?;
    let message = client.direct("bob").await?.send("hello bob").await?.sent().await?;
    println!("stands at {}", message.seq());
    client.close().await;
    Ok(())
}
