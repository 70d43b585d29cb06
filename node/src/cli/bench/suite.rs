//! `kith bench all | check | grow | plan`: many runs, and what is made of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::{Means, failure};
use crate::{
    bench::{
        BenchError, chat, grow,
        guard::{Accepted, CHECKED_IN, Growth},
        plan::{self, NodeSize, Question},
        report::{Measured, Point, Report, date_of, short},
        row::{ROWS, Row},
        run::{self, Run},
    },
    cli::failure::{Exit, Failure},
    clock::{Clock, SystemClock},
};

/// Senders of the points of the curve of direct sends.
const SENDERS: [usize; 5] = [1, 16, 64, 256, 512];
/// Times that a row is measured before a growth is believed.
const LOOKS: usize = 3;

#[derive(clap::Args, Debug)]
pub(super) struct All {
    /// Runs of each row; the table shows medians
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// Only these rows
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Write table, JSON and plots into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    means: Means,
}

#[derive(clap::Args, Debug)]
pub(super) struct Check {
    /// The accepted figures; those that this program was built with unless given
    #[arg(long, value_name = "FILE")]
    accepted: Option<PathBuf>,
    /// Only these rows
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    means: Means,
}

#[derive(clap::Args, Debug)]
pub(super) struct Grow {
    /// Write table, JSON and plots into this folder
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    #[command(flatten)]
    means: Means,
}

#[derive(clap::Args, Debug)]
pub(super) struct Plan {
    /// People who use it on a day
    #[arg(long, value_name = "N")]
    daily_users: f64,
    /// Processors of a node
    #[arg(long, value_name = "N", default_value_t = 16.0)]
    cores: f64,
    /// Memory of a node
    #[arg(long, value_name = "GIB", default_value_t = 64.0)]
    memory: f64,
    /// Disk of a node
    #[arg(long, value_name = "TIB", default_value_t = 8.0)]
    disk: f64,
    /// Network of a node
    #[arg(long, value_name = "GBIT", default_value_t = 10.0)]
    network: f64,
    /// Years of history that the disks hold
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    years: f64,
    /// The measured figures; those that this program was built with unless given
    #[arg(long, value_name = "FILE")]
    figures: Option<PathBuf>,
}

impl Means {
    fn run(&self) -> run::Means {
        run::Means { sample: self.sample.clone(), stores: self.stores.clone() }
    }
}

/// The rows of these names, or all.
fn rows(only: &[String]) -> Result<Vec<&'static Row>, Failure> {
    if let Some(unknown) = only.iter().find(|name| !ROWS.iter().any(|row| row.name == **name)) {
        return Err(Failure::usage(format!("there is no row {unknown}"), "`kith bench list` names them"));
    }
    Ok(ROWS.iter().filter(|row| only.is_empty() || only.iter().any(|name| name == row.name)).collect())
}

/// Every row so many times, row after row in turns, so that a busy minute of the machine does not hit all runs of one.
pub(super) async fn all(args: &All, json: bool) -> Result<Exit, Failure> {
    let mut measured: Vec<Measured> = rows(&args.only)?.into_iter().map(|row| Measured { row, runs: Vec::new(), failed: None }).collect();
    for turn in 1..=args.runs {
        for of in &mut measured {
            eprintln!("{} {}, run {turn} of {}", of.row.row, of.row.name, args.runs);
            match Box::pin(run::run(of.row, &args.means.run())).await {
                Ok(run) => of.runs.push(run),
                Err(error) => {
                    let why = grow::told_whole(&error);
                    eprintln!("{} {} failed: {why}", of.row.row, of.row.name);
                    of.failed = Some(why);
                }
            }
        }
        // What was measured is not lost if the next turn is cut short.
        if let Some(out) = &args.out {
            write_report(out, &report(&measured, Vec::new()), &measured)?;
        }
    }
    let curve = if args.only.is_empty() { concurrency().await } else { Vec::new() };
    let report = report(&measured, curve);
    if let Some(out) = &args.out {
        write_report(out, &report, &measured)?;
        eprintln!("written to {}", out.display());
    }
    if json {
        println!("{}", json!(report));
    } else {
        print!("{}", report.markdown());
    }
    Ok(if report.is_short() { Exit::Bad } else { Exit::Done })
}

async fn concurrency() -> Vec<Result<Point, String>> {
    let mut points = Vec::new();
    for senders in SENDERS {
        eprintln!("direct sends with {senders} senders");
        let measured = Box::pin(chat::run(&chat::Options { seconds: 5, ..run::chat_options(senders, 1, 1) })).await;
        points.push(match measured.and_then(chat::Measured::whole) {
            Ok(measured) => Ok(Point {
                senders,
                acked_per_s: measured.outcome.acked_per_s,
                ack_ms_p50: measured.outcome.ack_ms.p50,
                ack_ms_p99: measured.outcome.ack_ms.p99,
                cpu_s_per_100k: measured.outcome.server_cpu_s_per_100k_acked,
            }),
            Err(error) => {
                let why = format!("with {senders} senders: {}", grow::told_whole(&error));
                eprintln!("failed {why}");
                Err(why)
            }
        });
    }
    points
}

fn report(measured: &[Measured], curve: Vec<Result<Point, String>>) -> Report {
    Report::new(SystemClock.now().get(), measured, curve)
}

fn write_report(out: &Path, report: &Report, measured: &[Measured]) -> Result<(), Failure> {
    write(&out.join("report.md"), &report.markdown())?;
    let runs: Vec<Value> = measured.iter().map(|row| json!({ "row": row.row.row, "name": row.row.name, "runs": row.runs })).collect();
    write(&out.join("report.json"), &format!("{:#}\n", json!({ "report": report, "runs": runs })))?;
    write(&out.join("accepted.json"), &format!("{:#}\n", json!(report.accepted())))?;
    report.plots().iter().try_for_each(|(name, svg)| write(&out.join(name), svg))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| Failure::local(&format!("writing {}", path.display()), &error, "give a folder that can be written: --out DIR"))
}

/// The accepted figures.
fn accepted(file: Option<&Path>) -> Result<Accepted, Failure> {
    let unreadable = |error: &(dyn std::error::Error + 'static)| {
        Failure::local("reading the accepted figures", error, "give a file that `kith bench all --out` wrote")
    };
    let text = match file {
        Some(file) => fs::read_to_string(file).map_err(|error| unreadable(&error))?,
        None => CHECKED_IN.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| unreadable(&error))
}

/// Holds rows to the accepted figures. A row that looks worse is measured again before that is believed.
pub(super) async fn check(args: &Check, json: bool) -> Result<Exit, Failure> {
    let accepted = accepted(args.accepted.as_deref())?;
    let (mut grown, mut broken): (Vec<Growth>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut held, mut failed) = (0, 0);
    for row in rows(&args.only)?.into_iter().filter(|row| accepted.guards(row)) {
        held += 1;
        let (mut figures, mut worse) = (Vec::new(), Vec::new());
        for look in 1..=LOOKS {
            eprintln!("{} {}{}", row.row, row.name, if look > 1 { ": looks worse, measured again" } else { "" });
            match Box::pin(run::run(row, &args.means.run())).await {
                Ok(Run { figures: run, .. }) => {
                    // What was lost is not lost less because another look loses nothing.
                    broken.extend(row.broken(&run).into_iter().map(|broken| format!("{}: {broken}", row.name)));
                    figures.push(run);
                }
                Err(error) => eprintln!("{} failed: {}", row.name, grow::told_whole(&error)),
            }
            worse = accepted.grown(row, &figures);
            if worse.is_empty() && !figures.is_empty() {
                break;
            }
        }
        failed += usize::from(figures.is_empty());
        grown.extend(worse);
    }
    if json {
        println!("{}", json!({ "accepted": accepted.date, "rows": held, "failed": failed, "broken": broken, "grown": grown }));
    } else {
        broken.iter().for_each(|broken| println!("A PROMISE WAS BROKEN: {broken}"));
        for Growth { row, what, accepted, measured, factor } in &grown {
            println!("{row}: {what} grew from {} to {}: {:.0} % worse", short(*accepted), short(*measured), (factor - 1.0) * 100.0);
        }
        let verdict = if grown.is_empty() { "nothing costs more than a tenth more" } else { "too much" };
        println!("{held} rows against the figures of {}: {verdict}{}", accepted.date, if failed > 0 { "; some could not be measured" } else { "" });
    }
    Ok(if grown.is_empty() && broken.is_empty() && failed == 0 { Exit::Done } else { Exit::Bad })
}

pub(super) async fn grow(args: &Grow, json: bool) -> Result<Exit, Failure> {
    let lines = grow::run(&args.means.run(), |told| eprintln!("{told}")).await;
    let text = grow::markdown(&date_of(SystemClock.now().get()), &lines);
    write(&args.out.join("grow.md"), &text)?;
    write(&args.out.join("grow.json"), &format!("{:#}\n", json!(lines)))?;
    lines.iter().try_for_each(|line| write(&args.out.join(format!("grow-{}.svg", line.name)), &line.plot()))?;
    if json {
        println!("{}", json!(lines));
    } else {
        print!("{text}");
    }
    Ok(if lines.iter().all(|line| line.failed.is_empty()) { Exit::Done } else { Exit::Bad })
}

pub(super) fn plan(args: &Plan, json: bool) -> Result<Exit, Failure> {
    let sizes = [args.daily_users, args.cores, args.memory, args.disk, args.network, args.years];
    if !sizes.iter().all(|size| size.is_finite() && *size > 0.0) {
        return Err(Failure::usage("every size must be above 0".to_owned(), "`kith bench plan --help` tells the units"));
    }
    let node = NodeSize { cores: args.cores, memory_gib: args.memory, disk_tib: args.disk, gbit: args.network };
    let question = Question { daily_users: args.daily_users, node, years: args.years };
    let plan = plan::plan(question, &accepted(args.figures.as_deref())?).map_err(|error| failure(BenchError::Invalid(error.to_string())))?;
    if json {
        println!("{}", json!(plan));
        return Ok(Exit::Done);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for step in &plan.steps {
        table.add_row([step.what.to_owned(), format!("{} {}", short(step.value), step.unit), step.formula.clone(), step.measured.join(", ")]);
    }
    println!("{table}");
    let by: Vec<String> = plan.nodes_by_resource.iter().map(|(name, nodes)| format!("{name} {}", short(*nodes))).collect();
    println!("\nnodes by resource: {}; {} binds first", by.join(", "), plan.binds);
    println!("{} nodes, {} groups, at least {} regions", short(plan.nodes), short(plan.groups), short(plan.regions));
    println!("figures measured on a machine of {} processors: a group of larger nodes takes more", plan.measured_on);
    Ok(Exit::Done)
}
