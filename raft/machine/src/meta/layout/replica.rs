//! Where replicas go: those that must leave are placed elsewhere, groups get what their policy asks for, then zones, hosts and loads are put right.

use std::collections::BTreeMap;

use super::{
    GAIN_PART, Layout, Limits,
    board::{ANY, Board, Wish, ratio},
    policy::{Role, Slot},
    report::{Change, Move, Plan, Reason, Stuck},
};

/// Times that all nodes are looked at: each brings what is moved nearer to even, so that this is never reached.
const ROUNDS_MAX: usize = 64;

pub(super) fn place(board: &mut Board, layout: &Layout, limits: Limits, plan: &mut Plan) {
    let mut notes = Notes::default();
    for (at, (id, group)) in layout.groups.iter().enumerate() {
        let slots = layout.policies.slots(*id, group.region);
        settle(board, at, &slots, &mut notes, plan);
        untangle(board, at, &slots, &mut notes);
    }
    if limits.balance {
        balance(board, layout, &mut notes);
    }
    plan.moves.extend(notes.moves.into_iter().flatten());
}

/// Moves as they are decided. What is moved twice is moved once, to where it ends.
#[derive(Default)]
struct Notes {
    moves: Vec<Option<Move>>,
    /// The move that brought a group to a node.
    came: BTreeMap<(usize, usize), usize>,
}

impl Notes {
    fn note(&mut self, board: &Board, at: usize, from: Option<usize>, to: Option<usize>, reason: Reason) {
        let group = &board.groups[at];
        let id = |node: usize| board.nodes[node].id;
        if let (Some(from), Some(to)) = (from, to)
            && let Some(earlier) = self.came.remove(&(at, from))
        {
            let is_back = self.moves[earlier].as_mut().is_some_and(|one| {
                one.change = match one.change {
                    Change::Swap { from, .. } => Change::Swap { from, to: id(to) },
                    _ => Change::Add { to: id(to) },
                };
                matches!(one.change, Change::Swap { from, to } if from == to)
            });
            if is_back {
                self.moves[earlier] = None;
            } else {
                self.came.insert((at, to), earlier);
            }
            return;
        }
        let change = match (from, to) {
            (Some(from), Some(to)) => Change::Swap { from: id(from), to: id(to) },
            (None, Some(to)) => Change::Add { to: id(to) },
            (Some(from), None) => Change::Remove { from: id(from) },
            (None, None) => return,
        };
        if let Some(to) = to {
            self.came.insert((at, to), self.moves.len());
        }
        self.moves.push(Some(Move { group: group.id, change, reason, bytes: if to.is_some() { group.bytes } else { 0 } }));
    }
}

/// A replica that is to go.
#[derive(Clone, Copy)]
struct Gone {
    node: usize,
    role: Role,
    reason: Reason,
}

fn settle(board: &mut Board, at: usize, slots: &[Slot], notes: &mut Notes, plan: &mut Plan) {
    let mut gone = leaving(board, at, slots);
    let mut lacks_room = false;
    for slot in slots {
        let has = inside(board, at, slot).len();
        let mut added = Vec::new();
        while has + added.len() < slot.count {
            let choice = board.choose(at, &Wish { slot: *slot, without: None, below: ANY, zone: None });
            lacks_room |= choice.lacks_room;
            let Some(node) = choice.node else { break };
            board.add(at, node, slot.role);
            added.push(node);
        }
        // Two voters are no better than one, and four than three: an even number is not grown to.
        let is_short =
            has + added.len() < slot.count && slot.role == Role::Voter && slots.iter().filter(|slot| slot.role == Role::Voter).count() == 1;
        if is_short
            && gone.iter().all(|gone| gone.role != Role::Voter)
            && board.groups[at].held(Role::Voter).len().is_multiple_of(2)
            && let Some(node) = added.pop()
        {
            board.remove(at, node);
        }
        for node in added {
            let best = gone.iter().enumerate().filter(|(_, gone)| gone.role == slot.role).min_by_key(|(place, gone)| {
                let is_near = board.nodes[gone.node].region == board.nodes[node].region;
                (!is_near, *place)
            });
            match best.map(|(place, _)| place) {
                Some(place) => {
                    let Gone { node: from, reason, .. } = gone.remove(place);
                    notes.note(board, at, Some(from), Some(node), reason);
                }
                None => notes.note(board, at, None, Some(node), Reason::Missing { has, wants: slot.count }),
            }
        }
    }
    for Gone { node, role, reason } in gone {
        let wanted: usize = slots.iter().filter(|slot| slot.role == role).map(|slot| slot.count).sum();
        if board.groups[at].held(role).len() >= wanted {
            notes.note(board, at, Some(node), None, reason);
        } else {
            board.add(at, node, role);
            plan.stuck.push(Stuck { group: board.groups[at].id, node: board.nodes[node].id, reason, lacks_room });
        }
    }
}

/// Takes those off the board that should not be there.
fn leaving(board: &mut Board, at: usize, slots: &[Slot]) -> Vec<Gone> {
    let mut gone = Vec::new();
    for role in [Role::Voter, Role::Learner] {
        for node in board.groups[at].held(role).to_vec() {
            let region = board.regions[board.nodes[node].region].id;
            let has_slot = slots.iter().any(|slot| slot.role == role && slot.region.is_none_or(|wanted| wanted == region));
            let reason = board.nodes[node].goes.or_else(|| (!has_slot).then_some(Reason::Region { region }));
            if let Some(reason) = reason {
                board.remove(at, node);
                gone.push(Gone { node, role, reason });
            }
        }
    }
    for slot in slots {
        loop {
            let inside = inside(board, at, slot);
            if inside.len() <= slot.count {
                break;
            }
            let Some(worst) = inside.iter().copied().max_by_key(|node| (board.crowd(at, *node), board.ratio(*node), *node)) else { break };
            board.remove(at, worst);
            gone.push(Gone { node: worst, role: slot.role, reason: Reason::Surplus { has: inside.len(), wants: slot.count } });
        }
    }
    gone
}

fn inside(board: &Board, at: usize, slot: &Slot) -> Vec<usize> {
    let is_in = |node: &usize| slot.region.is_none_or(|region| board.regions[board.nodes[*node].region].id == region);
    board.groups[at].held(slot.role).iter().copied().filter(is_in).collect()
}

/// Parts replicas that share a zone or a host, where there is another.
fn untangle(board: &mut Board, at: usize, slots: &[Slot], notes: &mut Notes) {
    for slot in slots {
        let mut nodes = inside(board, at, slot);
        nodes.sort_by_key(|node| (std::cmp::Reverse(board.ratio(*node)), *node));
        for node in nodes {
            // What must go and cannot is not moved for less.
            let crowd = board.crowd(at, node);
            if crowd == (0, 0) || board.nodes[node].goes.is_some() {
                continue;
            }
            let choice = board.choose(at, &Wish { slot: *slot, without: Some(node), below: crowd, zone: None });
            if let Some(to) = choice.node {
                let id = board.nodes[node].id;
                board.remove(at, node);
                let reason = if board.crowd(at, to).0 < crowd.0 { Reason::Zone { node: id } } else { Reason::Host { node: id } };
                board.add(at, to, slot.role);
                notes.note(board, at, Some(node), Some(to), reason);
            }
        }
    }
}

/// Evens out what nodes hold: first over zones, as far as rules allow, then in each.
fn balance(board: &mut Board, layout: &Layout, notes: &mut Notes) {
    let slots: Vec<Vec<Slot>> = layout.groups.iter().map(|(id, group)| layout.policies.slots(*id, group.region)).collect();
    for region in 0..board.regions.len() {
        let mut nodes: Vec<usize> = (0..board.nodes.len()).filter(|node| board.nodes[*node].region == region && board.nodes[*node].serves).collect();
        for _ in 0..ROUNDS_MAX {
            nodes.sort_by_key(|node| (std::cmp::Reverse(board.ratio(*node)), *node));
            let mut moved = false;
            for node in &nodes {
                moved |= relieve(board, *node, &slots, notes);
            }
            if !moved {
                break;
            }
        }
    }
}

/// Gives away what a node holds more than others, one group after the other. Says whether there was any.
fn relieve(board: &mut Board, from: usize, slots: &[Vec<Slot>], notes: &mut Notes) -> bool {
    let (region, zone) = (board.nodes[from].region, board.nodes[from].zone);
    let mean = board.regions[region].mean;
    let mut moved = false;
    for at in board.on[from].clone() {
        let is_over_region = board.ratio(from) > mean;
        let over_zone = board.zone_mean(zone);
        if !is_over_region && board.ratio(from) <= over_zone {
            break;
        }
        let role = if board.groups[at].held(Role::Voter).contains(&from) { Role::Voter } else { Role::Learner };
        let own = board.regions[region].id;
        let Some(slot) = slots[at].iter().find(|slot| slot.role == role && slot.region.is_none_or(|region| region == own)) else { continue };
        // A replica anywhere is not worth a move.
        if slot.region.is_none() {
            continue;
        }
        let crowd = board.crowd(at, from);
        let below = (crowd.0, crowd.1.saturating_add(1));
        let places = [(is_over_region, None, mean), (true, Some(zone), over_zone)];
        let found = places.into_iter().filter(|(is_over, ..)| *is_over).find_map(|(_, zone, mean_there)| {
            let to = board.choose(at, &Wish { slot: *slot, without: Some(from), below, zone }).node?;
            gains(board, at, from, to, mean_there, mean).then_some(to)
        });
        if let Some(to) = found {
            let percent = |ratio: u64| u64::try_from(u128::from(ratio) * 100 / u128::from(mean.max(1))).unwrap_or(u64::MAX);
            let reason = Reason::Balance { from_percent: percent(board.ratio(from)), to_percent: percent(board.ratio(to)) };
            board.remove(at, from);
            board.add(at, to, role);
            notes.note(board, at, Some(from), Some(to), reason);
            moved = true;
        }
    }
    moved
}

/// More than 5 % of the mean is gained, and the giver is not brought below what it should hold by more than half of what it gives.
fn gains(board: &Board, at: usize, from: usize, to: usize, mean_there: u64, mean: u64) -> bool {
    let weight = board.groups[at].weight;
    let (giver, taker) = (&board.nodes[from], &board.nodes[to]);
    let taken = ratio(taker.weight + weight, taker.capacity);
    let halfway = board.ratio(from).saturating_sub(ratio(weight, giver.capacity) / 2);
    board.ratio(from) > taken.saturating_add(mean / GAIN_PART) && halfway >= mean_there
}
