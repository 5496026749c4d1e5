//! Numbers as the text formats write them.

/// What every "not a number" of a target becomes (Prometheus, model/value: `NormalNaN`), so that none can be taken for a
/// stale marker.
pub(super) const NAN: u64 = 0x7ff8_0000_0000_0001;

/// More digits might not fit into 64 bits.
const MAX_SHORT_DIGITS: usize = 19;

/// The whole number without a sign that the bytes begin with, if a blank or a line break follows it: by far the most
/// values are such. And how many digits it has.
#[inline]
pub(super) fn short_integer(bytes: &[u8]) -> Option<(f64, usize)> {
    let (mut number, mut used) = (0_u64, 0);
    for byte in bytes.iter().take(MAX_SHORT_DIGITS) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number * 10 + u64::from(digit);
        used += 1;
    }
    match bytes.get(used) {
        Some(b'\n' | b' ') if used > 0 => Some((number as f64, used)),
        _ => None,
    }
}

/// No double has more decimal digits.
const MAX_DIGITS: usize = 800;

/// Reads a number as Prometheus does: Go's `strconv.ParseFloat` without hexadecimal numbers and underscores. One that is
/// too large is none.
pub(super) fn parse(token: &[u8]) -> Option<f64> {
    let unsigned = token.strip_prefix(b"-").or_else(|| token.strip_prefix(b"+")).unwrap_or(token);
    match unsigned.first()? {
        b'0'..=b'9' | b'.' => fast_float2::parse::<f64, _>(token).ok().filter(|number| number.is_finite()),
        b'i' | b'I'
            if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") =>
        {
            Some(if token.starts_with(b"-") { f64::NEG_INFINITY } else { f64::INFINITY })
        }
        b'n' | b'N' if token.eq_ignore_ascii_case(b"nan") => Some(f64::from_bits(NAN)),
        _ => None,
    }
}

/// Appends a number as `le` and `quantile` hold it (OpenMetrics 1.0, "Considerations: Canonical Numbers"; Prometheus,
/// model/labels: `FormatOpenMetricsFloat`): the shortest digits that give it again, with `.0` where it would look whole.
pub(super) fn write_canonical(out: &mut String, number: f64) {
    if number.is_nan() {
        return out.push_str("NaN");
    }
    if number.is_infinite() {
        return out.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    }
    if number == 0.0 {
        return out.push_str("0.0");
    }
    let scientific = shortest(number);
    let Some((digits, exponent)) = scientific.split_once('e') else { return };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return write_plain(out, digits, exponent);
    }
    out.push_str(digits);
    out.push_str(if exponent < 0 { "e-" } else { "e+" });
    let magnitude = exponent.unsigned_abs();
    if magnitude < 10 {
        out.push('0');
    }
    out.push_str(&magnitude.to_string());
}

/// The fewest digits that give the number again, as `d.ddde±x`. Where two such lie equally near to it, Go takes the even
/// one and Rust the greater one; the label would be another.
fn shortest(number: f64) -> String {
    let found = format!("{number:e}");
    let digits =
        found.split('e').next().map_or(0, |digits| digits.trim_start_matches('-').replace('.', "").len());
    let one_more = format!("{number:.digits$e}");
    let Some((mantissa, exponent)) = one_more.split_once('e') else { return found };
    let is_tie = mantissa.ends_with('5')
        && format!("{number:.MAX_DIGITS$e}")
            .starts_with(&format!("{mantissa:0<width$}e", width = mantissa.len() + MAX_DIGITS - digits));
    let Some(smaller) = mantissa.strip_suffix('5').filter(|_| is_tie) else { return found };
    let is_even = smaller.bytes().last().is_some_and(|digit| digit % 2 == 0);
    let smaller = format!("{}e{exponent}", smaller.trim_end_matches('.'));
    if is_even && smaller.parse() == Ok(number) { smaller } else { found }
}

/// Writes `d.ddd` times ten to the exponent, which is small, without an exponent.
fn write_plain(out: &mut String, digits: &str, exponent: i32) {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = digits.replace('.', "");
    out.push_str(sign);
    if exponent < 0 {
        out.push_str("0.");
        (1..exponent.unsigned_abs()).for_each(|_| out.push('0'));
        return out.push_str(&digits);
    }
    let before = exponent as usize + 1;
    out.push_str(digits.get(..before).unwrap_or(&digits));
    (digits.len()..before).for_each(|_| out.push('0'));
    out.push('.');
    out.push_str(digits.get(before..).filter(|rest| !rest.is_empty()).unwrap_or("0"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_go_does() {
        let cases: &[(&str, Option<f64>)] = &[
            ("1", Some(1.0)),
            ("+1", Some(1.0)),
            ("-1.5", Some(-1.5)),
            ("1.", Some(1.0)),
            (".5", Some(0.5)),
            ("1e3", Some(1000.0)),
            ("1E-3", Some(0.001)),
            ("1e-400", Some(0.0)),
            ("Inf", Some(f64::INFINITY)),
            ("+inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("123456789012345678901234567890", Some(123_456_789_012_345_678_901_234_567_890.0)),
            ("1e400", None),
            ("-1e400", None),
            ("+NaN", None),
            ("0x1p3", None),
            ("0x10", None),
            ("1_0", None),
            ("infi", None),
            ("1e", None),
            (".", None),
            ("+", None),
            ("", None),
            ("--1", None),
            ("1\r", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse(text.as_bytes()), *wanted, "{text}");
        }
        assert_eq!(parse(b"nAn").map(f64::to_bits), Some(NAN));
    }

    #[test]
    fn canonical_numbers_look_as_in_open_metrics() {
        let cases = [
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (-0.0, "0.0"),
            (0.99, "0.99"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e100, "1e+100"),
            (-12.5, "-12.5"),
            (123_456.0 + 1.0 / 4096.0, "123456.00024414062"),
            (2_168_898_447_006_761.0 + 0.25, "2.1688984470067612e+15"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
        ];
        for (number, wanted) in cases {
            let mut out = String::new();
            write_canonical(&mut out, number);
            assert_eq!(out, wanted);
        }
    }

    proptest! {
        #[test]
        fn canonical_numbers_come_back(bits: u64) {
            let number = f64::from_bits(bits);
            let mut out = String::new();
            write_canonical(&mut out, number);
            let read = parse(out.as_bytes()).unwrap();
            prop_assert!(read == number || (read.is_nan() && number.is_nan()));
        }

        #[test]
        fn whole_numbers_are_read_alike_both_ways(number: u64) {
            let text = format!("{number}\n");
            let token = text.trim_end().as_bytes();
            if let Some((short, used)) = short_integer(text.as_bytes()) {
                prop_assert_eq!((Some(short), used), (parse(token), token.len()));
            }
        }
    }
}
