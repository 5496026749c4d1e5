//! What a YAML scalar means, by the core schema of YAML 1.2: `yes`, `on` and `0777` are not what YAML 1.1 made of them.

use serde_json::Number;

use super::Value;

/// The value of a plain (unquoted) scalar.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match number(text) {
            Some(number) => Value::Number(number, text.to_string()),
            None => Value::Text(text.to_string()),
        },
    }
}

/// Whether this is one of the numbers that JSON has no word for.
pub(super) fn is_not_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let is_numeric = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.bytes().all(is_numeric) || !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Number::from(whole));
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(Number::from(whole));
    }
    // None for what is beyond a double's range: it stays text.
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

fn radix(digits: &str, radix: u32) -> Option<Number> {
    // `from_str_radix` takes a sign, YAML does not.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().map(Number::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_yaml_1_2_says() {
        let cases = [
            ("", "null"),
            ("~", "null"),
            ("Null", "null"),
            ("true", "true"),
            ("FALSE", "false"),
            ("yes", "\"yes\""),
            ("on", "\"on\""),
            ("12", "12"),
            ("-7", "-7"),
            ("+7", "7"),
            ("0777", "777"),
            ("0o17", "15"),
            ("0xff", "255"),
            ("0x-1", "\"0x-1\""),
            ("18446744073709551615", "18446744073709551615"),
            ("0.1", "0.1"),
            (".5", "0.5"),
            ("1.", "1.0"),
            ("1e3", "1000.0"),
            ("1e999", "\"1e999\""),
            ("1.4.2", "\"1.4.2\""),
            ("30s", "\"30s\""),
            ("-", "\"-\""),
            ("e5", "\"e5\""),
            ("infinity", "\"infinity\""),
            ("1_000", "\"1_000\""),
            ("2026-01-01", "\"2026-01-01\""),
        ];
        for (text, expected) in cases {
            let node = super::super::Node { at: Default::default(), value: resolve(text) };
            assert_eq!(node.to_json().to_string(), expected, "{text}");
        }
    }
}
