//! Times as people write them on a command line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_event::time::parse_rfc3339;

/// What stands behind a date, an hour or a minute to make it a time stamp.
const ENDINGS: [&str; 4] = ["T00:00:00Z", ":00:00Z", ":00Z", "Z"];

/// A time, and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// As it was written.
    pub text: String,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
}

// === impl When ===

impl When {
    /// Reads a time stamp of RFC 3339, a date or an hour in UTC, `now`, or a duration for so long ago.
    pub fn parse(text: &str) -> Result<When, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        When::parse_at(text, i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
    }

    fn parse_at(text: &str, now: i64) -> Result<When, String> {
        let when = |time| Ok(When { text: text.to_owned(), time });
        if text == "now" {
            return when(now);
        }
        if let Some(time) = parse_rfc3339(text.as_bytes()) {
            return when(time);
        }
        // A date has ten characters, which tell it from a duration.
        if text.len() >= 10
            && let Some(time) =
                ENDINGS.iter().find_map(|ending| parse_rfc3339(format!("{text}{ending}").as_bytes()))
        {
            return when(time);
        }
        match days(text).map_or_else(|| weir_config::parse_duration(text), Ok) {
            Ok(ago) => when(now.saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX))),
            Err(_) => Err("expected a time such as 2026-11-23T14:05:00Z, 2026-11-23T14 or 2026-11-23, or so long ago, such as 2h".to_owned()),
        }
    }
}

/// `7d`, which a configuration has no use for.
fn days(text: &str) -> Option<Duration> {
    let days: u32 = text.strip_suffix('d')?.parse().ok()?;
    Some(Duration::from_secs(u64::from(days) * 24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        const HOUR: i64 = 3_600_000_000_000;
        let now = 1_700_000_000_000_000_000;
        let cases = [
            ("2023-11-14T22:13:20Z", now),
            ("2023-11-14T23:13:20+01:00", now),
            ("2023-11-14", 1_699_920_000_000_000_000),
            ("2023-11-14T22", 1_699_999_200_000_000_000),
            ("2023-11-14T22:13", 1_699_999_980_000_000_000),
            ("2023-11-14T22:13:20", now),
            ("now", now),
            ("2h", now - 2 * HOUR),
            ("1d", now - 24 * HOUR),
        ];
        for (text, expected) in cases {
            assert_eq!(When::parse_at(text, now).map(|when| when.time), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "2h ago", "2023-13-01", "2023-11-14T25", "2023", "-2h", "2 h"] {
            assert!(When::parse_at(text, now).is_err(), "{text}");
        }
    }
}
