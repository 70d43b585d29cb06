//! `kith generate`: completions for shells and man pages, out of the arguments that the program has: for `make package`, so they are never stale.

use std::{fs, path::PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use super::{
    Cli,
    failure::{Exit, Failure},
};

/// Write completions and man pages into a folder
#[derive(clap::Args, Debug)]
#[command(hide = true)]
pub(super) struct Args {
    /// The folder; `completions` and `man` are made in it
    out: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let written = write(args).map_err(|error| Failure::local("writing completions and man pages", &error, "give a folder that can be written"))?;
    if args.json {
        println!("{}", json!({ "folder": args.out, "files": written }));
    } else {
        println!("{written} files in {}", args.out.display());
    }
    Ok(Exit::Done)
}

fn write(args: &Args) -> std::io::Result<usize> {
    let (completions, man) = (args.out.join("completions"), args.out.join("man"));
    fs::create_dir_all(&completions)?;
    fs::create_dir_all(&man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "kith", &completions)?;
    }
    clap_mangen::generate_to(Cli::command(), &man)?;
    let count = |folder: &PathBuf| fs::read_dir(folder).map(Iterator::count);
    Ok(count(&completions)? + count(&man)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_and_every_shell_its_completions() {
        let dir = tempfile::tempdir().unwrap();
        run(&Args { out: dir.path().to_owned(), json: true }).unwrap();
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
            let page = dir.path().join(format!("man/kith-{}.1", verb.get_name()));
            assert!(fs::read_to_string(&page).unwrap().contains(".TH"), "{}", page.display());
        }
        for file in ["kith.bash", "_kith", "kith.fish"] {
            assert!(fs::metadata(dir.path().join("completions").join(file)).unwrap().len() > 1_000, "{file}");
        }
    }
}
