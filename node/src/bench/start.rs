//! From the start of a single node to the first accepted message: on an empty disk, and again on its own data.
//!
//! Out: [`Outcome`]. The accounts are part of the first, not of the second. Bounds: `WITHIN`.

use std::time::Duration;

use kith_client::{Error, raw::Session};
use kith_wire::{
    client::{Answer, Request, Send},
    code::Code,
    id::{ChannelId, ClientSeq, NodeId},
};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::{
    BenchError,
    people::{Opening, People, ask},
    stage::Stage,
};
use crate::clock::Stopwatch;

/// Longest wait for the first message.
const WITHIN: Duration = Duration::from_secs(30);
/// A node that does not listen yet answers nothing: a client would wait a second before it says hello again.
const DIAL_WITHIN: Duration = Duration::from_millis(100);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Empty disk: cluster made already, accounts not, in milliseconds.
    pub first_ms: f64,
    /// Its own data, in milliseconds.
    pub again_ms: f64,
}

/// Measures.
///
/// # Errors
/// The node cannot be run, or accepts nothing in time.
pub async fn run() -> Result<Outcome, BenchError> {
    let stage = Stage::prepare(1, 1, None)?;
    let node = NodeId::new(1);
    let begun = Stopwatch::start();
    stage.nodes.start(node)?;
    stage.nodes.wait_ready(node).await?;
    let people = People::make(&stage, "load", 2).await?;
    let mut session = people.session(0, 0).await?;
    send(&mut session, &people, 1).await?;
    let first_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    session.close();

    stage.nodes.stop_all().await;
    let begun = Stopwatch::start();
    stage.nodes.start(node)?;
    let accepted = async {
        loop {
            if let Ok(mut session) = people.session_as(0, 0, Opening { within: DIAL_WITHIN, ..Opening::default() }).await {
                match send(&mut session, &people, 2).await {
                    Err(BenchError::Client(error)) if !error.is_final() => {}
                    done => return done,
                }
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(WITHIN, accepted).await.unwrap_or_else(|_| Err(Error::new(Code::Timeout, "the node accepted nothing").into()))?;
    let again_ms = begun.elapsed().as_secs_f64() * 1_000.0;
    people.leave().await;
    stage.strike().await;
    Ok(Outcome { first_ms, again_ms })
}

async fn send(session: &mut Session, people: &People, number: u64) -> Result<(), BenchError> {
    let (client_seq, settled) = (ClientSeq::new(number), ClientSeq::new(number));
    let channel = ChannelId::direct(people.get(0).user, people.get(1).user);
    let send = Send { channel, client_seq, settled, text: format!("number {number}"), reply_to: None, mentions: Vec::new() };
    match ask(session, number, Request::Send(send)).await? {
        Answer::Sent { .. } => Ok(()),
        _ => Err(crate::operator::missing("the seq of a send").into()),
    }
}
