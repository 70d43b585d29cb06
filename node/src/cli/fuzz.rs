//! What is typed on a command line and read by code of ours, for the fuzz targets.

use kith_client::wire::{
    admin::{AdminRole, AdminSecret},
    trust::{JoinTicket, TokenId},
};

use super::{access, device, join, make, push, shown, start, webhook};

/// Reads a text as all that it may stand for. `Err`: what was read and printed is not what is read then.
pub(crate) fn texts(text: &str) -> Result<(), &'static str> {
    if let Ok((key, value)) = start::parse_override(text)
        && start::parse_override(&format!("{key}={value}")).ok() != Some((key, value))
    {
        return Err("an override");
    }
    if let Some(bytes) = device::unhex(text)
        && !device::hex(&bytes).eq_ignore_ascii_case(text)
    {
        return Err("hexadecimal digits");
    }
    if let Ok(id) = webhook::id_of(text)
        && !webhook::id_text(id).eq_ignore_ascii_case(text)
    {
        return Err("a webhook");
    }
    if push::parse_hours(text).is_ok_and(|hours| !hours.is_valid()) {
        return Err("quiet hours");
    }
    if join::parse_ttl(text).is_ok_and(|seconds| join::parse_ttl(&format!("{seconds}s")) != Ok(seconds)) {
        return Err("a time");
    }
    if access::parse_ttl(text).is_ok_and(|seconds| access::parse_ttl(&format!("{seconds}s")) != Ok(seconds)) {
        return Err("a longer time");
    }
    if let Ok(role) = text.parse::<AdminRole>()
        && role.name() != text
    {
        return Err("a role");
    }
    if let Ok(secret) = text.parse::<AdminSecret>()
        && secret.text().reveal() != text.trim()
    {
        return Err("an admin token");
    }
    if let Ok(ticket) = text.parse::<JoinTicket>()
        && ticket.text().reveal().parse::<JoinTicket>() != Ok(ticket)
    {
        return Err("a join token");
    }
    if let Ok(id) = text.parse::<TokenId>()
        && !id.to_string().eq_ignore_ascii_case(text)
    {
        return Err("id of a token");
    }
    if make::node(text).is_some_and(|(id, _)| id == 0) {
        return Err("a node");
    }
    let stem = device::file_stem(text);
    if stem.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'_' && byte != b'%') {
        return Err("a file's name");
    }
    Ok(())
}

/// A text of others, as it is shown.
pub(crate) fn shown(text: &str) -> String {
    shown::shown(text).into_owned()
}
