//! `kith history`: records of a conversation, from any replica or from a named one.

use kith_client::{
    Backfill, History,
    wire::{
        client::Place,
        id::{NodeId, Seq, Timestamp},
        limit::PAGE_RECORDS_MAX,
    },
};
use serde_json::json;

use super::{
    cluster::{ClusterArgs, Names},
    failure::{Exit, Failure},
    record::{marks_json, marks_line, record_json, record_line},
    shown::say,
};

/// Show the newest messages of a conversation, or from a place on
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Who reads
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// A user's name, or a group's id or title
    of: String,
    /// From this seq on, rather than the newest
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// From the first record at or after this time on, in milliseconds since 1970
    #[arg(long, value_name = "MS", conflicts_with = "from")]
    at_ms: Option<u64>,
    /// With this record in the middle
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["from", "at_ms"])]
    around: Option<u64>,
    /// Only the thread that began with this message
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["at_ms", "around"])]
    thread: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// From this node's replica and no other
    #[arg(long, value_name = "ID")]
    node: Option<u64>,
    /// With all that anybody was told to be sent before: asks the leader rather than the nearest replica
    #[arg(long, conflicts_with = "node")]
    linearizable: bool,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let session = args.cluster.session(&args.name, Backfill::Recent(1)).await?.connected().await?;
    let channel = session.conversation(&args.of).await?;
    let mut names = Names::new(&session.client);
    let mut want = History { replica: args.node.map(NodeId::new), linearizable: args.linearizable, ..History::default() };
    if let Some(from) = args.from {
        want = History { first: Seq::new(from), newest_first: false, ..want };
    }
    if let Some(root) = args.thread {
        want.place = Some(Place::Thread(Seq::new(root)));
    }
    if let Some(place) = args.around.map(|seq| Place::Around(Seq::new(seq))).or_else(|| args.at_ms.map(|ms| Place::At(Timestamp::new(ms)))) {
        want = History { place: Some(place), newest_first: false, ..want };
    }
    let mut left = args.limit;
    let mut pages = Vec::new();
    while left > 0 {
        let page = channel.history(History { limit: left.min(PAGE_RECORDS_MAX as u32), ..want }).await?;
        left = left.saturating_sub(page.records.len() as u32);
        let covered = page.covered;
        let head = page.head.seq;
        pages.push(page);
        if args.around.is_some() {
            break;
        }
        // The place was found; what follows it is read from there on.
        if args.at_ms.is_some() {
            want.place = None;
        }
        match covered {
            Some((_, last)) if !want.newest_first && last < head => want.first = last.next(),
            Some((first, _)) if want.newest_first && first > Seq::new(1) => want.last = first.prev(),
            _ => break,
        }
    }
    if want.newest_first {
        pages.reverse();
    }
    for page in pages {
        names.learn(page.records.iter().flat_map(|record| record.users())).await?;
        for record in &page.records {
            let marks = page.marks.binary_search_by_key(&record.at.seq, |marks| marks.seq).ok().and_then(|at| page.marks.get(at));
            if args.cluster.json {
                let mut object = record_json(channel.id(), record, &names);
                if let Some(marks) = marks {
                    object["marks"] = marks_json(marks);
                }
                println!("{object}");
            } else {
                say(&format!("{}{}", record_line(record, &names), marks.map_or(String::new(), marks_line)));
            }
        }
        for (first, last) in page.withheld {
            if args.cluster.json {
                println!("{}", json!({ "channel": channel.id().to_string(), "withheld": [first.get(), last.get()] }));
            } else {
                println!("{first:>6}  * up to {last}: not for {}", session.name);
            }
        }
    }
    session.client.close().await;
    Ok(Exit::Done)
}
