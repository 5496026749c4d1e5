//! When something holds: times by cron, time zones, classes of targets.

use super::{Format, Name};
use crate::error::Complaint;
use crate::suggest;
use crate::text::quoted;

/// Times, as five fields of cron.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CronTime(pub String);

/// The name of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZoneName(pub String);

/// The name of a class of targets, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassKey(pub String);

const FIELDS: usize = 5;

impl Format for CronTime {
    const NAME: &'static str = "CronTime";
    const DESCRIPTION: &'static str =
        "Times by cron: minute, hour, day of month, month, day of week, such as `0 22 * * 1-5`.";
    const PATTERN: Option<&'static str> = Some("^\\s*(\\S+\\s+){4}\\S+\\s*$");
    const EXPECTED: &'static str = "times by cron such as \"0 22 * * *\"";

    fn parse(text: &str) -> Result<CronTime, Complaint> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if fields.len() != FIELDS {
            let message = format!("expected {}, found {}", CronTime::EXPECTED, quoted(text));
            let help = "give minute, hour, day of month, month and day of week; the zone stands in time_zone";
            return Err(Complaint::new(message).help(help));
        }
        let expression = fields.join(" ");
        let parsed = cronexpr::parse_crontab(&format!("{expression} UTC"));
        let crontab = parsed.map_err(|error| {
            // The error draws the expression over several lines; the reason stands in the last one.
            let drawn = error.to_string();
            let reason = drawn.lines().last().unwrap_or_default().trim_matches(['^', ' ']);
            Complaint::new(format!("{} is not a time by cron: {reason}", quoted(text)))
        })?;
        // The 30th of February comes never.
        let start = cronexpr::MakeTimestamp::from_second(0);
        if start.and_then(|start| crontab.find_next(start)).is_err() {
            return Err(Complaint::new(format!("the time {} never comes", quoted(text))));
        }
        Ok(CronTime(expression))
    }
}

impl Format for ZoneName {
    const NAME: &'static str = "TimeZone";
    const DESCRIPTION: &'static str = "A time zone of the IANA database, such as `Asia/Seoul` or `UTC`.";
    const EXPECTED: &'static str = "a time zone such as Asia/Seoul";

    fn parse(text: &str) -> Result<ZoneName, Complaint> {
        let zones = jiff::tz::db();
        if let Ok(zone) = zones.get(text)
            && let Some(name) = zone.iana_name()
        {
            return Ok(ZoneName(name.to_owned()));
        }
        let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
        let meant = suggest::closest(text, names.iter().map(String::as_str)).or_else(|| {
            // `Seoul` is the end of a name.
            let is_end = |name: &&String| {
                name.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(text))
            };
            names.iter().find(is_end).map(String::as_str)
        });
        let complaint = Complaint::new(format!("no time zone is called {}", quoted(text)));
        Err(match meant {
            Some(meant) => complaint.help(format!("did you mean {}?", quoted(meant))),
            None => complaint.help("write it as the IANA database does: Asia/Seoul, Europe/Berlin, UTC"),
        })
    }
}

impl Format for ClassKey {
    const NAME: &'static str = "ClassKey";
    const DESCRIPTION: &'static str = "The name of a class of targets, or `*` for all.";
    const PATTERN: Option<&'static str> = Some("^(\\*|[a-z0-9][a-z0-9_-]{0,62})$");
    const EXPECTED: &'static str = "the name of a class such as standard";

    fn parse(text: &str) -> Result<ClassKey, Complaint> {
        match text {
            "*" => Ok(ClassKey(text.to_owned())),
            _ => Name::parse(text).map(|name| ClassKey(name.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_five_fields() {
        for (text, expected) in [("0 22 * * *", "0 22 * * *"), (" 0  6 * *  MON-FRI ", "0 6 * * MON-FRI")] {
            assert_eq!(CronTime::parse(text), Ok(CronTime(expected.to_owned())));
        }
        for bad in ["", "0 22 * *", "0 22 * * * UTC", "60 1 * * *", "x", "@daily", "H 1 * * *", "0 0 30 2 *"]
        {
            assert!(CronTime::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zones_are_known_wherever_the_agent_runs() {
        assert!(!jiff::tz::TimeZoneDatabase::bundled().is_definitively_empty());
        for good in ["Asia/Seoul", "UTC", "Europe/Berlin"] {
            assert_eq!(ZoneName::parse(good), Ok(ZoneName(good.to_owned())));
            assert!(jiff::tz::TimeZoneDatabase::bundled().get(good).is_ok());
        }
        let help = |text| ZoneName::parse(text).unwrap_err().help.unwrap();
        assert_eq!(help("Asia/Soul"), r#"did you mean "Asia/Seoul"?"#);
        assert_eq!(help("Seoul"), r#"did you mean "Asia/Seoul"?"#);
        assert!(help("").starts_with("write it"));
    }
}
