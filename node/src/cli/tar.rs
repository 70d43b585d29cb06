//! A gzipped tar of a few small files, as every system unpacks it.
//!
//! In: names and contents. Out: bytes. Layout: POSIX ustar; a header of 512 bytes (name at 0, mode 100, size in octal 124, time 136, checksum 148, type
//! 156, "ustar" 257), the content padded to 512, two empty blocks at the end. Bounds: names of 99 bytes, contents below 8 GiB.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};

/// Packs the files, readable by their owner alone, as of the given second since 1970.
///
/// # Errors
/// A name or a content is too long.
pub(super) fn pack(files: &[(String, Vec<u8>)], at_s: u64) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    for (name, content) in files {
        packed.write_all(&header(name, content.len(), at_s).ok_or(io::ErrorKind::InvalidInput)?)?;
        packed.write_all(content)?;
        packed.write_all(&vec![0; content.len().next_multiple_of(BLOCK) - content.len()])?;
    }
    packed.write_all(&[0; 2 * BLOCK])?;
    packed.finish()
}

fn header(name: &str, bytes: usize, at_s: u64) -> Option<[u8; BLOCK]> {
    let size = format!("{bytes:011o}\0");
    if name.len() > 99 || size.len() > 12 {
        return None;
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, size.as_bytes());
    put(136, format!("{:011o}\0", at_s.min(0o77_777_777_777)).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

const BLOCK: usize = 512;

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_tar_of_every_system_unpacks_it() {
        let files = [("a/one.txt".to_owned(), b"hello".to_vec()), ("a/two.txt".to_owned(), vec![b'x'; 1_024])];
        let packed = pack(&files, 1_700_000_000).unwrap();
        let mut tar = Command::new("tar").args(["-xzO", "a/one.txt"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        tar.stdin.take().unwrap().write_all(&packed).unwrap();
        let told = tar.wait_with_output().unwrap();
        assert!(told.status.success());
        assert_eq!(told.stdout, b"hello");
        assert!(pack(&[("x".repeat(100), Vec::new())], 0).is_err());
    }
}
