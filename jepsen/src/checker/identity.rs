//! One position, one message; one message, one position; and a text over the limit is nothing that has a position.

use super::Property;
use super::book::{Book, ChannelIx, Fact, MessageIx, What};
use super::finding::{Anomaly, Findings};
use crate::history::Outcome;

pub(super) struct Identity;

impl Property for Identity {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        match &fact.what {
            What::Send { channel, message, seq, is_oversize, .. } if fact.outcome == Outcome::Ok => {
                if *is_oversize {
                    findings.report(Anomaly::OversizeAccepted, || format!("line {}: {}", fact.line, book.tell(*message)));
                }
                match seq {
                    Some(seq) => compare(book, fact.line, *channel, *message, *seq, findings),
                    None => findings.report(Anomaly::AckWithoutSeq, || format!("line {}: {}", fact.line, book.tell(*message))),
                }
            }
            What::Read { channel, items, .. } => {
                for item in *items {
                    compare(book, fact.line, *channel, item.message, item.seq, findings);
                }
            }
            What::Received { channel, seen: Some(seq), message, .. } => compare(book, fact.line, *channel, *message, *seq, findings),
            What::Hook { channel, told: Some((message, seq)) } => compare(book, fact.line, *channel, *message, *seq, findings),
            _ => {}
        }
    }

    fn finish(&mut self, _: &Book, _: &mut Findings) {}
}

fn compare(book: &Book, line: u64, channel: ChannelIx, message: MessageIx, seq: u64, findings: &mut Findings) {
    if let Some(first) = book.slot(channel, seq)
        && first != message
    {
        findings.report(Anomaly::SeqConflict, || {
            format!("line {line}: seq {seq} of {} is {}, and was {}", book.channel(channel), book.name(message), book.name(first))
        });
    }
    let known = book.message(message);
    if known.channel == Some(channel)
        && let Some(place) = known.place
        && place.get() != seq
    {
        findings.report(Anomaly::DuplicateMessage, || {
            format!("line {line}: {} of {} is at seq {seq}, and was at {place}", book.name(message), book.channel(channel))
        });
    }
}
