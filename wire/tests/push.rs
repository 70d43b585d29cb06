//! Payloads of pushes: what apps read keeps its bytes, what is written is read again, what later versions add is left alone.
#![allow(clippy::unwrap_used)]

mod support;

use kith_wire::{id::*, limit, push::*};
use proptest::prelude::*;
use support::{
    golden::{self, hex, unhex},
    sample::{Sample, Source, supply},
};

fn payload(source: &mut Source<'_>) -> PushPayload {
    let (channel, seq) = (Sample::sample(source), Sample::sample(source));
    let about = match source.below(4) {
        0 => PushAbout::Grown { channel, seq, is_mention: false },
        1 => PushAbout::Grown { channel, seq, is_mention: true },
        2 => PushAbout::Read { channel, seq },
        _ => PushAbout::Test { nonce: Sample::sample(source) },
    };
    PushPayload { user: Sample::sample(source), badge: Sample::sample(source), about }
}

#[test]
fn payloads_have_the_bytes_they_always_had() {
    let (user, channel, seq) = (UserId::new(7), ChannelId::direct(UserId::new(7), UserId::new(9)), Seq::new(300));
    let abouts = [
        ("grown", PushAbout::Grown { channel, seq, is_mention: false }),
        ("mention", PushAbout::Grown { channel, seq, is_mention: true }),
        ("read", PushAbout::Read { channel, seq }),
        ("test", PushAbout::Test { nonce: 0x0102_0304_0506_0708 }),
    ];
    let lines: Vec<(String, String)> =
        abouts.map(|(name, about)| (name.to_owned(), hex(&PushPayload { user, badge: 12, about }.encode()))).into_iter().collect();
    golden::check("push.txt", &lines);
    for ((_, about), (_, bytes)) in abouts.iter().zip(golden::lines("push.txt")) {
        assert_eq!(PushPayload::decode(&unhex(&bytes)).unwrap().about, *about);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(bytes in supply(), later in prop::collection::vec(any::<u8>(), 0..40)) {
        let payload = payload(&mut Source::new(&bytes));
        let mut written = payload.encode();
        prop_assert_eq!(PushPayload::decode_text(&payload.to_text()).unwrap(), payload);
        for cut in 0..written.len() {
            prop_assert!(PushPayload::decode(&written[..cut]).is_err());
        }
        written.extend(later);
        prop_assert_eq!(PushPayload::decode(&written).unwrap(), payload);
    }
}

#[test]
fn what_is_not_known_is_told_apart_from_what_is_damaged() {
    let payload = PushPayload { user: UserId::new(1), badge: 0, about: PushAbout::Test { nonce: 1 } };
    let changed = |at: usize, to: u8| {
        let mut bytes = payload.encode();
        bytes[at] = to;
        PushPayload::decode(&bytes)
    };
    assert_eq!(changed(0, 2), Err(PushPayloadError::Unknown { version: 2, kind: 4 }));
    assert_eq!(changed(1, 9), Err(PushPayloadError::Unknown { version: 1, kind: 9 }));
    let mut long = payload.encode();
    long.resize(limit::PUSH_PAYLOAD_BYTES_MAX, 0);
    assert_eq!(PushPayload::decode(&long), Ok(payload));
    long.push(0);
    assert_eq!(PushPayload::decode(&long), Err(PushPayloadError::TooLong));
    assert_eq!(PushPayload::decode_text(&"A".repeat(1_000)), Err(PushPayloadError::TooLong));
    assert_eq!(PushPayload::decode_text("*"), Err(PushPayloadError::Text));
}
