//! Runs seeds, on all cores, and says how to repeat those that fail.
//!
//! In: `--seeds COUNT [--from SEED]`, or `--seed SEED`; `--mutant NAME`; `--trace`; `--minutes MAX`. Out: progress; exit code 1 if a seed
//! failed. Bound: each seed is one thread's work; no more threads than cores.

use std::{
    io::Write,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use kith_sim::{Mutant, Outcome, repeat, run};

/// Failing seeds that are enough.
const FAILURES_MAX: usize = 10;

struct Options {
    from: u64,
    seeds: u64,
    mutant: Option<Mutant>,
    trace: bool,
    minutes: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { from: 1, seeds: 200, mutant: None, trace: false, minutes: 60 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|value| value.parse::<u64>().ok()).ok_or_else(|| format!("{arg} needs a number"));
        match arg.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--seed" => (options.from, options.seeds) = (number()?, 1),
            "--minutes" => options.minutes = number()?,
            "--trace" => options.trace = true,
            "--mutant" => {
                let name = args.next().unwrap_or_default();
                options.mutant = Some(*Mutant::ALL.iter().find(|mutant| mutant.name() == name).ok_or_else(|| format!("no mutant is named {name}"))?);
            }
            _ => return Err(format!("unknown: {arg}; known: --seeds N, --from N, --seed N, --minutes N, --mutant NAME, --trace")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let (next, done, stop) = (AtomicU64::new(options.from), AtomicU64::new(0), AtomicBool::new(false));
    let failures: Mutex<Vec<Outcome>> = Mutex::default();
    let end = options.from + options.seeds;
    #[expect(clippy::disallowed_methods, reason = "bounds and progress of the whole; no run sees it")]
    let began = std::time::Instant::now();
    let work = || {
        while !stop.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= end {
                return;
            }
            let outcome = run(seed, options.mutant, options.trace);
            if options.trace {
                let mut out = std::io::stdout().lock();
                // A pipe that was closed wants no more.
                outcome.lines.iter().for_each(|line| drop(writeln!(out, "{line}")));
            }
            let ran = done.fetch_add(1, Relaxed) + 1;
            if options.seeds == 1 || ran.is_multiple_of(100) {
                let Outcome { hash, events, simulated, acks, .. } = &outcome;
                eprintln!(
                    "{ran}/{} seeds, {:.0} s; seed {seed}: {acks} acks, {events} events, {:.1} s simulated, trace {hash:016x}",
                    options.seeds,
                    began.elapsed().as_secs_f64(),
                    simulated.as_secs_f64()
                );
            }
            if let Some(violation) = &outcome.violation {
                eprintln!("seed {seed} FAILED: {violation}\n  repeat: {}", repeat(seed, options.mutant));
                let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push(outcome);
                stop.fetch_or(failures.len() >= FAILURES_MAX, Relaxed);
            }
            stop.fetch_or(began.elapsed() > Duration::from_secs(60 * options.minutes), Relaxed);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(usize::try_from(options.seeds).unwrap_or(usize::MAX));
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failed = failures.into_inner().unwrap_or_else(PoisonError::into_inner).len();
    let ran = done.into_inner();
    println!("{ran} of {} seeds ran in {:.0} s, {failed} failed", options.seeds, began.elapsed().as_secs_f64());
    if ran < options.seeds && failed == 0 {
        println!("the time was up before the last seed");
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(failed > 0))
}
