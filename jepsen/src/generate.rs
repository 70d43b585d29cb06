//! A large lawful history, for measuring the checker: senders, retries, deliveries, tail reads, and final reads of three replicas in pages.
//!
//! In: a number of lines and a seed. Out: events, one at a time. Bounds: a page of ids a channel is in memory, and their ids.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::history::{Event, Item, Op, Outcome, Token, Writer};
use crate::seed::Chance;

const CHANNELS: usize = 500;
const DEVICES: u64 = 200;
const PAGE: usize = 200;

/// Writes about `lines` lines of a history in which nothing went wrong.
///
/// # Errors
/// The file refuses.
pub fn lawful(lines: u64, seed: u64, to: impl Write) -> io::Result<u64> {
    let mut made = Made { writer: Writer::new(to), chance: Chance::new(seed), logs: vec![Vec::new(); CHANNELS], time: 0, lines: 0, messages: 0 };
    let mut message = 0;
    // The final reads take a line pair for each replica and page.
    while made.lines + made.final_lines() < lines {
        message += 1;
        made.round(message)?;
    }
    made.final_reads()?;
    made.writer.flush()?;
    Ok(made.lines)
}

struct Made<W: Write> {
    writer: Writer<W>,
    chance: Chance,
    logs: Vec<Vec<u64>>,
    time: u64,
    lines: u64,
    messages: u64,
}

impl<W: Write> Made<W> {
    fn line(&mut self, process: u64, outcome: Outcome, token: Option<u64>, node: Option<&str>, op: Op<'_>) -> io::Result<()> {
        self.time += 10_000;
        self.lines += 1;
        let device = format!("d{process}");
        let event = Event {
            time: self.time,
            process,
            outcome,
            token: token.map(Token::Number),
            device: Some(Cow::Owned(device)),
            user: None,
            node: node.map(Cow::Borrowed),
            error: None,
            op,
        };
        self.writer.event(&event)
    }

    /// One message: sent, sometimes twice, acked, delivered, and now and then read.
    fn round(&mut self, message: u64) -> io::Result<()> {
        // A tenth of the channels has most of the load.
        let channel =
            if self.chance.percent(80) { self.chance.within(0, CHANNELS as u64 / 10) } else { self.chance.within(0, CHANNELS as u64 - 1) } as usize;
        let (process, reader) = (self.chance.within(1, DEVICES), DEVICES + channel as u64 + 1);
        let (name, id) = (format!("c{channel}"), format!("m{message}"));
        let payload = format!("{id} {}", "lorem ipsum ".repeat(self.chance.within(1, 10) as usize));
        let send = |payload: Option<String>, seq: Option<u64>| Op::Send {
            channel: Cow::Owned(name.clone()),
            message: Cow::Owned(id.clone()),
            payload: payload.map(Cow::Owned),
            seq,
            client_seq: None,
        };
        if self.chance.percent(5) {
            self.line(process, Outcome::Invoke, Some(message), None, send(Some(payload.clone()), None))?;
            self.line(process, Outcome::Info, Some(message), None, send(None, None))?;
        }
        self.line(process, Outcome::Invoke, Some(message), None, send(Some(payload.clone()), None))?;
        self.logs[channel].push(message);
        self.messages += 1;
        let seq = self.logs[channel].len() as u64;
        self.line(process, Outcome::Ok, Some(message), None, send(None, Some(seq)))?;
        let received =
            Op::Received { channel: Cow::Owned(name.clone()), message: Cow::Owned(id), seq: Some(seq), payload: Some(Cow::Owned(payload)) };
        self.line(reader, Outcome::Ok, None, None, received)?;
        if self.chance.percent(10) {
            let from = seq.saturating_sub(9).max(1);
            self.read(reader, channel, from, None, false, None)?;
        }
        Ok(())
    }

    fn read(&mut self, process: u64, channel: usize, from: u64, limit: Option<u64>, is_final: bool, node: Option<&str>) -> io::Result<usize> {
        let log = &self.logs[channel];
        let items: Vec<_> = log
            .iter()
            .enumerate()
            .skip(from as usize - 1)
            .take(limit.map_or(usize::MAX, |limit| limit as usize))
            .map(|(at, message)| Item { seq: at as u64 + 1, message: Cow::Owned(format!("m{message}")), payload: None })
            .collect();
        let count = items.len();
        let read = |items| Op::Read {
            channel: Cow::Owned(format!("c{channel}")),
            from: Some(from),
            limit,
            is_linearizable: !is_final,
            is_final,
            items,
            withheld: Vec::new(),
        };
        self.line(process, Outcome::Invoke, None, node, read(Vec::new()))?;
        self.line(process, Outcome::Ok, None, node, read(items))?;
        Ok(count)
    }

    fn final_lines(&self) -> u64 {
        6 * (self.messages / PAGE as u64 + 2 * CHANNELS as u64)
    }

    fn final_reads(&mut self) -> io::Result<()> {
        for node in ["n1", "n2", "n3"] {
            for channel in 0..CHANNELS {
                let mut from = 1;
                loop {
                    let count = self.read(0, channel, from, Some(PAGE as u64), true, Some(node))?;
                    if count == 0 {
                        break;
                    }
                    from += count as u64;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checker::{Answer, Expect, check};
    use crate::history::Reader;

    #[test]
    fn a_generated_history_is_lawful_and_the_same_for_a_seed() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        lawful(20_000, 3, &mut first).unwrap();
        lawful(20_000, 3, &mut second).unwrap();
        assert_eq!(first, second);
        let verdict = check(Reader::new(&first[..], Path::new("generated")), &[], &Expect { nodes: Some(3), ..Expect::default() });
        assert_eq!(verdict.valid, Answer::True, "{verdict}");
    }
}
