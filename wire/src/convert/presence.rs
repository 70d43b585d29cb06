//! `kith.client.v1` and `kith.peer.v1`: who is here.

use super::{
    Field, at_most, message, nested, numbered,
    proto::{
        client::v1::{self as client, presence_request::Ask as AskKind},
        peer::v1 as peer,
    },
    tuple, union, wrapper,
};
use crate::{
    error::{DecodeError, Why},
    id::UserId,
    limit,
    presence::{PresenceAt, PresencePush, PresenceRequest, PresenceRight, PresenceState, PresenceTold, PresenceView, PresenceWatch},
};

wrapper!(PresenceRequest => client::PresenceRequest.ask check check_request);
nested!(PresenceRequest, client::PresenceRequest);
union!(PresenceRequest => AskKind {
    Get: client::PresenceOf { users },
    Watch: client::PresenceOf { users },
    SetActivity: client::Activity { active },
    SetPrivate: client::PrivateMode { private },
});
wrapper!(Vec<PresenceView> => client::PresenceList.views check check_views);
message!(PresenceView => client::PresenceView { user, state, last_seen, at });
message!(PresenceAt => client::PresenceAt { term, version });
numbered!(PresenceState => client::PresenceState { Unknown, Offline, Away, Online });

message!(PresenceWatch => peer::PresenceWatch { user, known, rights, watchers, all, ended } check check_watch);
message!(PresenceTold => peer::PresenceTold { again, views, denied, at });
message!(PresenceRight => peer::PresenceRight { user, watcher, allowed, at });
tuple!((UserId, UserId) => peer::PresenceDenied { user user, watcher watcher });
tuple!((UserId, Vec<UserId>) => peer::PresenceCircle { user user, contacts contacts });

/// Most push frames have none: nothing is written then.
impl Field<Option<peer::PresencePush>> for PresencePush {
    fn put(&self) -> Option<peer::PresencePush> {
        (!self.is_empty()).then(|| peer::PresencePush {
            views: Field::put(&self.views),
            rights: Field::put(&self.rights),
            circles: Field::put(&self.circles),
            again: self.again,
        })
    }
    fn take(raw: Option<peer::PresencePush>, _field: &'static str) -> Result<Self, DecodeError> {
        let Some(raw) = raw else { return Ok(Self::default()) };
        Ok(Self {
            views: Field::take(raw.views, "views")?,
            rights: Field::take(raw.rights, "rights")?,
            circles: Field::take(raw.circles, "circles")?,
            again: raw.again,
        })
    }
}

fn check_request(request: &PresenceRequest) -> Result<(), DecodeError> {
    match request {
        PresenceRequest::Get { users } | PresenceRequest::Watch { users } => at_most(users.len(), limit::WATCHES_MAX, "users"),
        PresenceRequest::SetActivity { .. } | PresenceRequest::SetPrivate { .. } => Ok(()),
    }
}

#[expect(clippy::ptr_arg, reason = "the parsed type is a list")]
fn check_views(views: &Vec<PresenceView>) -> Result<(), DecodeError> {
    at_most(views.len(), limit::PRESENCE_EVENT_MAX, "views")
}

fn check_watch(watch: &PresenceWatch) -> Result<(), DecodeError> {
    at_most(watch.watchers.len(), limit::WATCHERS_PER_MESSAGE, "watchers")
}
