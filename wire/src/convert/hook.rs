//! Webhooks: `kith.log.v1` and `kith.client.v1`.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, at_most, message, nested, proto,
    proto::{
        client::v1::{self as client, hook_answer::Answer as AnswerKind, hook_request::Ask as AskKind},
        log::v1::{self as log, hook_change::Change as ChangeKind, hook_scope::Scope as ScopeKind},
    },
    top, union, wrapper,
};
use crate::{
    error::{DecodeError, Why},
    hook::{Hook, HookAck, HookAnswer, HookChange, HookCursorRow, HookEvents, HookKey, HookRequest, HookScope, HookView, HooksRow},
    limit,
};

top!(log: HooksRow, HookCursorRow);

wrapper!(HookScope => log::HookScope.scope);
nested!(HookScope, log::HookScope);
union!(HookScope => ScopeKind { ; holds Channel, User ; empty All });
wrapper!(HookChange => log::HookChange.change);
nested!(HookChange, log::HookChange);
union!(HookChange => ChangeKind {
    Disable: log::HookDisable { id },
    ; holds Put, Remove
});
message!(Hook => log::Hook { id, scope, url, secret, events, by, made, disabled });
message!(HookAck => log::HookAck { hook, seq, failing });
message!(HooksRow => log::HooksRow { version, hooks });
message!(HookCursorRow => log::HookCursorRow { seq, failing });

wrapper!(HookRequest => client::HookRequest.ask check check_request);
nested!(HookRequest, client::HookRequest);
union!(HookRequest => AskKind {
    Add: client::AddHook { scope, url, secret, events, key },
    Remove: client::NamedHook { scope, id },
    Test: client::NamedHook { scope, id },
    ; holds List
});
wrapper!(HookAnswer => client::HookAnswer.answer);
nested!(HookAnswer, client::HookAnswer);
union!(HookAnswer => AnswerKind {
    Added: client::AddedHook { id },
    ; holds Hooks, Tested
    ; empty Done
});
wrapper!(Vec<HookView> => client::HookList.hooks);
message!(HookView => client::HookView { id, url, events, by, made, disabled, failing });

impl Field<Bytes> for HookKey {
    fn put(&self) -> Bytes {
        Bytes::copy_from_slice(self.reveal())
    }
    fn take(raw: Bytes, _field: &'static str) -> Result<Self, DecodeError> {
        Ok(Self::new(raw))
    }
}
impl Field<u32> for HookEvents {
    fn put(&self) -> u32 {
        self.0
    }
    fn take(raw: u32, _field: &'static str) -> Result<Self, DecodeError> {
        Ok(Self(raw))
    }
}

fn check_request(request: &HookRequest) -> Result<(), DecodeError> {
    let HookRequest::Add { url, secret, .. } = request else { return Ok(()) };
    at_most(url.len(), limit::HOOK_URL_BYTES_MAX, "url")?;
    at_most(secret.len(), limit::HOOK_KEY_BYTES_MAX, "secret")
}
