//! Times as a person reads them, in the zone of the machine.
//!
//! In: the server's times, and what is now. Out: short texts. Not here: any clock: `now` always comes from outside.

use jiff::{Zoned, tz::TimeZone};
use kith_client::wire::id::Timestamp;

/// How times are shown.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// That of this machine.
    pub fn of_machine() -> Self {
        Self(TimeZone::system())
    }
    /// Of nowhere in particular.
    pub const fn utc() -> Self {
        Self(TimeZone::UTC)
    }
    fn at(&self, time: Timestamp) -> Option<Zoned> {
        let ms = i64::try_from(time.get()).ok()?;
        Some(jiff::Timestamp::from_millisecond(ms).ok()?.to_zoned(self.0.clone()))
    }
    /// `10:32`.
    pub(crate) fn clock(&self, time: Timestamp) -> String {
        self.at(time).map_or_else(String::new, |at| at.strftime("%H:%M").to_string())
    }
    /// A number that is the same for two times of one day only.
    pub(crate) fn day(&self, time: Timestamp) -> i64 {
        self.at(time).map_or(0, |at| i64::from(at.year()) * 400 + i64::from(at.day_of_year()))
    }
    /// `Today`, `Yesterday`, or the date.
    pub(crate) fn day_name(&self, time: Timestamp, now: Timestamp) -> String {
        const DAY_MS: u64 = 24 * 3_600_000;
        match self.day(time) {
            day if day == self.day(now) => "Today".to_owned(),
            day if day == self.day(Timestamp::new(now.get().saturating_sub(DAY_MS))) => "Yesterday".to_owned(),
            _ => self.at(time).map_or_else(String::new, |at| at.strftime("%A, %-d %B %Y").to_string()),
        }
    }
    /// For a list: the time of day if it was today, else the date.
    pub(crate) fn short(&self, time: Timestamp, now: Timestamp) -> String {
        if time.get() == 0 {
            return String::new();
        }
        if self.day(time) == self.day(now) {
            return self.clock(time);
        }
        self.at(time).map_or_else(String::new, |at| at.strftime("%-d %b %Y").to_string())
    }
    /// When a day begins that is written like `2026-11-22`.
    pub(crate) fn parse_day(&self, text: &str) -> Option<Timestamp> {
        let day: jiff::civil::Date = text.parse().ok()?;
        let begins = day.to_zoned(self.0.clone()).ok()?.timestamp().as_millisecond();
        u64::try_from(begins).ok().map(Timestamp::new)
    }
    /// Date and time.
    pub(crate) fn full(&self, time: Timestamp) -> String {
        self.at(time).map_or_else(String::new, |at| at.strftime("%-d %b %Y %H:%M").to_string())
    }
}

/// `2 h`, `5 min`, `30 s`: the largest unit that divides well enough.
pub(crate) fn span(ms: u64) -> String {
    match ms / 1_000 {
        s if s >= 48 * 3_600 => format!("{} days", s / 86_400),
        s if s >= 3_600 && s % 3_600 == 0 => format!("{} h", s / 3_600),
        s if s >= 3_600 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        s if s >= 60 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// A span as a person types it: `30s`, `10m`, `2h`, `7d`, or `0`. `None`: it is none.
pub(crate) fn parse_span(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "0" {
        return Some(0);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let ms = match unit.trim() {
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_names_and_spans_are_read_as_they_are_typed() {
        let zone = Zone::utc();
        let now = Timestamp::new(1_795_345_200_000);
        assert_eq!(zone.full(now), "22 Nov 2026 11:00");
        assert_eq!(zone.day_name(now, now), "Today");
        assert_eq!(zone.day_name(Timestamp::new(now.get() - 12 * 3_600_000), now), "Yesterday");
        assert_eq!(zone.day_name(Timestamp::new(now.get() - 72 * 3_600_000), now), "Thursday, 19 November 2026");
        assert_eq!(zone.short(Timestamp::new(0), now), "");
        assert_eq!(zone.full(Timestamp::new(u64::MAX)), "", "a time that no calendar has");
        for (text, ms) in [("0", Some(0)), ("30s", Some(30_000)), ("10 m", Some(600_000)), ("7d", Some(604_800_000)), ("x", None), ("5", None)] {
            assert_eq!(parse_span(text), ms, "{text}");
        }
        assert_eq!(parse_span("99999999999999999999d"), None);
        assert_eq!((span(7_200_000).as_str(), span(90_000).as_str()), ("2 h", "1 min"));
    }
}
