//! `kith push`: which devices are pushed to, whether it works, and what does not.

use std::path::PathBuf;

use clap::Subcommand;
use kith_client::{
    Backfill,
    wire::{
        id::Timestamp,
        log::{PushTarget, QuietHours},
        push_device::{PushDeviceView, PushTested},
        secret::Secret,
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    cluster::{ClusterArgs, connect},
    failure::{Exit, Failure},
    shown::say,
};

/// Pushes to a user's devices: list them, try them, see what fails
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Whose devices
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show which devices are pushed to, by whom, and since when
    List,
    /// Show those that could not be reached, and why
    Failures,
    /// Send each of them a push that says nothing
    Test,
    /// Have the device of this command line pushed to, at a URL
    Register {
        /// Where posts go
        url: String,
        /// File with the key that they are signed with: 24 to 64 bytes, in base64 of URLs
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Have it pushed to no more
    Unregister,
    /// Push nothing but mentions at these hours
    Quiet {
        /// Minutes of the day, UTC, as 1320-420; none: at no time
        #[arg(value_name = "FROM-TO")]
        hours: Option<String>,
    },
}

pub(super) async fn run(args: Args, stop: CancellationToken) -> Result<Exit, Failure> {
    let is_json = args.cluster.json;
    let session = args.cluster.session(&args.name, Backfill::Off).await?;
    let client = &session.client;
    tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Interrupted),
        connected = connect(client) => connected?,
    }
    let done = || println!("{}", if is_json { json!({ "done": true }).to_string() } else { "done".to_owned() });
    let mut exit = Exit::Done;
    match args.verb {
        Verb::List => {
            let state = client.pushes().await?;
            state.devices.iter().for_each(|device| show(device, is_json));
            if let Some(quiet) = state.quiet.filter(|_| !is_json) {
                println!("from minute {} to {} of the day (UTC) only mentions are pushed", quiet.from, quiet.to);
            }
        }
        Verb::Failures => {
            let state = client.pushes().await?;
            let failed: Vec<_> = state.devices.iter().filter(|device| device.failure.is_some()).collect();
            failed.iter().for_each(|device| show(device, is_json));
            if !failed.is_empty() {
                exit = Exit::Bad;
            }
        }
        Verb::Test => {
            let tested = client.test_push().await?;
            tested.iter().for_each(|test| show_test(test, is_json));
            if tested.iter().any(|test| !test.delivered) {
                exit = Exit::Bad;
            }
        }
        Verb::Register { url, key } => {
            let read = std::fs::read_to_string(&key);
            let key = read.map_err(|error| Failure::local("reading the key", &error, "name a file with 24 to 64 bytes, in base64 of URLs"))?;
            client.register_push(PushTarget::Webhook { url: Secret::new(url), key: Secret::new(key.trim()) }).await?;
            done();
        }
        Verb::Unregister => {
            client.unregister_push().await?;
            done();
        }
        Verb::Quiet { hours } => {
            let quiet = hours.as_deref().map(parse_hours).transpose()?;
            client.set_quiet_hours(quiet).await?;
            done();
        }
    }
    client.close().await;
    Ok(exit)
}

pub(super) fn parse_hours(text: &str) -> Result<QuietHours, Failure> {
    let parsed = text.split_once('-').and_then(|(from, to)| Some(QuietHours { from: from.trim().parse().ok()?, to: to.trim().parse().ok()? }));
    parsed
        .filter(QuietHours::is_valid)
        .ok_or_else(|| Failure::usage("these are no quiet hours", "give two different minutes of the day, UTC, as 1320-420 for 22:00 to 7:00"))
}

fn show(device: &PushDeviceView, is_json: bool) {
    let failure = device.failure.as_ref();
    if is_json {
        let failure = failure.map(|failure| json!({ "at_ms": failure.at.get(), "reason": failure.reason, "count": failure.count }));
        let line = json!({
            "device": device.device.to_string(),
            "via": device.via.name(),
            "registered_ms": device.registered.get(),
            "failure": failure,
        });
        return println!("{line}");
    }
    let failure =
        failure.map_or_else(String::new, |failure| format!("  failed {} times, last at {}: {}", failure.count, ms(failure.at), failure.reason));
    say(&format!("{} {:<9} since {}{failure}", device.device, device.via.name(), ms(device.registered)));
}

fn ms(at: Timestamp) -> String {
    format!("{} ms", at.get())
}

fn show_test(test: &PushTested, is_json: bool) {
    if is_json {
        let (device, via) = (test.device.to_string(), test.via.name());
        return println!("{}", json!({ "device": device, "via": via, "delivered": test.delivered, "outcome": test.outcome }));
    }
    say(&format!("{} {:<9} {}", test.device, test.via.name(), test.outcome));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_are_two_minutes_of_a_day() {
        assert_eq!(parse_hours("1320-420").unwrap(), QuietHours { from: 1_320, to: 420 });
        for text in ["", "7", "1-1", "0-1440", "a-b", "1--2"] {
            assert!(parse_hours(text).is_err(), "{text}");
        }
    }
}
