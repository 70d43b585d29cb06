//! Runs the system's own tools.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Runs a program to its end and gives what it printed.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> anyhow::Result<String> {
    feed(program, args, "")
}

/// The same, with an input.
pub(crate) fn feed<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>, input: &str) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = format!("{command:?}");
    let mut child = command.spawn().with_context(|| format!("starting {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(|| format!("writing to {program}"))?;
    }
    let output = child.wait_with_output().with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{said}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A line of words, split at spaces.
pub(crate) fn words(line: &str) -> anyhow::Result<String> {
    let mut parts = line.split_whitespace();
    let program = parts.next().unwrap_or_default();
    run(program, parts)
}
