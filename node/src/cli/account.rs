//! `kith account …`: accounts of the cluster itself, by name and password.

use std::io::{BufRead, IsTerminal};

use kith_client::{
    Backfill, Client, Door,
    wire::{
        client::{Answer, Request},
        id::DeviceId,
        people::{PeopleAnswer, PeopleRequest},
        secret::Secret,
    },
};
use serde_json::json;

use super::{
    cluster::{ClusterArgs, connect},
    export,
    failure::{Exit, Failure},
    login::LoginFile,
    shown::say,
};

/// Sign up, log in, and look after accounts
///
/// Passwords and codes are asked for, and not shown while they are typed; or read from standard input, one a line, if that is no terminal.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Make an account, and log in; shows the recovery code, once
    SignUp {
        /// Its name
        name: String,
        /// What this device is called
        #[arg(long, default_value = "kith command line")]
        title: String,
    },
    /// Log in on this device
    LogIn {
        /// Who
        name: String,
        /// By a token of the app's own backend (JWT), which is asked for in the place of the password; makes the account on first use
        #[arg(long)]
        with_token: bool,
        /// What this device is called
        #[arg(long, default_value = "kith command line")]
        title: String,
    },
    /// End this device
    LogOut {
        /// Who
        name: String,
    },
    /// List devices
    Devices {
        /// Whose
        name: String,
    },
    /// End another device: its sessions within a second, its tokens for ever
    End {
        /// Whose
        name: String,
        /// Which, as `devices` shows it
        #[arg(required_unless_present = "others")]
        device: Option<String>,
        /// All but this one
        #[arg(long, conflicts_with = "device")]
        others: bool,
    },
    /// Change the password; ends all other devices
    Password {
        /// Whose
        name: String,
    },
    /// Make a new recovery code
    Recovery {
        /// Whose
        name: String,
    },
    /// Have the app hand out a one-time code that resets a lost password
    AskReset {
        /// Whose
        name: String,
    },
    /// Set another password by a recovery code or a one-time code
    Reset {
        /// Whose
        name: String,
    },
    /// Take another name; the old one is held back for 30 days
    Rename {
        /// The name so far
        name: String,
        /// The new one
        new: String,
    },
    /// Delete the account, for ever
    Delete {
        /// Whose
        name: String,
    },
    /// Write down all that the service holds of the account, as JSON lines
    Export {
        /// Whose
        name: String,
        /// To this file; one that was begun is gone on with
        #[arg(long, value_name = "FILE")]
        out: Option<std::path::PathBuf>,
    },
    /// As the operator: make a one-time code that resets a password, good for a day
    ResetLink {
        /// Whose
        name: String,
    },
    /// As the operator: give or take an operator's rights
    Admin {
        /// Whose
        name: String,
        /// Take them
        #[arg(long)]
        revoke: bool,
    },
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let operator = args.cluster.open()?;
    let (door, folder, is_json) = (operator.door(), operator.folder().to_owned(), args.cluster.json);
    match args.verb {
        Verb::SignUp { name, title } => {
            let file = LoginFile::take(&folder, &name)?;
            let entered = door.sign_up(&name, read("password")?, &title).await?;
            kept(&file, &entered.login.saved().await)?;
            let recovery = entered.recovery.map(|code| code.reveal().to_owned());
            if is_json {
                println!("{}", json!({ "user": entered.login.user().to_string(), "name": entered.login.saved().await.name, "recovery": recovery }));
            } else {
                say(&format!("you are {}; write this recovery code down, it is shown once:", entered.login.saved().await.name));
                println!("{}", recovery.unwrap_or_default());
            }
        }
        Verb::LogIn { name, with_token, title } => {
            let file = LoginFile::take(&folder, &name)?;
            let entered =
                if with_token { door.log_in_with(read("token")?, &title).await? } else { door.log_in(&name, read("password")?, &title).await? };
            kept(&file, &entered.login.saved().await)?;
            done(is_json, "logged in");
        }
        Verb::AskReset { name } => {
            door.ask_reset(&name).await?;
            done(is_json, "asked: if there is such a user, the app hands them a code, good for half an hour: kith account reset NAME");
        }
        Verb::Reset { name } => {
            let (code, password) = (read("code")?, read("new password")?);
            show(&door.reset_password(&name, code, password).await?, is_json, "the new recovery code");
        }
        Verb::ResetLink { name } => match ask_as_operator(&args.cluster, PeopleRequest::ResetLink { name }).await? {
            PeopleAnswer::Code { code, .. } => show(&code, is_json, "good for a day, once: kith account reset NAME"),
            _ => return Err(kith_client::Error::new(kith_client::wire::code::Code::Internal, "an answer of another kind").into()),
        },
        Verb::Admin { name, revoke } => {
            ask_as_operator(&args.cluster, PeopleRequest::SetAdmin { name, admin: !revoke }).await?;
            done(is_json, "done");
        }
        verb => own(&args.cluster, &door, verb).await?,
    }
    Ok(Exit::Done)
}

/// What somebody does who is logged in here.
async fn own(cluster: &ClusterArgs, door: &Door, verb: Verb) -> Result<(), Failure> {
    let (Verb::LogOut { name }
    | Verb::Devices { name }
    | Verb::End { name, .. }
    | Verb::Password { name }
    | Verb::Recovery { name }
    | Verb::Rename { name, .. }
    | Verb::Delete { name }
    | Verb::Export { name, .. }
    | Verb::SignUp { name, .. }
    | Verb::LogIn { name, .. }
    | Verb::AskReset { name }
    | Verb::Reset { name }
    | Verb::ResetLink { name }
    | Verb::Admin { name, .. }) = &verb;
    let operator = cluster.open()?;
    let file = LoginFile::take(operator.folder(), name)?;
    let login = file.login(door, name)?;
    let client = operator.account_client(login)?.backfill(Backfill::Off).build().await?;
    connect(&client).await?;
    act(&client, &file, verb, cluster.json).await?;
    client.close().await;
    Ok(())
}

async fn act(client: &Client, file: &LoginFile, verb: Verb, is_json: bool) -> Result<(), Failure> {
    let account = client.account();
    match verb {
        Verb::Devices { .. } => {
            for device in account.devices().await? {
                let id = format!("{:016x}", device.device.get());
                if is_json {
                    let (created_ms, seen_ms) = (device.created.get(), device.seen.get());
                    println!(
                        "{}",
                        json!({ "device": id, "title": device.title, "created_ms": created_ms, "seen_ms": seen_ms, "current": device.current })
                    );
                } else {
                    let title = if device.title.is_empty() { "(by token)" } else { &device.title };
                    say(&format!("{id}  {title}{}", if device.current { "  (this one)" } else { "" }));
                }
            }
            return Ok(());
        }
        Verb::End { others: true, .. } => account.end_others().await?,
        Verb::End { device, .. } => {
            let id = device.as_deref().and_then(|text| u64::from_str_radix(text, 16).ok());
            let id = id.ok_or_else(|| Failure::usage("a device is 16 hexadecimal digits", "kith account devices NAME shows them"))?;
            account.end_device(DeviceId::new(id)).await?;
        }
        Verb::Password { .. } => account.change_password(read("old password")?, read("new password")?).await?,
        Verb::Recovery { .. } => {
            show(&account.new_recovery_code(read("password")?).await?, is_json, "the new recovery code");
            return Ok(());
        }
        Verb::Rename { new, .. } => account.rename(&new).await?,
        Verb::LogOut { .. } => {
            account.log_out().await?;
            file.forget();
        }
        Verb::Delete { .. } => {
            account.delete(read("password")?).await?;
            file.forget();
        }
        Verb::Export { out, .. } => {
            let lines = export::run(client, out.as_deref()).await?;
            if out.is_some() {
                done(is_json, &format!("{lines} lines"));
            }
            return Ok(());
        }
        Verb::SignUp { .. } | Verb::LogIn { .. } | Verb::AskReset { .. } | Verb::Reset { .. } | Verb::ResetLink { .. } | Verb::Admin { .. } => {}
    }
    done(is_json, "done");
    Ok(())
}

async fn ask_as_operator(cluster: &ClusterArgs, asked: PeopleRequest) -> Result<PeopleAnswer, Failure> {
    let admin = cluster.admin().await?;
    let answer = admin.request(Request::People(asked)).await;
    admin.close().await;
    match answer? {
        Answer::People(answer) => Ok(answer),
        _ => Err(kith_client::Error::new(kith_client::wire::code::Code::Internal, "an answer of another kind").into()),
    }
}

fn kept(file: &LoginFile, saved: &kith_client::SavedLogin) -> Result<(), Failure> {
    file.write(saved).map_err(|error| Failure::local("keeping the login", &error, "see that you may write to the cluster's folder"))
}

fn show(code: &Secret, is_json: bool, what: &str) {
    if is_json {
        println!("{}", json!({ "code": code.reveal() }));
    } else {
        eprintln!("{what}:");
        println!("{}", code.reveal());
    }
}

fn done(is_json: bool, text: &str) {
    if is_json {
        println!("{}", json!({ "done": true }));
    } else {
        println!("{text}");
    }
}

/// A password or a code: typed without an echo, or a line of standard input.
fn read(what: &str) -> Result<Secret, Failure> {
    let line = if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("{what}: "))
    } else {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    };
    match line {
        Ok(line) if !line.is_empty() => Ok(Secret::new(line.trim_end_matches(['\r', '\n']))),
        Ok(_) => Err(Failure::usage(format!("no {what} was given"), "type it, or give it on standard input")),
        Err(error) => Err(Failure::local(&format!("reading the {what}"), &error, "type it, or give it on standard input")),
    }
}
