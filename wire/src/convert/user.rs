//! `kith.log.v1`: changes of users and their rows.

use super::{
    Field, message, nested, proto,
    proto::log::v1::{self as log, debt::Debt as DebtKind, preference::Preference as PreferenceKind, user_command::Change as ChangeKind},
    top, union, well_formed, wrapper,
};
use bytes::Bytes;
use prost::Message as _;

use crate::{
    error::DecodeError,
    error::Why,
    id::Seq,
    log::{
        ContactRow, CredentialRow, Debt, EnterDevice, IssuedReset, MailedReset, OwedRow, Position, Preference, PreferencesRow, ProfileField,
        ProfileRow, SavedDraft, UserChange, WordRow,
    },
};

top!(log: CredentialRow, OwedRow, ProfileRow, ContactRow, WordRow);

union!(UserChange => ChangeKind {
    SignUp: log::SignUp { name, key, password, recovery, enter },
    LogIn: log::LogIn { password_rev, enter },
    Refresh: log::Refresh { device, shown, next },
    EndDevices: log::EndDevices { devices, all_others },
    SetPassword: log::SetPassword { password_rev, password, keep },
    SetRecovery: log::SetRecovery { password_rev, recovery },
    IssueReset: log::IssueReset { code, until },
    ResetPassword: log::ResetPassword { shown, password, recovery },
    Rename: log::Rename { name, renames },
    SettleName: log::SettleName { name },
    SetAdmin: log::SetAdmin { admin },
    Paid: log::Paid { debt, version },
    Prefer: log::Prefer { channel, preference },
    SetProfile: log::SetProfile { display, about, avatar, searchable, fields },
    AskContact: log::AskContact { peer, asked },
    MirrorContact: log::MirrorContact { peer, asked, version },
    Block: log::Block { peer, blocked },
    Indexed: log::Indexed { version, words },
    SignUpBot: log::SignUpBot { name, key, owner, enter },
    BotToken: log::BotToken { by, enter },
    EraseBot: log::EraseBot { by },
    OwnBot: log::OwnBot { bot, owned },
    Erase: log::Erase { password_rev },
    Forget: log::ForgetChannels { channels },
    SetBanned: log::SetBanned { banned },
    AskReset: log::AskReset { nonce, code, until },
    Keyed: log::KeyedChange { key, digest, change },
    SetPrivate: log::SetPrivate { private },
    Seen: log::Seen { here, at },
    ; holds Push
});
wrapper!(Debt => log::Debt.debt);
nested!(Debt, log::Debt);
union!(Debt => DebtKind { ; holds Name, Contact, Bot ; empty Search, Texts, Reset });
message!(EnterDevice => log::EnterDevice { device, title, refresh });
message!(IssuedReset => log::IssueReset { code, until });
message!(CredentialRow => log::CredentialRow { password, password_rev, recovery, reset, mailed, owner, bots });
message!(MailedReset => log::MailedReset { nonce, code, until, asked, since, asks });
message!(OwedRow => log::OwedRow { version });
wrapper!(Preference => log::Preference.preference);
nested!(Preference, log::Preference);
union!(Preference => PreferenceKind {
    Mute: log::MuteUntil { until },
    Archive: log::ArchiveTo { seen },
    Clear: log::ClearTo { seq, cnt },
    ; holds Pin, Draft
});
message!(SavedDraft => log::SavedDraft { text, reply_to, at });
message!(ProfileField => log::ProfileField { key, value });
message!(ProfileRow => log::ProfileRow { display, about, avatar, hidden, fields, words, version });
message!(ContactRow => log::ContactRow { mine, theirs, theirs_version, blocked, since, declined });
message!(WordRow => log::WordRow { version });

/// By itself, as bytes: a change under a key holds one that is under none.
impl Field<Bytes> for Box<UserChange> {
    fn put(&self) -> Bytes {
        let inner = log::UserCommand { user: 0, change: Field::put(&**self) };
        Bytes::from(inner.encode_to_vec())
    }
    fn take(raw: Bytes, field: &'static str) -> Result<Self, DecodeError> {
        let raw = log::UserCommand::decode(raw).map_err(|source| DecodeError::Malformed { message: "UserCommand", source })?;
        well_formed(!matches!(raw.change, Some(ChangeKind::Keyed(_))), field)?;
        Field::take(raw.change, field).map(Self::new)
    }
}

/// Most conversations have none: nothing is written then, as before there were any.
impl Field<Option<log::PreferencesRow>> for PreferencesRow {
    fn put(&self) -> Option<log::PreferencesRow> {
        (*self != Self::default()).then(|| log::PreferencesRow {
            pinned: Field::put(&self.pinned),
            muted: Field::put(&self.muted),
            archived: Field::put(&self.archived),
            draft: Field::put(&self.draft),
            cleared_seq: Field::put(&self.cleared.seq),
            cleared_cnt: self.cleared.cnt,
        })
    }
    fn take(raw: Option<log::PreferencesRow>, _field: &'static str) -> Result<Self, DecodeError> {
        let Some(raw) = raw else { return Ok(Self::default()) };
        Ok(Self {
            pinned: Field::take(raw.pinned, "pinned")?,
            muted: Field::take(raw.muted, "muted")?,
            archived: Field::take(raw.archived, "archived")?,
            draft: Field::take(raw.draft, "draft")?,
            cleared: Position { seq: Seq::new(raw.cleared_seq), cnt: raw.cleared_cnt },
        })
    }
}
