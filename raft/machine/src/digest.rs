//! The digest of a group: a chain over every applied entry and what it wrote. Equal on replicas at an equal index, or one of them is wrong.
//!
//! Layout under SHA-256: previous digest (32) | term u64 | index u64 | per row by rising key: key length u32 | key | value length u32 | value,
//! all big endian; a deleted row has the length `u32::MAX` and no value.

use kith_wire::{
    act::Timer,
    id::{ChannelId, UserId},
    log::{Debt, LogId},
};
use sha2::{Digest, Sha256};

use crate::{
    body,
    view::{RowKey, WriteSet},
};

/// The digest after one entry.
pub(crate) fn chain(previous: &[u8; 32], id: LogId, writes: &WriteSet) -> [u8; 32] {
    let mut state = Sha256::new();
    state.update(previous);
    state.update(id.term.get().to_be_bytes());
    state.update(id.index.get().to_be_bytes());
    // One buffer for all that is hashed of a row: SHA-256 is fed once for each.
    let mut bytes = Vec::with_capacity(512);
    for (key, row) in &writes.rows {
        bytes.clear();
        prefixed(&mut bytes, |bytes| write_key(key, bytes));
        match row {
            Some(row) => prefixed(&mut bytes, |bytes| body::encode(row, bytes)),
            None => bytes.extend_from_slice(&u32::MAX.to_be_bytes()),
        }
        state.update(&bytes);
    }
    state.finalize().into()
}

/// Appends what is written, its length before it.
fn prefixed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Names a row by one byte for its kind and its ids, big endian. Part of the digest, so never changed; not the key of any disk.
fn write_key(key: &RowKey, out: &mut Vec<u8>) {
    let channel = |out: &mut Vec<u8>, kind: u8, channel: &ChannelId| {
        out.push(kind);
        out.extend_from_slice(channel.as_bytes());
    };
    let user = |out: &mut Vec<u8>, kind: u8, user: &UserId| {
        out.push(kind);
        out.extend_from_slice(&user.get().to_be_bytes());
    };
    match key {
        RowKey::Channel(c) => channel(out, 1, c),
        RowKey::Roster(c) => channel(out, 2, c),
        RowKey::Former(c, u) => {
            channel(out, 3, c);
            out.extend_from_slice(&u.get().to_be_bytes());
        }
        RowKey::Positions(c, u) => {
            channel(out, 4, c);
            out.extend_from_slice(&u.get().to_be_bytes());
        }
        RowKey::Record(c, seq) => {
            channel(out, 5, c);
            out.extend_from_slice(&seq.get().to_be_bytes());
        }
        RowKey::Dedup(c, device) => {
            channel(out, 6, c);
            out.extend_from_slice(&device.get().to_be_bytes());
        }
        RowKey::Dirty(c) => channel(out, 7, c),
        RowKey::Calls(c, u) => {
            channel(out, 80, c);
            out.extend_from_slice(&u.get().to_be_bytes());
        }
        RowKey::Keyed(c, u, key) => {
            channel(out, 81, c);
            out.extend_from_slice(&u.get().to_be_bytes());
            out.extend_from_slice(key.as_bytes());
        }
        RowKey::HomeCalls(u) => user(out, 82, u),
        RowKey::HomeCall(u, key) => {
            user(out, 83, u);
            out.extend_from_slice(key.as_bytes());
        }
        RowKey::User(u) => user(out, 8, u),
        RowKey::Device(u, device) => {
            user(out, 9, u);
            out.extend_from_slice(&device.get().to_be_bytes());
        }
        RowKey::Index(u, c) => {
            user(out, 10, u);
            out.extend_from_slice(c.as_bytes());
        }
        RowKey::IndexByRev(u, rev) => {
            user(out, 11, u);
            out.extend_from_slice(&rev.get().to_be_bytes());
        }
        RowKey::Credential(u) => user(out, 40, u),
        RowKey::Owed(u, debt) => {
            user(out, 41, u);
            match debt {
                Debt::Name(name) => {
                    out.push(1);
                    out.extend_from_slice(name.as_bytes());
                }
                Debt::Contact(peer) => {
                    out.push(2);
                    out.extend_from_slice(&peer.get().to_be_bytes());
                }
                Debt::Search => out.push(3),
                Debt::Texts => out.push(4),
                Debt::Reset => out.push(6),
                Debt::Bot(bot) => {
                    out.push(5);
                    out.extend_from_slice(&bot.get().to_be_bytes());
                }
            }
        }
        RowKey::Pushes(u) => user(out, 110, u),
        RowKey::PushSent(u, c) => {
            user(out, 111, u);
            out.extend_from_slice(c.as_bytes());
        }
        RowKey::PushDue(u, c) => {
            user(out, 112, u);
            out.extend_from_slice(c.as_bytes());
        }
        RowKey::Profile(u) => user(out, 42, u),
        RowKey::Contact(u, peer) => {
            user(out, 43, u);
            out.extend_from_slice(&peer.get().to_be_bytes());
        }
        RowKey::Word(word, u) => {
            user(out, 44, u);
            out.extend_from_slice(word.as_bytes());
        }
        RowKey::Name(name) => {
            out.push(12);
            out.extend_from_slice(name.as_bytes());
        }
        RowKey::Desk => out.push(80),
        RowKey::Report(id) => {
            out.push(81);
            out.extend_from_slice(&id.to_be_bytes());
        }
        RowKey::ReportId(c, seq) => {
            channel(out, 82, c);
            out.extend_from_slice(&seq.get().to_be_bytes());
        }
        RowKey::Audit(id) => {
            out.push(83);
            out.extend_from_slice(&id.to_be_bytes());
        }
        RowKey::DeskHooks => out.push(84),
        RowKey::ChannelHooks(c) => channel(out, 85, c),
        RowKey::HookCursor(c, hook) => {
            channel(out, 86, c);
            out.extend_from_slice(&hook.get().to_be_bytes());
        }
        RowKey::HookDue(c) => channel(out, 87, c),
        RowKey::GroupHooks => out.push(88),
        RowKey::GroupState => out.push(13),
        RowKey::Owned(region, first) => {
            out.extend_from_slice(&[14, region.get()]);
            out.extend_from_slice(&first.to_be_bytes());
        }
        RowKey::Leaving => out.push(19),
        RowKey::Staging(from) => {
            out.push(20);
            out.extend_from_slice(&from.get().to_be_bytes());
        }
        RowKey::Changed(round, key) => {
            out.push(21);
            out.extend_from_slice(&round.to_be_bytes());
            out.extend_from_slice(key);
        }
        RowKey::Cluster => out.push(15),
        RowKey::Trust => out.push(125),
        RowKey::Node(node) => {
            out.push(16);
            out.extend_from_slice(&node.get().to_be_bytes());
        }
        RowKey::Group(group) => {
            out.push(17);
            out.extend_from_slice(&group.get().to_be_bytes());
        }
        RowKey::Run(region, first) => {
            out.extend_from_slice(&[18, region.get()]);
            out.extend_from_slice(&first.to_be_bytes());
        }
        RowKey::Rules(c) => channel(out, 60, c),
        RowKey::Marks(c, seq) => {
            channel(out, 61, c);
            out.extend_from_slice(&seq.get().to_be_bytes());
        }
        RowKey::Reply(c, root, seq) => {
            channel(out, 62, c);
            out.extend_from_slice(&root.get().to_be_bytes());
            out.extend_from_slice(&seq.get().to_be_bytes());
        }
        RowKey::Scheduled(c, u, id) => {
            channel(out, 63, c);
            out.extend_from_slice(&u.get().to_be_bytes());
            out.extend_from_slice(&id.to_be_bytes());
        }
        RowKey::Timer(due, c, timer) => {
            channel(out, 64, c);
            out.extend_from_slice(&due.get().to_be_bytes());
            match timer {
                Timer::Send { user, id } => {
                    out.push(1);
                    out.extend_from_slice(&user.get().to_be_bytes());
                    out.extend_from_slice(&id.to_be_bytes());
                }
                Timer::Expire(seq) => {
                    out.push(2);
                    out.extend_from_slice(&seq.get().to_be_bytes());
                }
                Timer::Sweep => out.push(3),
                Timer::Erase(user) => {
                    out.push(4);
                    out.extend_from_slice(&user.get().to_be_bytes());
                }
            }
        }
    }
}
