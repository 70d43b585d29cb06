//! `kith`, told at its start in which way to misbehave: what the fault harness is proven with.
//!
//! In: the command line of `kith`; `KITH_MUTANT`, the name of one mutant; `KITH_OLDER=1`, to be one release older than it is; `KITH_FAILPOINTS`, what to do at which fail points (`list` prints them).
//! Out: the same program, with that one mistake and those failures in the node that it starts. Without the variables it is `kith`. It exists only with the features `failpoint` and `mutants`, and is never shipped.

use std::{
    env::{self, VarError},
    process::ExitCode,
};

use kith::cli::{Faults, main_with};
use kith_raft::{
    FailPoints,
    failpoint::{Orders, OrdersError, point},
};

/// Names the mutant to be.
const MUTANT: &str = "KITH_MUTANT";
/// Anything: the node is the release before this one.
const OLDER: &str = "KITH_OLDER";
/// Orders for fail points, such as `seed=7;raft.append.persisted=kill@120;raft.apply.before=sleep:200@5%`.
const FAIL_POINTS: &str = "KITH_FAILPOINTS";

fn main() -> ExitCode {
    let quirk = match env::var(MUTANT) {
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(error.to_string()),
        Ok(name) => name.parse::<kith::Quirk>().map(Some).map_err(|error: kith::UnknownMutant| error.to_string()),
    };
    let orders = match env::var(FAIL_POINTS) {
        Err(VarError::NotPresent) => Ok(Orders::default()),
        Err(error) => Err(error.to_string()),
        Ok(list) if list == "list" => {
            point::all().for_each(|(part, name)| println!("{:8}  {name}", part.name()));
            return ExitCode::SUCCESS;
        }
        Ok(orders) => orders.parse().map_err(|error: OrdersError| error.to_string()),
    };
    match (quirk, orders) {
        (Ok(quirk), Ok(orders)) => {
            let quirk = quirk.unwrap_or_default();
            let quirk = if env::var_os(OLDER).is_some() { quirk.older() } else { quirk };
            main_with(Faults { quirk, failpoints: FailPoints::ordered(orders) })
        }
        (Err(error), _) => refuse(MUTANT, &error),
        (_, Err(error)) => refuse(FAIL_POINTS, &error),
    }
}

fn refuse(variable: &str, error: &str) -> ExitCode {
    eprintln!("error: {variable}: {error}");
    ExitCode::from(2)
}
