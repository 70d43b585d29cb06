//! Who should lead: the policy's regions and zones first, then load by capacity; and who should take over, so that the load of a lost node spreads.
//!
//! In: the voters as they will be. Out: leaders moved, and the orders of preference that changed. Invariant: each move takes load from a node that has more
//! than the mean, and leaves it with more than the other had, so that balancing ends, and a plan made twice moves nothing the second time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_wire::{
    id::{GroupId, NodeId, Timestamp},
    log::NodeState,
};

use super::{
    GAIN_PART, Layout, Limits, REST_MS,
    board::{Board, ratio},
    policy::Role,
    report::{Change, Move, Plan, Reason},
};

/// Searches for a chain of moves, of one plan: the first ones find what there is.
const CHAINS_MAX: usize = 16;
/// Leaders that one chain moves.
const CHAIN_MAX: usize = 3;
/// Times that all nodes are looked at; never reached, as above.
const ROUNDS_MAX: usize = 64;

pub(super) fn lead(board: &Board, layout: &Layout, now: Timestamp, limits: Limits, plan: &mut Plan) -> BTreeMap<GroupId, Vec<NodeId>> {
    let mut leaders = Leaders::new(board, layout, now, plan);
    leaders.budget = limits.leaders;
    leaders.prefer(plan);
    leaders.balance(plan);
    if limits.leaders > 0 {
        leaders.spread(plan);
    }
    let mut said: BTreeSet<GroupId> = plan.moves.iter().map(|one| one.group).collect();
    let mut changed = BTreeMap::new();
    for ((id, group), led) in layout.groups.iter().zip(&leaders.groups) {
        let preference: Vec<NodeId> = led.order.iter().map(|node| board.nodes[*node].id).collect();
        if preference == group.preference {
            continue;
        }
        if let Some(to) = preference.get(1).copied().filter(|_| said.insert(*id)) {
            plan.moves.push(Move { group: *id, change: Change::Second { to }, reason: Reason::Preference, bytes: 0 });
        }
        changed.insert(*id, preference);
    }
    changed
}

struct Led {
    /// Voters, best first.
    order: Vec<usize>,
    /// How far each of them is from where the policy wants the leader.
    far: BTreeMap<usize, usize>,
    leader: Option<usize>,
    load: u64,
    rests: bool,
}

struct Leaders<'a> {
    board: &'a Board,
    groups: Vec<Led>,
    /// Of each node: what it leads.
    load: Vec<u64>,
    led: Vec<BTreeSet<usize>>,
    /// Of each region.
    mean: Vec<u64>,
    budget: usize,
}

impl<'a> Leaders<'a> {
    fn new(board: &'a Board, layout: &Layout, now: Timestamp, plan: &mut Plan) -> Self {
        let count = board.nodes.len();
        let mut leaders = Self {
            board,
            groups: Vec::with_capacity(board.groups.len()),
            load: vec![0; count],
            led: vec![BTreeSet::new(); count],
            mean: vec![0; board.regions.len()],
            budget: 0,
        };
        for (at, (id, group)) in layout.groups.iter().enumerate() {
            let voters = board.groups[at].held(Role::Voter);
            let mut order: Vec<usize> = Vec::with_capacity(voters.len());
            let mut rest: Vec<usize> = voters.to_vec();
            rest.sort_unstable_by_key(|node| board.nodes[*node].id);
            for node in group.preference.iter().filter_map(|id| board.number(*id)).filter(|node| voters.contains(node)).chain(rest) {
                if !order.contains(&node) {
                    order.push(node);
                }
            }
            let far = voters.iter().map(|node| {
                let seat = &board.nodes[*node];
                let region = board.regions[seat.region].id;
                (*node, layout.policies.distance(*id, group.region, region, &board.zones[seat.zone].label))
            });
            let far: BTreeMap<usize, usize> = far.collect();
            // Who is to go, and could not, leads last; the others take over by the policy's order.
            order.sort_by_key(|node| board.nodes[*node].goes.is_some());
            if let Some((_, tail)) = order.split_first_mut() {
                tail.sort_by_key(|node| (board.nodes[*node].goes.is_some(), far.get(node)));
            }
            let load = group.load.max(1);
            let rests = group.moved.is_some_and(|moved| now.get().saturating_sub(moved.get()) < REST_MS);
            let leader = order.iter().copied().find(|node| board.nodes[*node].serves);
            leaders.groups.push(Led { far, order, leader: None, load, rests });
            let is_new = !group.preference.iter().any(|id| board.number(*id).is_some_and(|node| voters.contains(&node)));
            let fresh = leaders.best(at).into_iter().min_by_key(|node| (leaders.ratio(*node, load), *node));
            match leader {
                // Nobody of those that were to lead is left.
                Some(leader) if is_new => leaders.hand(at, fresh.unwrap_or(leader)),
                Some(leader) => leaders.take(at, leader),
                None => {}
            }
            let first = leaders.groups[at].order.first().copied();
            let wanted = group.preference.first().copied();
            let led_now = wanted.filter(|wanted| layout.nodes.get(wanted).is_some_and(|node| node.state != NodeState::Left));
            if let Some(to) = first.filter(|first| Some(*first) == leaders.groups[at].leader).map(|first| board.nodes[first].id)
                && Some(to) != wanted
            {
                plan.moves.push(Move { group: *id, change: Change::Lead { from: led_now, to }, reason: Reason::NoLeader, bytes: 0 });
            }
        }
        leaders.measure();
        leaders
    }

    fn measure(&mut self) {
        let (mut load, mut capacity) = (vec![0; self.mean.len()], vec![0; self.mean.len()]);
        for (node, seat) in self.board.nodes.iter().enumerate().filter(|(_, seat)| seat.serves) {
            load[seat.region] += self.load[node];
            capacity[seat.region] += seat.capacity;
        }
        self.mean = load.into_iter().zip(capacity).map(|(load, capacity)| ratio(load, capacity)).collect();
    }

    fn ratio(&self, node: usize, more: u64) -> u64 {
        ratio(self.load[node] + more, self.board.nodes[node].capacity)
    }

    fn mean_at(&self, node: usize) -> u64 {
        self.mean[self.board.nodes[node].region]
    }

    /// Those that could lead as well as anybody does.
    fn best(&self, at: usize) -> Vec<usize> {
        let group = &self.groups[at];
        let able: Vec<(usize, usize)> =
            group.far.iter().filter(|(node, _)| self.board.nodes[**node].serves).map(|(node, far)| (*far, *node)).collect();
        let nearest = able.iter().map(|(far, _)| *far).min();
        able.into_iter().filter(|(far, _)| Some(*far) == nearest).map(|(_, node)| node).collect()
    }

    fn take(&mut self, at: usize, to: usize) {
        let load = self.groups[at].load;
        if let Some(from) = self.groups[at].leader.replace(to) {
            self.load[from] -= load;
            self.led[from].remove(&at);
        }
        self.load[to] += load;
        self.led[to].insert(at);
    }

    fn hand(&mut self, at: usize, to: usize) {
        self.take(at, to);
        let order = &mut self.groups[at].order;
        order.retain(|node| *node != to);
        order.insert(0, to);
    }

    fn note(&mut self, at: usize, to: usize, reason: Reason, plan: &mut Plan) {
        let id = |node: usize| self.board.nodes[node].id;
        let from = self.groups[at].leader.map(id);
        plan.moves.push(Move { group: self.board.groups[at].id, change: Change::Lead { from, to: id(to) }, reason, bytes: 0 });
        self.hand(at, to);
        // It stays there for the rest of this plan too.
        self.groups[at].rests = true;
        self.budget -= 1;
    }

    /// Leaders that stand farther from where the policy wants them than they must.
    fn prefer(&mut self, plan: &mut Plan) {
        for at in 0..self.groups.len() {
            let best = self.best(at);
            let Some(leader) = self.groups[at].leader.filter(|leader| !best.contains(leader)) else { continue };
            let to = best.into_iter().min_by_key(|node| (self.ratio(*node, self.groups[at].load), *node));
            if let Some(to) = to.filter(|to| *to != leader && self.budget > 0 && !self.groups[at].rests) {
                self.note(at, to, Reason::Preference, plan);
            }
        }
        self.measure();
    }

    fn balance(&mut self, plan: &mut Plan) {
        let mut nodes: Vec<usize> = (0..self.board.nodes.len()).filter(|node| self.board.nodes[*node].serves).collect();
        let mut chains = 0;
        for _ in 0..ROUNDS_MAX {
            nodes.sort_by_key(|node| (std::cmp::Reverse(self.ratio(*node, 0)), *node));
            let mut moved = false;
            for from in &nodes {
                while self.budget > 0 && self.is_over(*from, 0) {
                    let mut path = self.direct(*from);
                    if path.is_empty() && chains < CHAINS_MAX && self.is_far_over(*from) {
                        chains += 1;
                        path = self.chain(*from);
                    }
                    if path.is_empty() || path.len() > self.budget {
                        break;
                    }
                    moved = true;
                    for (at, to) in path {
                        self.even(at, to, plan);
                    }
                }
            }
            if !moved || self.budget == 0 {
                break;
            }
        }
    }

    fn even(&mut self, at: usize, to: usize, plan: &mut Plan) {
        let percent = |node: usize| u64::try_from(u128::from(self.ratio(node, 0)) * 100 / u128::from(self.mean_at(node).max(1))).unwrap_or(u64::MAX);
        let from_percent = self.groups[at].leader.map_or(0, percent);
        let reason = Reason::LeaderBalance { from_percent, to_percent: percent(to) };
        self.note(at, to, reason, plan);
    }

    /// Whether it leads more than the mean, still, when half of `less` is gone.
    fn is_over(&self, node: usize, less: u64) -> bool {
        let half = ratio(less, self.board.nodes[node].capacity) / 2;
        self.ratio(node, 0).saturating_sub(half) > self.mean_at(node)
    }

    /// Whether it leads more than the mean by so much that it shows.
    fn is_far_over(&self, node: usize) -> bool {
        self.ratio(node, 0) > self.mean_at(node).saturating_add(self.mean_at(node) / GAIN_PART)
    }

    /// Whether a node that takes `more` then leads less than `from` does, by more than 5 % of the mean.
    fn gains(&self, from: usize, to: usize, more: u64) -> bool {
        self.ratio(from, 0) > self.ratio(to, more).saturating_add(self.mean_at(from) / GAIN_PART)
    }

    /// The group to hand over, and to whom: what leaves the more loaded of the two with the least.
    fn direct(&self, from: usize) -> Vec<(usize, usize)> {
        let mut best: Option<(u64, usize, usize)> = None;
        for at in self.led[from].iter().copied().filter(|at| !self.groups[*at].rests) {
            let load = self.groups[at].load;
            if !self.is_over(from, load) {
                continue;
            }
            let left = ratio(self.load[from] - load, self.board.nodes[from].capacity);
            for to in self.best(at).into_iter().filter(|to| *to != from && self.gains(from, *to, load)) {
                let key = (left.max(self.ratio(to, load)), at, to);
                if best.is_none_or(|best| key < best) {
                    best = Some(key);
                }
            }
        }
        best.map(|(_, at, to)| (at, to)).into_iter().collect()
    }

    /// Hand-overs over nodes in between, which give as much as they take: where the two that differ share no group.
    fn chain(&self, from: usize) -> Vec<(usize, usize)> {
        let mut came: BTreeMap<usize, (usize, usize, usize)> = BTreeMap::new();
        let mut open = VecDeque::from([(from, 0)]);
        while let Some((node, depth)) = open.pop_front() {
            if depth == CHAIN_MAX {
                continue;
            }
            for at in self.led[node].iter().copied().filter(|at| !self.groups[*at].rests) {
                for to in self.best(at) {
                    if to == from || to == node || came.contains_key(&to) {
                        continue;
                    }
                    came.insert(to, (at, node, depth));
                    let path = self.path(&came, from, to);
                    if self.is_gain(from, &path) {
                        return path;
                    }
                    open.push_back((to, depth + 1));
                }
            }
        }
        Vec::new()
    }

    fn path(&self, came: &BTreeMap<usize, (usize, usize, usize)>, from: usize, to: usize) -> Vec<(usize, usize)> {
        let (mut path, mut at) = (Vec::new(), to);
        while let Some((group, before, _)) = came.get(&at).filter(|_| at != from) {
            path.push((*group, at));
            at = *before;
        }
        path.reverse();
        path
    }

    /// Nobody on the path leads as much afterwards as the first one did.
    fn is_gain(&self, from: usize, path: &[(usize, usize)]) -> bool {
        let mut load: BTreeMap<usize, u64> = BTreeMap::from([(from, self.load[from])]);
        for (at, to) in path {
            let moved = self.groups[*at].load;
            if let Some(giver) = self.groups[*at].leader {
                *load.entry(giver).or_insert(self.load[giver]) -= moved;
            }
            *load.entry(*to).or_insert(self.load[*to]) += moved;
        }
        let first = path.first().map_or(0, |(at, _)| self.groups[*at].load);
        let limit = self.ratio(from, 0).saturating_sub(self.mean_at(from) / GAIN_PART);
        self.is_over(from, first) && load.into_iter().all(|(node, load)| ratio(load, self.board.nodes[node].capacity) < limit)
    }

    /// Orders those who would take over, so that what a lost node led spreads over all that could lead it.
    fn spread(&mut self, plan: &mut Plan) {
        let mut falls = vec![0_u64; self.board.nodes.len()];
        for lost in 0..self.board.nodes.len() {
            let mine: Vec<usize> = self.led[lost].iter().copied().collect();
            let mut touched: BTreeSet<usize> = BTreeSet::new();
            for at in &mine {
                if let Some(second) = self.second(*at) {
                    falls[second] += self.groups[*at].load;
                    touched.insert(second);
                }
            }
            let mut before: BTreeMap<usize, usize> = BTreeMap::new();
            for _ in 0..ROUNDS_MAX {
                let mut moved = false;
                for at in &mine {
                    if let Some((second, other)) = self.better_second(*at, &falls) {
                        let load = self.groups[*at].load;
                        falls[second] -= load;
                        falls[other] += load;
                        touched.insert(other);
                        self.set_second(*at, other);
                        before.entry(*at).or_insert(second);
                        moved = true;
                    }
                }
                if !moved {
                    break;
                }
            }
            let node = self.board.nodes[lost].id;
            let changed = before.into_iter().filter_map(|(at, before)| self.second(at).filter(|now| *now != before).map(|now| (at, now)));
            plan.moves.extend(changed.map(|(at, to)| {
                let change = Change::Second { to: self.board.nodes[to].id };
                Move { group: self.board.groups[at].id, change, reason: Reason::Takeover { node }, bytes: 0 }
            }));
            for node in touched {
                falls[node] = 0;
            }
        }
    }

    fn second(&self, at: usize) -> Option<usize> {
        let group = &self.groups[at];
        group.order.iter().copied().find(|node| Some(*node) != group.leader && self.board.nodes[*node].serves)
    }

    fn better_second(&self, at: usize, falls: &[u64]) -> Option<(usize, usize)> {
        let (group, second) = (&self.groups[at], self.second(at)?);
        let others = group.order.iter().copied().filter(|node| Some(*node) != group.leader && *node != second && self.board.nodes[*node].serves);
        let other = others.min_by_key(|node| (group.far.get(node), self.ratio(*node, falls[*node] + group.load), *node))?;
        match group.far.get(&other).cmp(&group.far.get(&second)) {
            std::cmp::Ordering::Less => Some((second, other)),
            std::cmp::Ordering::Greater => None,
            std::cmp::Ordering::Equal => {
                let after = self.ratio(other, falls[other] + group.load).saturating_add(self.mean_at(second) / GAIN_PART);
                (self.ratio(second, falls[second]) > after).then_some((second, other))
            }
        }
    }

    fn set_second(&mut self, at: usize, node: usize) {
        let group = &mut self.groups[at];
        group.order.retain(|other| *other != node);
        let place = group.order.iter().position(|other| Some(*other) == group.leader).map_or(0, |leader| leader + 1);
        group.order.insert(place, node);
    }
}
