//! What went wrong, and what a person at this screen can do about it.

use kith_client::{Error, wire::code::Code};

use crate::{text, time};

/// In one line: what happened, and what to do.
pub(crate) fn in_words(error: &Error) -> String {
    let happened = in_short(error);
    let hint = hint(error.code);
    if hint.is_empty() { happened } else { format!("{happened}: {hint}") }
}

/// What happened.
pub(crate) fn in_short(error: &Error) -> String {
    let wait = error
        .retry_after
        .map_or_else(String::new, |after| format!(" ({})", time::span(u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1_000))));
    format!("{}{wait}", text::line(&error.text))
}

/// What to do, in terms of this program's screens.
fn hint(code: Code) -> &'static str {
    match code {
        Code::Timeout | Code::Disconnected | Code::Draining => "check the address, and that this machine reaches its UDP port",
        Code::NoLeader | Code::NotLeader | Code::Behind | Code::OutcomeUnknown | Code::Frozen => "the cluster mends itself within seconds; try again",
        Code::WrongCluster | Code::BadToken | Code::TokenExpired => "this login is for another cluster: choose another server, or log in anew",
        Code::BadLogin => "check both; \"Forgot the password\" sets another one by the recovery code",
        Code::LoginNeeded | Code::Revoked => "this device was logged out: log in again",
        Code::Replaced => "another program uses this login: end it first",
        Code::NameTaken => "choose another name; one that was left is free after 30 days",
        Code::NoSuchUser => "check the name: it is the one that they signed up with",
        Code::WeakPassword => "choose a longer one",
        Code::RateLimited | Code::Busy | Code::TooMany | Code::DiskFull => "wait a little, then try again",
        Code::NotMember => "a member can add you, or give you an invite link",
        Code::NotAllowed => "an admin of the group can, or can change the rules",
        Code::LastOwner => "make another member the owner first (H on the group's screen)",
        Code::GroupFull => "a group has at most 100 members",
        Code::LinkEnded => "ask for a new link",
        Code::TooLarge => "a message has at most 100,000 characters, a name 64 bytes: write less",
        Code::Muted => "an admin can let you write again",
        Code::SlowMode => "the group is in slow mode",
        Code::Internal => "a fault inside: of this device's own files if the words say so, else the log of the node that answered says more",
        _ => "",
    }
}
