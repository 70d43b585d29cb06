//! How a verb ends: an exit code, and for an error what happened and what to do.

use std::{error::Error as StdError, process::ExitCode};

use kith_client::{Error, wire::code::Code};
use serde_json::json;

use super::shown::shown;
use crate::operator::OpenError;

/// Exit codes of the program. They are documented in its help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: done, and the answer is bad.
    Bad,
    /// 2: wrong usage.
    Usage,
    /// 3: no node could be reached, or none answered in time.
    Unreachable,
    /// 4: the cluster refused.
    Refused,
    /// 5: something on this machine is missing or cannot be used.
    Local,
    /// 6: the cluster refused this node's data directory as itself, or its build.
    Fenced,
    /// 130: interrupted before the end.
    Interrupted,
}

impl Exit {
    const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Bad => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::Local => 5,
            Self::Fenced => 6,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// A verb could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    code: Option<Code>,
    what: String,
    hint: String,
}

impl Failure {
    /// Wrong arguments, found after they were parsed.
    pub(crate) fn usage(what: impl Into<String>, hint: &str) -> Self {
        Self { exit: Exit::Usage, code: None, what: what.into(), hint: hint.to_owned() }
    }
    /// Something on this machine.
    pub(crate) fn local(what: &str, cause: &(dyn StdError + 'static), hint: &str) -> Self {
        Self { exit: Exit::Local, code: None, what: format!("{what}: {}", chain(cause)), hint: hint.to_owned() }
    }
    /// The code of the cluster's refusal, where it was one.
    pub(crate) fn code(&self) -> Option<Code> {
        self.code
    }
    /// As the SDK's error, for a screen.
    pub(crate) fn into_error(self) -> Error {
        let hint = if self.hint.is_empty() { String::new() } else { format!(" ({})", self.hint) };
        Error::new(self.code.unwrap_or(Code::Invalid), format!("{}{hint}", self.what))
    }
    /// Peers know this node with another disk.
    pub(crate) fn fenced(what: &str) -> Self {
        let hint = "this disk is not the one that the cluster knows under this node's id, or an old copy of it: bring the right one back, or, if it is \
                    gone, put a new node in its place: kith node replace --dead ID --new ID";
        Self { exit: Exit::Fenced, code: Some(Code::Revoked), what: format!("the cluster refused this node: {what}"), hint: hint.to_owned() }
    }
    /// This build and the cluster of its data do not go together.
    pub(crate) fn misfit(what: &str) -> Self {
        let hint = "start the build that the other nodes run (kith upgrade status names it); nothing of this node's data was changed by this one: docs/guide/upgrade.md";
        let what = format!("this build does not serve this node's cluster: {what}");
        Self { exit: Exit::Fenced, code: Some(Code::VersionMismatch), what, hint: hint.to_owned() }
    }
    /// The cluster refused, in a way that has its own advice.
    pub(crate) fn refused(code: Code, what: impl Into<String>, hint: &str) -> Self {
        Self { exit: Exit::Refused, code: Some(code), what: what.into(), hint: hint.to_owned() }
    }
    /// No answer in time.
    pub(crate) fn unreachable(what: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, code: None, what: what.into(), hint: UNREACHABLE_HINT.to_owned() }
    }
    /// Prints it to standard error and gives the exit code.
    pub(crate) fn print(&self, is_json: bool) -> ExitCode {
        if is_json {
            let error = json!({ "exit": self.exit.number(), "code": self.code.map(Code::number), "name": self.code.map(Code::name), "text": self.what, "hint": self.hint });
            eprintln!("{}", json!({ "error": error }));
        } else {
            eprintln!("error: {}", shown(&self.what));
            if !self.hint.is_empty() {
                eprintln!("  what to do: {}", shown(&self.hint));
            }
        }
        self.exit.into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = error.code;
        let (exit, hint) = match code {
            Code::Timeout | Code::Disconnected | Code::Draining => (Exit::Unreachable, UNREACHABLE_HINT),
            Code::NoLeader | Code::NotLeader | Code::Behind | Code::OutcomeUnknown | Code::Frozen => {
                (Exit::Unreachable, "a group has no leader now: `kith status` shows which; it elects one within seconds while most of its nodes run")
            }
            Code::WrongCluster | Code::BadToken => {
                (Exit::Refused, "the folder given by --cluster belongs to another cluster than the one that answers: give the right one")
            }
            Code::TokenExpired => (Exit::Refused, "make a new token: `kith token NAME`; if it happens again, compare the clocks of the machines"),
            Code::NoSuchUser => {
                (Exit::Refused, "check the name; `kith token NAME` makes an account; a new group has its title in a second, its id works at once")
            }
            Code::BadLogin => (Exit::Refused, "check both; `kith account reset NAME` sets another password by the recovery code"),
            Code::LoginNeeded | Code::Revoked => (Exit::Refused, "this device was ended: `kith account log-in NAME`"),
            Code::Banned => (Exit::Refused, "an operator shut this account out, and can let it in again: `kith ban NAME --lift`"),
            Code::BannedHere => (Exit::Refused, "an admin of the group can let them in again: `kith group run --as ADMIN unban GROUP NAME`"),
            Code::NameTaken => (Exit::Refused, "choose another name; one that was left is free after 30 days"),
            Code::RateLimited => (Exit::Refused, "wait as long as it says, then try again"),
            Code::NotMember => (Exit::Refused, "a member can add you: `kith group add --as MEMBER GROUP NAME`; `kith group list` shows your groups"),
            Code::TooManyGroups => (Exit::Refused, "a user is in at most 2,000 groups: leave one first"),
            Code::GroupFull => (Exit::Refused, "a group has at most 100 members: remove one, or make another group"),
            Code::LastOwner => (Exit::Refused, "make another member owner first"),
            Code::TooLarge => (Exit::Refused, "a text has at most 100,000 characters, a name 64 bytes: send less"),
            Code::Busy | Code::TooMany | Code::DiskFull => (Exit::Refused, "wait a little, then try again"),
            Code::Replaced => (Exit::Refused, "another program used this device's store at the same time: run only one of them"),
            Code::Internal => {
                (Exit::Refused, "a fault inside: of this device's own files if the words say so, else the log of the node that answered says more")
            }
            _ => (Exit::Refused, ""),
        };
        Self { exit, code: Some(code), what: chain(&error), hint: hint.to_owned() }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::local(
            "opening the cluster",
            &error,
            "give the folder that `kith demo` or `kith start --single-node` made: --cluster DIR, or KITH_CLUSTER=DIR",
        )
    }
}

const UNREACHABLE_HINT: &str = "see that the cluster runs (`kith status`) and that this machine reaches its UDP port";

/// An error and its causes, in one line.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_a_code_an_exit_and_a_hint() {
        let failure = Failure::from(Error::new(Code::NotMember, "not a member"));
        assert_eq!((failure.exit, failure.code), (Exit::Refused, Some(Code::NotMember)));
        assert!(failure.hint.contains("kith group add"));
        assert_eq!(Failure::from(Error::new(Code::Timeout, "late")).exit, Exit::Unreachable);
    }
}
