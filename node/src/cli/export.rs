//! `kith account export`: all that the service holds of a user, as JSON lines.
//!
//! In: a login, a file. Out: one object a line, the texts by channel and seq. A file that was begun is gone on with after its last whole line.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

use kith_client::{Client, Export, ExportCursor, ExportItem, wire::people::ContactView};
use serde_json::{Value, json};

use super::failure::Failure;

const HINT: &str = "give a file that you may write; one that was begun is gone on with";

/// Writes all of it to a file, or to standard output.
pub(super) async fn run(client: &Client, out: Option<&Path>) -> Result<u64, Failure> {
    let failed = |error: io::Error| Failure::local("writing the export", &error, HINT);
    let (mut sink, after): (Box<dyn Write + Send>, _) = match out {
        Some(path) => {
            let (file, after) = open(path).map_err(failed)?;
            (Box::new(BufWriter::new(file)), after)
        }
        None => (Box::new(io::stdout()), None),
    };
    let mut export: Export = client.account().export(after);
    let mut lines = 0;
    while let Some(item) = export.next().await? {
        writeln!(sink, "{}", line(&item)).map_err(failed)?;
        lines += 1;
    }
    sink.flush().map_err(failed)?;
    Ok(lines)
}

/// Opens a file to go on with: what is left of a line that was being written is cut off. Without any text in it, all begins anew.
fn open(path: &Path) -> io::Result<(File, Option<ExportCursor>)> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let (mut whole, mut after, mut line) = (0, None, String::new());
    let mut reader = BufReader::new(&file);
    while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
        let Ok(value) = serde_json::from_str::<Value>(&line) else { break };
        whole += line.len() as u64;
        if let Some(cursor) = value["cursor"].as_str() {
            after = cursor.parse().ok();
        }
        line.clear();
    }
    if after.is_none() {
        whole = 0;
    }
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok((file, after))
}

fn line(item: &ExportItem) -> Value {
    match item {
        ExportItem::Profile(profile) => {
            let fields: serde_json::Map<_, _> = profile.fields.iter().map(|field| (field.key.clone(), json!(field.value))).collect();
            json!({ "profile": {
                "user": profile.user.to_string(), "name": profile.name, "display": profile.display, "about": profile.about, "avatar": profile.avatar,
                "fields": fields,
            } })
        }
        ExportItem::Device(device) => json!({ "device": {
            "id": format!("{:016x}", device.device.get()), "title": device.title, "created_ms": device.created.get(), "seen_ms": device.seen.get(),
        } }),
        ExportItem::Contact(ContactView { user, name, display, state, since }) => json!({ "contact": {
            "user": user.to_string(), "name": name, "display": display, "state": format!("{state:?}").to_lowercase(), "since_ms": since.get(),
        } }),
        ExportItem::Conversation(row) => {
            let held = &row.preferences;
            json!({ "conversation": {
                "channel": row.news.channel.to_string(), "title": row.news.title, "left": row.news.left.map(|seq| seq.get()), "read": row.read.seq.get(),
                "pinned_ms": held.pinned.map(|at| at.get()), "muted_until_ms": held.muted.map(|until| until.get()), "archived": held.archived.is_some(),
                "draft": held.draft.as_ref().map(|draft| draft.text.clone()),
            } })
        }
        ExportItem::Text { channel, record } => {
            let cursor = ExportCursor { channel: *channel, seq: record.at.seq };
            json!({
                "text": record.content.text(), "channel": channel.to_string(), "seq": record.at.seq.get(), "ts_ms": record.ts.get(),
                "cursor": cursor.to_string(),
            })
        }
        _ => json!({ "other": "something that this version does not know" }),
    }
}

#[cfg(test)]
mod tests {
    use kith_client::wire::id::{ChannelId, Seq, UserId};

    use super::*;

    #[test]
    fn a_file_that_was_begun_is_gone_on_with_after_its_last_whole_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("export.jsonl");
        let cursor = ExportCursor { channel: ChannelId::direct(UserId::new(1), UserId::new(2)), seq: Seq::new(7) };
        let kept = format!("{}\n{}\n", json!({ "profile": {} }), json!({ "text": "hi", "cursor": cursor.to_string() }));
        std::fs::write(&path, format!("{kept}{{\"text\": \"cut o")).expect("written");
        let (mut file, after) = open(&path).expect("opened");
        assert_eq!(after, Some(cursor));
        file.write_all(b"next\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), format!("{kept}next\n"));

        std::fs::write(&path, "{\"profile\": {}}\n").expect("written");
        assert_eq!(open(&path).expect("opened").1, None);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "", "without a text all begins anew");
    }
}
