//! The command line of the harness.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cli;

/// Tries to make Kith break a promise, and judges whether it did.
#[derive(Parser)]
#[command(
    name = "kith-jepsen",
    version,
    after_help = "Exit codes: 0 all promises held (or the command did its work), 1 one was broken, 2 unknown: the run shows nothing or the harness failed, 64 wrong usage."
)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Judge a run again, from its files alone.
    Check(cli::check::Args),
    /// Name the nemeses, workloads and mutants, and what each needs.
    List(cli::list::Args),
    /// Print the plan of a run, or the runs of a matrix, without running anything.
    Plan(cli::plan::Args),
    /// Start a cluster, hurt it under load, and judge what clients saw.
    Run(cli::run::Args),
    /// Make a run again from its plan.
    Replay(cli::run::ReplayArgs),
    /// Make all runs of a selection; goes on where it stopped.
    Matrix(cli::matrix::Args),
    /// Run each mutant of the node against the cell that must catch it; goes on where it stopped.
    Mutants(cli::mutants::Args),
    /// Remove the namespaces and mounts of runs that crashed.
    Clean,
    /// Be a disk: a file that is slow, refuses, or loses what was not flushed, as told on standard input.
    #[command(hide = true)]
    ServeDisk {
        /// What survives.
        image: PathBuf,
        /// Where the file appears.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let is_help = !error.use_stderr();
            // Nothing is left to say where a terminal refuses.
            error.print().ok();
            return ExitCode::from(if is_help { 0 } else { 64 });
        }
    };
    let done = match args.verb {
        Verb::Check(args) => cli::check::run(&args),
        Verb::List(args) => cli::list::run(&args),
        Verb::Plan(args) => cli::plan::run(&args),
        Verb::Run(args) => cli::run::run(&args),
        Verb::Replay(args) => cli::run::replay(&args),
        Verb::Matrix(args) => cli::matrix::run(&args),
        Verb::Mutants(args) => cli::mutants::run(&args),
        Verb::Clean => Ok(cli::run::clean()),
        Verb::ServeDisk { image, folder } => kith_jepsen::lab::serve_disk(&image, &folder).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
