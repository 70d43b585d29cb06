//! `kith report …`, `kith ban`, `kith audit`: moderation.

use kith_client::{
    Backfill,
    wire::{
        desk::{AuditState, AuditView, ReportView},
        id::{Seq, UserId},
    },
};
use serde_json::json;

use super::{
    cluster::{ClusterArgs, Names},
    failure::{Exit, Failure},
    shown::say,
};

/// Report a text; as the operator, see to reports
#[derive(clap::Args, Debug)]
pub(super) struct ReportArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    verb: ReportVerb,
}

#[derive(clap::Subcommand, Debug)]
enum ReportVerb {
    /// Tell the operators of a text of somebody else
    Send {
        /// Who reports
        #[arg(long = "as", value_name = "NAME")]
        name: String,
        /// A user's name, or a group's id or title
        of: String,
        /// Its place, as `kith history` shows it
        seq: u64,
        /// Why; several words are joined by a space
        #[arg(required = true)]
        reason: Vec<String>,
    },
    /// As the operator: list open reports, the oldest first
    List {
        /// After this one
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// As the operator: close a report
    Close {
        /// Which, as `list` shows it
        id: u64,
        /// What was done about it
        #[arg(long, default_value = "")]
        note: String,
    },
}

/// As the operator: shut a user out of the cluster, or let them in again
///
/// Their sessions end within a second, and they cannot log in.
#[derive(clap::Args, Debug)]
pub(super) struct BanArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Whom
    name: String,
    /// Let them in again
    #[arg(long)]
    lift: bool,
    /// Why: stands in the audit log
    #[arg(long, default_value = "")]
    note: String,
}

/// As the operator: show what operators did, the newest first
#[derive(clap::Args, Debug)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Before this entry
    #[arg(long, default_value_t = 0)]
    before: u64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

pub(super) async fn report(args: ReportArgs) -> Result<Exit, Failure> {
    let is_json = args.cluster.json;
    match args.verb {
        ReportVerb::Send { name, of, seq, reason } => {
            let session = args.cluster.session(&name, Backfill::Off).await?.connected().await?;
            session.conversation(&of).await?.report(Seq::new(seq), reason.join(" ")).await?;
            session.client.close().await;
            done(is_json);
        }
        ReportVerb::List { after } => {
            let admin = args.cluster.admin().await?;
            let (reports, more) = admin.desk().reports(after).await?;
            let mut names = Names::new(&admin);
            names.learn(reports.iter().flat_map(|report| [report.row.sender].into_iter().chain(report.row.reasons.iter().map(|one| one.by)))).await?;
            for report in &reports {
                if is_json {
                    println!("{}", report_json(report, &names));
                } else {
                    say(&report_line(report, &names));
                }
            }
            if more && !is_json {
                println!("more: --after {}", reports.last().map_or(after, |report| report.id));
            }
            admin.close().await;
        }
        ReportVerb::Close { id, note } => {
            let admin = args.cluster.admin().await?;
            admin.desk().close_report(id, note).await?;
            admin.close().await;
            done(is_json);
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn ban(args: BanArgs) -> Result<Exit, Failure> {
    let admin = args.cluster.admin().await?;
    admin.desk().ban(&args.name, !args.lift, args.note).await?;
    admin.close().await;
    done(args.cluster.json);
    Ok(Exit::Done)
}

pub(super) async fn audit(args: AuditArgs) -> Result<Exit, Failure> {
    let admin = args.cluster.admin().await?;
    let (mut before, mut left) = (args.before, args.limit);
    let mut names = Names::new(&admin);
    while left > 0 {
        let (mut entries, more) = admin.desk().audit(before).await?;
        entries.truncate(left);
        left -= entries.len();
        names
            .learn(entries.iter().flat_map(|entry| [entry.row.entry.by].into_iter().chain(entry.row.entry.user)).filter(|user| *user != NOBODY))
            .await?;
        for entry in &entries {
            if args.cluster.json {
                println!("{}", entry_json(entry, &names));
            } else {
                say(&entry_line(entry, &names));
            }
        }
        let Some(last) = entries.last().filter(|_| more) else { break };
        before = last.id;
    }
    admin.close().await;
    Ok(Exit::Done)
}

fn report_line(report: &ReportView, names: &Names) -> String {
    let row = &report.row;
    let reasons: Vec<String> = row.reasons.iter().map(|one| format!("{}: {}", names.of(one.by), one.reason)).collect();
    let text = report.text.as_deref().unwrap_or("(not there any more)");
    format!("{:>6}  {} times  {} {} by {}: {text}\n        {}", report.id, row.count, row.channel, row.seq, names.of(row.sender), reasons.join("; "))
}

fn report_json(report: &ReportView, names: &Names) -> serde_json::Value {
    let row = &report.row;
    let reasons: Vec<_> =
        row.reasons.iter().map(|one| json!({ "by": names.of(one.by), "by_id": one.by.to_string(), "reason": one.reason })).collect();
    json!({
        "id": report.id, "channel": row.channel.to_string(), "seq": row.seq.get(), "sender": names.of(row.sender), "sender_id": row.sender.to_string(),
        "first_ms": row.first.get(), "last_ms": row.last.get(), "count": row.count, "reasons": reasons, "text": report.text,
    })
}

fn entry_line(entry: &AuditView, names: &Names) -> String {
    let row = &entry.row;
    let by = match (row.entry.token, row.entry.by) {
        (Some(token), _) => format!("(by admin token {token})"),
        (None, NOBODY) => "(by token)".to_owned(),
        (None, user) => names.of(user),
    };
    let user = row.entry.user.map_or(String::new(), |user| format!(" {}", names.of(user)));
    let of = row.entry.channel.map_or(String::new(), |channel| format!(" {channel}"));
    let number = if row.entry.number > 0 { format!(" {}", row.entry.number) } else { String::new() };
    let end = match (row.state, row.refused) {
        (AuditState::Done, _) => String::new(),
        (AuditState::Begun, _) => "  (begun)".to_owned(),
        (AuditState::Refused, code) => format!("  (refused: {})", code.map_or(String::new(), |code| code.name().to_owned())),
    };
    let note = if row.entry.note.is_empty() { String::new() } else { format!("  {:?}", row.entry.note) };
    format!("{:>6}  {}  {by}  {}{user}{of}{number}{end}{note}", entry.id, row.at.get(), row.entry.act.name())
}

fn entry_json(entry: &AuditView, names: &Names) -> serde_json::Value {
    let row = &entry.row;
    json!({
        "id": entry.id, "at_ms": row.at.get(), "by": (row.entry.by != NOBODY).then(|| names.of(row.entry.by)), "by_id": row.entry.by.to_string(),
        "token": row.entry.token.map(|token| token.to_string()),
        "act": row.entry.act.name(), "user": row.entry.user.map(|user| names.of(user)), "user_id": row.entry.user.map(|user| user.to_string()),
        "channel": row.entry.channel.map(|channel| channel.to_string()), "number": row.entry.number, "note": row.entry.note,
        "state": format!("{:?}", row.state).to_lowercase(), "refused": row.refused.map(|code| code.name()),
    })
}

fn done(is_json: bool) {
    println!("{}", if is_json { json!({ "done": true }).to_string() } else { "done".to_owned() });
}

/// A token of nobody, made on a node's own machine.
const NOBODY: UserId = UserId::new(0);
