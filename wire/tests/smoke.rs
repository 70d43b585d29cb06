//! A first look at frames and conversions; the golden and property tests say it in full.
#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use kith_wire::{
    client::{Request, Send, ToEdge},
    code::Code,
    frame::{Decoder, Framing, Kind, encode},
    id::{ChannelId, ClientSeq, RequestId, UserId},
};

#[test]
fn a_send_survives_encoding_and_framing() {
    let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
    let send = |text: &str| {
        let send = Send { channel, client_seq: ClientSeq::new(1), settled: ClientSeq::new(1), text: text.into(), reply_to: None, mentions: vec![] };
        ToEdge::Request { id: RequestId::new(7), request: Request::Send(send) }
    };
    let mut stream = BytesMut::new();
    encode(Framing::Checked, Kind::ToEdge, &send("hi").encode(), &mut stream);
    let mut decoder = Decoder::new(Framing::Checked, 1024);
    decoder.push(&stream);
    let frame = decoder.poll().unwrap().unwrap();
    assert_eq!(ToEdge::decode_bytes(frame.body).unwrap(), send("hi"));

    let ToEdge::Unreadable { id, refusal } = ToEdge::decode(&send("").encode()).unwrap() else { panic!("an empty text was taken") };
    assert_eq!((id, refusal.code), (RequestId::new(7), Code::Invalid));
    let newer = Bytes::from_static(&[0x12, 0x05, 0x08, 0x07, 0x12, 0x01, 0x00]);
    assert!(ToEdge::decode(&newer).is_err(), "field number 0 is not protobuf");
    let newer = Bytes::from_static(&[0x12, 0x07, 0x08, 0x07, 0x12, 0x03, 0xfa, 0x06, 0x00]);
    let ToEdge::Unreadable { id, refusal } = ToEdge::decode(&newer).unwrap() else { panic!("an unknown request was taken") };
    assert_eq!((id, refusal.code), (RequestId::new(7), Code::Unsupported));
}
