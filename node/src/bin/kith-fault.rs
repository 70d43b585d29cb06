//! `kith`, told at its start in which way to misbehave: what the fault harness is proven with.
//!
//! In: the command line of `kith`; `KITH_MUTANT`, the name of one mutant. Out: the same program, with that one mistake in the node that it starts.
//! Without the variable it is `kith`. It exists only with the features `failpoint` and `mutants`, and is never shipped.

use std::{
    env::{self, VarError},
    process::ExitCode,
};

use kith::cli::{Faults, main_with};

/// Names the mutant to be.
const MUTANT: &str = "KITH_MUTANT";

fn main() -> ExitCode {
    let quirk = match env::var(MUTANT) {
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(error.to_string()),
        Ok(name) => name.parse().map(Some).map_err(|error: kith::UnknownMutant| error.to_string()),
    };
    match quirk {
        Ok(quirk) => main_with(Faults { quirk: quirk.unwrap_or_default(), ..Faults::default() }),
        Err(error) => {
            eprintln!("error: {MUTANT}: {error}");
            ExitCode::from(2)
        }
    }
}
