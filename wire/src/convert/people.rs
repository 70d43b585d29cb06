//! `kith.client.v1`: accounts and people.

use super::{
    Field, at_most, message, nested, proto,
    proto::client::v1::{self as client, people_answer::Answer as AnswerKind, people_request::Ask as AskKind},
    union, wrapper,
};
use crate::{
    error::{DecodeError, Why},
    limit,
    people::{DeviceView, LoggedIn, PeopleAnswer, PeopleRequest},
    secret::Secret,
};

wrapper!(PeopleRequest => client::PeopleRequest.ask check check_request);
nested!(PeopleRequest, client::PeopleRequest);
union!(PeopleRequest => AskKind {
    SignUp: client::SignUp { name, password, key, nonce, title },
    LogIn: client::LogIn { name, password, nonce, title },
    Refresh: client::Refresh { token },
    ResetPassword: client::ResetPassword { name, code, password },
    EndDevice: client::EndDevice { device },
    ChangePassword: client::ChangePassword { old, new },
    NewRecoveryCode: client::NewRecoveryCode { password },
    Rename: client::Rename { name },
    DeleteAccount: client::DeleteAccount { password },
    ResetLink: client::ResetLink { name },
    SetAdmin: client::SetAdmin { name, admin },
    ; holds
    ; empty LogOut, Devices, EndOthers
});

wrapper!(PeopleAnswer => client::PeopleAnswer.answer check check_answer);
nested!(PeopleAnswer, client::PeopleAnswer);
union!(PeopleAnswer => AnswerKind {
    Code: client::SecretCode { code, until },
    ; holds LoggedIn, Devices
    ; empty Done
});
message!(LoggedIn => client::LoggedIn { user, name, device, access, access_until, refresh, recovery });
wrapper!(Vec<DeviceView> => client::Devices.devices);
message!(DeviceView => client::DeviceView { device, title, created, seen, current });

fn check_request(request: &PeopleRequest) -> Result<(), DecodeError> {
    match request {
        PeopleRequest::SignUp { name, password, title, .. } | PeopleRequest::LogIn { name, password, title, .. } => {
            check_name(name)?;
            check_secret(password, limit::PASSWORD_BYTES_MAX, "password")?;
            at_most(title.len(), limit::DEVICE_TITLE_BYTES_MAX, "title")
        }
        PeopleRequest::Refresh { token } => check_secret(token, limit::TOKEN_BYTES_MAX, "token"),
        PeopleRequest::ResetPassword { name, code, password } => {
            check_name(name)?;
            check_secret(code, limit::PASSWORD_BYTES_MAX, "code")?;
            check_secret(password, limit::PASSWORD_BYTES_MAX, "password")
        }
        PeopleRequest::ChangePassword { old, new } => {
            check_secret(old, limit::PASSWORD_BYTES_MAX, "old")?;
            check_secret(new, limit::PASSWORD_BYTES_MAX, "new")
        }
        PeopleRequest::NewRecoveryCode { password } | PeopleRequest::DeleteAccount { password } => {
            check_secret(password, limit::PASSWORD_BYTES_MAX, "password")
        }
        PeopleRequest::Rename { name } | PeopleRequest::ResetLink { name } | PeopleRequest::SetAdmin { name, .. } => check_name(name),
        PeopleRequest::LogOut | PeopleRequest::Devices | PeopleRequest::EndDevice { .. } | PeopleRequest::EndOthers => Ok(()),
    }
}

fn check_answer(answer: &PeopleAnswer) -> Result<(), DecodeError> {
    match answer {
        PeopleAnswer::Devices(devices) => at_most(devices.len(), limit::DEVICES_MAX, "devices"),
        PeopleAnswer::LoggedIn(_) | PeopleAnswer::Done | PeopleAnswer::Code { .. } => Ok(()),
    }
}

/// A name as a person wrote it may be longer than what it is folded to, but not by much.
fn check_name(name: &str) -> Result<(), DecodeError> {
    if name.is_empty() {
        return Err(DecodeError::field("name", Why::Missing));
    }
    at_most(name.len(), 4 * limit::NAME_BYTES_MAX, "name")
}

fn check_secret(secret: &Secret, bytes_max: usize, field: &'static str) -> Result<(), DecodeError> {
    at_most(secret.len(), bytes_max, field)
}
