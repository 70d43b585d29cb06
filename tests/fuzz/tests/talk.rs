//! Both ends of a conversation with somebody who says whatever they like: frames that can be read, in any order, and what our side does with them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bolero::check;
use kith::{
    auth::Claims,
    session::machine::{Action, IDLE, Identity, Machine, Registered},
};
use kith_client::{
    Backfill,
    store::Identity as Owner,
    testing::{Device, DeviceOptions, Does},
};
use kith_wire::{
    client::{Answer, Page, Refusal, ToClient, ToEdge},
    code::Code,
    hello::Features,
    id::{ClusterId, NodeId, Seq, SessionId, Timestamp, UserId, UserRev},
    limit,
};

/// What is said, piece by piece: what to do, and the bytes for it.
fn pieces(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let ([what, high, low], rest) = input.split_first_chunk::<3>()?;
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes([*high, *low]))));
        input = rest;
        Some((*what, bytes))
    })
}

/// A client that says anything: the edge answers each request once, holds no more than it may, and ends only once.
#[test]
fn an_edge_and_any_client() {
    check!().for_each(|input: &[u8]| {
        let mut now = tokio::time::Instant::now();
        let identity = Identity { cluster: ClusterId::new([7; 16]), node: NodeId::new(1), features: Features::default() };
        let mut machine = Machine::new(identity, 1, now);
        let (mut asked, mut answered, mut ends) = (0_usize, 0_usize, 0);
        let mut waiting = VecDeque::new();
        let claims = |device| Claims {
            user: UserId::new(1),
            name: "ann".into(),
            cluster: ClusterId::new([7; 16]),
            expires_s: 1 << 40,
            device,
            ..Claims::default()
        };
        for (what, bytes) in pieces(input) {
            match what % 8 {
                0..=3 => match ToEdge::decode(bytes) {
                    Ok(frame) => {
                        asked += usize::from(matches!(frame, ToEdge::Request { .. } | ToEdge::Unreadable { .. }));
                        machine.handle_frame(frame, now);
                    }
                    Err(_) => machine.handle_bad_frame(),
                },
                4 => now += Duration::from_millis(bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>() * 64),
                5 => machine.handle_close(Refusal::new(Code::Draining)),
                _ => {
                    if let Some((id, is_good)) = waiting.pop_front().map(|id| (id, what >= 128)) {
                        machine.handle_answer(id, if is_good { Ok(Answer::Done) } else { Err(Refusal::new(Code::Busy)) });
                    }
                }
            }
            machine.handle_timeout(now);
            while let Some(action) = machine.poll_action() {
                match action {
                    Action::Verify { token } => machine.handle_token(if token.is_empty() { Err(Code::BadToken) } else { Ok(claims(None)) }),
                    Action::Register { claims, .. } => {
                        let registered = Registered { session: SessionId::new(1), name: "ann".into(), user_rev: UserRev::new(1) };
                        machine.handle_registered(&claims, Ok(registered), Timestamp::new(1_000_000));
                    }
                    Action::Knock { id, .. } | Action::Start { id, .. } => waiting.push_back(id),
                    Action::End { .. } => ends += 1,
                }
            }
            while let Some(frame) = machine.poll_transmit() {
                answered += usize::from(matches!(frame, ToClient::Answer { .. }));
            }
            assert!(answered <= asked, "an answer to nothing");
            assert!(ends <= 1, "it ended twice");
            assert!(machine.waiting() <= limit::SESSION_REQUESTS_MAX, "{} wait", machine.waiting());
            if machine.is_ended() {
                return;
            }
        }
        machine.handle_timeout(now + IDLE + IDLE);
        assert!(machine.is_ended(), "who is silent is gone");
    });
}

/// An edge that says anything: a device shows no record twice and none out of order, and always has a moment when it goes on.
#[test]
fn a_device_and_any_edge() {
    check!().for_each(|input: &[u8]| {
        let mut now = tokio::time::Instant::now().into_std();
        let identity = Owner { user: UserId::new(1), nonce: [7; 16] };
        let (heartbeat, patience) = (Duration::from_secs(30), Duration::from_secs(2));
        let mut device = Device::new(DeviceOptions { identity, backfill: Backfill::All, heartbeat, patience, seed: 1 }, now);
        let (mut is_up, mut pulls, mut shown) = (false, VecDeque::new(), BTreeMap::new());
        for (what, bytes) in pieces(input) {
            match what % 8 {
                0..=3 if is_up => match ToClient::decode(bytes) {
                    Ok(frame) => device.handle_frame(now, frame),
                    Err(_) => (is_up, pulls) = (hang_up(&mut device), VecDeque::new()),
                },
                4 if is_up => {
                    if let Some(pull) = pulls.pop_front() {
                        device.handle_page(now, pull, Page::decode(bytes).ok());
                    }
                }
                5 => now += Duration::from_millis(bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>() * 64),
                6 => device.handle_paused(what >= 128),
                7 if is_up => (is_up, pulls) = (hang_up(&mut device), VecDeque::new()),
                _ if !is_up => {
                    is_up = true;
                    device.handle_connected(now);
                }
                _ => {}
            }
            device.handle_timeout(now);
            for does in device.drain(now, "token") {
                match does {
                    Does::Pull(id, _) => pulls.push_back(id),
                    Does::Show(channel, records) => {
                        for record in records {
                            let before = shown.insert(channel, record.at.seq).unwrap_or(Seq::ZERO);
                            assert!(before < record.at.seq, "{} after {before}", record.at.seq);
                        }
                    }
                    Does::Lost(_) if is_up => is_up = false,
                    _ => {}
                }
            }
            if !is_up {
                pulls.clear();
                device.handle_disconnected();
                device.drain(now, "token");
            }
            device.handle_timeout(now);
            assert!(device.poll_timeout().is_none_or(|at| at > now), "a moment that does not pass");
        }
    });
}

fn hang_up(device: &mut Device) -> bool {
    device.handle_disconnected();
    false
}

/// Whatever comes back from a node that was probed names one packet, or none.
#[test]
fn answers_to_probes() {
    check!().for_each(|input: &[u8]| {
        let named = kith_client::testing::echo(input);
        assert_eq!(named, kith_client::testing::echo(input.get(..23).unwrap_or(input)), "what follows counts for nothing");
    });
}
