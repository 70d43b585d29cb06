//! Admin tokens by example: the first one is good once, others until they end.

use kith_machine::{
    item,
    meta::admin::{admins, stands},
    reply::Reply,
    testing::{MemoryView, Script},
};
use kith_wire::{
    admin::{AdminRole, AdminToken},
    code::Code,
    id::{ClusterId, GroupId, Timestamp, UserId},
    limit,
    log::{Batch, Command},
    trust::{TokenId, TrustChange},
    upgrade::ClusterVersion,
};

const HOUR: u64 = 3_600_000;

fn token(raw: u8, role: AdminRole, until: u64) -> AdminToken {
    AdminToken {
        token: [raw; 32],
        name: format!("token {raw}"),
        role,
        by: UserId::new(7),
        by_token: None,
        made: Timestamp::default(),
        until: Timestamp::new(until),
        revoked: false,
        first: false,
    }
}

fn add(raw: u8, until: u64) -> TrustChange {
    TrustChange::AddAdmin(token(raw, AdminRole::Operator, until))
}

fn first(raw: u8, until: u64) -> TrustChange {
    TrustChange::AddAdmin(AdminToken { first: true, ..token(raw, AdminRole::Admin, until) })
}

fn claim(raw: u8, new: u8) -> TrustChange {
    TrustChange::ClaimAdmin { first: [raw; 32], token: token(new, AdminRole::Viewer, 9 * HOUR) }
}

struct Meta {
    view: MemoryView,
    index: u64,
    now: u64,
}

impl Meta {
    fn new() -> Self {
        let mut meta = Self { view: MemoryView::default(), index: 0, now: HOUR };
        meta.all(vec![Command::InitCluster { cluster: ClusterId::new([7; 16]), version: ClusterVersion::default() }]);
        meta
    }
    fn all(&mut self, commands: Vec<Command>) -> Vec<Reply> {
        self.index += 1;
        let batch = Batch { now: Timestamp::new(self.now), items: commands.into_iter().map(item).collect() };
        self.view.apply(GroupId::META, self.index, batch).expect("applies").replies
    }
    fn one(&mut self, change: TrustChange) -> Reply {
        self.all(vec![change.command()]).remove(0)
    }
    fn standing(&self) -> Vec<(u8, Result<(), Code>)> {
        let now = Timestamp::new(self.now);
        admins(&self.view).expect("readable").iter().map(|token| (token.token[0], stands(token, now))).collect()
    }
}

#[test]
fn a_cluster_has_a_first_token_once_and_it_makes_one_other() {
    let mut meta = Meta::new();
    // Two nodes ask at once.
    let asked = [first(1, 2 * HOUR).command(), first(2, 2 * HOUR).command()];
    assert_eq!(meta.all(asked.to_vec()), [Reply::Done, Reply::Rejected(Code::Conflict)]);
    assert_eq!(meta.one(claim(9, 50)), Reply::Rejected(Code::BadToken), "it was never made");
    // Two claim by it at once, and one after them.
    assert_eq!(meta.all(vec![claim(1, 10).command(), claim(1, 11).command()]), [Reply::Done, Reply::Rejected(Code::TokenSpent)]);
    assert_eq!(meta.one(claim(1, 12)), Reply::Rejected(Code::TokenSpent));
    assert_eq!(meta.standing(), [(1, Err(Code::TokenSpent)), (10, Ok(()))]);
    let made = admins(&meta.view).expect("readable").remove(1);
    let by = Some(TokenId::of(&[1; 32]));
    assert_eq!((made.role, made.by_token, made.first), (AdminRole::Admin, by, false), "whatever was asked for");
    assert_eq!(meta.one(claim(10, 13)), Reply::Rejected(Code::BadToken), "an ordinary token is no first one");
    assert_eq!(meta.one(first(3, 2 * HOUR)), Reply::Rejected(Code::Conflict), "nor is there another, for ever");
    // Not even when it was forgotten.
    meta.now = 10 * HOUR + limit::ADMIN_TOKEN_KEPT_MS;
    assert_eq!(meta.one(add(20, meta.now + HOUR)), Reply::Done);
    assert_eq!(meta.standing(), [(20, Ok(()))]);
    assert_eq!(meta.one(first(3, meta.now + HOUR)), Reply::Rejected(Code::Conflict));
}

#[test]
fn a_first_token_that_nobody_used_ends_by_its_time() {
    let mut meta = Meta::new();
    meta.one(first(1, 2 * HOUR));
    meta.now = 2 * HOUR;
    assert_eq!(meta.one(claim(1, 10)), Reply::Rejected(Code::TokenExpired));
    assert_eq!(meta.standing(), [(1, Err(Code::TokenExpired))]);
}

#[test]
fn a_token_ends_by_its_time_and_by_an_admin() {
    let mut meta = Meta::new();
    assert_eq!(meta.one(add(1, 2 * HOUR)), Reply::Done);
    assert_eq!(meta.one(add(2, 4 * HOUR)), Reply::Done);
    assert_eq!(meta.one(add(2, 4 * HOUR)), Reply::Done, "the same again is one token");
    let id = |raw| TokenId::of(&[raw; 32]);
    assert_eq!(meta.one(TrustChange::RevokeAdmin { id: id(1) }), Reply::Done);
    assert_eq!(meta.one(TrustChange::RevokeAdmin { id: id(1) }), Reply::Done, "again is no change");
    assert_eq!(meta.one(TrustChange::RevokeAdmin { id: id(9) }), Reply::Rejected(Code::NotFound));
    assert_eq!(meta.standing(), [(1, Err(Code::Revoked)), (2, Ok(()))]);
    meta.now = 4 * HOUR;
    assert_eq!(meta.standing(), [(1, Err(Code::Revoked)), (2, Err(Code::TokenExpired))]);
}

#[test]
fn what_is_over_makes_room_and_what_is_good_does_not() {
    let mut meta = Meta::new();
    for raw in 0..limit::ADMIN_TOKENS_MAX {
        assert_eq!(meta.one(add(u8::try_from(raw).expect("few"), 2 * HOUR)), Reply::Done);
    }
    assert_eq!(meta.one(add(100, 2 * HOUR)), Reply::Rejected(Code::LimitReached));
    meta.one(TrustChange::RevokeAdmin { id: TokenId::of(&[5; 32]) });
    assert_eq!(meta.one(add(100, 3 * HOUR)), Reply::Done);
    assert_eq!(meta.one(add(101, 3 * HOUR)), Reply::Rejected(Code::LimitReached));
    let long = AdminToken { name: "n".repeat(limit::ADMIN_NAME_CHARS_MAX + 1), ..token(102, AdminRole::Viewer, 3 * HOUR) };
    assert_eq!(meta.one(TrustChange::AddAdmin(long)), Reply::Rejected(Code::TooLarge));
}

#[test]
fn tokens_are_of_no_business_in_other_groups() {
    let mut script = Script::new();
    assert_eq!(script.propose(add(1, 2 * HOUR).command()).replies, [Reply::WrongGroup]);
}
