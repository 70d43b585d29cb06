//! What a busy node writes most, written straight into a buffer: batches of sends and of refs, records, rows of indexes.
//!
//! In: parsed values. Out: the bytes that prost makes of the messages that they are put into, without making those: no copy of a text, no
//! allocation for an id, no length computed twice. Invariant: byte for byte what prost writes (tested below). A struct is taken apart field by
//! field, so that one with a new field does not compile until it is written here too. Not here: everything else (`log`), reading.

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::{Field, proto::log::v1 as log};
use crate::{
    id::{Bucket, Seq},
    log::{Author, Batch, Command, Content, IndexRow, Item, PeerCheck, Position, PreferencesRow, Record, Ref},
};

/// Appends itself as a message.
pub(super) trait Direct {
    fn write(&self, out: &mut Vec<u8>);
}

// A field that has its default value is not written, unless it is `optional` and there.

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        encode_key(field, WireType::Varint, out);
        encode_varint(value, out);
    }
}
fn maybe(out: &mut Vec<u8>, field: u32, value: Option<u64>) {
    if let Some(value) = value {
        encode_key(field, WireType::Varint, out);
        encode_varint(value, out);
    }
}
fn fixed(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        encode_key(field, WireType::SixtyFourBit, out);
        out.put_u64_le(value);
    }
}
fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    if !value.is_empty() {
        encode_key(field, WireType::LengthDelimited, out);
        encode_varint(value.len() as u64, out);
        out.extend_from_slice(value);
    }
}
/// A message, or anything else that has its length before it: written at once, and moved only if its length needs more than a byte.
fn nested(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(field, WireType::LengthDelimited, out);
    let at = out.len();
    out.push(0);
    write(out);
    let end = out.len();
    let length = (end - at - 1) as u64;
    let width = encoded_len_varint(length);
    if width > 1 {
        out.resize(end + width - 1, 0);
        out.copy_within(at + 1..end, at + width);
    }
    encode_varint(length, &mut &mut out[at..at + width]);
}
fn seqs(out: &mut Vec<u8>, field: u32, seqs: &[Seq]) {
    if !seqs.is_empty() {
        nested(out, field, |out| seqs.iter().for_each(|seq| encode_varint(seq.get(), out)));
    }
}
fn message<M: prost::Message>(out: &mut Vec<u8>, raw: &M) {
    raw.encode(out).expect("a vector has room");
}

impl Direct for Position {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { seq, cnt } = self;
        number(out, 1, seq.get());
        number(out, 2, *cnt);
    }
}

impl Direct for Ref {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { channel, incarnation, head, head_ts, member_seq, join, left, own, mentions, title, preview, head_sender } = self;
        bytes(out, 1, channel.as_bytes());
        number(out, 2, incarnation.get().into());
        nested(out, 3, |out| head.write(out));
        number(out, 4, head_ts.get());
        number(out, 5, member_seq.get());
        nested(out, 6, |out| join.write(out));
        maybe(out, 7, left.map(Seq::get));
        nested(out, 8, |out| own.write(out));
        seqs(out, 9, mentions);
        bytes(out, 10, title.as_bytes());
        bytes(out, 11, preview.as_bytes());
        fixed(out, 12, head_sender.get());
    }
}

impl Direct for IndexRow {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { rev, news, read, preferences } = self;
        number(out, 1, rev.get());
        nested(out, 2, |out| news.write(out));
        nested(out, 3, |out| read.write(out));
        // Of most conversations there are none.
        if let Some(raw) = <PreferencesRow as Field<Option<log::PreferencesRow>>>::put(preferences) {
            nested(out, 40, |out| message(out, &raw));
        }
    }
}

impl Direct for Content {
    fn write(&self, out: &mut Vec<u8>) {
        let Self::Text { text, reply_to, mentions, extra: None } = self else {
            return message::<log::Content>(out, &self.put());
        };
        number(out, 1, self.kind().into());
        if text.is_empty() && reply_to.is_none() && mentions.is_empty() {
            return;
        }
        nested(out, 2, |out| {
            bytes(out, 1, text.as_bytes());
            maybe(out, 2, reply_to.map(Seq::get));
            if !mentions.is_empty() {
                encode_key(3, WireType::LengthDelimited, out);
                encode_varint(8 * mentions.len() as u64, out);
                mentions.iter().for_each(|user| out.put_u64_le(user.get()));
            }
        });
    }
}

impl Direct for Record {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { at, incarnation, sender, device, client_seq, ts, content } = self;
        nested(out, 1, |out| at.write(out));
        number(out, 2, incarnation.get().into());
        fixed(out, 3, sender.get());
        fixed(out, 4, device.get());
        number(out, 5, client_seq.get());
        number(out, 6, ts.get());
        nested(out, 7, |out| content.write(out));
    }
}

impl Direct for Author {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { user, device, client_seq, settled, digest, key } = self;
        fixed(out, 1, user.get());
        fixed(out, 2, device.get());
        number(out, 3, client_seq.get());
        number(out, 4, settled.get());
        fixed(out, 5, *digest);
        if let Some(key) = key {
            nested(out, 6, |out| out.extend_from_slice(key.as_bytes()));
        }
    }
}

impl Direct for Item {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { bucket, command } = self;
        if !matches!(command, Command::Append { .. } | Command::MergeRefs { .. }) {
            return message::<log::Item>(out, &self.put());
        }
        if let Some(Bucket { region, index }) = bucket {
            nested(out, 1, |out| {
                number(out, 1, region.get().into());
                number(out, 2, (*index).into());
            });
        }
        match command {
            Command::Append { channel, author, content, peer } => nested(out, 2, |out| {
                bytes(out, 1, channel.as_bytes());
                nested(out, 2, |out| author.write(out));
                nested(out, 3, |out| content.write(out));
                number(out, 4, u64::from(<PeerCheck as Field<i32>>::put(peer).unsigned_abs()));
            }),
            Command::MergeRefs { user, refs } => nested(out, 12, |out| {
                fixed(out, 1, user.get());
                refs.iter().for_each(|news| nested(out, 2, |out| news.write(out)));
            }),
            _ => unreachable!("seen above"),
        }
    }
}

impl Direct for Batch {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { now, items } = self;
        number(out, 1, now.get());
        items.iter().for_each(|item| nested(out, 2, |out| item.write(out)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};
    use prost::Message;

    use super::*;
    use crate::{
        id::{CallKey, ChannelId, ClientSeq, DeviceId, Incarnation, RegionId, Timestamp, UserId, UserRev},
        log::MemberChange,
    };

    /// Numbers of each length, zero among them.
    fn any_number() -> impl Strategy<Value = u64> {
        (any::<u64>(), select(vec![0, 1, 7, 8, 14, 33, 64])).prop_map(|(number, bits)| if bits == 64 { number } else { number & ((1 << bits) - 1) })
    }
    /// Also such as need a length of two bytes.
    fn any_text() -> impl Strategy<Value = String> {
        ("[aé語]{0,9}", select(vec![0, 1, 1, 30])).prop_map(|(text, times)| text.repeat(times))
    }
    fn any_seqs() -> impl Strategy<Value = Vec<Seq>> {
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any_number().prop_map(Seq::new), 0..40)]
    }
    fn any_position() -> impl Strategy<Value = Position> {
        (any_number(), any_number()).prop_map(|(seq, cnt)| Position { seq: Seq::new(seq), cnt })
    }
    fn any_channel() -> impl Strategy<Value = ChannelId> {
        (any_number(), any_number()).prop_map(|(a, b)| ChannelId::direct(UserId::new(a), UserId::new(b)))
    }
    fn any_ref() -> impl Strategy<Value = Ref> {
        let positions = (any_position(), any_position(), any_position());
        let numbers = (any::<u32>(), any_number(), any_number(), prop::option::of(any_number()), any_number());
        (any_channel(), positions, numbers, any_seqs(), any_text(), any_text()).prop_map(
            |(channel, (head, join, own), (incarnation, ts, member_seq, left, sender), mentions, title, preview)| Ref {
                channel,
                incarnation: Incarnation::new(incarnation),
                head,
                head_ts: Timestamp::new(ts),
                member_seq: Seq::new(member_seq),
                join,
                left: left.map(Seq::new),
                own,
                mentions,
                title,
                preview,
                head_sender: UserId::new(sender),
            },
        )
    }
    fn any_content() -> impl Strategy<Value = Content> {
        let text = (any_text(), prop::option::of(any_number()), prop::collection::vec(any_number().prop_map(UserId::new), 0..20))
            .prop_map(|(text, reply_to, mentions)| Content::Text { text, reply_to: reply_to.map(Seq::new), mentions, extra: None });
        prop_oneof![4 => text, 1 => any_number().prop_map(|user| Content::Members(MemberChange::Add(UserId::new(user))))]
    }
    fn any_record() -> impl Strategy<Value = Record> {
        (any_position(), any::<u32>(), [any_number(), any_number(), any_number(), any_number()], any_content()).prop_map(
            |(at, incarnation, [sender, device, client_seq, ts], content)| Record {
                at,
                incarnation: Incarnation::new(incarnation),
                sender: UserId::new(sender),
                device: DeviceId::new(device),
                client_seq: ClientSeq::new(client_seq),
                ts: Timestamp::new(ts),
                content,
            },
        )
    }
    fn any_row() -> impl Strategy<Value = IndexRow> {
        (any_number(), any_ref(), any_position(), any_position(), any::<bool>()).prop_map(|(rev, news, read, cleared, plain)| {
            let preferences = if plain { PreferencesRow::default() } else { PreferencesRow { cleared, ..PreferencesRow::default() } };
            IndexRow { rev: UserRev::new(rev), news, read, preferences }
        })
    }
    fn any_command() -> impl Strategy<Value = Command> {
        let append =
            (any_channel(), [any_number(), any_number(), any_number()], any_number(), any::<Option<[u8; 16]>>(), any_content(), any::<bool>());
        let append = append.prop_map(|(channel, [user, device, client_seq], digest, key, content, is_asked)| {
            let (user, device, client_seq) = (UserId::new(user), DeviceId::new(device), ClientSeq::new(client_seq));
            let author = Author { user, device, client_seq, settled: client_seq, digest, key: key.map(CallKey::new) };
            Command::Append { channel, author, content, peer: if is_asked { PeerCheck::Exists } else { PeerCheck::NotAsked } }
        });
        let merge = (any_number(), prop::collection::vec(any_ref(), 0..4));
        let merge = merge.prop_map(|(user, refs)| Command::MergeRefs { user: UserId::new(user), refs });
        let other = (any_channel(), any_number()).prop_map(|(channel, seq)| Command::Fanned { channel, seq: Seq::new(seq) });
        prop_oneof![append, merge, other]
    }
    fn any_batch() -> impl Strategy<Value = Batch> {
        let bucket = prop::option::of((any::<u8>(), any::<u16>()))
            .prop_map(|bucket| bucket.map(|(region, index)| Bucket { region: RegionId::new(region), index }));
        let item = (bucket, any_command()).prop_map(|(bucket, command)| Item { bucket, command });
        (any_number(), prop::collection::vec(item, 0..5)).prop_map(|(now, items)| Batch { now: Timestamp::new(now), items })
    }
    /// What is written, and what prost writes; both after something that is there already.
    fn both<T: Direct + Field<P>, P: Message>(value: &T) -> (Vec<u8>, Vec<u8>) {
        let (mut direct, mut made) = (vec![9; 3], vec![9; 3]);
        value.write(&mut direct);
        made.extend(value.put().encode_to_vec());
        (direct, made)
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_prost(batch in any_batch(), row in any_row(), record in any_record()) {
            let (direct, made) = both::<Batch, log::Batch>(&batch);
            prop_assert_eq!(direct, made);
            let (direct, made) = both::<IndexRow, log::IndexRow>(&row);
            prop_assert_eq!(direct, made);
            let (direct, made) = both::<Record, log::Record>(&record);
            prop_assert_eq!(direct, made);
        }
    }
}
