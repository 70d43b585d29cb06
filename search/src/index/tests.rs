use std::collections::BTreeMap;

use kith_wire::{
    id::{ClientSeq, DeviceId, Incarnation, LogIndex},
    log::{Content, Position, Record},
};
use proptest::prelude::*;

use super::*;
use crate::stand::Walk;

const GROUP: GroupId = GroupId::new(1);

fn channel(number: u64) -> ChannelId {
    ChannelId::direct(UserId::new(number), UserId::new(number))
}
fn store() -> StoreId {
    StoreId::new([7; 16])
}
fn open(folder: &Path) -> (Index, Opened) {
    Index::open(folder, store(), Bounds::default()).unwrap()
}
fn whole(index: u64) -> Stand {
    Stand { index: LogIndex::new(index), read: LogIndex::new(index), walk: None }
}
fn record(seq: u64, sender: u64, ts: u64, text: &str) -> Arc<Record> {
    let content = Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: None };
    let at = Position { seq: Seq::new(seq), cnt: seq };
    let (sender, device, client_seq) = (UserId::new(sender), DeviceId::new(1), ClientSeq::new(seq));
    Arc::new(Record { at, incarnation: Incarnation::default(), sender, device, client_seq, ts: Timestamp::new(ts), content })
}
fn put(place: u64, seq: u64, text: &str) -> Change {
    Change::Put { channel: channel(place), record: record(seq, 1, 100 * seq, text), fresh: true }
}
fn again(place: u64, seq: u64, text: &str) -> Change {
    Change::Put { channel: channel(place), record: record(seq, 1, 100 * seq, text), fresh: false }
}
fn found(index: &Index, words: &str, places: &[u64]) -> Vec<(u64, u64)> {
    let channels: Vec<ChannelId> = places.iter().map(|place| channel(*place)).collect();
    let filter = Filter { channels: &channels, sender: None, since: None, until: None, below: None, limit: 100 };
    let found = index.candidates(&Query::parse(words).unwrap(), &filter).unwrap();
    let place = |spot: &Spot| places.iter().copied().find(|place| channel(*place) == spot.channel).unwrap();
    found.spots.iter().map(|spot| (place(spot), spot.seq.get())).collect()
}

#[test]
fn what_is_put_is_found_before_and_after_its_commit_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let (index, opened) = open(folder.path());
    assert_eq!(opened, Opened::New);
    index.put(GROUP, [put(1, 1, "a blue boat"), put(1, 2, "a red boat"), put(2, 3, "山田太郎 has a boat")], whole(5));
    for _ in 0..2 {
        assert_eq!(found(&index, "boat", &[1, 2]), [(2, 3), (1, 2), (1, 1)]);
        assert_eq!(found(&index, "boat", &[1]), [(1, 2), (1, 1)]);
        assert_eq!(found(&index, "\"a blue boat\"", &[1, 2]), [(1, 1)]);
        assert_eq!(found(&index, "田太郎", &[1, 2]), [(2, 3)]);
        assert_eq!(found(&index, "郎", &[1, 2]), [(2, 3)]);
        assert_eq!(found(&index, "bl*", &[1, 2]), [(1, 1)]);
        assert_eq!(index.last_seq(channel(1)).unwrap(), Some(Seq::new(2)));
        assert_eq!(index.last_seq(channel(3)).unwrap(), None);
        assert_eq!(index.stand(GROUP), Some(whole(5)));
        index.commit().unwrap();
    }
    assert_eq!(index.stats().documents, 3);
    assert_eq!(index.commit().unwrap(), 0, "nothing waits");
}

#[test]
fn edits_deletions_and_forgotten_channels_are_followed_over_commits() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    index.put(GROUP, [put(1, 1, "one"), put(1, 2, "two"), put(2, 1, "two")], whole(1));
    index.commit().unwrap();
    index.put(GROUP, [again(1, 1, "uno"), Change::Remove { channel: channel(1), seq: Seq::new(2) }], whole(2));
    index.commit().unwrap();
    assert_eq!(found(&index, "one", &[1, 2]), []);
    assert_eq!(found(&index, "uno", &[1, 2]), [(1, 1)]);
    assert_eq!(found(&index, "two", &[1, 2]), [(2, 1)]);
    index.put(GROUP, [put(1, 3, "three"), Change::Forget { channel: channel(1) }, put(1, 1, "eins")], whole(3));
    index.commit().unwrap();
    assert_eq!((found(&index, "uno", &[1]), found(&index, "three", &[1])), (vec![], vec![]));
    assert_eq!(found(&index, "eins", &[1]), [(1, 1)]);
    index.drop_group(GROUP);
    assert_eq!((index.stand(GROUP), index.groups()), (None, vec![]));
    index.put(GROUP, [put(4, 1, "anew")], whole(9));
    index.commit().unwrap();
    assert_eq!((index.stats().documents, index.stand(GROUP)), (1, Some(whole(9))));
}

#[test]
fn senders_times_and_places_narrow_what_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    let of = |seq, sender, ts| Change::Put { channel: channel(1), record: record(seq, sender, ts, "word"), fresh: true };
    index.put(GROUP, (1..=20).map(|seq| of(seq, seq % 2, seq / 4)), whole(1));
    index.commit().unwrap();
    let channels = [channel(1)];
    let all = Filter { channels: &channels, sender: None, since: None, until: None, below: None, limit: 100 };
    let seqs = |filter: Filter<'_>| -> Vec<u64> {
        index.candidates(&Query::parse("word").unwrap(), &filter).unwrap().spots.iter().map(|spot| spot.seq.get()).collect()
    };
    assert_eq!(seqs(Filter { sender: Some(UserId::new(1)), ..all }), [19, 17, 15, 13, 11, 9, 7, 5, 3, 1]);
    assert_eq!(seqs(Filter { since: Some(Timestamp::new(2)), until: Some(Timestamp::new(3)), ..all }), [11, 10, 9, 8]);
    let first = index.candidates(&Query::default(), &Filter { limit: 3, ..all }).unwrap();
    assert!(first.more && first.spots.len() == 3);
    assert_eq!(seqs(Filter { below: first.spots.last().copied(), limit: 3, ..all }), [17, 16, 15], "those of one moment are not lost");
}

#[test]
fn it_is_opened_as_left_and_emptied_when_damaged_or_of_another_store() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    let walk = Stand { index: LogIndex::new(4), read: LogIndex::new(6), walk: Some(Walk { next: Some((channel(1), Seq::new(3))) }) };
    index.put(GROUP, [put(1, 1, "kept")], walk);
    index.commit().unwrap();
    index.put(GROUP, [put(1, 2, "lost")], whole(9));
    assert!(Index::open(folder.path(), store(), Bounds::default()).is_err(), "one at a time");
    index.close();
    assert!(index.commit().is_err());

    let (index, opened) = open(folder.path());
    assert_eq!((opened, index.stand(GROUP)), (Opened::AsLeft, Some(walk)));
    assert_eq!((found(&index, "kept", &[1]), found(&index, "lost", &[1])), (vec![(1, 1)], vec![]));
    index.close();

    let other = StoreId::new([8; 16]);
    let (index, opened) = Index::open(folder.path(), other, Bounds::default()).unwrap();
    assert_eq!((opened, index.stand(GROUP), index.stats().documents), (Opened::Emptied, None, 0));
    index.put(GROUP, [put(1, 1, "kept")], walk);
    index.commit().unwrap();
    index.close();

    let damaged =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|kind| kind == "term"));
    let damaged = damaged.unwrap();
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[1] ^= 0xff;
    fs::write(&damaged, bytes).unwrap();
    let (index, opened) = Index::open(folder.path(), other, Bounds::default()).unwrap();
    assert_eq!((opened, index.stats().documents), (Opened::Emptied, 0));
    index.close();
    fs::write(folder.path().join("meta.json"), "{}").unwrap();
    assert_eq!(Index::open(folder.path(), other, Bounds::default()).unwrap().1, Opened::Emptied);
}

#[test]
fn parts_with_what_is_gone_are_written_anew_by_a_purge() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    index.put(GROUP, (1..=50).map(|seq| put(1, seq, "common")).chain([put(1, 51, "tweetquux")]), whole(1));
    index.commit().unwrap();
    assert_eq!(index.purge().unwrap(), 0, "nothing is gone");
    index.put(GROUP, [Change::Remove { channel: channel(1), seq: Seq::new(51) }], whole(2));
    index.commit().unwrap();
    // One of fifty: merging would leave it alone.
    assert_eq!((index.purge().unwrap(), index.purge().unwrap()), (1, 0));
    assert_eq!((index.stats().documents, index.stand(GROUP)), (50, Some(whole(2))));
    index.close();
    let (index, opened) = open(folder.path());
    assert_eq!((opened, index.stand(GROUP), found(&index, "common", &[1]).len()), (Opened::AsLeft, Some(whole(2)), 50));
}

#[test]
fn whoever_feeds_it_is_told_when_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(folder.path(), store(), Bounds { pending_records_max: 4, ..Bounds::default() }).unwrap();
    index.put(GROUP, [put(1, 1, "a"), put(1, 2, "b")], whole(1));
    assert!(index.is_pressing() && index.has_room());
    index.put(GROUP, [put(1, 3, "c"), put(1, 4, "d")], whole(2));
    assert!(!index.has_room());
    index.commit().unwrap();
    assert!(!index.is_pressing() && index.has_room());
}

/// What happens to an index.
#[derive(Clone, Debug)]
enum Step {
    Put(u64, u64, String),
    Remove(u64, u64),
    Forget(u64),
    Commit,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let words = || proptest::collection::vec(prop_oneof!["[ab]{1,2}", "[山田]{1,3}"], 1..4).prop_map(|words| words.join(" "));
    prop_oneof![
        6 => (1..4u64, 1..8u64, words()).prop_map(|(place, seq, text)| Step::Put(place, seq, text)),
        2 => (1..4u64, 1..8u64).prop_map(|(place, seq)| Step::Remove(place, seq)),
        1 => (1..4u64).prop_map(Step::Forget),
        3 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// What the index proposes, verified by the texts themselves, is what a look at all texts finds.
    #[test]
    fn a_naive_search_agrees_after_any_history(steps in proptest::collection::vec(step(), 1..30), words in prop_oneof!["[ab]{1,2}", "[山田]{1,2}", "\"[ab] [ab]\""]) {
        let folder = tempfile::tempdir().unwrap();
        let (mut index, _) = open(folder.path());
        // What is committed, and what is there; and what was ever put since something was committed.
        let (mut texts, mut committed) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Put(place, seq, text) => {
                    index.put(GROUP, [again(place, seq, &text)], whole(1));
                    texts.insert((place, seq), text);
                }
                Step::Remove(place, seq) => {
                    index.put(GROUP, [Change::Remove { channel: channel(place), seq: Seq::new(seq) }], whole(1));
                    texts.remove(&(place, seq));
                }
                Step::Forget(place) => {
                    index.put(GROUP, [Change::Forget { channel: channel(place) }], whole(1));
                    texts.retain(|(held, _), _| *held != place);
                }
                Step::Commit => {
                    index.commit().unwrap();
                    committed.clone_from(&texts);
                }
                Step::Reopen => {
                    index.close();
                    index = open(folder.path()).0;
                    texts.clone_from(&committed);
                }
            }
        }
        let query = Query::parse(&words).unwrap();
        let mut expected: Vec<(u64, u64)> = texts.iter().filter(|(_, text)| query.matches(text)).map(|(key, _)| *key).collect();
        expected.sort_by_key(|(place, seq)| std::cmp::Reverse((*seq, channel(*place))));
        let mut proposed = found(&index, &words, &[1, 2, 3]);
        // It may propose what has changed since: the rows say so.
        proposed.retain(|key| texts.get(key).is_some_and(|text| query.matches(text)));
        prop_assert_eq!(proposed, expected);
        index.commit().unwrap();
        prop_assert_eq!(index.stats().documents, texts.len() as u64, "nothing stands twice, and nothing is left");
    }
}
