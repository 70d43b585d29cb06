//! Whether what was promised was kept: every replica, asked by name, and every device, against what was acked.
//!
//! Checks (protocol, promises 1 to 3 and 5): seqs are 1, 2, 3, ... without a hole; every acked text stands at the seq that its ack named,
//! and nowhere else; counts and times never go back; replicas do not differ in anything; a device holds what the replicas hold.

use std::collections::BTreeMap;

use kith_wire::{
    id::{ChannelId, NodeId, Seq},
    log::Record,
};

use crate::{
    book::Room,
    cluster::Cluster,
    device::{Device, text_of},
};

impl Cluster {
    /// Reads the whole history of every conversation from every running replica and compares.
    ///
    /// # Panics
    /// A promise is broken; the text says which, and where.
    pub async fn check_history(&self) {
        for room in self.book().rooms() {
            self.check_room(&room).await;
        }
    }

    /// As [`Cluster::check_history`], for one conversation. Gives its records.
    pub async fn check_room(&self, room: &Room) -> Vec<Record> {
        let auditor = self.client(&room.reader).await;
        let acked = self.book().of(room.channel);
        let newest = acked.keys().next_back().copied().unwrap_or(Seq::ZERO);
        let running = self.running();
        let replicas: Vec<u64> = self.replicas(self.group_of(room.channel.bucket())).into_iter().filter(|node| running.contains(node)).collect();
        let mut reference: Option<(u64, Vec<Record>)> = None;
        for node in replicas {
            // A replica that has not applied the last ack yet says so, and is asked again.
            let read = auditor.client().channel(room.channel).whole_history(Some(NodeId::new(node)), newest).await;
            let records = read.unwrap_or_else(|error| panic!("{}: node {node} gives no history: {error}\n{}", room.name, self.states()));
            if let Err(wrong) = check_log(&records, &acked) {
                panic!("{}, node {node}: {wrong}", room.name);
            }
            if let Some((other, expected)) = &reference {
                if let Err(wrong) = compare(expected, &records) {
                    panic!("{}, nodes {other} and {node}: {wrong}", room.name);
                }
            } else {
                reference = Some((node, records));
            }
        }
        auditor.go_offline().await;
        reference.map(|(_, records)| records).unwrap_or_default()
    }

    /// Waits until a device holds the same records of a conversation as the cluster, and none else.
    pub async fn check_device(&self, device: &Device, room: &str) {
        let expected = self.check_room(&self.book().room(room)).await;
        let channel = self.book().room(room).channel;
        self.wait_for(&format!("a device of {} holds {} records of {room}", device.name(), expected.len()), async || {
            device.holds(channel).await.len() >= expected.len()
        })
        .await;
        let held: Vec<Record> = device.holds(channel).await.iter().map(|record| Record::clone(record)).collect();
        assert_eq!(seqs(&held), seqs(&expected), "{room}: seqs on a device of {}", device.name());
        assert!(held == expected, "{room}: a device of {} holds other records than the cluster", device.name());
    }

    /// Waits until everything acked in a conversation is on a device.
    pub async fn wait_device(&self, device: &Device, room: &str) {
        self.wait_for(&format!("a device of {} holds all of {room}", device.name()), async || device.has_all(room).await).await;
    }

    /// The conversation of that name.
    pub fn channel_of(&self, room: &str) -> ChannelId {
        self.book().room(room).channel
    }
}

fn seqs(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.at.seq.get()).collect()
}

/// What is wrong with a replica's records, if anything.
fn check_log(records: &[Record], acked: &BTreeMap<Seq, String>) -> Result<(), String> {
    for (index, record) in records.iter().enumerate() {
        if record.at.seq.get() != index as u64 + 1 {
            return Err(format!("seq {} stands where {} should", record.at.seq, index + 1));
        }
    }
    for pair in records.windows(2) {
        if pair[0].at.cnt > pair[1].at.cnt || pair[0].ts > pair[1].ts {
            return Err(format!("count or time goes back after seq {}", pair[0].at.seq));
        }
    }
    let mut places = BTreeMap::<&str, Seq>::new();
    for record in records {
        let Some(text) = text_of(record) else { continue };
        if let Some(before) = places.insert(text, record.at.seq) {
            return Err(format!("{text:.60?} stands at {before} and at {}", record.at.seq));
        }
    }
    for (seq, text) in acked {
        match places.get(text.as_str()) {
            Some(place) if place == seq => {}
            Some(place) => return Err(format!("{text:.60?} was acked at {seq} and stands at {place}")),
            None => return Err(format!("{text:.60?}, acked at {seq}, is lost")),
        }
    }
    Ok(())
}

/// Where two replicas differ, if they do. A record more on one side is one that was not acked when the other was read.
fn compare(left: &[Record], right: &[Record]) -> Result<(), String> {
    match left.iter().zip(right).find(|(one, other)| one != other) {
        Some((one, _)) => Err(format!("they differ at seq {}", one.at.seq)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::{
        id::{ClientSeq, DeviceId, Incarnation, Timestamp, UserId},
        log::{Content, Position},
    };

    use super::*;

    fn log(texts: &[&str]) -> Vec<Record> {
        let record = |(index, text): (usize, &&str)| Record {
            at: Position { seq: Seq::new(index as u64 + 1), cnt: index as u64 + 1 },
            incarnation: Incarnation::default(),
            sender: UserId::new(1),
            device: DeviceId::new(1),
            client_seq: ClientSeq::new(index as u64 + 1),
            ts: Timestamp::new(index as u64),
            content: Content::Text { text: (*text).to_owned(), reply_to: None, mentions: Vec::new(), extra: None },
        };
        texts.iter().enumerate().map(record).collect()
    }
    fn acked(texts: &[(u64, &str)]) -> BTreeMap<Seq, String> {
        texts.iter().map(|(seq, text)| (Seq::new(*seq), (*text).to_owned())).collect()
    }

    /// The checker is proven: each promise, broken on purpose, is seen.
    #[test]
    fn each_broken_promise_is_seen() {
        let book = acked(&[(1, "a"), (3, "c")]);
        assert_eq!(check_log(&log(&["a", "b", "c"]), &book), Ok(()));
        let wrong = |records: &[Record], part: &str| check_log(records, &book).is_err_and(|text| text.contains(part));
        assert!(wrong(&log(&["a", "b"]), "is lost"));
        assert!(wrong(&log(&["a", "c", "b"]), "stands at 2"));
        assert!(wrong(&log(&["a", "b", "c", "a"]), "stands at 1 and at 4"));
        let mut hole = log(&["a", "b", "c"]);
        hole.remove(1);
        assert!(wrong(&hole, "seq 3 stands where 2"));
        let mut back = log(&["a", "b", "c"]);
        back[2].ts = Timestamp::new(0);
        assert!(wrong(&back, "goes back after seq 2"));

        assert_eq!(compare(&log(&["a", "b"]), &log(&["a", "b", "c"])), Ok(()));
        assert!(compare(&log(&["a", "b"]), &log(&["a", "x"])).is_err_and(|text| text.contains("seq 2")));
    }
}
