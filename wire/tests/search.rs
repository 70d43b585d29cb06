//! Search on the wire: what is promised keeps its bytes, any value survives the way, bounds are met.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    client::{Answer, Request, ToClient, ToEdge},
    code::Code,
    id::*,
    limit,
    peer::{Ask, Caller, FromPeer, ToPeer, Told},
    search::*,
};
use proptest::prelude::*;
use support::{
    golden::{self, hex},
    sample::{Sample, Source, supply},
};

const ID: RequestId = RequestId::new(7);

fn query(source: &mut Source<'_>) -> SearchQuery {
    SearchQuery {
        words: Sample::sample(source),
        sender: Sample::sample(source),
        channel: Sample::sample(source),
        since: Sample::sample(source),
        until: Sample::sample(source),
        limit: Sample::sample(source),
        below: (source.below(2) == 1).then(|| spot(source)),
    }
}

fn spot(source: &mut Source<'_>) -> Spot {
    Spot { ts: Sample::sample(source), seq: Sample::sample(source), channel: Sample::sample(source) }
}

fn hits(source: &mut Source<'_>) -> Vec<SearchHit> {
    let mut spots: Vec<Spot> = (0..source.below(4)).map(|_| spot(source)).collect();
    spots.sort();
    spots.dedup();
    let hit = |spot| SearchHit { spot, sender: Sample::sample(source), excerpt: Sample::sample(source), marks: vec![(Sample::sample(source), 3)] };
    spots.into_iter().rev().map(hit).collect()
}

fn page(source: &mut Source<'_>) -> SearchPage {
    SearchPage {
        hits: hits(source),
        channels: Sample::sample(source),
        missing: Sample::sample(source),
        unsearched: Sample::sample(source),
        next: (source.below(2) == 1).then(|| spot(source)),
    }
}

fn asked(source: &mut Source<'_>) -> Vec<ToPeer> {
    let caller = Caller { user: Sample::sample(source), device: Sample::sample(source), admin: None, trace: 3, key: None, token: None };
    let mut channels: Vec<ChannelId> = Sample::sample(source);
    channels.sort();
    let parts = vec![SearchPart { group: Sample::sample(source), channels }];
    let asks = [
        Ask::Search { caller: caller.clone(), query: query(source), parts, hidden: vec![UserId::new(1), UserId::new(9)] },
        Ask::SearchScope { group: Sample::sample(source), caller, words: Sample::sample(source) },
    ];
    asks.into_iter().map(|ask| ToPeer::Ask { id: ID, deadline_ms: 9, ask }).collect()
}

fn told(source: &mut Source<'_>) -> Vec<FromPeer> {
    let told = [
        Told::Searched(SearchTold { hits: hits(source), reached: (source.below(2) == 1).then(|| spot(source)), behind: Sample::sample(source) }),
        Told::SearchScope(SearchScope {
            channels: Sample::sample(source),
            more: Sample::sample(source),
            titled: Sample::sample(source),
            hidden: vec![UserId::new(2)],
        }),
    ];
    told.into_iter().map(|told| FromPeer::Told { id: ID, told: Ok(told) }).collect()
}

fn request(query: SearchQuery) -> ToEdge {
    ToEdge::Request { id: ID, request: Request::Search(query) }
}

fn answer(page: SearchPage) -> ToClient {
    ToClient::Answer { id: ID, answer: Ok(Answer::Found(page)) }
}

#[test]
fn searches_have_the_bytes_they_always_had() {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Bytes| lines.push((name, hex(&bytes)));
    for start in [1, 40] {
        let bytes: Vec<u8> = (0..400u16).map(|step| (5 * step + start) as u8).collect();
        let source = &mut Source::new(&bytes);
        add(format!("request {start}"), request(query(source)).encode());
        add(format!("answer {start}"), answer(page(source)).encode());
        asked(source).iter().enumerate().for_each(|(at, asked)| add(format!("ask {start} {at}"), asked.encode()));
        told(source).iter().enumerate().for_each(|(at, told)| add(format!("told {start} {at}"), told.encode()));
    }
    golden::check("search.txt", &lines);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(bytes in supply()) {
        let source = &mut Source::new(&bytes);
        let request = request(query(source));
        prop_assert_eq!(ToEdge::decode(&request.encode()).unwrap(), request);
        let answer = answer(page(source));
        prop_assert_eq!(ToClient::decode(&answer.encode()).unwrap(), answer);
        for asked in asked(source) {
            prop_assert_eq!(ToPeer::decode(&asked.encode()).unwrap(), asked);
        }
        for told in told(source) {
            prop_assert_eq!(FromPeer::decode(&told.encode()).unwrap(), told);
        }
        let place = spot(source);
        prop_assert_eq!(place.to_string().parse::<Spot>().unwrap(), place);
    }

    #[test]
    fn any_text_is_a_place_or_an_error(text in "[0-9a-f-]{0,60}") {
        let _ = text.parse::<Spot>();
    }
}

#[test]
fn later_places_are_newer() {
    let at = |ts, seq, user| Spot { ts: Timestamp::new(ts), seq: Seq::new(seq), channel: ChannelId::direct(UserId::new(user), UserId::new(user)) };
    assert!(at(1, 9, 9) < at(2, 1, 1) && at(2, 1, 9) < at(2, 2, 1) && at(2, 2, 1) < at(2, 2, 2));
}

#[test]
fn what_is_typed_is_bounded_in_characters() {
    let met = |chars: usize| match ToEdge::decode(&request(SearchQuery::from("é".repeat(chars).as_str())).encode()).unwrap() {
        ToEdge::Request { .. } => Ok(()),
        ToEdge::Unreadable { id, refusal } => {
            assert_eq!(id, ID);
            Err(refusal.code)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(met(limit::QUERY_CHARS_MAX), Ok(()));
    assert_eq!(met(limit::QUERY_CHARS_MAX + 1), Err(Code::TooLarge));
}

#[test]
fn the_largest_page_fits_a_frame_and_a_longer_one_is_none() {
    let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
    let hit = |seq: usize| SearchHit {
        spot: Spot { ts: Timestamp::new(u64::MAX), seq: Seq::new(u64::MAX - seq as u64), channel },
        sender: UserId::new(u64::MAX),
        excerpt: "🦀".repeat(limit::EXCERPT_CHARS_MAX),
        marks: vec![(u32::MAX, u32::MAX); limit::EXCERPT_MARKS_MAX],
    };
    let page = |hits: usize| SearchPage {
        hits: (0..hits).map(hit).collect(),
        channels: vec![channel; limit::QUERY_CHANNELS_MAX],
        missing: (0..100).map(NodeId::new).collect(),
        unsearched: u32::MAX,
        next: Some(hit(1).spot),
    };
    assert!(answer(page(limit::QUERY_HITS_MAX)).encode().len() <= limit::FRAME_BYTES_MAX / 2);
    assert!(ToClient::decode(&answer(page(limit::QUERY_HITS_MAX + 1)).encode()).is_err());
}
