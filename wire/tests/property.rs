//! Any bytes in give a frame, "need more" or a typed error; every value survives encoding; nothing panics or grows past its limit.
//!
//! A failure prints its seed and the command that repeats it. `KITH_CASES=100000 cargo nextest run -p kith-wire` looks longer.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::{Bytes, BytesMut};
use kith_wire::{
    act::*,
    client::*,
    error::DecodeError,
    frame::{self, Decoder, Frame, FrameError, Framing, Kind},
    id::Seq,
    limit,
    log::*,
    peer::{AppendResult, FromPeer, SnapshotEnd, SnapshotHead, ToPeer},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use support::{
    property::property,
    sample::{Sample, Source, supply},
};

const BODY_MAX: usize = 300;

/// All frames of a stream that arrives in such pieces, and how it ended; checks the decoder's bound on the way.
fn decode(framing: Framing, stream: &[u8], pieces: &[usize]) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(framing, BODY_MAX);
    let mut frames = Vec::new();
    let mut rest = stream;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at((*pieces.next().unwrap()).min(rest.len()));
        decoder.push(piece);
        rest = later;
        loop {
            match decoder.poll() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.poll(), Err(error), "an error stays");
                    assert_eq!(decoder.buffered(), 0, "nothing is held after an error");
                    return (frames, Some(error));
                }
            }
        }
        assert!(decoder.buffered() < framing.header_bytes() + BODY_MAX, "{} bytes held", decoder.buffered());
    }
    (frames, None)
}

fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![Just(Framing::Plain), Just(Framing::Checked)]
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    vec(1..80usize, 1..20)
}

#[test]
fn frames_survive_any_chunking() {
    let bodies = vec((any::<u16>(), vec(any::<u8>(), 0..=BODY_MAX)), 0..8);
    property("frames_survive_any_chunking", (framing(), bodies, pieces()), |(framing, bodies, pieces)| {
        let mut stream = BytesMut::new();
        let sent: Vec<Frame> = bodies.into_iter().map(|(kind, body)| Frame { kind: Kind::from_number(kind), body: Bytes::from(body) }).collect();
        sent.iter().for_each(|sent| frame::encode(framing, sent.kind, &sent.body, &mut stream));
        prop_assert_eq!(decode(framing, &stream, &pieces), (sent, None));
        Ok(())
    });
}

#[test]
fn any_bytes_give_the_same_frames_in_any_chunking() {
    // Bytes below 2 make short lengths likely, so that frames and errors mix.
    let stream = vec(prop_oneof![3 => 0..2u8, 1 => any::<u8>()], 0..2000);
    property("any_bytes_give_the_same_frames_in_any_chunking", (framing(), stream, pieces()), |(framing, stream, pieces)| {
        prop_assert_eq!(decode(framing, &stream, &pieces), decode(framing, &stream, &[stream.len().max(1)]));
        Ok(())
    });
}

#[test]
fn a_damaged_checked_frame_is_never_taken_for_another() {
    let damage = (vec(any::<u8>(), 0..=BODY_MAX), any::<Index>(), 1..=255u8);
    property("a_damaged_checked_frame_is_never_taken_for_another", damage, |(body, at, flip)| {
        let mut stream = BytesMut::new();
        frame::encode(Framing::Checked, Kind::ToPeer, &body, &mut stream);
        let at = at.index(stream.len());
        stream[at] ^= flip;
        let (frames, _) = decode(Framing::Checked, &stream, &[7]);
        prop_assert!(frames.is_empty(), "byte {at} differs by {flip:02x}");
        Ok(())
    });
}

/// What `decode` takes, encoded again, is the same; an unreadable request keeps its id and nothing else.
fn settles<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    decode: fn(&[u8]) -> Result<T, DecodeError>,
    encode: fn(&T) -> Bytes,
) -> Result<(), TestCaseError> {
    let Ok(value) = decode(bytes) else { return Ok(()) };
    let again = decode(&encode(&value));
    let told = format!("{value:?}");
    if told.starts_with("Unreadable") {
        let id = |told: &str| told.split_once(", refusal").map(|(id, _)| id.to_owned());
        prop_assert_eq!(id(&format!("{:?}", again.unwrap())), id(&told));
    } else {
        prop_assert_eq!(again, Ok(value));
    }
    Ok(())
}

macro_rules! round_trips {
    ($($ty:ident),* $(,)?) => {
        /// Every value of every type is the same after encoding; equal values have equal bytes; shared memory makes no difference.
        #[test]
        fn every_value_survives_encoding() {
            property("every_value_survives_encoding", supply(), |supply| {
                $({
                    let value = $ty::sample(&mut Source::new(&supply));
                    let bytes = value.encode();
                    prop_assert_eq!($ty::decode(&bytes), Ok(value.clone()));
                    prop_assert_eq!($ty::decode_bytes(bytes.clone()), Ok(value.clone()));
                    prop_assert_eq!(value.clone().encode(), bytes);
                })*
                Ok(())
            });
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error() {
            property("any_bytes_are_a_value_or_an_error", vec(any::<u8>(), 0..600), |bytes| {
                $(settles(&bytes, $ty::decode, $ty::encode)?;)*
                Ok(())
            });
        }

        /// Nearly right bytes get further into the parser than random ones.
        #[test]
        fn damaged_bytes_are_a_value_or_an_error() {
            let damage = vec((any::<Index>(), any::<u8>(), 0..3u8), 1..4);
            property("damaged_bytes_are_a_value_or_an_error", (supply(), damage), |(supply, damage)| {
                $({
                    let mut bytes = $ty::sample(&mut Source::new(&supply)).encode().to_vec();
                    for (at, byte, how) in &damage {
                        if bytes.is_empty() {
                            break;
                        }
                        let at = at.index(bytes.len());
                        match how {
                            0 => bytes[at] = *byte,
                            1 => bytes.insert(at, *byte),
                            _ => bytes.truncate(at),
                        }
                    }
                    settles(&bytes, $ty::decode, $ty::encode)?;
                })*
                Ok(())
            });
        }
    };
}
every_type!(round_trips);

fn record(seq: u64, text_bytes: usize) -> Record {
    let mut record = Record::sample(&mut Source::new(&[]));
    record.at.seq = Seq::new(seq);
    record.content = Content::Text { text: "x".repeat(text_bytes), reply_to: None, mentions: vec![], extra: None };
    record
}

/// A page that the budget fills is within both bounds, holds a record if there is one, and fits its frame; a fuller one is not taken.
#[test]
fn history_pages_are_bounded() {
    let sizes = prop_oneof![vec(0..20usize, 0..1200), vec(0..limit::TEXT_BYTES_MAX, 0..12), vec(0..9_000usize, 0..300)];
    property("history_pages_are_bounded", (sizes, 1..2_000u32), |(sizes, asked)| {
        let mut budget = PageBudget::new(asked);
        let all: Vec<Record> = sizes.iter().zip(1..).map(|(&bytes, seq)| record(seq, bytes)).collect();
        let records: Vec<Record> = all.iter().take_while(|record| budget.admit(record)).cloned().collect();
        let bytes: usize = records.iter().map(|record| record.content.bytes()).sum();
        prop_assert!(records.len() <= (asked as usize).min(limit::PAGE_RECORDS_MAX));
        prop_assert!(bytes <= limit::PAGE_BYTES_MAX || records.len() == 1);
        prop_assert!(all.is_empty() || !records.is_empty());
        let page = |records| {
            let page = HistoryPage { records, ..HistoryPage::sample(&mut Source::new(&[])) };
            Page::History(page)
        };
        let encoded = page(records).encode();
        prop_assert!(encoded.len() <= limit::PAGE_FRAME_BYTES_MAX);
        prop_assert!(Page::decode(&encoded).is_ok());
        let texts: usize = sizes.iter().sum();
        if all.len() > limit::PAGE_RECORDS_MAX || (texts > limit::PAGE_BYTES_MAX && all.len() > 1) {
            prop_assert!(Page::decode(&page(all).encode()).is_err());
        }
        Ok(())
    });
}
