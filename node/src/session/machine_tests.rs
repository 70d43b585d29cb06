//! The session machine: what a client may do in any order.

use kith_wire::{
    client::{Answer, Send},
    hello::Version,
    id::{ClientSeq, Conn, DeviceId, Seq},
};
use proptest::prelude::*;

use super::*;

fn identity() -> Identity {
    Identity { cluster: ClusterId::new([7; 16]), node: NodeId::new(1), features: Features(0) }
}
fn claims() -> Claims {
    Claims { user: UserId::new(9), name: "ann".into(), cluster: ClusterId::new([7; 16]), admin: false, expires_s: 10, ..Claims::default() }
}
fn hello() -> ToEdge {
    ToEdge::Hello(Hello {
        version: Version(1),
        features: Features(0),
        cluster: None,
        token: "t".into(),
        device: DeviceId::new(5),
        conn: Conn::new(1),
        user_rev: UserRev::ZERO,
    })
}
fn registered() -> Registered {
    Registered { session: SessionId::new(3), name: "ann".into(), user_rev: UserRev::new(4) }
}
fn channel(n: u64) -> ChannelId {
    ChannelId::direct(UserId::new(9), UserId::new(100 + n))
}
fn send(id: u64, to: u64, number: u64) -> ToEdge {
    let send = Send {
        channel: channel(to),
        client_seq: ClientSeq::new(number),
        settled: ClientSeq::new(1),
        text: "hi".into(),
        reply_to: None,
        mentions: vec![],
    };
    ToEdge::Request { id: RequestId::new(id), request: Request::Send(send) }
}
fn sent(n: u64) -> Result<Answer, Refusal> {
    Ok(Answer::Sent { seq: Seq::new(n), cnt: n, ts: Timestamp::new(0), duplicate: false })
}
fn opened(now: Instant) -> Machine {
    let mut machine = Machine::new(identity(), 0, now);
    machine.handle_frame(hello(), now);
    assert_eq!(machine.poll_action(), Some(Action::Verify { token: "t".into() }));
    machine.handle_token(Ok(claims()));
    assert!(matches!(machine.poll_action(), Some(Action::Register { .. })));
    machine.handle_registered(&claims(), Ok(registered()), Timestamp::new(1));
    assert!(matches!(machine.poll_transmit(), Some(ToClient::Welcome(welcome)) if welcome.user_rev == UserRev::new(4)));
    machine
}
fn started(machine: &mut Machine) -> Vec<u64> {
    std::iter::from_fn(|| machine.poll_action())
        .filter_map(|action| if let Action::Start { id, .. } = action { Some(id.get()) } else { None })
        .collect()
}
fn bye(machine: &mut Machine) -> Option<Code> {
    let last = std::iter::from_fn(|| machine.poll_transmit()).last();
    if let Some(ToClient::Bye(refusal)) = last { Some(refusal.code) } else { None }
}

#[test]
fn first_frame_must_be_hello_and_only_the_first() {
    let now = Instant::now();
    let mut machine = Machine::new(identity(), 0, now);
    machine.handle_frame(send(1, 1, 1), now);
    assert_eq!(bye(&mut machine), Some(Code::BadFrame));
    let mut machine = opened(now);
    machine.handle_frame(hello(), now);
    assert_eq!(bye(&mut machine), Some(Code::BadFrame));
    assert!(machine.is_ended());
}

#[test]
fn wrong_cluster_version_and_token_are_refused_by_code() {
    let now = Instant::now();
    let ToEdge::Hello(good) = hello() else { unreachable!() };
    for (hello, code) in [
        (Hello { cluster: Some(ClusterId::new([8; 16])), ..good.clone() }, Code::WrongCluster),
        (Hello { version: Version(0), ..good.clone() }, Code::VersionMismatch),
        (Hello { token: "x".repeat(limit::TOKEN_BYTES_MAX + 1), ..good }, Code::BadToken),
    ] {
        let mut machine = Machine::new(identity(), 0, now);
        machine.handle_frame(ToEdge::Hello(hello), now);
        assert_eq!(bye(&mut machine), Some(code));
    }
    let mut machine = Machine::new(identity(), 0, now);
    machine.handle_frame(hello(), now);
    machine.handle_token(Err(Code::TokenExpired));
    assert_eq!(bye(&mut machine), Some(Code::TokenExpired));
}

#[test]
fn refused_registration_ends_the_session_with_its_reason() {
    let now = Instant::now();
    let mut machine = Machine::new(identity(), 0, now);
    machine.handle_frame(hello(), now);
    machine.handle_token(Ok(claims()));
    machine.handle_registered(&claims(), Err(refuse(Code::Replaced)), Timestamp::new(0));
    assert_eq!(bye(&mut machine), Some(Code::Replaced));
}

#[test]
fn silence_ends_the_session() {
    let now = Instant::now();
    let mut machine = Machine::new(identity(), 0, now);
    machine.handle_timeout(now + HELLO_WITHIN / 2);
    assert!(!machine.is_ended());
    machine.handle_timeout(now + HELLO_WITHIN);
    assert_eq!(bye(&mut machine), Some(Code::Timeout));
    let mut machine = opened(now);
    machine.handle_frame(ToEdge::Beat, now + IDLE / 2);
    machine.handle_timeout(now + IDLE);
    assert!(!machine.is_ended());
    machine.handle_timeout(now + IDLE + IDLE / 2);
    assert!(machine.is_ended());
}

#[test]
fn writes_of_a_channel_go_one_at_a_time_until_one_was_taken_then_in_a_train() {
    let now = Instant::now();
    let mut machine = opened(now);
    for n in 1..=40 {
        machine.handle_frame(send(n, 1, n), now);
    }
    machine.handle_frame(send(100, 2, 1), now);
    assert_eq!(started(&mut machine), [1, 100], "another channel does not wait");
    machine.handle_answer(RequestId::new(1), sent(1));
    assert_eq!(started(&mut machine), (2..=33).collect::<Vec<_>>());
    machine.handle_answer(RequestId::new(2), Err(refuse(Code::Busy)));
    assert_eq!(started(&mut machine), Vec::<u64>::new(), "a refusal stops the train");
    machine.handle_answer(RequestId::new(3), sent(2));
    assert_eq!(started(&mut machine), [34, 35]);
}

#[test]
fn more_than_the_limit_is_busy() {
    let now = Instant::now();
    let mut machine = opened(now);
    for n in 0..limit::SESSION_REQUESTS_MAX as u64 + 1 {
        machine.handle_frame(ToEdge::Request { id: RequestId::new(n), request: Request::Discover { measured: Vec::new(), region: None } }, now);
    }
    let refused = std::iter::from_fn(|| machine.poll_transmit()).collect::<Vec<_>>();
    let id = RequestId::new(limit::SESSION_REQUESTS_MAX as u64);
    assert_eq!(refused, [ToClient::Answer { id, answer: Err(refuse_for(Code::Busy, BUSY_RETRY_MS)) }]);
}

#[test]
fn requests_sent_before_the_welcome_wait_for_it() {
    let now = Instant::now();
    let mut machine = Machine::new(identity(), 0, now);
    machine.handle_frame(hello(), now);
    machine.handle_frame(send(1, 1, 1), now);
    machine.handle_token(Ok(claims()));
    assert_eq!(started(&mut machine), Vec::<u64>::new());
    machine.handle_registered(&claims(), Ok(registered()), Timestamp::new(0));
    assert_eq!(started(&mut machine), [1]);
}

#[derive(Clone, Debug)]
enum Op {
    Hello,
    Beat,
    Send(u64),
    Other,
    Unknown,
    Again,
    Token(bool),
    Registered(bool),
    Answer(usize, bool),
    Advance(u64),
    Close,
}
fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        1 => Just(Op::Hello),
        2 => Just(Op::Beat),
        20 => (0..4u64).prop_map(Op::Send),
        8 => Just(Op::Other),
        2 => Just(Op::Unknown),
        1 => Just(Op::Again),
        4 => any::<bool>().prop_map(Op::Token),
        4 => any::<bool>().prop_map(Op::Registered),
        20 => (any::<usize>(), any::<bool>()).prop_map(|(n, ok)| Op::Answer(n, ok)),
        2 => (0..20_000u64).prop_map(Op::Advance),
        1 => Just(Op::Close),
    ];
    (any::<bool>(), prop::collection::vec(op, 0..300)).prop_map(|(proper, mut ops)| {
        if proper {
            ops.retain(|op| !matches!(op, Op::Hello | Op::Again | Op::Close | Op::Token(false) | Op::Registered(false)));
            ops.splice(0..0, [Op::Hello, Op::Token(true), Op::Registered(true)]);
        }
        ops
    })
}

proptest! {
    #[test]
    fn any_order_of_input_gives_one_answer_per_request_and_keeps_the_order(ops in ops()) {
        let mut now = Instant::now();
        let mut machine = Machine::new(identity(), 0, now);
        let (mut next, mut asked, mut answers, mut running) = (0u64, Vec::new(), Vec::new(), Vec::new());
        let mut numbers = HashMap::<u64, u64>::new();
        let mut reached = HashMap::<ChannelId, u64>::new();
        for op in ops {
            let was_live = !machine.is_ended() && !matches!(machine.phase, Phase::Fresh);
            match op {
                Op::Hello => machine.handle_frame(hello(), now),
                Op::Beat => machine.handle_frame(ToEdge::Beat, now),
                Op::Send(to) => {
                    next += 1;
                    let number = numbers.entry(to).or_default();
                    *number += 1;
                    machine.handle_frame(send(next, to, *number), now);
                    if was_live { asked.push(next); }
                }
                Op::Other => {
                    next += 1;
                    machine.handle_frame(ToEdge::Request { id: RequestId::new(next), request: Request::Discover { measured: Vec::new(), region: None } }, now);
                    if was_live { asked.push(next); }
                }
                Op::Unknown => {
                    next += 1;
                    machine.handle_frame(ToEdge::Unreadable { id: RequestId::new(next), refusal: refuse(Code::Unsupported) }, now);
                    if was_live { asked.push(next); }
                }
                // A number whose answer was given is free again.
                Op::Again => if !answers.contains(&next) {
                    machine.handle_frame(ToEdge::Request { id: RequestId::new(next), request: Request::Discover { measured: Vec::new(), region: None } }, now);
                },
                Op::Token(ok) => machine.handle_token(if ok { Ok(claims()) } else { Err(Code::BadToken) }),
                Op::Registered(ok) => {
                    let outcome = if ok { Ok(registered()) } else { Err(refuse(Code::NoLeader)) };
                    machine.handle_registered(&claims(), outcome, Timestamp::new(0));
                }
                Op::Answer(n, ok) => if !running.is_empty() {
                    let id = running.swap_remove(n % running.len());
                    machine.handle_answer(id, if ok { sent(1) } else { Err(refuse(Code::Busy)) });
                },
                Op::Advance(ms) => { now += Duration::from_millis(ms); machine.handle_timeout(now); }
                Op::Close => machine.handle_close(refuse(Code::Draining)),
            }
            while let Some(action) = machine.poll_action() {
                if let Action::Start { id, request, .. } = action {
                    if let Request::Send(send) = &request {
                        let last = reached.insert(send.channel, send.client_seq.get()).unwrap_or_default();
                        prop_assert!(send.client_seq.get() > last, "a write overtook another");
                    }
                    running.push(id);
                }
            }
            let mut ended = false;
            while let Some(frame) = machine.poll_transmit() {
                prop_assert!(!ended, "a frame after Bye");
                match frame {
                    ToClient::Answer { id, .. } => answers.push(id.get()),
                    ToClient::Bye(_) => ended = true,
                    _ => {}
                }
            }
            prop_assert!(machine.waiting() <= limit::SESSION_REQUESTS_MAX);
        }
        while let Some(id) = running.pop() {
            machine.handle_answer(id, sent(1));
            while let Some(action) = machine.poll_action() {
                if let Action::Start { id, .. } = action { running.push(id); }
            }
        }
        while let Some(frame) = machine.poll_transmit() {
            if let ToClient::Answer { id, .. } = frame { answers.push(id.get()); }
        }
        let given = answers.len();
        answers.sort_unstable();
        answers.dedup();
        prop_assert_eq!(answers.len(), given, "an answer was given twice");
        if matches!(machine.phase, Phase::Open(_)) {
            asked.sort_unstable();
            asked.dedup();
            prop_assert_eq!(answers, asked, "a request was not answered");
        }
    }
}

fn log_in(id: u64) -> ToEdge {
    let request = kith_wire::people::PeopleRequest::Refresh { token: "x".into(), nonce: [0; 16] };
    ToEdge::Request { id: RequestId::new(id), request: Request::People(request) }
}

#[test]
fn before_hello_only_what_is_asked_at_the_door_is_done_one_at_a_time_and_only_so_often() {
    let now = Instant::now();
    let mut machine = Machine::new(identity(), 0, now);
    machine.handle_frame(log_in(1), now);
    let Some(Action::Knock { id, caller, .. }) = machine.poll_action() else { panic!("asked at the door") };
    assert_eq!((caller.user, caller.admin), (UserId::new(0), None));
    machine.handle_frame(log_in(2), now);
    assert!(matches!(machine.poll_transmit(), Some(ToClient::Answer { answer: Err(refusal), .. }) if refusal.code == Code::Busy));
    assert_eq!(machine.poll_timeout(), Some(now + DOOR_WITHIN), "who is answered has time for Hello");
    machine.handle_answer(id, Ok(Answer::Done));
    assert!(matches!(machine.poll_transmit(), Some(ToClient::Answer { answer: Ok(Answer::Done), .. })));
    machine.handle_frame(hello(), now);
    assert!(matches!(machine.poll_action(), Some(Action::Verify { .. })), "and then the session is opened on the same stream");

    let mut machine = Machine::new(identity(), 0, now);
    for id in 0..=limit::DOOR_REQUESTS_MAX as u64 {
        machine.handle_frame(log_in(id), now);
        machine.handle_answer(RequestId::new(id), Ok(Answer::Done));
    }
    assert!(machine.is_ended());

    let mut machine = Machine::new(identity(), 0, now);
    machine.handle_frame(send(1, 1, 1), now);
    assert!(machine.is_ended(), "nothing else is done for strangers");
}

#[test]
fn a_token_that_is_bound_to_a_device_opens_no_session_of_another() {
    let now = Instant::now();
    for (device, is_taken) in [(5, true), (6, false)] {
        let mut machine = Machine::new(identity(), 0, now);
        machine.handle_frame(hello(), now);
        let _ = machine.poll_action();
        machine.handle_token(Ok(Claims { device: Some(DeviceId::new(device)), login: 1, ..claims() }));
        assert_eq!(matches!(machine.poll_action(), Some(Action::Register { .. })), is_taken);
    }
}
