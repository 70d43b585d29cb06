//! Which devices are near: have a session, had one lately, or have said that they have what is new. Sans-io, of one home group and term.
//!
//! In: users whose sessions changed, edges that are lost, confirmations. Out: [`Asked`] answered. Invariant: before the home is warm nobody is known to be absent.
//! Bounds: an entry for each session, one for [`LEFT_KEPT`] after it, and [`CONFIRMED_MAX`] confirmations of the last [`CONFIRMED_KEPT`]: who is forgotten may
//! be pushed to once too often. Not here: what follows from it (kith-machine's `push`), the sessions themselves (`registry`).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use kith_machine::push::Near;
use kith_wire::id::{ChannelId, DeviceId, Seq, UserId};

use crate::clock::Instant;

/// That a device had a session is remembered for so long after its end: longer than anybody waits for it to come back.
const LEFT_KEPT: Duration = Duration::from_secs(15 * 60);
/// What a device has confirmed is remembered for so long.
const CONFIRMED_KEPT: Duration = Duration::from_secs(15 * 60);
/// Confirmations that are remembered; beyond it the oldest are forgotten.
const CONFIRMED_MAX: usize = 200_000;
/// What is old is looked for so often.
const TIDY_EVERY: Duration = Duration::from_secs(30);

/// A device, and the conversation that it may have to be pushed about.
pub type Asked = (UserId, ChannelId, DeviceId);

/// How near a device is, and up to where it has said that it has the conversation.
pub type Found = (Near, Option<Seq>);

/// Who is near.
#[derive(Debug)]
pub(super) struct Nearness {
    warm: Option<Instant>,
    here: HashMap<UserId, Vec<(DeviceId, Instant)>>,
    /// When the last session of a device ended, and whether with its edge.
    left: BTreeMap<(UserId, DeviceId), (Instant, bool)>,
    touched: BTreeSet<UserId>,
    lost: BTreeSet<(UserId, DeviceId)>,
    confirmed: HashMap<Asked, (Seq, Instant)>,
    tidied: Instant,
}

impl Nearness {
    pub(super) fn new(now: Instant) -> Self {
        let (here, left, touched, lost) = (HashMap::new(), BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { warm: None, here, left, touched, lost, confirmed: HashMap::new(), tidied: now }
    }
    /// Sessions of a user changed.
    pub(super) fn touch(&mut self, user: UserId) {
        self.touched.insert(user);
    }
    /// Nobody is known to be absent before the home is warm again.
    pub(super) fn cool(&mut self) {
        self.warm = None;
    }
    /// A device lost its session with the edge that held it.
    pub(super) fn lose(&mut self, user: UserId, device: DeviceId) {
        self.lost.insert((user, device));
    }
    /// Brings those who were touched up to date; `devices` are those of a user with a session.
    pub(super) fn settle(&mut self, is_warm: bool, now: Instant, devices: impl Fn(UserId) -> Vec<DeviceId>) {
        if is_warm {
            self.warm.get_or_insert(now);
        }
        for user in std::mem::take(&mut self.touched) {
            let (before, after) = (self.here.remove(&user).unwrap_or_default(), devices(user));
            for (device, _) in before.iter().filter(|(device, _)| !after.contains(device)) {
                self.left.insert((user, *device), (now, self.lost.contains(&(user, *device))));
            }
            let since = |device| before.iter().find(|(known, _)| *known == device).map_or(now, |(_, since)| *since);
            let here: Vec<_> = after.into_iter().map(|device| (device, since(device))).collect();
            for (device, _) in &here {
                self.left.remove(&(user, *device));
            }
            if !here.is_empty() {
                self.here.insert(user, here);
            }
        }
        self.lost.clear();
        if now >= self.tidied + TIDY_EVERY {
            self.tidied = now;
            self.left.retain(|_, (at, _)| now < *at + LEFT_KEPT);
            self.confirmed.retain(|_, (_, at)| now < *at + CONFIRMED_KEPT);
        }
    }
    /// A device has said that it has a conversation up to there.
    pub(super) fn handle_confirmed(&mut self, asked: Asked, seq: Seq, now: Instant) {
        if self.confirmed.len() >= CONFIRMED_MAX && !self.confirmed.contains_key(&asked) {
            // Rare, and a pass over all of them: half of the time they are kept is let go.
            self.confirmed.retain(|_, (_, at)| now < *at + CONFIRMED_KEPT / 10);
            if self.confirmed.len() >= CONFIRMED_MAX {
                return;
            }
        }
        let held = self.confirmed.entry(asked).or_insert((seq, now));
        *held = (held.0.max(seq), now);
    }
    /// How near a device is.
    pub(super) fn find(&self, asked: &Asked, now: Instant) -> Found {
        let (user, _, device) = *asked;
        let of = |at: Instant| now.saturating_duration_since(at);
        let here = self.here.get(&user).and_then(|here| here.iter().find(|(known, _)| *known == device));
        let near = match (here, self.warm, self.left.get(&(user, device))) {
            (Some((_, since)), ..) => Near::Here(of(*since)),
            (None, None, _) => Near::Unknown,
            (None, Some(_), Some((at, false))) => Near::Gone(of(*at)),
            (None, Some(_), Some((at, true))) => Near::Lost(of(*at)),
            (None, Some(warm), None) => Near::Lost(of(warm)),
        };
        (near, self.confirmed.get(asked).map(|(seq, _)| *seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId::new(1);
    const PHONE: DeviceId = DeviceId::new(7);

    #[test]
    fn who_left_is_gone_who_was_lost_is_lost_and_nobody_is_before_it_is_warm() {
        let begun = Instant::now();
        let at = |secs| begun + Duration::from_secs(secs);
        let mut near = Nearness::new(begun);
        let asked = (ANN, ChannelId::direct(ANN, UserId::new(2)), PHONE);
        let settle = |near: &mut Nearness, is_warm, secs, here: bool| {
            near.touch(ANN);
            near.settle(is_warm, at(secs), |_| if here { vec![PHONE] } else { Vec::new() });
        };
        settle(&mut near, false, 1, false);
        assert_eq!(near.find(&asked, at(1)).0, Near::Unknown);
        settle(&mut near, true, 2, false);
        assert_eq!(near.find(&asked, at(5)).0, Near::Lost(Duration::from_secs(3)), "it may have been at another leader's");
        settle(&mut near, true, 6, true);
        settle(&mut near, true, 7, true);
        assert_eq!(near.find(&asked, at(9)).0, Near::Here(Duration::from_secs(3)));
        settle(&mut near, true, 10, false);
        assert_eq!(near.find(&asked, at(12)).0, Near::Gone(Duration::from_secs(2)));
        settle(&mut near, true, 13, true);
        near.lose(ANN, PHONE);
        settle(&mut near, true, 14, false);
        assert_eq!(near.find(&asked, at(15)), (Near::Lost(Duration::from_secs(1)), None));
        near.handle_confirmed(asked, Seq::new(4), at(15));
        near.handle_confirmed(asked, Seq::new(3), at(15));
        assert_eq!(near.find(&asked, at(16)).1, Some(Seq::new(4)));
        near.settle(true, at(15) + CONFIRMED_KEPT, |_| Vec::new());
        assert_eq!(near.find(&asked, at(16)).1, None);
    }
}
