//! Bytes of clients, peers and disks, as kith-wire parses them: a value that survives another encoding, or a typed error.

use bolero::check;
use bytes::{Bytes, BytesMut};
use kith_wire::{
    client::{Page, Pull, ToClient, ToEdge},
    frame::{self, Decoder, Framing, Kind},
    log::{Applied, Batch, ClusterMap, Entry, Membership, Record, Vote},
    peer::{AppendResult, FromPeer, SnapshotEnd, SnapshotHead, ToPeer},
    trust::{JoinAsk, JoinTicket, JoinTold},
};

/// Longest body that the frames under test may have.
const BODY_BYTES_MAX: usize = 4_096;

/// All frames of a stream that comes in pieces of such a length; the decoder holds no more than one frame and a piece.
fn frames(framing: Framing, input: &[u8]) {
    let Some((piece, stream)) = input.split_first() else { return };
    let piece = usize::from(*piece).max(1);
    let mut decoder = Decoder::new(framing, BODY_BYTES_MAX);
    for bytes in stream.chunks(piece) {
        decoder.push(bytes);
        loop {
            match decoder.poll() {
                Ok(Some(frame)) => assert!(frame.body.len() <= BODY_BYTES_MAX),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(decoder.buffered() <= BODY_BYTES_MAX + framing.header_bytes() + piece);
    }
}

#[test]
fn frames_of_clients() {
    check!().for_each(|input: &[u8]| frames(Framing::Plain, input));
}

#[test]
fn frames_of_peers() {
    check!().for_each(|input: &[u8]| frames(Framing::Checked, input));
}

/// Frames whose checksum is right, which nobody guesses: cut from the stream wherever its pieces end, each comes out as it went in.
#[test]
fn frames_that_are_whole() {
    check!().for_each(|input: &[u8]| {
        let Some((piece, input)) = input.split_first() else { return };
        let (mut stream, mut sent) = (BytesMut::new(), Vec::new());
        for body in input.split(|byte| *byte == 0xff) {
            let (kind, body) = body.split_at(body.len().min(2));
            let kind = Kind::from_number(kind.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)));
            frame::encode(Framing::Checked, kind, body, &mut stream);
            sent.push((kind, body));
        }
        let mut decoder = Decoder::new(Framing::Checked, input.len());
        let mut sent = sent.into_iter();
        for bytes in stream.chunks(usize::from(*piece).max(1)) {
            decoder.push(bytes);
            while let Some(frame) = decoder.poll().expect("nothing is damaged") {
                let (kind, body) = sent.next().expect("no frame that was not sent");
                assert_eq!((frame.kind, &frame.body[..]), (kind, body));
            }
        }
        assert!(sent.next().is_none(), "a frame is lost");
    });
}

macro_rules! messages {
    ($($name:ident: $ty:ty),* $(,)?) => { $(
        #[test]
        fn $name() {
            check!().for_each(|input: &[u8]| {
                let Ok(value) = <$ty>::decode_bytes(Bytes::copy_from_slice(input)) else { return };
                let bytes = value.encode();
                assert_eq!(<$ty>::decode(&bytes).as_ref(), Ok(&value));
                assert_eq!(value.encode(), bytes);
            });
        }
    )* };
}

messages! {
    to_edge: ToEdge,
    to_client: ToClient,
    pull: Pull,
    page: Page,
    to_peer: ToPeer,
    from_peer: FromPeer,
    snapshot_head: SnapshotHead,
    snapshot_end: SnapshotEnd,
    append_result: AppendResult,
    entry: Entry,
    batch: Batch,
    vote: Vote,
    membership: Membership,
    applied: Applied,
    cluster_map: ClusterMap,
    record: Record,
    join_ask: JoinAsk,
    join_told: JoinTold,
    join_ticket: JoinTicket,
}
