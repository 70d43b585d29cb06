//! Webhooks by example: who may register one, what it is told, and that its cursor never goes back.

use kith_machine::{effect::Effect, hook, invariant, reply::Reply, testing::Script};
use kith_wire::{
    code::Code,
    desk::{AuditAct, AuditState, DeskChange},
    hook::{Hook, HookAck, HookChange, HookEvents, HookKey, HookScope, HooksRow},
    id::{ChannelId, ClientSeq, HookId, RegionId, Seq, Timestamp},
    limit,
    log::{Author, Command, Content, DedupRow, MemberChange, PeerCheck},
};

const ANN: u8 = 0;
const BOB: u8 = 1;
const EVE: u8 = 2;

struct World {
    script: Script,
    group: ChannelId,
}

fn of(id: u64, scope: HookScope) -> Hook {
    let (secret, never) = (HookKey::new(bytes::Bytes::from_static(&[7; 32])), Timestamp::default());
    let (id, url) = (HookId::new(id), "https://example.com/hook".to_owned());
    Hook { id, scope, url, secret, events: HookEvents::ALL, by: Script::user(ANN), made: never, disabled: never }
}

impl World {
    /// A group of Ann (owner) and Bob.
    fn new() -> Self {
        let mut script = Script::new();
        let device = Script::device(Script::user(ANN), 0);
        let group = ChannelId::group(RegionId::FIRST, Script::user(ANN), device, 5);
        let members = vec![Script::user(BOB)];
        script.propose(Command::CreateGroup { channel: group, creator: Script::user(ANN), device, op: 5, title: "g".to_owned(), members });
        Self { script, group }
    }
    fn apply(&mut self, command: Command) -> Reply {
        let reply = self.script.propose(command).replies[0].clone();
        let found = invariant::everything(&self.script.view, self.script.view.rows.keys()).expect("readable");
        assert_eq!(found, []);
        reply
    }
    fn change(&mut self, by: u8, change: HookChange) -> Reply {
        self.apply(Command::ChannelHook { channel: self.group, by: Script::user(by), change })
    }
    fn author(&self, who: u8) -> Author {
        let device = Script::device(Script::user(who), 0);
        let key = kith_machine::view::RowKey::Dedup(self.group, device);
        let last = kith_machine::view::row::<DedupRow>(&self.script.view, &key).expect("readable").map_or(0, |row| row.last.get());
        let client_seq = ClientSeq::new(last + 1);
        Author { user: Script::user(who), device, client_seq, settled: client_seq, digest: last, key: None }
    }
    fn say(&mut self, who: u8) -> Seq {
        let content = Content::Text { text: "hi".to_owned(), reply_to: None, mentions: Vec::new(), extra: None };
        let author = self.author(who);
        match self.apply(Command::Append { channel: self.group, author, content, peer: PeerCheck::NotAsked }) {
            Reply::Sent { seq, .. } => seq,
            other => panic!("{other:?}"),
        }
    }
    fn ack(&mut self, hook: u64, seq: u64) -> Reply {
        let acks = vec![HookAck { hook: HookId::new(hook), seq: Seq::new(seq), failing: Timestamp::default() }];
        self.apply(Command::Hooked { channel: self.group, acks })
    }
    fn due(&self) -> Vec<ChannelId> {
        hook::due(&self.script.view, None, 9).expect("readable")
    }
    fn cursors(&self) -> Vec<(u64, u64)> {
        let told = hook::told(&self.script.view, self.group).expect("readable");
        told.into_iter().map(|(hook, cursor)| (hook.id.get(), cursor.seq.get())).collect()
    }
    fn next(&self, hook: &Hook, after: u64) -> Vec<(u64, bool)> {
        let (records, _) = hook::records(&self.script.view, self.group, hook, Seq::new(after), 99).expect("readable");
        records.into_iter().map(|(seq, record)| (seq.get(), record.is_some())).collect()
    }
}

#[test]
fn an_owner_registers_a_webhook_which_hears_of_all_that_comes_after() {
    let mut world = World::new();
    let scope = HookScope::Channel(world.group);
    let put = || HookChange::Put(of(1, scope));
    for (by, code) in [(BOB, Code::NotAllowed), (EVE, Code::NotMember)] {
        assert_eq!(world.change(by, put()), Reply::Rejected(code));
    }
    let before = world.say(BOB);
    assert_eq!(world.change(ANN, put()), Reply::Kept { id: 1 });
    assert_eq!(world.change(ANN, put()), Reply::Kept { id: 1 }, "a retry");
    assert_eq!(
        world.change(ANN, HookChange::Put(Hook { url: "https://other.example/".to_owned(), ..of(1, scope) })),
        Reply::Rejected(Code::Conflict)
    );
    assert_eq!((world.due(), world.cursors()), (vec![], vec![(1, before.get())]), "of what was before it hears nothing");
    let said = world.say(BOB);
    assert!(world.script.applied.last().is_some_and(|applied| applied.effects.contains(&Effect::Hooked { channel: world.group })));
    world.say(ANN);
    assert_eq!(world.due(), [world.group]);
    assert_eq!(world.next(&of(1, scope), before.get()), [(said.get(), true), (said.get() + 1, true)]);
    world.ack(1, said.get());
    assert_eq!((world.due(), world.cursors()), (vec![world.group], vec![(1, said.get())]));
    world.ack(1, 1);
    assert_eq!(world.cursors(), [(1, said.get())], "it never goes back");
    world.ack(1, 99);
    assert_eq!((world.due(), world.cursors()), (vec![], vec![(1, said.get() + 1)]), "nor beyond the head");

    world.say(BOB);
    assert_eq!(world.change(ANN, HookChange::Disable { id: HookId::new(1) }), Reply::Done);
    assert_eq!(world.cursors(), [], "it is told nothing any more");
    world.ack(1, 99);
    assert_eq!(world.due(), []);
    assert_eq!(world.change(ANN, HookChange::Remove(HookId::new(1))), Reply::Done);
    assert_eq!(world.change(ANN, HookChange::Remove(HookId::new(1))), Reply::Rejected(Code::NotFound));
    world.say(BOB);
    assert_eq!(world.due(), []);
}

#[test]
fn webhooks_are_bounded_and_what_cannot_be_posted_to_is_refused() {
    let mut world = World::new();
    let scope = HookScope::Channel(world.group);
    for id in 1..=limit::HOOKS_PER_CHANNEL_MAX as u64 {
        assert_eq!(world.change(ANN, HookChange::Put(of(id, scope))), Reply::Kept { id });
    }
    assert_eq!(world.change(ANN, HookChange::Put(of(99, scope))), Reply::Rejected(Code::LimitReached));
    let short = Hook { secret: HookKey::new(bytes::Bytes::from_static(b"short")), ..of(98, scope) };
    assert_eq!(world.change(ANN, HookChange::Put(short)), Reply::Rejected(Code::Invalid));
    let long = Hook { url: "x".repeat(limit::HOOK_URL_BYTES_MAX + 1), ..of(97, scope) };
    assert_eq!(world.change(ANN, HookChange::Put(long)), Reply::Rejected(Code::TooLarge));
}

#[test]
fn a_groups_copy_of_the_desks_webhooks_hears_of_every_channel_or_of_the_bots() {
    let mut world = World::new();
    let (all, bot) = (of(1, HookScope::All), of(2, HookScope::User(Script::user(EVE))));
    for hook in [&all, &bot] {
        assert_eq!(world.apply(DeskChange::Hook(HookChange::Put(hook.clone())).command()), Reply::Kept { id: hook.id.get() });
    }
    let desk = hook::of_desk(&world.script.view).expect("readable");
    assert_eq!(desk.version, 2);
    world.say(ANN);
    assert_eq!(world.due(), [], "the group has no copy yet");
    world.apply(Command::SetHooks { hooks: desk });
    let first = world.say(ANN);
    assert_eq!((world.due(), world.cursors()), (vec![world.group], vec![(1, first.get() - 1)]), "the bot is not in it");
    let author = world.author(ANN);
    let added = world.apply(Command::ChangeMembers { channel: world.group, author, change: MemberChange::Add(Script::user(EVE)) });
    assert!(matches!(added, Reply::Sent { .. }));
    let last = world.say(BOB);
    assert_eq!(world.cursors(), [(1, first.get() - 1), (2, last.get() - 1)]);
    assert!(world.next(&bot, 0).iter().all(|(seq, theirs)| *theirs == (*seq > first.get())), "what was before the bot came is not for it");
    world.ack(1, last.get());
    assert_eq!(world.due(), [world.group], "the bot's is behind");
    world.ack(2, last.get());
    assert_eq!(world.due(), []);

    // An older list does not come back, a newer one takes effect.
    world.apply(Command::SetHooks { hooks: HooksRow { version: 1, hooks: Vec::new() } });
    world.say(ANN);
    assert_eq!(world.due(), [world.group]);
    world.apply(Command::SetHooks { hooks: HooksRow { version: 3, hooks: Vec::new() } });
    world.ack(1, 0);
    assert_eq!((world.due(), world.cursors()), (vec![], vec![]), "their cursors are gone too");
}

#[test]
fn that_a_webhook_of_the_desk_was_given_up_on_stands_in_the_audit_log_once() {
    let mut world = World::new();
    let user = Script::user(EVE);
    for (id, scope) in [(1, HookScope::All), (2, HookScope::User(user))] {
        world.apply(DeskChange::Hook(HookChange::Put(of(id, scope))).command());
    }
    let entries = |world: &World| kith_machine::desk::audit(&world.script.view, u64::MAX, 99).expect("readable");
    assert_eq!(entries(&world).len(), 0, "what operators do is logged by the node, before");
    for id in [2, 1, 1, 9] {
        world.apply(DeskChange::Hook(HookChange::Disable { id: HookId::new(id) }).command());
    }
    let log: Vec<_> =
        entries(&world).into_iter().map(|(_, row)| (row.entry.act, row.entry.number, row.entry.user, row.entry.by, row.state)).collect();
    let nobody = kith_wire::id::UserId::new(0);
    assert_eq!(
        log,
        [(AuditAct::DisableWebhook, 1, None, nobody, AuditState::Done), (AuditAct::DisableWebhook, 2, Some(user), nobody, AuditState::Done),]
    );
}
