//! What is asked, told and kept of pushes: what is promised keeps its bytes, any value survives the way, bounds are met, nothing secret is shown.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    client::{Answer, Request, ToClient, ToEdge},
    code::Code,
    id::*,
    limit,
    log::*,
    peer::{Ask, FromPeer, Inner, InnerAnswer, RegisteredSession, Tell, ToPeer, Told},
    push_device::*,
    secret::Secret,
};
use proptest::prelude::*;
use support::{
    golden::{self, hex},
    sample::{Sample, Source, supply},
};

const ID: RequestId = RequestId::new(7);

fn targets(source: &mut Source<'_>) -> Vec<PushTarget> {
    let server = source.below(2).eq(&1).then(|| [source.byte(); 8]);
    vec![
        PushTarget::Apns { token: Sample::sample(source), topic: Sample::sample(source), sandbox: Sample::sample(source) },
        PushTarget::Fcm { token: Sample::sample(source) },
        PushTarget::WebPush { endpoint: Sample::sample(source), p256dh: Sample::sample(source), auth: Sample::sample(source), server },
        PushTarget::Webhook { url: Sample::sample(source), key: Sample::sample(source) },
    ]
}
fn quiet(source: &mut Source<'_>) -> Option<QuietHours> {
    let from = 5 * u32::from(source.byte());
    source.below(3).gt(&0).then_some(QuietHours { from, to: (from + 60) % 1_440 })
}
fn failure(source: &mut Source<'_>) -> Option<PushFailure> {
    source.below(2).eq(&1).then(|| PushFailure { at: Sample::sample(source), reason: Sample::sample(source), count: Sample::sample(source) })
}
fn sent(source: &mut Source<'_>) -> Vec<PushSent> {
    let sent = |source: &mut Source<'_>| {
        let (device, seq, at) = (Sample::sample(source), Sample::sample(source), Sample::sample(source));
        PushSent { device, seq, at, is_read: false }
    };
    (0..source.below(3)).map(|_| sent(source)).collect()
}

fn requests(source: &mut Source<'_>) -> Vec<ToEdge> {
    let mut asked: Vec<_> = targets(source).into_iter().map(|target| PushRequest::Register { target }).collect();
    asked.extend([PushRequest::Unregister, PushRequest::Get, PushRequest::SetQuiet { quiet: quiet(source) }, PushRequest::Test]);
    asked.into_iter().map(|asked| ToEdge::Request { id: ID, request: Request::Push(asked) }).collect()
}
fn state(source: &mut Source<'_>) -> PushState {
    let vias = [PushVia::Apns, PushVia::Fcm, PushVia::WebPush, PushVia::Webhook];
    let device = |via| PushDeviceView { device: DeviceId::new(via as u64), via, registered: Timestamp::new(9), failure: None };
    let mut devices: Vec<_> = vias.map(device).into_iter().collect();
    devices[0].failure = failure(source);
    PushState { devices, quiet: quiet(source), server_key: Sample::sample(source) }
}
fn tested(source: &mut Source<'_>) -> Vec<PushTested> {
    vec![PushTested { device: Sample::sample(source), via: PushVia::Fcm, delivered: Sample::sample(source), outcome: Sample::sample(source) }]
}
fn to_client(source: &mut Source<'_>) -> Vec<ToClient> {
    [PushAnswer::State(state(source)), PushAnswer::Tested(tested(source))]
        .map(|answer| ToClient::Answer { id: ID, answer: Ok(Answer::Push(answer)) })
        .into()
}
fn to_peer(source: &mut Source<'_>) -> Vec<ToPeer> {
    let confirmed = Tell::Confirmed {
        group: Sample::sample(source),
        user: Sample::sample(source),
        device: Sample::sample(source),
        channel: Sample::sample(source),
        seq: Sample::sample(source),
    };
    let inner = [Inner::Pushes { user: Sample::sample(source) }, Inner::TestPush { user: Sample::sample(source) }];
    let asks = inner.map(|inner| Ask::Inner { group: GroupId::new(1), map_epoch: MapEpoch::default(), inner });
    asks.into_iter().map(|ask| ToPeer::Ask { id: ID, deadline_ms: 9, ask }).chain([ToPeer::Tell(confirmed)]).collect()
}
fn from_peer(source: &mut Source<'_>) -> Vec<FromPeer> {
    let session = RegisteredSession { pushes: true, ..Sample::sample(source) };
    let told = [
        Told::Inner(InnerAnswer::Pushes(state(source))),
        Told::Inner(InnerAnswer::Tested(tested(source))),
        Told::Registered { group: GroupId::new(1), term: Term::new(2), sessions: vec![Ok(session)] },
    ];
    told.into_iter().map(|told| FromPeer::Told { id: ID, told: Ok(told) }).collect()
}
fn changes(source: &mut Source<'_>) -> Vec<Item> {
    let user: UserId = Sample::sample(source);
    let mut changes: Vec<_> = targets(source).into_iter().map(|target| PushChange::Register { device: Sample::sample(source), target }).collect();
    changes.extend([
        PushChange::Unregister { device: Sample::sample(source), registered: Sample::sample(source) },
        PushChange::Quiet { quiet: quiet(source) },
        PushChange::Sent { channel: Sample::sample(source), sent: sent(source) },
        PushChange::Settled { channels: vec![PushSettled { channel: Sample::sample(source), seq: Sample::sample(source), is_read: false }] },
        PushChange::Failed { device: Sample::sample(source), registered: Sample::sample(source), reason: Sample::sample(source) },
    ]);
    changes.into_iter().map(|change| Item { bucket: Some(user.bucket()), command: UserChange::Push(change).of(user) }).collect()
}
fn pushes(source: &mut Source<'_>) -> PushesRow {
    let device = |target| PushDevice { device: DeviceId::new(4), target, registered: Timestamp::new(5), failure: None };
    let mut devices: Vec<_> = targets(source).into_iter().map(device).collect();
    devices[1].failure = failure(source);
    PushesRow { devices, quiet: quiet(source) }
}
fn account(source: &mut Source<'_>) -> UserRow {
    UserRow { pushes: Sample::sample(source), ..Sample::sample(source) }
}

/// What says that everything was read.
fn read() -> [PushChange; 2] {
    let (channel, seq) = (ChannelId::direct(UserId::new(7), UserId::new(8)), Seq::new(9));
    let sent = PushSent { device: DeviceId::new(4), seq, at: Timestamp::new(5), is_read: true };
    [PushChange::Sent { channel, sent: vec![sent] }, PushChange::Settled { channels: vec![PushSettled { channel, seq, is_read: true }] }]
}

#[test]
fn pushes_have_the_bytes_they_always_had() {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Bytes| lines.push((name, hex(&bytes)));
    for start in [1, 40] {
        let bytes: Vec<u8> = (0..1200u16).map(|step| (5 * step + start) as u8).collect();
        let source = &mut Source::new(&bytes);
        requests(source).iter().enumerate().for_each(|(at, frame)| add(format!("request {start} {at}"), frame.encode()));
        to_client(source).iter().enumerate().for_each(|(at, frame)| add(format!("to client {start} {at}"), frame.encode()));
        to_peer(source).iter().enumerate().for_each(|(at, frame)| add(format!("to peer {start} {at}"), frame.encode()));
        from_peer(source).iter().enumerate().for_each(|(at, frame)| add(format!("from peer {start} {at}"), frame.encode()));
        changes(source).iter().enumerate().for_each(|(at, change)| add(format!("change {start} {at}"), change.encode()));
        add(format!("pushes row {start}"), pushes(source).encode());
        add(format!("due row {start}"), PushDueRow { since: Sample::sample(source) }.encode());
        add(format!("sent row {start}"), PushSentRow { sent: sent(source) }.encode());
        add(format!("account {start}"), account(source).encode());
    }
    for change in read() {
        let name = if matches!(change, PushChange::Sent { .. }) { "taken back" } else { "settled as read" };
        lines.push((name.to_owned(), hex(&Item { bucket: None, command: UserChange::Push(change).of(UserId::new(7)) }.encode())));
    }
    golden::check("pushes.txt", &lines);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(bytes in supply()) {
        let source = &mut Source::new(&bytes);
        for frame in requests(source) {
            prop_assert_eq!(ToEdge::decode(&frame.encode()).unwrap(), frame);
        }
        for frame in to_client(source) {
            prop_assert_eq!(ToClient::decode(&frame.encode()).unwrap(), frame);
        }
        for frame in to_peer(source) {
            prop_assert_eq!(ToPeer::decode(&frame.encode()).unwrap(), frame);
        }
        for frame in from_peer(source) {
            prop_assert_eq!(FromPeer::decode(&frame.encode()).unwrap(), frame);
        }
        let read = read().map(|change| Item { bucket: None, command: UserChange::Push(change).of(UserId::new(7)) });
        for change in changes(source).into_iter().chain(read) {
            prop_assert_eq!(Item::decode(&change.encode()).unwrap(), change);
        }
        let (row, sent, account) = (pushes(source), PushSentRow { sent: sent(source) }, account(source));
        prop_assert_eq!(PushesRow::decode(&row.encode()).unwrap(), row);
        prop_assert_eq!(PushSentRow::decode(&sent.encode()).unwrap(), sent);
        prop_assert_eq!(UserRow::decode(&account.encode()).unwrap(), account);
    }
}

#[test]
fn what_is_over_a_bound_is_told_so() {
    let refused = |asked| match ToEdge::decode(&ToEdge::Request { id: ID, request: Request::Push(asked) }.encode()).unwrap() {
        ToEdge::Unreadable { refusal, .. } => Some(refusal.code),
        _ => None,
    };
    let fcm = |bytes: usize| PushRequest::Register { target: PushTarget::Fcm { token: Secret::new("x".repeat(bytes)) } };
    assert_eq!(refused(fcm(limit::PUSH_TARGET_BYTES_MAX)), None);
    assert_eq!(refused(fcm(limit::PUSH_TARGET_BYTES_MAX + 1)), Some(Code::TooLarge));
    let quiet = |from, to| PushRequest::SetQuiet { quiet: Some(QuietHours { from, to }) };
    assert_eq!(refused(quiet(1_320, 420)), None);
    for (from, to) in [(1_440, 1), (1, 1_440), (7, 7)] {
        assert_eq!(refused(quiet(from, to)), Some(Code::Invalid), "{from} {to}");
    }
}

#[test]
fn nothing_that_lets_others_push_is_shown() {
    let canary = || Secret::new("canary");
    let targets = [
        PushTarget::Apns { token: canary(), topic: String::new(), sandbox: false },
        PushTarget::Fcm { token: canary() },
        PushTarget::WebPush { endpoint: canary(), p256dh: canary(), auth: canary(), server: None },
        PushTarget::Webhook { url: canary(), key: canary() },
    ];
    let shown = format!("{targets:?} {targets:#?}");
    assert!(!shown.contains("canary"), "{shown}");
}

/// The hours of a night and of a day, minute by minute, by another way of counting.
#[test]
fn quiet_hours_end_when_they_say() {
    for (from, to) in [(1_320, 420), (540, 1_020), (0, 1), (1_439, 0)] {
        let hours = QuietHours { from, to };
        for minute in 0..2_880_u64 {
            let is_quiet = |minute: u64| {
                let (minute, from, to) = (minute % 1_440, u64::from(from), u64::from(to));
                if from < to { from <= minute && minute < to } else { minute >= from || minute < to }
            };
            let expected = is_quiet(minute).then(|| Timestamp::new((minute..).find(|later| !is_quiet(*later)).unwrap() * 60_000));
            assert_eq!(hours.until(Timestamp::new(minute * 60_000 + 59_999)), expected, "{hours:?} {minute}");
        }
    }
}
