//! What this machine can do at the moment of a run: on a shared machine a figure means little without it.
//!
//! In: a folder on the disk in question. Out: fdatasync calls a second, round trips over loopback. Bounds: a second each.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    net::UdpSocket,
    path::Path,
    time::Duration,
};

use serde::Serialize;

use super::BenchError;
use crate::{clock::Stopwatch, spread::Spread};

/// Length of each measurement.
const MEASURED: Duration = Duration::from_secs(1);
/// A block as RocksDB's log writes for a small batch.
const BLOCK_BYTES: usize = 4096;
/// Blocks of the file that is overwritten in turn.
const BLOCKS: u64 = 1024;
/// A datagram that is echoed.
const DATAGRAM_BYTES: usize = 200;

/// The machine under a run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Machine {
    /// 4 KiB writes a second, one after the other, each with its fdatasync.
    pub fdatasync_per_s: f64,
    /// Half of them are faster.
    pub fdatasync_ms_p50: f64,
    /// A datagram of 200 bytes to another thread and back, half are faster.
    pub udp_round_trip_us_p50: f64,
}

impl Machine {
    /// Measures, for two seconds. Blocks.
    ///
    /// # Errors
    /// The folder cannot be written, or there is no loopback.
    pub fn measure(folder: &Path) -> Result<Self, BenchError> {
        let syncs = fdatasync(folder).map_err(|source| BenchError::Io { what: "measuring the disk", source })?;
        let echoes = echo().map_err(|source| BenchError::Io { what: "measuring loopback", source })?;
        Ok(Self {
            fdatasync_per_s: syncs.count() as f64 / MEASURED.as_secs_f64(),
            fdatasync_ms_p50: syncs.percentiles().p50,
            udp_round_trip_us_p50: echoes.percentiles().p50 * 1_000.0,
        })
    }
}

fn fdatasync(folder: &Path) -> std::io::Result<Spread> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    let block = [0x5a; BLOCK_BYTES];
    for _ in 0..BLOCKS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let (mut spread, begun, mut at) = (Spread::default(), Stopwatch::start(), 0);
    while begun.elapsed() < MEASURED {
        file.seek(SeekFrom::Start(at % BLOCKS * BLOCK_BYTES as u64))?;
        let one = Stopwatch::start();
        file.write_all(&block)?;
        file.sync_data()?;
        spread.record(one.elapsed());
        at += 1;
    }
    std::fs::remove_file(path)?;
    Ok(spread)
}

fn echo() -> std::io::Result<Spread> {
    let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    for socket in [&here, &there] {
        socket.set_read_timeout(Some(MEASURED))?;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut datagram = [0; DATAGRAM_BYTES];
            // An empty datagram, or silence, ends it.
            while there.recv(&mut datagram).is_ok_and(|length| length > 0) {
                if there.send(&datagram).is_err() {
                    break;
                }
            }
        });
        let (mut spread, begun, mut datagram) = (Spread::default(), Stopwatch::start(), [0; DATAGRAM_BYTES]);
        let measured = (|| {
            while begun.elapsed() < MEASURED {
                let one = Stopwatch::start();
                here.send(&datagram)?;
                here.recv(&mut datagram)?;
                spread.record(one.elapsed());
            }
            Ok(spread)
        })();
        let _ = here.send(&[]);
        measured
    })
}
