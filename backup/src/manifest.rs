//! The manifest of one backup, and the lists of chunks that it names.
//!
//! ```text
//! list   per chunk: digest 32 B | rows u32 BE | bytes of the content u32 BE
//! ```
//! In: what was written. Out: JSON that people can read, with a checksum of its own. Invariants: a manifest of another format is refused by name, never
//! misread; one that was changed or cut off is told from a whole one; any bytes are a manifest or a typed error. Bounds: [`BYTES_MAX`];
//! [`LIST_CHUNKS_MAX`] in a list, so that a group of any size is a manifest of a few lines.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::object::Digest;

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;
/// A manifest that is longer is none.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Chunks of one list: about 2 GiB of rows.
pub const LIST_CHUNKS_MAX: usize = 4_096;
/// Bytes of a chunk in a list.
const ENTRY_BYTES: usize = 40;

/// One backup.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Names the backup: when it was taken, to the second, and four digits. Orders as time does.
    pub id: String,
    /// Version of the program that took it.
    pub kith: String,
    /// The cluster's id, in hexadecimal digits.
    pub cluster: String,
    /// The moment that all groups are of, by the clock of the node that took it: ms since 1970.
    pub taken_ms: u64,
    /// The highest incarnation of a group; 0: nothing was ever restored into the cluster.
    pub incarnation: u32,
    /// The newest version that a group's rows are written in.
    pub version: u32,
    /// Groups, the meta group (0) among them, by number.
    pub groups: Vec<Group>,
    /// Users that were erased by then; who they are is in `erased/`.
    pub erased: u64,
    /// What was written anew for it, as stored: the rest was there.
    pub written_bytes: u64,
    /// SHA-256 of all of the above.
    #[serde(default)]
    pub check: String,
}

/// What is there of one group.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Which.
    pub group: u32,
    /// Everything up to this entry of its log is in it, and nothing after.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// Of everything applied up to then, as `kith check` shows it.
    pub digest: String,
    /// The version that its rows are written in.
    pub version: u32,
    /// Its incarnation.
    pub incarnation: u32,
    /// The buckets that it owned.
    pub runs: Vec<Run>,
    /// Its rows.
    pub rows: u64,
    /// Bytes of its rows.
    pub bytes: u64,
    /// Their chunks.
    pub chunks: u64,
    /// Digests of the lists of these, in order.
    pub lists: Vec<String>,
}

/// Buckets that follow one another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Their region.
    pub region: u8,
    /// The first.
    pub first: u16,
    /// The last, inclusive.
    pub last: u16,
    /// Owned at this epoch.
    pub epoch: u64,
}

/// The bytes are no manifest, or no list, that this version reads.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ManifestError {
    /// It is no JSON of a manifest.
    #[error("it is no manifest of a backup: {0}")]
    Syntax(String),
    /// A newer version wrote it.
    #[error("it has format {0}, and this version reads format {FORMAT}: use the version of Kith that wrote it, or a newer one")]
    Format(u32),
    /// It was changed or damaged.
    #[error("its checksum is not that of what it says")]
    Check,
    /// It is longer than any.
    #[error("it is longer than {BYTES_MAX} bytes")]
    Long,
    /// A field says what cannot be.
    #[error("{0}")]
    Field(&'static str),
    /// A list of chunks ends within one, or is too long.
    #[error("a list of chunks is damaged")]
    List,
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl Manifest {
    /// As it is stored.
    pub fn encode(&self) -> String {
        let sealed = Self { check: self.sum(), ..self.clone() };
        serde_json::to_string_pretty(&sealed).unwrap_or_default()
    }
    /// Parses a stored one.
    ///
    /// # Errors
    /// It is none, of another format, or changed.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > BYTES_MAX {
            return Err(ManifestError::Long);
        }
        let syntax = |error: serde_json::Error| ManifestError::Syntax(error.to_string());
        // A newer format may have other fields: its number is looked at first.
        let versioned: Versioned = serde_json::from_slice(bytes).map_err(syntax)?;
        if versioned.format != FORMAT {
            return Err(ManifestError::Format(versioned.format));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(syntax)?;
        if manifest.check != manifest.sum() {
            return Err(ManifestError::Check);
        }
        manifest.checked()
    }
    /// All rows.
    pub fn rows(&self) -> u64 {
        self.groups.iter().map(|group| group.rows).sum()
    }
    /// Bytes of all rows.
    pub fn bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.bytes).sum()
    }
    /// Chunks, some of which may be the same.
    pub fn chunks(&self) -> u64 {
        self.groups.iter().map(|group| group.chunks).sum()
    }

    fn checked(self) -> Result<Self, ManifestError> {
        if !is_id(&self.id) {
            return Err(ManifestError::Field("its id is none"));
        }
        if !self.groups.windows(2).all(|pair| pair[0].group < pair[1].group) {
            return Err(ManifestError::Field("its groups are out of order"));
        }
        if self.groups.iter().flat_map(|group| &group.lists).any(|list| Digest::from_hex(list).is_none()) {
            return Err(ManifestError::Field("a list has no digest"));
        }
        let mut runs: Vec<Run> = self.groups.iter().flat_map(|group| group.runs.iter().copied()).collect();
        runs.sort_unstable();
        let is_apart = |pair: &[Run]| pair[0].region < pair[1].region || pair[0].last < pair[1].first;
        if runs.iter().any(|run| run.first > run.last) || !runs.windows(2).all(is_apart) {
            return Err(ManifestError::Field("two groups own the same bucket"));
        }
        Ok(self)
    }
    fn sum(&self) -> String {
        let open = Self { check: String::new(), ..self.clone() };
        Digest::of(&serde_json::to_vec(&open).unwrap_or_default()).to_string()
    }
}

impl Group {
    /// The lists of its chunks; [`Manifest::decode`] has looked at each.
    pub fn lists(&self) -> impl Iterator<Item = Digest> {
        self.lists.iter().filter_map(|list| Digest::from_hex(list))
    }
}

/// Whether a text may name a backup: it becomes the name of a file.
pub fn is_id(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The name of a backup that is taken at this time; `draw` tells two of one second apart.
pub fn id_of(taken_ms: u64, draw: u64) -> String {
    let (year, month, day) = date_of(taken_ms / 86_400_000);
    let second = taken_ms / 1_000 % 86_400;
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z-{:04x}", second / 3_600, second / 60 % 60, second % 60, draw & 0xffff)
}

/// Year, month and day of a number of days since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The time that a person means, in ms since 1970: a number of ms, or `YYYY-MM-DDTHH:MM:SSZ` (the time may be left out).
pub fn time_of(text: &str) -> Option<u64> {
    if let Ok(ms) = text.parse() {
        return Some(ms);
    }
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let mut parts = time.trim_end_matches('Z').splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days rise with the date: the one that is meant is found by halving.
    let (mut low, mut high) = (0_u64, 2_932_897_u64);
    while low < high {
        let middle = (low + high) / 2;
        if date_of(middle) < (year, month, day) { low = middle + 1 } else { high = middle }
    }
    (date_of(low) == (year, month, day)).then_some(((low * 24 + hour) * 60 + minute) * 60_000 + second * 1_000)
}

/// A chunk, as a list names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkRef {
    /// Its name.
    pub digest: Digest,
    /// Its rows.
    pub rows: u32,
    /// Bytes of its content.
    pub bytes: u32,
}

/// A list of chunks as it is stored.
pub fn encode_list(chunks: &[ChunkRef]) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunks.len() * ENTRY_BYTES);
    for chunk in chunks {
        out.extend_from_slice(chunk.digest.as_bytes());
        out.extend_from_slice(&chunk.rows.to_be_bytes());
        out.extend_from_slice(&chunk.bytes.to_be_bytes());
    }
    out
}

/// The chunks of a list.
///
/// # Errors
/// The bytes are no list.
pub fn decode_list(bytes: &[u8]) -> Result<Vec<ChunkRef>, ManifestError> {
    if !bytes.len().is_multiple_of(ENTRY_BYTES) || bytes.len() > LIST_CHUNKS_MAX * ENTRY_BYTES {
        return Err(ManifestError::List);
    }
    let entry = |raw: &[u8]| {
        let (digest, rest) = raw.split_first_chunk::<32>()?;
        let (rows, rest) = rest.split_first_chunk::<4>()?;
        let bytes = rest.first_chunk::<4>()?;
        Some(ChunkRef { digest: Digest::new(*digest), rows: u32::from_be_bytes(*rows), bytes: u32::from_be_bytes(*bytes) })
    };
    bytes.chunks_exact(ENTRY_BYTES).map(entry).collect::<Option<_>>().ok_or(ManifestError::List)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Manifest {
        let group = |group, first, last| Group {
            group,
            index: 10,
            term: 2,
            digest: "00".into(),
            version: 2,
            incarnation: 0,
            runs: vec![Run { region: 0, first, last, epoch: 1 }],
            rows: 5,
            bytes: 600,
            chunks: 1,
            lists: vec![Digest::of(b"x").to_string()],
        };
        Manifest {
            format: FORMAT,
            id: id_of(1_700_000_000_000, 7),
            kith: "0.1.0".into(),
            cluster: "ab".into(),
            taken_ms: 1_700_000_000_000,
            groups: vec![group(1, 0, 99), group(2, 100, u16::MAX)],
            ..Manifest::default()
        }
    }

    #[test]
    fn a_manifest_comes_back_and_a_changed_one_does_not() {
        let manifest = sample();
        let text = manifest.encode();
        let back = Manifest::decode(text.as_bytes()).unwrap();
        assert_eq!(Manifest { check: String::new(), ..back }, manifest);
        assert_eq!(Manifest::decode(text.replace("\"index\": 10", "\"index\": 11").as_bytes()), Err(ManifestError::Check));
        assert!(matches!(Manifest::decode(&text.as_bytes()[..text.len() / 2]), Err(ManifestError::Syntax(_))));
        assert_eq!(Manifest::decode(br#"{"format": 2, "new": true}"#), Err(ManifestError::Format(2)));
    }

    #[test]
    fn a_bucket_has_one_owner() {
        let mut manifest = sample();
        manifest.groups[1].runs[0].first = 99;
        assert_eq!(Manifest::decode(manifest.encode().as_bytes()), Err(ManifestError::Field("two groups own the same bucket")));
    }

    #[test]
    fn times_are_read_as_ids_are_named() {
        assert_eq!(id_of(1_700_000_000_000, 7), "20231114T221320Z-0007");
        assert_eq!(id_of(951_782_400_000, 0xab), "20000229T000000Z-00ab");
        assert_eq!(time_of("2023-11-14T22:13:20Z"), Some(1_700_000_000_000));
        assert_eq!(time_of("2023-11-14 22:13"), Some(1_699_999_980_000));
        assert_eq!(time_of("2000-02-29"), Some(951_782_400_000));
        assert_eq!(time_of("1700000000000"), Some(1_700_000_000_000));
        for text in ["2023-02-29", "2023-13-01", "yesterday", "2023-11-14T25:00:00Z", ""] {
            assert_eq!(time_of(text), None, "{text}");
        }
        assert!(is_id("20231114T221320Z-0007") && !is_id("../../etc/passwd") && !is_id(""));
    }

    proptest! {
        #[test]
        fn lists_come_back(raw in prop::collection::vec((any::<[u8; 32]>(), any::<u32>(), any::<u32>()), 0..20)) {
            let chunks: Vec<_> = raw.into_iter().map(|(digest, rows, bytes)| ChunkRef { digest: Digest::new(digest), rows, bytes }).collect();
            prop_assert_eq!(decode_list(&encode_list(&chunks)), Ok(chunks));
        }
        #[test]
        fn any_bytes_are_a_list_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_list(&bytes);
            let _ = Manifest::decode(&bytes);
        }
    }
}
