//! `kith.client.v1`: accounts and people.

use super::{
    Field, at_most, message, nested, numbered, proto,
    proto::{
        client::v1::{self as client, people_answer::Answer as AnswerKind, people_request::Ask as AskKind},
        log::v1 as log,
    },
    union, well_formed, wrapper,
};
use crate::{
    client::UserView,
    error::{DecodeError, Why},
    limit,
    log::{Preference, ProfileField},
    people::{ContactState, ContactView, DeviceView, LoggedIn, PeopleAnswer, PeopleRequest, ProfileView},
    secret::Secret,
};

wrapper!(PeopleRequest => client::PeopleRequest.ask check check_request);
nested!(PeopleRequest, client::PeopleRequest);
union!(PeopleRequest => AskKind {
    SignUp: client::SignUp { name, password, key, nonce, title },
    LogIn: client::LogIn { name, password, nonce, title },
    LogInWith: client::LogInWith { token, nonce, title },
    Refresh: client::Refresh { token, nonce },
    ResetPassword: client::ResetPassword { name, code, password },
    EndDevice: client::EndDevice { device },
    ChangePassword: client::ChangePassword { old, new },
    NewRecoveryCode: client::NewRecoveryCode { password },
    Rename: client::Rename { name },
    DeleteAccount: client::DeleteAccount { password },
    ResetLink: client::ResetLink { name },
    AskReset: client::AskReset { name },
    SetAdmin: client::SetAdmin { name, admin },
    Prefer: log::Prefer { channel, preference },
    SetProfile: log::SetProfile { display, about, avatar, searchable, fields },
    GetProfiles: client::GetProfiles { users },
    AskContact: log::AskContact { peer, asked },
    Block: log::Block { peer, blocked },
    Contacts: client::Contacts { after },
    Search: client::SearchUsers { prefix },
    MakeBot: client::MakeBot { name, key },
    BotToken: client::BotAsked { bot },
    EndBotToken: client::BotAsked { bot },
    DeleteBot: client::BotAsked { bot },
    ; holds
    ; empty LogOut, Devices, EndOthers, Bots
});

wrapper!(PeopleAnswer => client::PeopleAnswer.answer check check_answer);
nested!(PeopleAnswer, client::PeopleAnswer);
union!(PeopleAnswer => AnswerKind {
    Code: client::SecretCode { code, until },
    Contacts: client::ContactList { contacts, more },
    Bot: client::BotView { user, name, token },
    ; holds LoggedIn, Devices, Profiles, Bots
    ; empty Done
});
message!(LoggedIn => client::LoggedIn { user, name, device, access, access_until, refresh, recovery });
wrapper!(Vec<DeviceView> => client::Devices.devices);
wrapper!(Vec<UserView> => client::OwnBots.bots);
message!(UserView => client::OwnBotView { user, name });
message!(DeviceView => client::DeviceView { device, title, created, seen, current });

wrapper!(Vec<ProfileView> => client::Profiles.profiles);
message!(ProfileView => client::ProfileView { user, name, display, about, avatar, fields });
message!(ContactView => client::ContactView { user, name, display, state, since });
numbered!(ContactState => client::ContactState { Mutual, Asked, Asking, Blocked });

fn check_request(request: &PeopleRequest) -> Result<(), DecodeError> {
    match request {
        PeopleRequest::SignUp { name, password, title, .. } | PeopleRequest::LogIn { name, password, title, .. } => {
            check_name(name)?;
            check_secret(password, limit::PASSWORD_BYTES_MAX, "password")?;
            at_most(title.len(), limit::DEVICE_TITLE_BYTES_MAX, "title")
        }
        PeopleRequest::LogInWith { token, title, .. } => {
            check_secret(token, limit::TOKEN_BYTES_MAX, "token")?;
            at_most(title.len(), limit::DEVICE_TITLE_BYTES_MAX, "title")
        }
        PeopleRequest::Refresh { token, .. } => check_secret(token, limit::TOKEN_BYTES_MAX, "token"),
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
        PeopleRequest::Rename { name }
        | PeopleRequest::ResetLink { name }
        | PeopleRequest::AskReset { name }
        | PeopleRequest::SetAdmin { name, .. }
        | PeopleRequest::MakeBot { name, .. } => check_name(name),
        PeopleRequest::Prefer { preference: Preference::Draft(draft), .. } => {
            at_most(draft.text.chars().count(), limit::DRAFT_CHARS_MAX, "text").map_err(|error| error.within("SavedDraft"))
        }
        PeopleRequest::SetProfile { display, about, avatar, fields, .. } => {
            let chars = |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count());
            at_most(chars(display), limit::DISPLAY_CHARS_MAX, "display")?;
            at_most(chars(about), limit::PROFILE_ABOUT_CHARS_MAX, "about")?;
            at_most(avatar.as_ref().map_or(0, String::len), limit::AVATAR_BYTES_MAX, "avatar")?;
            at_most(fields.len(), limit::PROFILE_FIELDS_MAX, "fields")?;
            fields.iter().try_for_each(check_field)
        }
        PeopleRequest::GetProfiles { users } => at_most(users.len(), limit::USERS_PER_REQUEST, "users"),
        PeopleRequest::Search { prefix } => check_name(prefix),
        PeopleRequest::LogOut
        | PeopleRequest::Devices
        | PeopleRequest::EndDevice { .. }
        | PeopleRequest::EndOthers
        | PeopleRequest::Prefer { .. }
        | PeopleRequest::AskContact { .. }
        | PeopleRequest::Block { .. }
        | PeopleRequest::BotToken { .. }
        | PeopleRequest::EndBotToken { .. }
        | PeopleRequest::DeleteBot { .. }
        | PeopleRequest::Bots
        | PeopleRequest::Contacts { .. } => Ok(()),
    }
}

fn check_answer(answer: &PeopleAnswer) -> Result<(), DecodeError> {
    match answer {
        PeopleAnswer::Devices(devices) => at_most(devices.len(), limit::DEVICES_MAX, "devices"),
        PeopleAnswer::Profiles(profiles) => at_most(profiles.len(), limit::USERS_PER_REQUEST, "profiles"),
        PeopleAnswer::Contacts { contacts, .. } => at_most(contacts.len(), limit::CONTACTS_PER_PAGE, "contacts"),
        PeopleAnswer::Bots(bots) => at_most(bots.len(), limit::BOTS_MAX, "bots"),
        PeopleAnswer::LoggedIn(_) | PeopleAnswer::Done | PeopleAnswer::Code { .. } | PeopleAnswer::Bot { .. } => Ok(()),
    }
}

fn check_field(field: &ProfileField) -> Result<(), DecodeError> {
    well_formed(!field.key.is_empty(), "key")?;
    at_most(field.key.len(), limit::PROFILE_KEY_BYTES_MAX, "key")?;
    at_most(field.value.chars().count(), limit::PROFILE_VALUE_CHARS_MAX, "value")
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
