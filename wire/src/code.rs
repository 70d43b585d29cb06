//! Stable error numbers and retry classes: one space for the wire, the SDK, HTTP and the docs.
//!
//! In: a reason, named by [`Code`]. Out: its number, its [`Retry`] class and a short text for a person.
//! Invariants: a number never changes its meaning; the thousands digit alone tells an old client what to do.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $retry:ident, $text:literal;)*) => {
        /// A reason for a refusal. The number is stored and sent: never reuse one.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)* /** A number this version does not know: act by its class. */ Unknown(u16) }
        impl Code {
            /// Every code this version knows, by rising number.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            /// The stable number.
            pub const fn number(self) -> u16 { match self { $(Self::$name => $number,)* Self::Unknown(n) => n } }
            /// The code of a number; unknown ones are kept.
            pub const fn from_number(n: u16) -> Self { match n { $($number => Self::$name,)* other => Self::Unknown(other) } }
            /// What the asker should do.
            pub const fn retry(self) -> Retry { match self { $(Self::$name => Retry::$retry,)* Self::Unknown(n) => Retry::of_class(n / 1000) } }
            /// What happened, for a person.
            pub const fn text(self) -> &'static str { match self { $(Self::$name => $text,)* Self::Unknown(_) => "unknown error" } }
            /// The stable name, as the docs and `--json` print it.
            pub const fn name(self) -> &'static str { match self { $(Self::$name => stringify!($name),)* Self::Unknown(_) => "Unknown" } }
        }
    };
}

/// What the asker should do about a refusal. Stored nowhere; the number on the wire is in the comment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Retry {
    /// 0: the same request gets the same answer.
    Never,
    /// 1: at once, perhaps elsewhere.
    Now,
    /// 2: after the delay that comes with the refusal, else with backoff.
    After,
    /// 3: after a new token.
    AfterAuth,
}
impl Retry {
    /// How an unknown code of a class (its number / 1000) is treated.
    pub const fn of_class(class: u16) -> Self {
        match class {
            1 => Self::Now,
            2 => Self::AfterAuth,
            5 | 6 => Self::After,
            _ => Self::Never,
        }
    }
}

codes! {
    // 1xxx transport
    /// No answer in time; the fate of the request is unknown.
    Timeout = 1001, Now, "no answer in time";
    /// The stream or connection was lost.
    Disconnected = 1002, Now, "the connection was lost";
    /// This node is shutting down; use another.
    Draining = 1003, Now, "this node is shutting down";
    /// A newer connection of the same device took over.
    Replaced = 1004, Never, "a newer connection of this device took over";
    /// Speaks no version that we speak.
    VersionMismatch = 1005, Never, "no common protocol version";
    /// A frame could not be read.
    BadFrame = 1006, Never, "a frame could not be read";
    /// The two sides are of different clusters.
    WrongCluster = 1007, Never, "this node belongs to another cluster";
    // 2xxx auth
    /// No token, or not one of this cluster.
    BadToken = 2001, AfterAuth, "the token is not valid here";
    /// The token's time is over.
    TokenExpired = 2002, AfterAuth, "the token has expired";
    /// The account or device was revoked.
    Revoked = 2003, Never, "the account or device was revoked";
    /// Needs an operator's token.
    NotAdmin = 2004, Never, "this needs an operator's token";
    /// An operator has shut the account out; an operator can let it in again.
    Banned = 2005, Never, "this account is banned: ask who runs this service";
    /// A token that is good once was used.
    TokenSpent = 2006, Never, "the token was used already: ask for a new one";
    /// Name or password is not right; which one is not said.
    BadLogin = 2010, Never, "the name or the password is not right";
    /// The refresh token is not valid (any more): log in.
    LoginNeeded = 2011, Never, "log in again";
    // 3xxx denied
    /// Not a member of the channel (or there is none: the answer is the same).
    NotMember = 3001, Never, "not a member of this channel";
    /// A member, but not allowed to do this.
    NotAllowed = 3002, Never, "not allowed to do this here";
    /// The channel was dissolved.
    Dissolved = 3003, Never, "this channel has ended";
    /// No such user.
    NoSuchUser = 3004, Never, "no such user";
    /// The name is another user's.
    NameTaken = 3005, Never, "this name is taken";
    /// The id is another user's: draw a new key.
    IdTaken = 3006, Never, "this id is taken";
    /// The group chat has its 100 members.
    GroupFull = 3007, Never, "the group chat is full";
    /// The last owner must hand over before leaving.
    LastOwner = 3008, Never, "the last owner must hand over first";
    /// A member who may not write for a while.
    Muted = 3030, Never, "muted in this channel";
    /// The link has ended: its time is over, it is used up, or it was revoked.
    LinkEnded = 3031, Never, "this link has ended";
    /// The text was deleted or has ended.
    TextGone = 3032, Never, "this text is not there any more";
    /// The record has as many different reactions as one may have.
    TooManyReactions = 3033, Never, "no more different reactions on this record";
    /// The channel has as many pins as it may have.
    TooManyPins = 3034, Never, "no more pins in this channel";
    /// The group has as many links as it may have.
    TooManyLinks = 3035, Never, "no more links to this group";
    /// So many wait to be let into the group that nobody else may ask.
    TooManyAsk = 3036, Never, "too many wait to be let into this group";
    /// The member has as many scheduled texts in the channel as they may have.
    TooManyScheduled = 3037, Never, "no more scheduled texts in this channel";
    /// Shut out of the group: an admin of it can let them in again.
    BannedHere = 3038, Never, "banned from this group: an admin of it can let them in again";
    /// The user is in as many groups as one may be in.
    TooManyGroups = 3039, Never, "this user is in no more groups: leave one first";
    // 4xxx invalid
    /// A field is malformed or missing.
    Invalid = 4001, Never, "a field is malformed or missing";
    /// Over a size limit.
    TooLarge = 4002, Never, "over a size limit";
    /// The same number was used for other bytes.
    Conflict = 4003, Never, "this client_seq was used for another message";
    /// Below the ring of remembered numbers.
    TooOld = 4004, Never, "this client_seq is too old to be told apart";
    /// The number was given up.
    Voided = 4005, Never, "this client_seq was given up";
    /// Nothing there.
    NotFound = 4006, Never, "not found";
    /// A request of a kind that this version does not know.
    Unsupported = 4007, Never, "not supported by this version";
    /// A password that is too short.
    WeakPassword = 4020, Never, "a password has at least 8 characters";
    /// As many of these as there may be: one must go first.
    LimitReached = 4021, Never, "no more of these: remove one first";
    /// What was looked at before has changed since.
    Outdated = 4040, Never, "it has changed meanwhile: look at it again";
    /// Nobody answers at the address that was given, or somebody else does.
    NotReached = 4041, Never, "nobody answers at this address";
    // 5xxx limited
    /// A queue is full or a rate is over its limit.
    Busy = 5001, After, "too busy, try again after the delay";
    /// A gap in the device's numbers: resend from the expected one.
    OutOfSequence = 5002, Now, "client_seq out of sequence";
    /// The user has too many devices or sessions.
    TooMany = 5003, After, "too many of these";
    /// Too many requests of this kind, from this place or for this name.
    RateLimited = 5010, After, "too many requests, try again after the delay";
    /// The group is in slow mode: the next text may follow after the delay.
    SlowMode = 5030, After, "slow mode: wait before the next text";
    // 6xxx unavailable
    /// The group has no leader now.
    NoLeader = 6001, After, "no leader at the moment";
    /// Asked a node that does not lead the group.
    NotLeader = 6002, Now, "this node does not lead the group";
    /// Asked a group that does not hold the bucket.
    WrongGroup = 6003, Now, "this group does not hold the bucket";
    /// The bucket is being moved.
    Frozen = 6004, After, "the data is being moved";
    /// The replica has not applied far enough.
    Behind = 6005, After, "this replica is behind";
    /// The disk is full.
    DiskFull = 6006, After, "the disk is full";
    /// Proposed, but its outcome is not known: ask again with the same number.
    OutcomeUnknown = 6007, Now, "the outcome is not known yet";
    /// The cursor cannot be honoured: sync from the start.
    Resync = 6008, Now, "the cursor cannot be honoured";
    // 9xxx internal
    /// A fault of ours.
    Internal = 9001, Never, "internal error";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}
