//! Membership is linearizable, by search within a bound, one channel at a time; and a removed member reads nothing from after the removal.

use std::collections::{BTreeMap, BTreeSet};

use super::Property;
use super::book::{Book, ChannelIx, Fact, MessageIx, UserIx, What};
use super::finding::{Anomaly, Findings};
use super::linear::{Act, Operation, Search, search};
use crate::history::{Nanos, Outcome};

/// Users of one channel that fit the search.
const USERS_MAX: usize = 128;

pub(super) struct Membership {
    steps: u64,
    /// Only of channels whose members change in the history.
    channels: BTreeMap<ChannelIx, Log>,
    /// The position of an acked removal, until somebody begins to add the user again.
    removed: BTreeMap<(ChannelIx, UserIx), u64>,
}

#[derive(Default)]
struct Log {
    users: Vec<UserIx>,
    operations: Vec<Operation>,
    /// Changes and reads under way: where in `operations`.
    open: BTreeMap<u64, usize>,
    /// First attempts at messages, and those that were answered.
    sends: BTreeMap<MessageIx, Nanos>,
    answered: BTreeSet<MessageIx>,
    is_too_large: bool,
}

impl Log {
    fn bit(&mut self, user: UserIx) -> u8 {
        let at = self.users.iter().position(|known| *known == user).unwrap_or_else(|| {
            self.users.push(user);
            self.users.len() - 1
        });
        self.is_too_large |= at >= USERS_MAX;
        (at % USERS_MAX) as u8
    }
}

impl Membership {
    pub(super) fn new(steps: u64) -> Self {
        Self { steps, channels: BTreeMap::new(), removed: BTreeMap::new() }
    }

    fn read_past(&self, book: &Book, fact: &Fact<'_>, channel: ChannelIx, seq: u64, findings: &mut Findings) {
        let Some(user) = fact.user else { return };
        if let Some(removed) = self.removed.get(&(channel, user)).filter(|removed| seq > **removed) {
            let user = book.users.text(user.0);
            findings.report(Anomaly::ReadPastRemoval, || {
                format!("line {}: {user} has {seq} of {}, removed at {removed}", fact.line, book.channel(channel))
            });
        }
    }
}

impl Property for Membership {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        match &fact.what {
            What::Member { channel, member, adds, seq } => {
                let log = self.channels.entry(*channel).or_default();
                let bit = log.bit(*member);
                match fact.outcome {
                    Outcome::Invoke => {
                        log.open.insert(fact.op, log.operations.len());
                        let act = if *adds { Act::Add(bit) } else { Act::Remove(bit) };
                        log.operations.push(Operation { act, from: fact.at, to: None, line: fact.line });
                        if *adds {
                            self.removed.remove(&(*channel, *member));
                        }
                    }
                    Outcome::Ok => {
                        if let Some(at) = log.open.remove(&fact.op) {
                            log.operations[at].to = Some(fact.at);
                            log.operations[at].line = fact.line;
                        }
                        if let (false, Some(seq)) = (adds, seq) {
                            self.removed.insert((*channel, *member), *seq);
                        }
                    }
                    // It certainly did not happen: an operation that must come after everything and never does is none.
                    Outcome::Fail { .. } => {
                        if let Some(at) = log.open.remove(&fact.op) {
                            log.operations[at].from = Nanos::MAX;
                        }
                    }
                    Outcome::Info => {}
                }
            }
            What::Members { channel, members, is_linearizable: true } if fact.outcome == Outcome::Ok => {
                let log = self.channels.entry(*channel).or_default();
                let all = members.iter().fold(0u128, |all, user| all | 1 << log.bit(*user));
                log.operations.push(Operation { act: Act::Are(all), from: fact.invoked_at, to: Some(fact.at), line: fact.line });
            }
            What::Acted { channel, is_not_member } if fact.outcome == Outcome::Ok || *is_not_member => {
                let (Some(log), Some(user)) = (self.channels.get_mut(channel), fact.user) else { return };
                let bit = log.bit(user);
                let act = if fact.outcome == Outcome::Ok { Act::IsMember(bit) } else { Act::IsStranger(bit) };
                log.operations.push(Operation { act, from: fact.invoked_at, to: Some(fact.at), line: fact.line });
            }
            What::Send { channel, message, is_first, is_not_member, .. } => {
                let (Some(log), Some(user)) = (self.channels.get_mut(channel), fact.user) else { return };
                match fact.outcome {
                    Outcome::Invoke if *is_first => {
                        log.sends.insert(*message, fact.at);
                    }
                    Outcome::Ok | Outcome::Fail { .. } => {
                        let is_ok = fact.outcome == Outcome::Ok;
                        let Some(from) = log.sends.get(message).copied() else { return };
                        if (is_ok || *is_not_member) && log.answered.insert(*message) {
                            let bit = log.bit(user);
                            let act = if is_ok { Act::IsMember(bit) } else { Act::IsStranger(bit) };
                            log.operations.push(Operation { act, from, to: Some(fact.at), line: fact.line });
                        }
                    }
                    _ => {}
                }
            }
            What::Read { channel, items, .. } => {
                if let Some(last) = items.iter().map(|item| item.seq).max() {
                    self.read_past(book, fact, *channel, last, findings);
                }
            }
            What::Received { channel, seen: Some(seq), .. } => self.read_past(book, fact, *channel, *seq, findings),
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        for (channel, log) in &mut self.channels {
            let name = book.channel(*channel);
            if log.is_too_large {
                findings.unknown(format!("{name} has more than {USERS_MAX} users, too many for the search over membership"));
                continue;
            }
            log.operations.retain(|operation| operation.from != Nanos::MAX);
            match search(&log.operations, &mut self.steps) {
                Search::Fits => {}
                Search::Fails(at) => {
                    let (line, act) = (log.operations[at].line, log.operations[at].act);
                    let user = |bit: u8| book.users.text(log.users[usize::from(bit)].0);
                    let what = match act {
                        Act::Add(bit) => format!("adding {}", user(bit)),
                        Act::Remove(bit) => format!("removing {}", user(bit)),
                        Act::IsMember(bit) => format!("what {} did was accepted", user(bit)),
                        Act::IsStranger(bit) => format!("what {} did was refused", user(bit)),
                        Act::Are(_) => "the members that were read".to_owned(),
                    };
                    findings.report(Anomaly::MembershipNotLinearizable, || format!("line {line}: {what} in {name}: no order explains it"));
                }
                Search::TooMuch => findings.unknown(format!("the search over the membership of {name} ran out of steps")),
            }
        }
    }
}
