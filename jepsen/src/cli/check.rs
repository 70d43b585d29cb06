//! `kith-jepsen check DIR`: the verdict from `history.jsonl`, `nemesis.jsonl` and `plan.json`; the last two may be absent.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use kith_jepsen::checker::{Answer, Checker, Expect, check};
use kith_jepsen::generate;
use kith_jepsen::history::{Reader, read_faults};
use kith_jepsen::plan::Plan;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the run.
    dir: PathBuf,
    /// First write a lawful history of about this many lines into the folder, to measure the checker.
    #[arg(long, value_name = "LINES")]
    generate: Option<u64>,
    /// Seed of the generated history.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The verdict as JSON.
    #[arg(long)]
    json: bool,
    /// Acked operations a second below which the run shows nothing; 50 where the folder has a plan, else 0.
    #[arg(long)]
    floor: Option<f64>,
    /// Examples of each anomaly.
    #[arg(long, default_value_t = 5)]
    examples: usize,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let history = args.dir.join("history.jsonl");
    if let Some(lines) = args.generate {
        fs::create_dir_all(&args.dir).with_context(|| format!("making {}", args.dir.display()))?;
        let file = File::create_new(&history).with_context(|| format!("writing {}, which must not be there yet", history.display()))?;
        let written = generate::lawful(lines, args.seed, BufWriter::with_capacity(1 << 20, file)).context("writing the history")?;
        eprintln!("wrote {written} lines");
    }
    let plan_path = args.dir.join("plan.json");
    let plan: Option<Plan> = match fs::read(&plan_path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).with_context(|| format!("reading {}", plan_path.display()))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("reading {}", plan_path.display())),
    };
    let expect = Expect { examples_max: args.examples, ..plan.as_ref().map(Expect::of).unwrap_or_default() };
    let expect = Expect { acked_per_second_min: args.floor.unwrap_or(expect.acked_per_second_min), ..expect };
    let nemesis = args.dir.join("nemesis.jsonl");
    let verdict = match if nemesis.exists() { read_faults(&nemesis) } else { Ok(Vec::new()) } {
        Ok(faults) => check(Reader::open(&history)?, &faults, &expect),
        Err(error) => {
            let mut checker = Checker::new(&expect, &[]);
            checker.broken(&error);
            checker.finish()
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&verdict)?);
    } else {
        println!("{verdict}");
    }
    Ok(ExitCode::from(match verdict.valid {
        Answer::True => 0,
        Answer::False => 1,
        Answer::Unknown => 2,
    }))
}
