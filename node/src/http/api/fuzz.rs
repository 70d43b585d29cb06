//! What a request, or another node, says in text that code of ours reads, for the fuzz targets: each is read, printed and read again.

use super::{
    cursor::{HistoryCursor, IndexCursor},
    extract::{self, Place},
    number,
    routes::{accounts, cluster, export, groups},
};

/// Reads a text as all that it may stand for in a request. `Err`: what was read and printed is not what is read then.
pub(crate) fn texts(text: &str) -> Result<(), &'static str> {
    again::<IndexCursor>(text).ok_or("the cursor of an index")?;
    again::<HistoryCursor>(text).ok_or("the cursor of a history")?;
    again::<export::At>(text).ok_or("the cursor of an export")?;
    if let Ok(device) = accounts::parse_device(text)
        && !accounts::device_text(device).eq_ignore_ascii_case(text)
    {
        return Err("a device");
    }
    if let Ok(link) = groups::link(text)
        && groups::link(&link.to_string()).ok() != Some(link)
    {
        return Err("a link");
    }
    if let Ok(measured) = cluster::parse_measured(text)
        && cluster::parse_measured(&cluster::measured_text(&measured)).ok() != Some(measured)
    {
        return Err("distances");
    }
    let is_whole = |number: u64| number <= number::MAX;
    let mut json = serde_json::Deserializer::from_str(text);
    if !number::any(&mut json).map_or(true, is_whole) {
        return Err("a number");
    }
    let mut json = serde_json::Deserializer::from_str(text);
    if !number::maybe_from_one(&mut json).ok().flatten().is_none_or(|number| number > 0 && is_whole(number)) {
        return Err("a number from 1 on");
    }
    // These print nothing.
    let _ = crate::service::vitals::parse_sample(text);
    let _ = (text.parse::<Place>(), extract::bearer(text), extract::is_json(text), extract::user(text));
    Ok(())
}

fn again<T: std::str::FromStr + std::fmt::Display + PartialEq>(text: &str) -> Option<()> {
    let Ok(value) = text.parse::<T>() else { return Some(()) };
    value.to_string().parse::<T>().is_ok_and(|read| read == value).then_some(())
}
