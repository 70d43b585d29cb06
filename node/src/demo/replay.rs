//! What a replay does, computed from recorded lines before anything is sent.
//!
//! In: lines of a chat log, one JSON object each (`.jsonl` or `.jsonl.gz`; the keys are described in `tests/data/README.md`).
//! Out: a [`Plan`]: users, channels with their members, and for each day the messages in order.
//! Invariants: a channel belongs to one day; who sends to a channel is a member of it; every channel has a message; a channel
//! has at most `MEMBERS_MAX` members. A line without text makes nothing: no user, no channel, no member.
//! Bounds: the file's messages are held in memory. Not here: sending (`driver`), judging (`verdict`).

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use kith_wire::limit;
use serde::Deserialize;
use thiserror::Error;

/// A user of the plan, by position in [`Plan::users`].
pub type UserIndex = usize;
/// A channel of the plan, by position in [`Plan::channels`].
pub type ChannelIndex = usize;

/// Everything that a replay will do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Names of users, by first appearance.
    pub users: Vec<String>,
    /// Group chats, those of a day together.
    pub channels: Vec<PlannedChannel>,
    /// Days, in the order of the file.
    pub days: Vec<Day>,
    /// Lines that could not be sent, because they have no text.
    pub skipped: u64,
}

/// A group chat to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedChannel {
    /// Its title.
    pub title: String,
    /// Its members, by first appearance; the first one makes the group.
    pub members: Vec<UserIndex>,
    /// How many messages it gets.
    pub messages: usize,
}

/// One day of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Day {
    /// Its name in the file.
    pub name: String,
    /// Its channels: a range of [`Plan::channels`].
    pub channels: std::ops::Range<ChannelIndex>,
    /// Everyone who is a member of one of its channels, by rising index.
    pub users: Vec<UserIndex>,
    /// Its messages, in order.
    pub messages: Vec<PlannedMessage>,
}

/// A message to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedMessage {
    /// Where to.
    pub channel: ChannelIndex,
    /// By whom.
    pub sender: UserIndex,
    /// What it says.
    pub text: String,
}

/// A file could not be made into a plan.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file could not be opened or read.
    #[error("reading {path}")]
    Read { path: PathBuf, source: io::Error },
    /// A line is not what the format says.
    #[error("line {line} of {path} is not an event of a chat log")]
    Line { path: PathBuf, line: u64, source: serde_json::Error },
    /// There is nothing to send.
    #[error("{path} holds no message with text")]
    Empty { path: PathBuf },
}

impl Plan {
    /// Reads a file and plans its first `limit` messages (all when `None`).
    ///
    /// # Errors
    /// The file cannot be read, a line is malformed, or nothing in it has text.
    pub fn read(path: &Path, limit: Option<usize>) -> Result<Self, ReplayError> {
        let read = |source| ReplayError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let plain: Box<dyn Read> = if path.extension().is_some_and(|end| end == "gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut planner = Planner::default();
        for (number, line) in (1u64..).zip(BufReader::new(plain).lines()) {
            let line = line.map_err(read)?;
            if line.trim().is_empty() {
                continue;
            }
            let event = serde_json::from_str(&line).map_err(|source| ReplayError::Line { path: path.to_owned(), line: number, source })?;
            if limit.is_some_and(|limit| planner.sent >= limit) {
                break;
            }
            planner.add(event);
        }
        let plan = planner.finish();
        if plan.days.is_empty() {
            return Err(ReplayError::Empty { path: path.to_owned() });
        }
        Ok(plan)
    }

    /// How many messages it sends.
    pub fn messages(&self) -> usize {
        self.days.iter().map(|day| day.messages.len()).sum()
    }
}

/// A line of the file. Unknown keys are ignored, unknown events make nothing.
#[derive(Clone, Deserialize, Debug)]
struct Line {
    day: String,
    line: i64,
    event: String,
    user: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    conversation: Option<i64>,
}

/// A line with text, waiting for its day to be complete.
#[derive(Debug)]
struct Said {
    line: i64,
    user: UserIndex,
    text: String,
    conversation: Option<i64>,
}

#[derive(Default)]
struct Planner {
    plan: Plan,
    by_name: HashMap<String, UserIndex>,
    day_order: Vec<String>,
    by_day: HashMap<String, Vec<Said>>,
    sent: usize,
}

impl Planner {
    fn add(&mut self, line: Line) {
        if line.event != "message" {
            return;
        }
        let Some(text) = line.text.filter(|text| !text.is_empty()) else {
            self.plan.skipped += 1;
            return;
        };
        let user = match self.by_name.entry(line.user) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.plan.users.push(new.key().clone());
                *new.insert(self.plan.users.len() - 1)
            }
        };
        let said = Said { line: line.line, user, text, conversation: line.conversation };
        match self.by_day.entry(line.day) {
            Entry::Occupied(mut day) => day.get_mut().push(said),
            Entry::Vacant(day) => {
                self.day_order.push(day.key().clone());
                day.insert(vec![said]);
            }
        }
        self.sent += 1;
    }

    fn finish(mut self) -> Plan {
        for name in std::mem::take(&mut self.day_order) {
            let said = self.by_day.remove(&name).unwrap_or_default();
            self.plan_day(name, said);
        }
        self.plan
    }

    fn plan_day(&mut self, name: String, said: Vec<Said>) {
        let first = self.plan.channels.len();
        let mut of_conversation: HashMap<i64, ChannelIndex> = HashMap::new();
        let mut of_unannotated: HashMap<UserIndex, ChannelIndex> = HashMap::new();
        let mut hall = None;
        let mut halls = 0;
        let mut messages = Vec::with_capacity(said.len());
        for said in &said {
            let channel = if let Some(conversation) = said.conversation {
                *of_conversation.entry(conversation).or_insert_with(|| self.open(format!("{name} #{conversation}")))
            } else if let Some(known) = of_unannotated.get(&said.user) {
                *known
            } else {
                let room = hall.filter(|hall: &ChannelIndex| self.plan.channels[*hall].members.len() < limit::MEMBERS_MAX);
                let channel = room.unwrap_or_else(|| {
                    halls += 1;
                    self.open(if halls == 1 { name.clone() } else { format!("{name} ({halls})") })
                });
                hall = Some(channel);
                of_unannotated.insert(said.user, channel);
                channel
            };
            let planned = &mut self.plan.channels[channel];
            if !planned.members.contains(&said.user) {
                planned.members.push(said.user);
            }
            planned.messages += 1;
            messages.push(PlannedMessage { channel, sender: said.user, text: said.text.clone() });
        }
        for &channel in of_conversation.values() {
            let members = &mut self.plan.channels[channel].members;
            if let [only] = members[..] {
                members.extend(nearest_other(&said, &messages, channel, only));
            }
        }
        let channels = first..self.plan.channels.len();
        let mut users: Vec<UserIndex> = self.plan.channels[channels.clone()].iter().flat_map(|channel| channel.members.iter().copied()).collect();
        users.sort_unstable();
        users.dedup();
        self.plan.days.push(Day { name, channels, users, messages });
    }

    fn open(&mut self, title: String) -> ChannelIndex {
        self.plan.channels.push(PlannedChannel { title, members: Vec::new(), messages: 0 });
        self.plan.channels.len() - 1
    }
}

/// The speaker of the day, other than `only`, whose line is nearest to one of the channel's; of two at equal distance, the earlier one.
fn nearest_other(said: &[Said], messages: &[PlannedMessage], channel: ChannelIndex, only: UserIndex) -> Option<UserIndex> {
    let own: Vec<i64> = said.iter().zip(messages).filter(|(_, message)| message.channel == channel).map(|(said, _)| said.line).collect();
    said.iter().filter(|said| said.user != only).min_by_key(|said| own.iter().map(|line| line.abs_diff(said.line)).min()).map(|said| said.user)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn line(day: &str, line: i64, user: &str, text: &str, conversation: Option<i64>) -> Line {
        Line { day: day.into(), line, event: "message".into(), user: user.into(), text: Some(text.into()), conversation }
    }

    fn plan(lines: impl IntoIterator<Item = Line>) -> Plan {
        let mut planner = Planner::default();
        lines.into_iter().for_each(|line| planner.add(line));
        planner.finish()
    }

    fn names<'a>(plan: &'a Plan, channel: &PlannedChannel) -> Vec<&'a str> {
        channel.members.iter().map(|&user| plan.users[user].as_str()).collect()
    }

    #[test]
    fn a_conversation_of_a_day_is_one_group_of_those_who_post() {
        let plan = plan([
            line("mon", 1, "ann", "hi", Some(1)),
            line("mon", 2, "bob", "hello", Some(1)),
            line("mon", 3, "ann", "news?", Some(3)),
            line("mon", 4, "cyd", "none", Some(3)),
            line("tue", 1, "ann", "again", Some(1)),
            line("tue", 2, "cyd", "yes", Some(1)),
        ]);
        assert_eq!(plan.channels.len(), 3);
        assert_eq!(names(&plan, &plan.channels[0]), ["ann", "bob"]);
        assert_eq!(names(&plan, &plan.channels[1]), ["ann", "cyd"]);
        assert_eq!(names(&plan, &plan.channels[2]), ["ann", "cyd"]);
        assert_eq!(plan.days[0].channels, 0..2);
        assert_eq!(plan.days[1].channels, 2..3);
        assert_eq!(plan.days[0].users, [0, 1, 2]);
        assert_eq!(plan.messages(), 6);
    }

    #[test]
    fn who_talks_alone_gets_the_nearest_other_speaker_of_that_day() {
        let plan = plan([
            line("mon", 1, "far", "x", Some(1)),
            line("mon", 9, "near", "y", None),
            line("mon", 10, "ann", "anyone?", Some(10)),
            line("mon", 12, "late", "z", Some(1)),
            line("tue", 10, "other", "not that day", Some(10)),
        ]);
        let alone = plan.channels.iter().find(|channel| channel.title == "mon #10").expect("planned");
        assert_eq!(names(&plan, alone), ["ann", "near"]);
        let only_speaker = plan.channels.iter().find(|channel| channel.title == "tue #10").expect("planned");
        assert_eq!(names(&plan, only_speaker), ["other"]);
    }

    #[test]
    fn of_two_equally_near_speakers_the_earlier_one_reads() {
        let plan = plan([line("mon", 1, "before", "x", None), line("mon", 2, "ann", "anyone?", Some(2)), line("mon", 3, "after", "y", None)]);
        let alone = plan.channels.iter().find(|channel| channel.title == "mon #2").expect("planned");
        assert_eq!(names(&plan, alone), ["ann", "before"]);
    }

    #[test]
    fn unannotated_lines_go_to_groups_of_their_day_of_at_most_100_people() {
        let lines = (0..250)
            .map(|at| line("mon", at, &format!("u{at}"), "hi", None))
            .chain((0..250).map(|at| line("mon", 250 + at, &format!("u{at}"), "bye", None)));
        let plan = plan(lines);
        assert_eq!(plan.channels.iter().map(|channel| channel.members.len()).collect::<Vec<_>>(), [100, 100, 50]);
        assert_eq!(plan.channels.iter().map(|channel| channel.messages).collect::<Vec<_>>(), [200, 200, 100]);
        assert_eq!(plan.channels.iter().map(|channel| channel.title.as_str()).collect::<Vec<_>>(), ["mon", "mon (2)", "mon (3)"]);
        assert_eq!(names(&plan, &plan.channels[1])[0], "u100");
    }

    #[test]
    fn a_line_without_text_is_skipped_and_makes_nothing() {
        let silent = Line { text: None, ..line("mon", 3, "dan", "", Some(3)) };
        let plan = plan([line("mon", 1, "ann", "hi", None), line("mon", 2, "bob", "", None), silent, line("mon", 4, "ann", " ", None)]);
        assert_eq!(plan.skipped, 2);
        assert_eq!(plan.users, ["ann"]);
        assert_eq!(plan.messages(), 2, "white space is text");
    }

    #[test]
    fn joins_and_leaves_are_not_messages() {
        let join = Line { event: "join".into(), text: None, ..line("mon", 0, "bob", "", None) };
        let plan = plan([join, line("mon", 1, "ann", "hi", None)]);
        assert_eq!((plan.skipped, plan.users.len()), (0, 1));
    }

    #[test]
    fn every_sender_is_a_member_and_every_channel_has_messages() {
        let plan = plan((0..2_000).map(|at| {
            let conversation = (at % 3 != 0).then_some(at % 41);
            line(if at < 1_200 { "mon" } else { "tue" }, at, &format!("u{}", at % 137), "text", conversation)
        }));
        for day in &plan.days {
            for message in &day.messages {
                assert!(day.channels.contains(&message.channel));
                assert!(plan.channels[message.channel].members.contains(&message.sender));
            }
        }
        assert!(plan.channels.iter().all(|channel| channel.messages > 0 && channel.members.len() <= limit::MEMBERS_MAX));
    }

    #[test]
    fn both_forms_of_the_file_give_the_same_plan_and_a_limit_cuts_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let text = concat!(
            r#"{"day":"d","line":0,"time":null,"event":"message","user":"ann","text":"hi","conversation":0}"#,
            "\n",
            r#"{"day":"d","line":1,"time":"09:00","event":"join","user":"bob"}"#,
            "\n",
            r#"{"day":"d","line":2,"time":"09:00","event":"message","user":"bob","text":"","conversation":null}"#,
            "\n",
            r#"{"day":"d","line":3,"time":"09:00","event":"message","user":"bob","text":"ho","conversation":null}"#,
            "\n",
        );
        let plain = dir.path().join("a.jsonl");
        std::fs::write(&plain, text).expect("written");
        let packed = dir.path().join("a.jsonl.gz");
        let mut gzip = GzEncoder::new(File::create(&packed).expect("created"), Compression::fast());
        gzip.write_all(text.as_bytes()).and_then(|()| gzip.try_finish()).expect("written");
        let whole = Plan::read(&plain, None).expect("a plan");
        assert_eq!(Plan::read(&packed, None).expect("a plan"), whole);
        assert_eq!((whole.messages(), whole.skipped, whole.channels.len()), (2, 1, 2));
        assert_eq!(Plan::read(&plain, Some(1)).expect("a plan").messages(), 1);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "{\"day\":1}\n").expect("written");
        assert!(matches!(Plan::read(&path, None), Err(ReplayError::Line { line: 1, .. })));
        std::fs::write(&path, "\n").expect("written");
        assert!(matches!(Plan::read(&path, None), Err(ReplayError::Empty { .. })));
    }
}
