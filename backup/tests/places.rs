//! A backup at each kind of place: what is written there is found, verified, shared and deleted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use kith_backup::{
    Cutter, Depot, DepotError, Digest, Group, Manifest, Place, Sealed,
    manifest::{self, encode_list},
    verify::verify,
};

/// A backup of so many rows; gives its name and the bytes that were written.
async fn backup(depot: &Depot, taken_ms: u64, rows: u64) -> (String, u64) {
    let known: HashSet<Digest> = match depot.newest(None).await {
        Ok(before) => depot.known(&before).await,
        Err(_) => HashSet::new(),
    };
    let (mut cutter, mut chunks) = (Cutter::default(), Vec::new());
    for number in 0..rows {
        chunks.extend(cutter.push(&[&[1][..], &number.to_be_bytes()].concat(), format!("row {number} ").repeat(20).as_bytes()));
    }
    chunks.extend(cutter.end());
    let (mut refs, mut written) = (Vec::new(), 0);
    for chunk in &chunks {
        let sealed = Sealed::of(chunk, &known);
        refs.push(sealed.chunk);
        written += depot.put_chunk(sealed).await.unwrap();
    }
    let (list, _) = depot.put(&encode_list(&refs)).await.unwrap();
    let bytes = refs.iter().map(|chunk| u64::from(chunk.bytes)).sum();
    let group = Group { group: 1, rows, bytes, chunks: refs.len() as u64, lists: vec![list.to_string()], ..Group::default() };
    let id = manifest::id_of(taken_ms, taken_ms);
    let manifest =
        Manifest { format: manifest::FORMAT, id: id.clone(), taken_ms, groups: vec![group], written_bytes: written, ..Manifest::default() };
    depot.put_erased(&id, &[taken_ms]).await.unwrap();
    depot.put_manifest(&manifest).await.unwrap();
    (id, written)
}

async fn lives(depot: &Depot) {
    assert!(matches!(depot.newest(None).await, Err(DepotError::NoBackup(_))));
    depot.lock("one").await.unwrap();
    assert!(matches!(depot.lock("two").await, Err(DepotError::Locked(by)) if by == "one"));
    depot.unlock().await.unwrap();
    let (first, written) = backup(depot, 1_000_000, 12_000).await;
    let (second, more) = backup(depot, 2_000_000, 12_001).await;
    assert!(more * 3 < written, "{more} of a second one, after {written}: what is there is not written again");
    let ids: Vec<String> = depot.list().await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(ids, [first.clone(), second.clone()]);
    assert_eq!(depot.newest(Some(1_500_000)).await.unwrap().id, first);
    assert_eq!(depot.erased().await.unwrap(), [1_000_000, 2_000_000]);
    for id in &ids {
        let manifest = depot.manifest(id).await.unwrap();
        let found = verify(depot, &manifest).await;
        assert!(found.is_sound(), "{found:?}");
        assert_eq!(found.rows, manifest.rows());
    }
    assert!(depot.delete(std::slice::from_ref(&first)).await.unwrap() >= 1, "what only the first one needed");
    assert!(matches!(depot.manifest(&first).await, Err(DepotError::NoBackup(_))));
    assert!(verify(depot, &depot.manifest(&second).await.unwrap()).await.is_sound(), "the second one is whole");
    assert_eq!(depot.erased().await.unwrap(), [1_000_000, 2_000_000], "who was erased stays known");
    assert!(matches!(depot.delete(&["../x".to_owned()]).await, Err(DepotError::NoBackup(_))));
}

#[tokio::test]
async fn in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let depot = Depot::new(Place::open(&format!("file://{}", folder.path().join("a/b").display())).unwrap());
    lives(&depot).await;
    // One bit of one object.
    let manifest = depot.newest(None).await.unwrap();
    let list = manifest.groups[0].lists().next().unwrap();
    let chunk = depot.chunks(&list).await.unwrap()[0].digest;
    let path = folder.path().join("a/b").join(kith_backup::depot::object_name(&chunk));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let found = verify(&depot, &manifest).await;
    assert!(!found.is_sound() && found.faults[0].contains(&chunk.to_string()), "{found:?}");
    std::fs::remove_file(&path).unwrap();
    assert!(verify(&depot, &manifest).await.faults[0].contains("is missing"));
}

#[tokio::test]
async fn in_memory() {
    lives(&Depot::new(Place::open("memory:places").unwrap())).await;
}

#[test]
fn what_is_no_place_is_refused() {
    for url in ["", "backups", "/backups", "file://backups", "ftp://x/y", "s3://vault"] {
        assert!(Place::open(url).is_err(), "{url}");
    }
}
