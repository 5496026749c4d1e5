//! Container logs like those of a node full of web services: 94 % JSON application logs, 5 % plain lines, 1 %
//! lines that are only the first part of the record that the next line ends.

use std::io::Write as _;

use super::random::Random;

/// Changes whenever the same seed gives other bytes, so that no stale input is measured.
pub const VERSION: u32 = 1;

/// The share of lines without JSON.
const PLAIN: f64 = 0.05;
/// Of the JSON records, those that are split over two lines: 1 % of all lines are first parts.
const SPLIT: f64 = 0.010_53;
/// A split record leaves at least this many bytes in each part.
const SMALLEST_PART: u64 = 40;
/// When the log begins: 2026-11-22T10:00:00Z.
const FIRST_HOUR: u64 = 10;

const SERVICES: [(&str, &str); 10] = [
    ("checkout", "shop"),
    ("cart", "shop"),
    ("payments", "pay"),
    ("catalog", "shop"),
    ("search", "search"),
    ("auth", "iam"),
    ("gateway", "edge"),
    ("inventory", "shop"),
    ("shipping", "ops"),
    ("recommend", "ml"),
];
const PEOPLE: [&str; 10] =
    ["alice", "bob", "carol", "dmitri", "eve", "farid", "grace", "henning", "ines", "jürgen"];

/// Messages as they stand in JSON, `#` for a number.
const INFO: [&str; 6] = [
    "request completed",
    "cache hit for key session:#",
    "user # logged in",
    "order # accepted",
    "published event to topic orders partition #",
    "healthcheck ok",
];
const DEBUG: [&str; 4] = [
    "entering handler loop iteration #",
    "sql: SELECT * FROM items WHERE id = # LIMIT 50",
    "parsed header x-request-id len=#",
    "pool stats idle=#",
];
const WARN: [&str; 3] = [
    r#"slow query took # ms, plan \"seq scan\""#,
    "retrying upstream call attempt #",
    "deprecated endpoint /v1/items/# used",
];
const ERROR: [&str; 2] = [
    "upstream timeout after # ms: dial tcp 10.2.3.4:8443: i/o timeout",
    r"panic recovered: index out of range [#] with length 3\n\tat handler.go:88",
];

/// One log, line by line. The same seed gives the same lines on every machine.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    /// Nanoseconds since the log began.
    clock: u64,
    /// The rest of a record whose first part is written, and its stream.
    rest: Option<(Vec<u8>, &'static str)>,
    record: Vec<u8>,
}

impl Generator {
    /// The log that `seed` names.
    pub fn new(seed: u64) -> Self {
        Generator { random: Random::new(seed), clock: 0, rest: None, record: Vec::new() }
    }

    /// Appends the next line with its newline. `last` forbids a first part that nothing would follow.
    pub fn line(&mut self, last: bool, out: &mut Vec<u8>) {
        self.clock += self.random.within(20_000, 140_000);
        let stream = if self.random.happens(0.93) { "stdout" } else { "stderr" };
        if let Some((rest, stream)) = self.rest.take() {
            self.frame(stream, 'F', &rest, out);
            return;
        }
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        if self.random.happens(PLAIN) {
            self.plain(&mut record);
            self.frame(stream, 'F', &record, out);
        } else {
            self.json(&mut record);
            if self.random.happens(SPLIT) && !last {
                let cut = self.cut(&record);
                self.frame(stream, 'P', &record[..cut], out);
                self.rest = Some((record[cut..].to_vec(), stream));
            } else {
                self.frame(stream, 'F', &record, out);
            }
        }
        self.record = record;
    }

    /// Where to split, never within a character.
    fn cut(&mut self, record: &[u8]) -> usize {
        let length = record.len() as u64;
        let mut cut = self.random.within(SMALLEST_PART, length - SMALLEST_PART) as usize;
        while record[cut] & 0xc0 == 0x80 {
            cut += 1;
        }
        cut
    }

    fn frame(&self, stream: &str, tag: char, record: &[u8], out: &mut Vec<u8>) {
        self.stamp(9, out);
        // Writing to a Vec cannot fail.
        let _infallible = write!(out, "Z {stream} {tag} ");
        out.extend_from_slice(record);
        out.push(b'\n');
    }

    /// The time with so many digits of a second's fraction, without the zone.
    fn stamp(&self, digits: u32, out: &mut Vec<u8>) {
        let (seconds, nanoseconds) = (self.clock / 1_000_000_000, self.clock % 1_000_000_000);
        let (hour, minute, second) = (FIRST_HOUR + seconds / 3600, seconds / 60 % 60, seconds % 60);
        let fraction = nanoseconds / 10u64.pow(9 - digits);
        let width = digits as usize;
        let _infallible = write!(out, "2026-11-22T{hour:02}:{minute:02}:{second:02}.{fraction:0width$}");
    }

    fn plain(&mut self, out: &mut Vec<u8>) {
        let kind = self.random.within(0, 4);
        let ends = if kind == 1 { [256, 256, 5_000, 10] } else { [60, 999_999, 999, 9_999] };
        let [a, b, c, d] = ends.map(|end| self.random.within(0, end));
        let _infallible = match kind {
            0 => write!(
                out,
                "I1122 10:00:{a:02}.{b:06}       1 reconciler.go:{c}] \"Starting reconcile\" pod=\"shop/cart-{d}\""
            ),
            1 => write!(
                out,
                "10.1.{a}.{b} - - [22/Nov/2026:10:00:00 +0000] \"GET /healthz HTTP/1.1\" 200 {c} \"-\" \
                 \"kube-probe/1.3{d}\""
            ),
            2 => write!(
                out,
                "\tat com.example.shop.OrderService.place(OrderService.java:{a}) [classes/:{b}] at line {c} col {d}"
            ),
            _ => write!(out, "WARNING: deprecated flag --x{a} used; will be removed in v{b}.{c} ({d})"),
        };
    }

    fn json(&mut self, out: &mut Vec<u8>) {
        let (level, message) = match self.random.within(0, 100) {
            0..80 => ("info", self.random.choose(&INFO)),
            80..92 => ("debug", self.random.choose(&DEBUG)),
            92..98 => ("warn", self.random.choose(&WARN)),
            _ => ("error", self.random.choose(&ERROR)),
        };
        let (service, namespace) = self.random.choose(&SERVICES);
        let status = self.status(level);
        let tier = if status < 300 { "web" } else { "back" };
        out.extend_from_slice(br#"{"ts":""#);
        self.stamp(3, out);
        let _infallible = write!(out, r#"Z","level":"{level}","msg":""#);
        self.message(message, out);
        let (high, low) = (self.random.bits(), self.random.bits());
        let (person, digits) = (self.random.choose(&PEOPLE), self.random.within(0, 1_000));
        let (id, latency) = (self.random.within(0, 100_000), self.random.fraction() * 200.0);
        let _infallible = write!(
            out,
            "\",\"service\":\"{service}\",\"trace_id\":\"{high:016x}{low:016x}\",\
             \"user\":{{\"id\":{id},\"email\":\"{person}{digits}@example.com\"}},\
             \"http\":{{\"status\":{status},\"latency_ms\":{latency:.2}}},\
             \"labels\":{{\"app\":\"{service}\",\"ns\":\"{namespace}\",\"tier\":\"{tier}\"}}}}"
        );
    }

    fn status(&mut self, level: &str) -> u32 {
        match level {
            "error" => 500,
            "warn" if self.random.happens(0.3) => 429,
            _ if self.random.happens(0.1) => 201,
            _ => 200,
        }
    }

    fn message(&mut self, template: &str, out: &mut Vec<u8>) {
        let Some((before, after)) = template.split_once('#') else {
            out.extend_from_slice(template.as_bytes());
            return;
        };
        let number = self.random.within(0, 100_000);
        let _infallible = write!(out, "{before}{number}{after}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u64, seed: u64) -> String {
        let mut generator = Generator::new(seed);
        let mut out = Vec::new();
        for index in 0..count {
            generator.line(index + 1 == count, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_seed_names_its_bytes() {
        assert_eq!(lines(1_000, 42), lines(1_000, 42));
        assert_ne!(lines(1_000, 42), lines(1_000, 43));
        // If this changes, VERSION must.
        let hash = xxhash_rust::xxh3::xxh3_64(lines(1_000, 42).as_bytes());
        assert_eq!(hash, 0x1e5f_166d_773e_a10a, "{hash:016x}");
    }

    #[test]
    fn the_mix_is_the_documented_one() {
        let count = 100_000;
        let text = lines(count, 7);
        let share = |part: usize| 100.0 * part as f64 / count as f64;
        let having = |needle: &str| share(text.lines().filter(|line| line.contains(needle)).count());
        let near =
            |value: f64, wanted: f64, off: f64| assert!((value - wanted).abs() < off, "{value} {wanted}");

        near(having(" P {\"ts\""), 1.0, 0.1);
        near(having(" stdout "), 93.0, 0.5);
        near(having("\"level\":\"info\""), 94.0 * 0.80, 0.7);
        near(having("\"level\":\"debug\""), 94.0 * 0.12, 0.5);
        near(having("\"level\":\"warn\""), 94.0 * 0.06, 0.4);
        near(having("\"level\":\"error\""), 94.0 * 0.02, 0.3);
        near(text.len() as f64 / count as f64, 323.0, 3.0);
    }

    #[test]
    fn every_first_part_is_followed_by_its_rest() {
        let text = lines(20_000, 3);
        let mut lines = text.lines().peekable();
        let mut parts = 0;
        while let Some(line) = lines.next() {
            if let [_, stream, "P", first] = line.splitn(4, ' ').collect::<Vec<_>>()[..] {
                let next: Vec<_> = lines.peek().unwrap().splitn(4, ' ').collect();
                assert_eq!([next[1], next[2]], [stream, "F"]);
                serde_json::from_str::<serde_json::Value>(&format!("{first}{}", next[3])).unwrap();
                parts += 1;
            }
        }
        assert!(parts > 100);
    }
}
