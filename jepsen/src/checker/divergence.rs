//! After heal, every replica and device ends with the same log, in time.
//!
//! A reader is a (device, node). It reads in passes: a final read from the base on begins one, pages go on, and a page without a limit, or an empty one, ends it.
//! The last ended pass of a reader counts for its head; what stands at a position counts in every pass, since a log does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::book::{Book, ChannelIx, DeviceIx, Fact, MessageIx, NodeIx, UserIx, What};
use super::finding::{Anomaly, Findings};
use super::{Expect, Property};
use crate::history::{Nanos, Outcome};

/// Replicas of a channel, where there are as many nodes.
const REPLICAS: usize = 3;
/// Passes of one reader that are kept for the time that convergence took.
const PASSES_MAX: usize = 1_000;

pub(super) struct Divergence {
    nodes: Option<usize>,
    final_reads: bool,
    deadline: Option<Nanos>,
    readers: BTreeMap<(ChannelIx, DeviceIx, Option<NodeIx>), Passes>,
    /// Who reads a position, by the first final read of it.
    first: super::intern::Map<(u32, u64), u32>,
    /// Membership that may end a user's log: removed, or perhaps removed.
    removed: BTreeMap<(ChannelIx, UserIx), bool>,
}

#[derive(Default)]
struct Passes {
    user: Option<UserIx>,
    head: u64,
    is_ended: bool,
    ended: Vec<(Nanos, u64)>,
}

impl Divergence {
    pub(super) fn new(expect: &Expect, healed_at: Option<Nanos>, equal_within: Duration) -> Self {
        let deadline = healed_at.map(|at| at.saturating_add(equal_within.as_nanos() as u64));
        Self {
            nodes: expect.nodes,
            final_reads: expect.final_reads,
            deadline,
            readers: BTreeMap::new(),
            first: Default::default(),
            removed: BTreeMap::new(),
        }
    }
}

impl Property for Divergence {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        match &fact.what {
            What::Member { channel, member, adds, .. } => match fact.outcome {
                Outcome::Invoke if !adds => {
                    self.removed.insert((*channel, *member), true);
                }
                Outcome::Ok => {
                    self.removed.insert((*channel, *member), !adds);
                }
                _ => {}
            },
            What::Read { channel, from, is_final: true, items, .. } if fact.outcome == Outcome::Ok => {
                let passes = self.readers.entry((*channel, fact.device, fact.node)).or_default();
                passes.user = fact.user.or(passes.user);
                if from.unwrap_or(1) <= 1 {
                    passes.head = 0;
                    passes.is_ended = false;
                }
                passes.head = passes.head.max(fact.what.last());
                if fact.what.reach().is_some() {
                    passes.is_ended = true;
                    if passes.ended.len() < PASSES_MAX {
                        passes.ended.push((fact.at, passes.head));
                    }
                }
                for item in *items {
                    let first = *self.first.entry((channel.0, item.seq)).or_insert(item.message.0);
                    if first != item.message.0 {
                        findings.report(Anomaly::FinalDivergence, || {
                            let (channel, first) = (book.channel(*channel), book.name(MessageIx(first)));
                            format!("line {}: seq {} of {channel} is {}, elsewhere {first}", fact.line, item.seq, book.name(item.message))
                        });
                    }
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        let reader = |device: DeviceIx, node: Option<NodeIx>| {
            let device = book.devices.text(device.0);
            node.map_or_else(|| device.to_owned(), |node| format!("{device} at {}", book.nodes.text(node.0)))
        };
        let mut heads: BTreeMap<ChannelIx, (u64, String)> = BTreeMap::new();
        let mut nodes: BTreeMap<ChannelIx, BTreeSet<NodeIx>> = BTreeMap::new();
        let mut unended = Vec::new();
        for ((channel, device, node), passes) in &self.readers {
            if let Some(node) = node {
                nodes.entry(*channel).or_default().insert(*node);
            }
            let is_removed = passes.user.is_some_and(|user| self.removed.get(&(*channel, user)).copied().unwrap_or(false));
            if !passes.is_ended {
                unended.push(format!("{} by {}", book.channel(*channel), reader(*device, *node)));
            } else if !is_removed {
                let (head, first) = heads.entry(*channel).or_insert_with(|| (passes.head, reader(*device, *node)));
                if *head != passes.head {
                    findings.report(Anomaly::FinalDivergence, || {
                        format!("{} ends at {} for {}, and at {head} for {first}", book.channel(*channel), passes.head, reader(*device, *node))
                    });
                }
            }
        }
        for ((channel, device, node), passes) in &self.readers {
            let (Some(deadline), Some((head, _))) = (self.deadline, heads.get(channel)) else { continue };
            if let Some((at, short)) = passes.ended.iter().rev().find(|(at, pass)| *at > deadline && pass < head)
                && passes.head == *head
            {
                findings.report(Anomaly::SlowConvergence, || {
                    format!(
                        "{} still ended at {short} of {head} for {}, {} ms after the deadline",
                        book.channel(*channel),
                        reader(*device, *node),
                        (at - deadline) / 1_000_000
                    )
                });
            }
        }
        if let Some(first) = unended.first() {
            findings.unknown(format!("{} final reads did not reach their end, e.g. {first}", unended.len()));
        }
        let Some(expected) = self.nodes.filter(|_| self.final_reads) else { return };
        let all: BTreeSet<NodeIx> = nodes.values().flatten().copied().collect();
        if all.len() < expected {
            findings.unknown(format!("final reads came from {} of {expected} replicas", all.len()));
        }
        // A replica that did not answer for one channel leaves no line that could differ, although it answered for others.
        let replicas = expected.min(REPLICAS);
        let mut partly = nodes.iter().filter(|(_, by)| by.len() < replicas);
        if let Some((channel, by)) = partly.next() {
            let more = match partly.count() {
                0 => String::new(),
                more => format!(", and {more} channels more likewise"),
            };
            findings.unknown(format!("{} was read in the end from {} of {replicas} replicas{more}", book.channel(*channel), by.len()));
        }
    }
}
