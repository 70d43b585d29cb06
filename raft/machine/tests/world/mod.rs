//! A group with ann in it, whose clock is set, shared by the tests of what is logged of users.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses some of it")]

use kith_machine::{
    effect::Effect,
    invariant,
    reply::Reply,
    testing::Script,
    view::{RowKey, Scan, StateView},
};
use kith_wire::{
    id::{DeviceId, Timestamp, UserId},
    log::{Batch, Command, Debt, EnterDevice, UserChange},
    secret::Secret,
};

pub const ANN: UserId = UserId::new(71);

pub struct World {
    pub script: Script,
    pub now: u64,
    pub index: u64,
    /// Of the last entry.
    pub effects: Vec<Effect>,
}

impl World {
    /// Nobody yet.
    pub fn new() -> Self {
        let script = Script::new();
        let index = script.index();
        Self { script, now: 1_000_000, index, effects: Vec::new() }
    }
    pub fn apply(&mut self, command: Command) -> Reply {
        self.apply_all(vec![command]).remove(0)
    }
    /// As one entry; everything that always holds is seen to hold after it.
    pub fn apply_all(&mut self, commands: Vec<Command>) -> Vec<Reply> {
        self.index += 1;
        let batch = Batch { now: Timestamp::new(self.now), items: commands.into_iter().map(kith_machine::item).collect() };
        let applied = self.script.view.apply(self.script.group(), self.index, batch).expect("applies");
        self.effects = applied.effects;
        let found = invariant::everything(&self.script.view, self.script.view.rows.keys()).expect("readable");
        assert!(found.is_empty(), "{found:?}");
        applied.replies
    }
    pub fn ann(&mut self, change: UserChange) -> Reply {
        self.apply(change.of(ANN))
    }
    pub fn sign_up(&mut self) -> Reply {
        self.ann(sign_up("ann"))
    }
    pub fn register(&mut self, device: u64, login: u64, issued: u64) -> Reply {
        self.apply(Command::RegisterDevice { user: ANN, device: DeviceId::new(device), login, issued: Timestamp::new(issued) })
    }
    pub fn refresh(&mut self, device: u64, shown: u8, next: u8) -> Reply {
        self.ann(UserChange::Refresh { device: DeviceId::new(device), shown: [shown; 32], next: [next; 32] })
    }
    pub fn owed(&self) -> Vec<Debt> {
        let rows = self.script.view.scan(&Scan::Owed(None), false, 99).expect("readable");
        rows.into_iter().filter_map(|(key, _)| if let RowKey::Owed(_, debt) = key { Some(debt) } else { None }).collect()
    }
}

pub fn enter(device: u64, refresh: u8) -> EnterDevice {
    EnterDevice { device: DeviceId::new(device), title: "phone".to_owned(), refresh: [refresh; 32] }
}

/// With a password, a recovery code and device 1.
pub fn sign_up(name: &str) -> UserChange {
    let (password, recovery) = (Some(Secret::new("hash 0")), Some([9; 32]));
    UserChange::SignUp { name: name.to_owned(), key: [7; 32], password, recovery, enter: Some(enter(1, 1)) }
}

pub fn entered(login: u64, created: bool) -> Reply {
    Reply::Entered { name: "ann".to_owned(), login, admin: false, created }
}
