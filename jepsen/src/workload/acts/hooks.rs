//! A webhook, and somebody who sends what it is to be told of.
//!
//! In: a room and its owner. Out: `hook_event` for each post, as it comes; `hook_end` when all that stands in the room has come, or the time for it is
//! over. Invariant: no ack comes after the end. Bounds: one send under way; the receiver answers at once and keeps the seqs it was told. Not here:
//! signatures (the product's own tests).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::{Json, Router, http::StatusCode, routing::post};
use kith_client::wire::hook::{HookEvents, HookScope};
use kith_client::wire::id::Seq;
use kith_client::{Backfill, Client};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::super::{Account, Bench, Loads, PREPARE_WITHIN, Phase, Room, reached, sender, text};
use crate::record::{self, Voice};
use crate::seed::Chance;

/// How long after the load posts may come: a node that could not post waits up to a few seconds before it tries again.
const LATE_MAX: Duration = Duration::from_secs(60);

/// A post, as far as it is looked at.
#[derive(Deserialize)]
struct Post {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    seq: u64,
    text: Option<String>,
}

/// Positions that were told of.
type Told = Arc<Mutex<BTreeSet<u64>>>;

/// Registers the webhook; the posts come once the load does.
pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads, owner: &Account, room: Room) -> anyhow::Result<()> {
    let listener = TcpListener::bind((bench.lab.clients.address, 0)).await.context("listening for a webhook")?;
    let url = format!("http://{}/", listener.local_addr().context("listening for a webhook")?);
    let client = bench.client(owner, 0, Backfill::Off)?.request_timeout(PREPARE_WITHIN).build().await?;
    timeout(PREPARE_WITHIN, client.connect()).await.context("connecting a webhook's owner")??;
    client.hooks(HookScope::Channel(room.id)).add(&url, None, HookEvents::CREATED).await.context("adding a webhook")?;
    client.close().await;
    let (bench, owner, phase) = (Arc::clone(bench), owner.clone(), loads.phase.clone());
    loads.spawn(async move {
        let told = Told::default();
        let voice = Arc::new(Voice::new(&bench.recorder, "hook", &owner.name, None));
        let app = receiver(Arc::clone(&voice), room.name.clone(), Arc::clone(&told));
        tokio::select! {
            served = axum::serve(listener, app) => served.context("serving a webhook"),
            sent = send(&bench, &owner, &room, &told, phase) => sent,
        }?;
        voice.happened(record::hook_end(&room.name));
        Ok(())
    });
    Ok(())
}

fn receiver(voice: Arc<Voice>, room: String, told: Told) -> Router {
    let take = move |Json(Post { data }): Json<Post>| {
        // What is no text was written by the system.
        if let Some(text) = data.text {
            let name = text.split(' ').next().unwrap_or_default();
            voice.happened(record::hook_event(&room, name, data.seq));
        }
        told.lock().unwrap_or_else(PoisonError::into_inner).insert(data.seq);
        std::future::ready(StatusCode::NO_CONTENT)
    };
    Router::new().route("/", post(take))
}

async fn send(bench: &Arc<Bench>, owner: &Account, room: &Room, told: &Told, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ 0x400c_0000);
    let client = bench.client(owner, 1, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, "hook-sender", &owner.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut number = 0_u64;
    loop {
        let name = format!("hook-{number}");
        number += 1;
        let (text, pause) = (text::short(&name, &mut chance), bench.pause(&mut chance, 60, 140));
        tokio::select! {
            // What is not answered by then stays without an end.
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                sender::send(&client, &voice, room, &name, text).await;
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    settle(&client, room, told).await;
    client.close().await;
    Ok(())
}

/// Waits until all texts of the room were told of, or the time for it is over.
async fn settle(client: &Client, room: &Room, told: &Told) {
    let deadline = Instant::now() + LATE_MAX;
    while Instant::now() < deadline {
        if let Ok(records) = client.channel(room.id).whole_history(None, Seq::ZERO).await {
            let told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if records.iter().filter(|record| record.content.is_text()).all(|record| told.contains(&record.at.seq.get())) {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
