//! What a disk with a write cache is: an image that survives, and sectors that were written and not yet flushed.
//!
//! In: writes, flushes, power cuts with a share and a seed. Out: what a reader sees, what a cut kept and lost. Invariants: a flush makes everything
//! written before it survive; a cut decides each unflushed sector by itself, from the seed alone; a sector of 512 bytes is whole or not there.
//! Bounds: [`CACHE_SECTORS_MAX`] sectors in memory, then it writes back as a disk does. Not here: who asks (`fuse`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::seed::Chance;

/// Bytes that are written whole or not at all.
pub(super) const SECTOR: usize = 512;
/// Sectors that wait for a flush: 64 MiB.
const CACHE_SECTORS_MAX: usize = 128 * 1024;

/// An image with its write cache.
#[derive(Debug)]
pub(super) struct Sectors {
    image: File,
    cached: BTreeMap<u64, Box<[u8; SECTOR]>>,
}

/// What a power cut did, in sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cut {
    pub(super) kept: u64,
    pub(super) lost: u64,
}

impl Sectors {
    pub(super) fn new(image: File) -> Self {
        Self { image, cached: BTreeMap::new() }
    }

    /// Sectors that a cut would decide about.
    pub(super) fn unflushed(&self) -> usize {
        self.cached.len()
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.image.read_exact_at(buffer, offset)?;
        let end = offset + buffer.len() as u64;
        for (number, sector) in self.cached.range(offset / SECTOR as u64..end.div_ceil(SECTOR as u64)) {
            let at = number * SECTOR as u64;
            let (from, to) = (at.max(offset), (at + SECTOR as u64).min(end));
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(&sector[(from - at) as usize..(to - at) as usize]);
        }
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        for number in offset / SECTOR as u64..end.div_ceil(SECTOR as u64) {
            let at = number * SECTOR as u64;
            let (from, to) = (at.max(offset), (at + SECTOR as u64).min(end));
            let mut sector = Box::new([0; SECTOR]);
            if to - from < SECTOR as u64 {
                self.read(at, sector.as_mut_slice())?;
            }
            sector[(from - at) as usize..(to - at) as usize].copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
            self.cached.insert(number, sector);
        }
        if self.cached.len() > CACHE_SECTORS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes everything written so far survive.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some((number, sector)) = self.cached.first_key_value() {
            self.image.write_all_at(sector.as_slice(), number * SECTOR as u64)?;
            self.cached.pop_first();
        }
        Ok(())
    }

    /// Cuts the power: of a hundred unflushed sectors about this many survive.
    pub(super) fn cut(&mut self, keep_percent: u64, chance: &mut Chance) -> io::Result<Cut> {
        let mut cut = Cut::default();
        for (number, sector) in std::mem::take(&mut self.cached) {
            if keep_percent > 0 && chance.percent(keep_percent) {
                self.image.write_all_at(sector.as_slice(), number * SECTOR as u64)?;
                cut.kept += 1;
            } else {
                cut.lost += 1;
            }
        }
        Ok(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 64 * SECTOR as u64;

    fn disk() -> Sectors {
        let image = tempfile::tempfile().unwrap();
        image.set_len(BYTES).unwrap();
        Sectors::new(image)
    }

    fn seen(disk: &Sectors) -> Vec<u8> {
        let mut all = vec![0; BYTES as usize];
        disk.read(0, &mut all).unwrap();
        all
    }

    #[test]
    fn reads_see_writes_that_cross_sectors_before_and_after_the_flush() {
        let mut disk = disk();
        let bytes: Vec<u8> = (0..1500u32).map(|n| n as u8).collect();
        disk.write(300, &bytes).unwrap();
        disk.write(310, b"over").unwrap();
        let mut expected = vec![0; BYTES as usize];
        expected[300..1800].copy_from_slice(&bytes);
        expected[310..314].copy_from_slice(b"over");
        assert_eq!(seen(&disk), expected);
        let mut part = [0; 20];
        disk.read(500, &mut part).unwrap();
        assert_eq!(part[..], expected[500..520]);
        disk.flush().unwrap();
        assert_eq!((disk.unflushed(), seen(&disk)), (0, expected));
    }

    #[test]
    fn a_cut_loses_what_was_not_flushed_and_nothing_else() {
        let mut disk = disk();
        disk.write(0, &[1; 4 * SECTOR]).unwrap();
        disk.flush().unwrap();
        disk.write(2 * SECTOR as u64, &[2; 4 * SECTOR]).unwrap();
        assert_eq!(disk.cut(0, &mut Chance::new(1)).unwrap(), Cut { kept: 0, lost: 4 });
        let all = seen(&disk);
        assert!(all[..4 * SECTOR].iter().all(|byte| *byte == 1) && all[4 * SECTOR..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_torn_cut_keeps_whole_sectors_that_the_seed_chooses() {
        let torn = |seed| {
            let mut disk = disk();
            disk.write(0, &[7; BYTES as usize]).unwrap();
            let cut = disk.cut(50, &mut Chance::new(seed)).unwrap();
            (cut, seen(&disk))
        };
        let (cut, all) = torn(3);
        assert!(cut.kept > 0 && cut.lost > 0 && cut.kept + cut.lost == 64, "{cut:?}");
        let whole = all.chunks(SECTOR).filter(|sector| sector.iter().all(|byte| *byte == 7)).count();
        let empty = all.chunks(SECTOR).filter(|sector| sector.iter().all(|byte| *byte == 0)).count();
        assert_eq!((whole as u64, empty as u64), (cut.kept, cut.lost));
        assert_eq!(torn(3), (cut, all.clone()));
        assert_ne!(torn(4).1, all);
    }

    #[test]
    fn a_full_cache_is_written_back() {
        let image = tempfile::tempfile().unwrap();
        image.set_len(CACHE_SECTORS_MAX as u64 * 2 * SECTOR as u64).unwrap();
        let mut disk = Sectors::new(image);
        disk.write(0, &vec![9; (CACHE_SECTORS_MAX + 1) * SECTOR]).unwrap();
        assert_eq!(disk.unflushed(), 0);
    }
}
