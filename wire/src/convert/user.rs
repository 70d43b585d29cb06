//! `kith.log.v1`: changes of users and their rows.

use super::{
    Field, message, nested, proto,
    proto::log::v1::{self as log, debt::Debt as DebtKind, user_command::Change as ChangeKind},
    top, union, wrapper,
};
use bytes::Bytes;
use prost::Message as _;

use crate::{
    error::DecodeError,
    error::Why,
    log::{CredentialRow, Debt, EnterDevice, IssuedReset, OwedRow, UserChange},
};

top!(log: CredentialRow, OwedRow);

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
    ; holds
    ; empty Erase
});
wrapper!(Debt => log::Debt.debt);
nested!(Debt, log::Debt);
union!(Debt => DebtKind { ; holds Name });
message!(EnterDevice => log::EnterDevice { device, title, refresh });
message!(IssuedReset => log::IssueReset { code, until });
message!(CredentialRow => log::CredentialRow { password, password_rev, recovery, reset });
message!(OwedRow => log::OwedRow { version });
