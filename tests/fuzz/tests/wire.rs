//! Bytes of clients, peers and disks, as kith-wire parses them: a value that survives another encoding, or a typed error.

use bolero::check;
use bytes::Bytes;
use kith_wire::{
    client::{Page, Pull, ToClient, ToEdge},
    frame::{Decoder, Framing},
    log::{Applied, Batch, ClusterMap, Entry, Membership, Record, Vote},
    peer::{AppendResult, FromPeer, SnapshotEnd, SnapshotHead, ToPeer},
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
}
