//! One event of a history: a request, or what came of it.

use std::borrow::Cow;

/// Nanoseconds on the harness's one monotonic clock.
pub type Nanos = u64;

/// What a line says of its operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The operation was begun.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not happen. `is_final` is a logged refusal: no retry of the same message may ever land.
    Fail {
        /// The refusal was final, so every later attempt must get it too.
        is_final: bool,
    },
    /// Nobody knows: a timeout, a lost connection.
    Info,
}

/// Pairs a completion with its invocation where a process has several under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Token<'a> {
    /// A number.
    Number(u64),
    /// A text.
    Text(Cow<'a, str>),
}

/// A message as a read returned it. `seq` is as the server gave it, 0 included.
#[derive(Clone, PartialEq, Debug)]
pub struct Item<'a> {
    /// Where it stands.
    pub seq: u64,
    /// The message; `sys:` in front of what the system itself wrote.
    pub message: Cow<'a, str>,
    /// Its bytes, where the reader recorded them.
    pub payload: Option<Cow<'a, str>>,
}

/// A range of positions that the server said it withholds, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Withheld {
    /// First position.
    pub from: u64,
    /// Last position.
    pub to: u64,
}

/// What was asked, with what the answer carried on completions.
#[derive(Clone, PartialEq, Debug)]
pub enum Op<'a> {
    /// A message for a channel. A retry is a new invocation of the same `message`.
    Send {
        /// To where.
        channel: Cow<'a, str>,
        /// Unique in the whole history.
        message: Cow<'a, str>,
        /// The text; on the invocation.
        payload: Option<Cow<'a, str>>,
        /// The position, on `ok`.
        seq: Option<u64>,
        /// The device's own number for it: with it, the order within a device is checked.
        client_seq: Option<u64>,
    },
    /// A read of a channel from `from` on.
    Read {
        /// Of what.
        channel: Cow<'a, str>,
        /// First position asked for; absent asks for a tail.
        from: Option<u64>,
        /// With it the answer may stop early.
        limit: Option<u64>,
        /// Declared linearizable.
        is_linearizable: bool,
        /// After heal and the end of load, one of every replica in turn.
        is_final: bool,
        /// What came back, on `ok`.
        items: Vec<Item<'a>>,
        /// What the server said it withholds.
        withheld: Vec<Withheld>,
    },
    /// A delivery on a device's stream; always `ok`.
    Received {
        /// In what.
        channel: Cow<'a, str>,
        /// The message.
        message: Cow<'a, str>,
        /// Where it stands, if the stream says so.
        seq: Option<u64>,
        /// Its bytes.
        payload: Option<Cow<'a, str>>,
    },
    /// Moves the user's read position.
    CursorSet {
        /// Of what.
        channel: Cow<'a, str>,
        /// To where.
        position: u64,
    },
    /// Reads the user's read position; `position` on `ok`.
    CursorGet {
        /// Of what.
        channel: Cow<'a, str>,
        /// Where it is.
        position: Option<u64>,
        /// Declared linearizable.
        is_linearizable: bool,
        /// After heal.
        is_final: bool,
    },
    /// How many unread texts a device shows after heal, and how many a recount of the log gives; both on `ok`.
    UnreadGet {
        /// Of what.
        channel: Cow<'a, str>,
        /// What is shown.
        shown: Option<u64>,
        /// What is there above the position that is shown.
        counted: Option<u64>,
    },
    /// Adds a member; `seq` is the position of its record.
    MemberAdd {
        /// To what.
        channel: Cow<'a, str>,
        /// Whom.
        member: Cow<'a, str>,
        /// Position of the record, on `ok`.
        seq: Option<u64>,
    },
    /// Removes a member; `seq` is the position of its record.
    MemberRemove {
        /// From what.
        channel: Cow<'a, str>,
        /// Whom.
        member: Cow<'a, str>,
        /// Position of the record, on `ok`.
        seq: Option<u64>,
    },
    /// Does what only a member of this may do; refused with `not_member` to who is none.
    MemberAct {
        /// Of what.
        channel: Cow<'a, str>,
    },
    /// Reads the members; the whole set on `ok`.
    MembersGet {
        /// Of what.
        channel: Cow<'a, str>,
        /// Who, on `ok`.
        members: Vec<Cow<'a, str>>,
        /// Declared linearizable; others are not judged.
        is_linearizable: bool,
    },
    /// Changes a text, or takes it away, which is its largest version.
    EditSet {
        /// Where.
        channel: Cow<'a, str>,
        /// Which text.
        message: Cow<'a, str>,
        /// To what: a text's versions rise.
        version: u64,
    },
    /// Reads which version of a text stands; `version` on `ok`.
    EditGet {
        /// Where.
        channel: Cow<'a, str>,
        /// Which text.
        message: Cow<'a, str>,
        /// What was found.
        version: Option<u64>,
        /// Declared linearizable.
        is_linearizable: bool,
        /// After heal.
        is_final: bool,
    },
    /// Asks, after heal, a node for a text by the words of one of its versions; by which it is found, on `ok`.
    SearchGet {
        /// Where.
        channel: Cow<'a, str>,
        /// Which text.
        message: Cow<'a, str>,
        /// By whose words; that of a text that was taken away: by none.
        version: Option<u64>,
        /// Who asks may read it.
        is_member: bool,
    },
    /// Asks for a name that others ask for too; whose it is now, on `ok`.
    NameTake {
        /// Which.
        name: Cow<'a, str>,
        /// The new account.
        owner: Option<Cow<'a, str>>,
    },
    /// Asks, after heal, whose a name is; on `ok` an account, or an empty text: nobody's.
    NameGet {
        /// Which.
        name: Cow<'a, str>,
        /// Whose.
        owner: Option<Cow<'a, str>>,
    },
    /// Has a text sent at a later time.
    LaterSet {
        /// Where.
        channel: Cow<'a, str>,
        /// Which text.
        message: Cow<'a, str>,
    },
    /// Takes that back.
    LaterCancel {
        /// Where.
        channel: Cow<'a, str>,
        /// Which text.
        message: Cow<'a, str>,
    },
    /// Counts, after its time and after heal, how often a text is there; `count` on `ok`.
    LaterGet {
        /// Where.
        channel: Cow<'a, str>,
        /// Which text.
        message: Cow<'a, str>,
        /// How often.
        count: Option<u64>,
    },
    /// A webhook was told of a message: `ok` only, without an invocation.
    HookEvent {
        /// Where it was sent.
        channel: Cow<'a, str>,
        /// Which.
        message: Cow<'a, str>,
        /// Its position, as the post says.
        seq: u64,
    },
    /// All that a channel's webhook was to be told by now has been waited for: `ok` only, without an invocation.
    HookEnd {
        /// Of which channel.
        channel: Cow<'a, str>,
    },
    /// Who one node takes for online, after heal; `users` on `ok`.
    PresenceGet {
        /// Who.
        users: Vec<Cow<'a, str>>,
        /// After heal and the settling time; others are not judged.
        is_final: bool,
        /// Who asks may know.
        is_contact: bool,
    },
    /// Something of pushes to the user of the line about a conversation: `ok` only, without an invocation.
    Push {
        /// Which conversation.
        channel: Cow<'a, str>,
        /// What.
        step: PushStep,
    },
    /// The user of the line has come, or has left: `ok` only, without an invocation.
    PresenceSet {
        /// Which.
        is_here: bool,
    },
    /// A device that looks on is shown a change: `ok` only, without an invocation.
    PresenceShown {
        /// Of whom.
        who: Cow<'a, str>,
        /// Whether they are here.
        is_here: bool,
    },
}

/// What happens to a user who is pushed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushStep {
    /// The device that is pushed to is connected from now on, or is not and nobody has it connect.
    Here(bool),
    /// A text for the user stands at this position: its sender was told so.
    Said(u64),
    /// The user has read up to there, on another device, and was told so.
    Read(u64),
    /// A push came that says that there is something up to there.
    Came(u64),
    /// All that was to come by now has been waited for.
    End,
}

impl<'a> Op<'a> {
    /// The name in the field `f`.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Send { .. } => "send",
            Op::Read { .. } => "read",
            Op::Received { .. } => "subscribe_event",
            Op::CursorSet { .. } => "cursor_set",
            Op::CursorGet { .. } => "cursor_get",
            Op::UnreadGet { .. } => "unread_get",
            Op::MemberAdd { .. } => "member_add",
            Op::MemberRemove { .. } => "member_remove",
            Op::MemberAct { .. } => "member_act",
            Op::MembersGet { .. } => "member_read",
            Op::EditSet { .. } => "edit_set",
            Op::EditGet { .. } => "edit_get",
            Op::SearchGet { is_member: true, .. } => "search_get",
            Op::SearchGet { .. } => "search_spy",
            Op::NameTake { .. } => "name_take",
            Op::NameGet { .. } => "name_get",
            Op::LaterSet { .. } => "later_set",
            Op::LaterCancel { .. } => "later_cancel",
            Op::LaterGet { .. } => "later_get",
            Op::HookEvent { .. } => "hook_event",
            Op::HookEnd { .. } => "hook_end",
            Op::PresenceGet { is_contact: true, .. } => "presence_read",
            Op::PresenceGet { .. } => "presence_spy",
            Op::Push { step: PushStep::Here(_), .. } => "push_here",
            Op::Push { step: PushStep::Said(_), .. } => "push_said",
            Op::Push { step: PushStep::Read(_), .. } => "push_read",
            Op::Push { step: PushStep::Came(_), .. } => "push_event",
            Op::Push { step: PushStep::End, .. } => "push_end",
            Op::PresenceSet { .. } => "presence_set",
            Op::PresenceShown { .. } => "presence_shown",
        }
    }

    /// The channel, where there is one.
    pub fn channel(&self) -> Option<&Cow<'a, str>> {
        match self {
            Op::Send { channel, .. }
            | Op::Read { channel, .. }
            | Op::Received { channel, .. }
            | Op::CursorSet { channel, .. }
            | Op::CursorGet { channel, .. }
            | Op::UnreadGet { channel, .. }
            | Op::MemberAdd { channel, .. }
            | Op::MemberRemove { channel, .. }
            | Op::MemberAct { channel }
            | Op::MembersGet { channel, .. }
            | Op::EditSet { channel, .. }
            | Op::EditGet { channel, .. }
            | Op::SearchGet { channel, .. }
            | Op::LaterSet { channel, .. }
            | Op::LaterCancel { channel, .. }
            | Op::LaterGet { channel, .. }
            | Op::HookEvent { channel, .. }
            | Op::Push { channel, .. }
            | Op::HookEnd { channel } => Some(channel),
            Op::NameTake { .. } | Op::NameGet { .. } | Op::PresenceGet { .. } | Op::PresenceSet { .. } | Op::PresenceShown { .. } => None,
        }
    }

    /// The text or the name that is judged by itself, where there is one.
    pub fn thing(&self) -> Option<&Cow<'a, str>> {
        match self {
            Op::EditSet { message, .. }
            | Op::EditGet { message, .. }
            | Op::SearchGet { message, .. }
            | Op::LaterSet { message, .. }
            | Op::LaterCancel { message, .. }
            | Op::LaterGet { message, .. } => Some(message),
            Op::NameTake { name, .. } | Op::NameGet { name, .. } => Some(name),
            _ => None,
        }
    }
}

/// One line of `history.jsonl`.
#[derive(Clone, PartialEq, Debug)]
pub struct Event<'a> {
    /// When.
    pub time: Nanos,
    /// One client connection.
    pub process: u64,
    /// What this says of the operation.
    pub outcome: Outcome,
    /// Pairs it within the process; absent where the process has one at a time.
    pub token: Option<Token<'a>>,
    /// The device. One that starts again from nothing has a new name.
    pub device: Option<Cow<'a, str>>,
    /// Its user.
    pub user: Option<Cow<'a, str>>,
    /// The node that was asked.
    pub node: Option<Cow<'a, str>>,
    /// Why, on `fail` and `info`; `not_member` has a meaning of its own.
    pub error: Option<Cow<'a, str>>,
    /// What.
    pub op: Op<'a>,
}
