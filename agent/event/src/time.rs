//! Time stamps of RFC 3339, read and written to the nanosecond, without allocation.
//!
//! Times are nanoseconds since the Unix epoch in UTC, as `i64`. The log lines of one stream come in order,
//! many of them within a minute: [`Rfc3339Reader`] and [`Rfc3339Writer`] remember the last minute, so that
//! only its seconds and their fraction are looked at again.

#[cfg(test)]
mod tests;

const NS_PER_SECOND: i64 = 1_000_000_000;
const NS_PER_MINUTE: i64 = 60 * NS_PER_SECOND;
/// By the number of digits of a fraction, what its last digit counts. A fraction has at least one.
const NS_PER_UNIT: [i64; 10] = [0, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
/// Length of `2026-11-22T10:00`, the part that names a minute.
const MINUTE_LEN: usize = 16;
/// Length of what [`write_rfc3339`] writes.
pub const RFC3339_LEN: usize = 30;
const EPOCH: &[u8; RFC3339_LEN] = b"1970-01-01T00:00:00.000000000Z";
/// Years whose every day, at any offset, fits into an `i64` of nanoseconds.
const YEARS: std::ops::RangeInclusive<u32> = 1678..=2261;
/// Days from 0000-03-01 to 1970-01-01. Counted from a first of March, a leap day is the last of its year.
const EPOCH_DAYS: u32 = 719_468;

/// Reads one time stamp: a date, `T` or a space, a time, a fraction of any length or none, and `Z` or an
/// offset such as `+02:00`; nothing before or behind it. See [`Rfc3339Reader::read`].
pub fn parse_rfc3339(bytes: &[u8]) -> Option<i64> {
    Rfc3339Reader::default().read(bytes)
}

/// How far the time in a field may lie before the record's own, and how far behind it.
const FIELD_WINDOW: (i64, i64) = (7 * 24 * 60 * NS_PER_MINUTE, 60 * NS_PER_MINUTE);

/// The time that an event's own field says: a time stamp of RFC 3339, or a Unix time in seconds, milliseconds,
/// microseconds or nanoseconds, told apart by its digits (11, 14 and 17 at the most before any fraction). `None` for
/// what is neither, and for a time more than 7 days before or an hour behind `record`, the time of the record itself:
/// a clock that is wrong must not choose the index.
pub fn of_field(text: &[u8], record: i64) -> Option<i64> {
    let time = parse_rfc3339(text).or_else(|| parse_unix(text))?;
    let (before, behind) = FIELD_WINDOW;
    (record.saturating_sub(before)..=record.saturating_add(behind)).contains(&time).then_some(time)
}

/// A number without sign and exponent.
fn parse_unix(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let places = match whole.len() {
        ..=11 => 9,
        12..=14 => 6,
        15..=17 => 3,
        _ => 0,
    };
    let mut time = whole.parse::<i64>().ok()?;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(places);
    for digit in digits {
        time = time.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(time)
}

/// Appends a time as `2026-11-22T10:00:00.000000000Z`: always in UTC, always nine digits of fraction.
pub fn write_rfc3339(out: &mut Vec<u8>, ns: i64) {
    out.extend_from_slice(EPOCH);
    if let Some(text) = out.last_chunk_mut() {
        let minute = ns.div_euclid(NS_PER_MINUTE);
        set_minute(text, minute);
        set_seconds(text, ns_within(ns, minute));
    }
}

/// Reads time stamps, fastest where they follow each other within a minute.
#[derive(Clone, Debug)]
pub struct Rfc3339Reader {
    /// The last minute read, as its text, with whatever offset came behind it.
    text: [u8; MINUTE_LEN],
    /// The same minute, as if it were in UTC.
    ns: i64,
}

impl Default for Rfc3339Reader {
    fn default() -> Rfc3339Reader {
        Rfc3339Reader { text: *b"1970-01-01T00:00", ns: 0 }
    }
}

impl Rfc3339Reader {
    /// Nanoseconds since the Unix epoch, or `None` for what is no time stamp or lies outside the years 1678
    /// to 2261. Digits beyond the ninth of the fraction are cut. A leap second (`:60`) is the last nanosecond
    /// of its minute. `T` and `Z` may be written small.
    #[inline]
    pub fn read(&mut self, bytes: &[u8]) -> Option<i64> {
        let (minute, rest) = bytes.split_first_chunk::<MINUTE_LEN>()?;
        if *minute != self.text {
            self.ns = minute_ns(minute)?;
            self.text = *minute;
        }
        let within = match rest.first_chunk::<14>().and_then(full_seconds_ns) {
            Some(ns) if rest.len() == 14 => ns,
            _ => seconds_ns(rest)?,
        };
        Some(self.ns + within)
    }
}

/// The usual end of a stamp, `:00.123456789Z`, in nanoseconds. `None` sends everything else to
/// [`seconds_ns`].
#[inline]
fn full_seconds_ns(text: &[u8; 14]) -> Option<i64> {
    let [b':', tens, ones, b'.', a, b, c, d, e, f, g, h, ninth, b'Z'] = *text else {
        return None;
    };
    let (tens, ones, ninth) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'), ninth.wrapping_sub(b'0'));
    if tens > 5 || ones > 9 || ninth > 9 {
        return None;
    }
    let fraction = eight_digits([a, b, c, d, e, f, g, h])? * 10 + i64::from(ninth);
    Some(i64::from(tens * 10 + ones) * NS_PER_SECOND + fraction)
}

/// The number that eight decimal digits make, all at once: the bytes become four pairs, two fours and one
/// eight.
#[inline]
fn eight_digits(digits: [u8; 8]) -> Option<i64> {
    let text = u64::from_le_bytes(digits);
    let values = text.wrapping_sub(0x3030_3030_3030_3030);
    // The high bit of a byte tells, on the left, that it lies below '0', and on the right, above '9'.
    if (values | text.wrapping_add(0x4646_4646_4646_4646)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let left = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let right = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    Some((left.wrapping_add(right) >> 32) as i64)
}

/// What lies behind the minute, in full: `:SS`, a fraction or none, and the zone; less the zone's offset.
#[inline(never)]
fn seconds_ns(text: &[u8]) -> Option<i64> {
    let [b':', tens, ones, rest @ ..] = text else { return None };
    let second = two_digits(*tens, *ones)?;
    let (fraction, zone) = fraction_ns(rest)?;
    let within = match second {
        0..60 => i64::from(second) * NS_PER_SECOND + fraction,
        60 => NS_PER_MINUTE - 1,
        _ => return None,
    };
    Some(within - offset_ns(zone)?)
}

/// The fraction in nanoseconds, and what follows it.
fn fraction_ns(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', digits @ ..] = text else { return Some((0, text)) };
    let (mut number, mut count, mut rest) = (0, 0, digits);
    if let Some((chunk, behind)) = digits.split_first_chunk::<8>()
        && let Some(eight) = eight_digits(*chunk)
    {
        (number, count, rest) = (eight, 8, behind);
    }
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        if count < 9 {
            number = number * 10 + i64::from(digit - b'0');
            count += 1;
        }
        rest = behind;
    }
    let unit = NS_PER_UNIT.get(count).filter(|_| count > 0)?;
    Some((number * unit, rest))
}

/// How far local time is ahead of UTC.
fn offset_ns(zone: &[u8]) -> Option<i64> {
    let [sign, h1, h2, b':', m1, m2] = *zone else {
        return matches!(zone, b"Z" | b"z").then_some(0);
    };
    let (hours, minutes) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ns = i64::from(hours * 60 + minutes) * NS_PER_MINUTE;
    match sign {
        b'+' => Some(ns),
        b'-' => Some(-ns),
        _ => None,
    }
}

/// A minute such as `2026-11-22T10:00`, read as UTC.
#[inline(never)]
fn minute_ns(text: &[u8; MINUTE_LEN]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T' | b't' | b' ', h1, h2, b':', m1, m2] = *text
    else {
        return None;
    };
    let year = two_digits(y1, y2)? * 100 + two_digits(y3, y4)?;
    let (month, day) = (two_digits(mo1, mo2)?, two_digits(d1, d2)?);
    let (hour, minute) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
    let in_range = YEARS.contains(&year) && (1..=12).contains(&month) && hour < 24 && minute < 60;
    if !in_range || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    let days = i64::from(days_before(year, month, day)) - i64::from(EPOCH_DAYS);
    Some(((days * 24 + i64::from(hour)) * 60 + i64::from(minute)) * NS_PER_MINUTE)
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens * 10 + ones))
}

fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 0000-03-01 to a date of the Gregorian calendar.
fn days_before(year: u32, month: u32, day: u32) -> u32 {
    // The year begins in March; its months of 31 and 30 days repeat every five, in 153 days.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1
}

/// The date so many days behind 0000-03-01: the inverse of [`days_before`].
fn date_after(days: u32) -> (u32, u32, u32) {
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    // Take the leap days out (the last one of four years, of a hundred, of four hundred), then years are
    // equal.
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + year_of_cycle;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// Writes time stamps, fastest where they follow each other within a minute.
#[derive(Clone, Debug)]
pub struct Rfc3339Writer {
    /// The last minute written, as the stamp of its start.
    text: [u8; RFC3339_LEN],
    /// The same minute, counted from the Unix epoch.
    minute: i64,
}

impl Default for Rfc3339Writer {
    fn default() -> Rfc3339Writer {
        Rfc3339Writer { text: *EPOCH, minute: 0 }
    }
}

impl Rfc3339Writer {
    /// Appends a time as [`write_rfc3339`] does.
    #[inline]
    pub fn write(&mut self, out: &mut Vec<u8>, ns: i64) {
        let minute = ns.div_euclid(NS_PER_MINUTE);
        if minute != self.minute {
            set_minute(&mut self.text, minute);
            self.minute = minute;
        }
        out.extend_from_slice(&self.text);
        // Set in the copy, not in `text`: a copy of bytes that were just stored would have to wait for them.
        if let Some(text) = out.last_chunk_mut() {
            set_seconds(text, ns_within(ns, minute));
        }
    }
}

/// Sets the date, hour and minute of a stamp to those of a minute counted from the Unix epoch.
#[inline(never)]
fn set_minute(text: &mut [u8; RFC3339_LEN], minute: i64) {
    let days = minute.div_euclid(24 * 60) + i64::from(EPOCH_DAYS);
    let of_day = minute.rem_euclid(24 * 60) as u32;
    let (year, month, day) = date_after(days as u32);
    let ([y1, y2], [y3, y4]) = (two(year / 100), two(year % 100));
    let ([mo1, mo2], [d1, d2]) = (two(month), two(day));
    let ([h1, h2], [m1, m2]) = (two(of_day / 60), two(of_day % 60));
    if let Some(start) = text.first_chunk_mut() {
        *start = [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', m1, m2];
    }
}

/// The nanoseconds of a time behind the start of its minute. The first minute that an `i64` reaches begins before the
/// least of them.
#[inline]
fn ns_within(ns: i64, minute: i64) -> u64 {
    ns.wrapping_sub(minute.wrapping_mul(NS_PER_MINUTE)) as u64
}

/// Sets the seconds of a stamp and their fraction, from the nanoseconds within its minute.
#[inline]
fn set_seconds(text: &mut [u8; RFC3339_LEN], within: u64) {
    let second = (within / NS_PER_SECOND as u64) as u32;
    let fraction = (within % NS_PER_SECOND as u64) as u32;
    if let Some(end) = text.last_chunk_mut() {
        let ([s1, s2], [a, b, c, d, e, f, g, h]) = (two(second), eight(fraction / 10));
        *end = [s1, s2, b'.', a, b, c, d, e, f, g, h, b'0' + (fraction % 10) as u8, b'Z'];
    }
}

/// The two decimal digits of a number below 100.
#[inline]
fn two(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// The eight decimal digits of a number below 100,000,000: the inverse of [`eight_digits`], halves, quarters
/// and eighths all at once, each division done by a multiplication that is exact in its range.
#[inline]
fn eight(number: u32) -> [u8; 8] {
    let halves = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let quarters = hundreds | (halves - hundreds * 100) << 16;
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | (quarters - tens * 10) << 8;
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}
