//! Profiles: times at which other intervals hold, by cron in a named time zone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cronexpr::{Crontab, MakeTimestamp};

use crate::settings::{Error, Profile};

/// How far back the last firing is looked for, in seconds: not far first, since most fire often.
const LOOK_BACK: [i64; 6] = [7_200, 172_800, 777_600, 2_851_200, 34_560_000, 126_230_400];
/// Shorter intervals are no economy.
const SHORTEST: Duration = Duration::from_millis(100);
const NS_PER_SECOND: i64 = 1_000_000_000;

/// All profiles of a source.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    list: Vec<Compiled>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Compiled {
    from: Crontab,
    to: Crontab,
    intervals: BTreeMap<String, Duration>,
}

/// Which are active in these seconds since the Unix epoch.
#[derive(Debug, Default)]
struct Known {
    since: i64,
    until: i64,
    active: Vec<bool>,
}

// === impl Profiles ===

impl Profiles {
    /// Reads them.
    pub(crate) fn new(profiles: &[Profile]) -> Result<Profiles, Error> {
        let list = profiles.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Profiles { list, known: Mutex::default() })
    }

    /// The interval that holds for a class at this time, in nanoseconds since the Unix epoch; `None` where no active profile
    /// says one.
    pub(crate) fn interval(&self, class: &str, now: i64) -> Option<Duration> {
        if self.list.is_empty() {
            return None;
        }
        let now = now.div_euclid(NS_PER_SECOND);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if now < known.since || now >= known.until {
            *known = self.look(now);
        }
        let active = self.list.iter().zip(&known.active).rev().filter(|(_, is_active)| **is_active);
        active
            .map(|(profile, _)| profile)
            .find_map(|profile| profile.intervals.get(class).or_else(|| profile.intervals.get("*")).copied())
    }

    fn look(&self, now: i64) -> Known {
        let mut until = i64::MAX;
        let mut active = Vec::with_capacity(self.list.len());
        for profile in &self.list {
            active.push(last_firing(&profile.from, now) > last_firing(&profile.to, now));
            for next in [next_firing(&profile.from, now), next_firing(&profile.to, now)] {
                until = until.min(next.unwrap_or(i64::MAX));
            }
        }
        Known { since: now, until, active }
    }
}

fn compile(profile: &Profile) -> Result<Compiled, Error> {
    let wrong = |problem: String| Error::Profile { profile: profile.name.clone(), problem };
    let read = |what: &str, text: &str| {
        if text.split_whitespace().count() != 5 {
            return Err(wrong(format!("{what} {text:?} has not the five fields of cron")));
        }
        cronexpr::parse_crontab(&format!("{text} {}", profile.time_zone)).map_err(|error| {
            wrong(format!("{what} {text:?} in the time zone {:?}: {error}", profile.time_zone))
        })
    };
    if profile.time_zone.is_empty() || profile.time_zone.contains(char::is_whitespace) {
        return Err(wrong("time_zone must be a name such as Europe/Berlin or UTC".to_owned()));
    }
    if let Some((class, _)) = profile.intervals.iter().find(|(_, interval)| **interval < SHORTEST) {
        return Err(wrong(format!("the interval of {class:?} is shorter than {} ms", SHORTEST.as_millis())));
    }
    let (from, to) = (read("from", &profile.from)?, read("to", &profile.to)?);
    Ok(Compiled { from, to, intervals: profile.intervals.clone() })
}

/// When it fires next after this time; both in seconds since the Unix epoch.
fn next_firing(crontab: &Crontab, after: i64) -> Option<i64> {
    let after = MakeTimestamp::from_second(after).ok()?;
    Some(crontab.find_next(after).ok()?.timestamp().as_second())
}

/// When it fired last, at this time or before; both in seconds since the Unix epoch.
fn last_firing(crontab: &Crontab, now: i64) -> Option<i64> {
    for seconds in LOOK_BACK {
        let (mut last, mut at) = (None, now.saturating_sub(seconds));
        while let Some(next) = next_firing(crontab, at).filter(|next| *next <= now) {
            (last, at) = (Some(next), next);
        }
        if last.is_some() {
            return last;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(from: &str, to: &str, time_zone: &str, intervals: &[(&str, u64)]) -> Profile {
        let intervals = intervals
            .iter()
            .map(|(class, seconds)| ((*class).into(), Duration::from_secs(*seconds)))
            .collect();
        Profile { name: "p".into(), from: from.into(), to: to.into(), time_zone: time_zone.into(), intervals }
    }

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_second() * NS_PER_SECOND
    }

    #[test]
    fn a_profile_is_active_from_its_beginning_to_its_end_in_its_zone() {
        let night = profile("0 22 * * *", "0 6 * * *", "Asia/Seoul", &[("standard", 300)]);
        let weekend = profile("0 0 * * SAT", "0 0 * * MON", "Europe/Berlin", &[("*", 600), ("core", 60)]);
        let profiles = Profiles::new(&[night, weekend]).unwrap();
        let cases = [
            // A Wednesday; Seoul is nine hours ahead.
            ("2026-01-14T12:59:59Z", "standard", None),
            ("2026-01-14T13:00:00Z", "standard", Some(300)),
            ("2026-01-14T20:59:59Z", "standard", Some(300)),
            ("2026-01-14T21:00:00Z", "standard", None),
            ("2026-01-14T13:00:00Z", "core", None),
            // A Saturday in Berlin, an hour ahead: the later profile wins.
            ("2026-01-16T22:59:59Z", "core", None),
            ("2026-01-16T23:00:00Z", "core", Some(60)),
            ("2026-01-17T14:00:00Z", "standard", Some(600)),
            ("2026-01-18T22:59:59Z", "other", Some(600)),
            ("2026-01-18T23:00:00Z", "other", None),
        ];
        for (time, class, wanted) in cases {
            assert_eq!(
                profiles.interval(class, at(time)).map(|interval| interval.as_secs()),
                wanted,
                "{time} {class}"
            );
        }
        // Also when the clock goes back.
        assert_eq!(
            profiles.interval("standard", at(cases[1].0)).map(|interval| interval.as_secs()),
            Some(300)
        );
    }

    #[test]
    fn the_zone_changes_with_the_season() {
        let profiles =
            Profiles::new(&[profile("0 22 * * *", "0 6 * * *", "Europe/Berlin", &[("*", 300)])]).unwrap();
        for (time, wanted) in [("2026-07-01T20:30:00Z", true), ("2026-01-01T20:30:00Z", false)] {
            assert_eq!(profiles.interval("", at(time)).is_some(), wanted, "{time}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let bad = [
            profile("0 22 * *", "0 6 * * *", "UTC", &[]),
            profile("0 22 * * * UTC", "0 6 * * *", "UTC", &[]),
            profile("0 25 * * *", "0 6 * * *", "UTC", &[]),
            profile("0 22 * * *", "0 6 * * *", "Mars/Phobos", &[]),
            profile("0 22 * * *", "0 6 * * *", "", &[]),
            profile("0 22 * * *", "0 6 * * *", "UTC", &[("a", 0)]),
        ];
        for profile in bad {
            assert!(Profiles::new(std::slice::from_ref(&profile)).is_err(), "{profile:?}");
        }
    }
}
