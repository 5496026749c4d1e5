//! Texts: values of members, and lines that are no JSON.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::kept::{is_name, is_telling_number, is_time, is_word};
use super::{Placeholder, Redactor};

/// The place of a member in a line: `key=value` is at `key`.
const QUOTES: [char; 2] = ['"', '\''];
/// Of the klog header's date and time behind the letter of the level, as `1122 10:00:00.123456`.
const KLOG_HEAD: usize = 21;

/// The placeholder of a text that stands by itself.
pub fn redact_value(redactor: &Redactor, value: &str) -> String {
    if is_word(value) || is_time(value) {
        return value.to_owned();
    }
    let mut drawn = redactor.placeholder(value);
    if let Ok(address) = value.parse::<Ipv4Addr>() {
        return ipv4(address, &mut drawn);
    }
    if value.contains(':') && value.parse::<Ipv6Addr>().is_ok() {
        return ipv6(&mut drawn);
    }
    if is_hex(value) {
        return value.chars().map(|c| if c.is_ascii_hexdigit() { drawn.like_hex(c) } else { c }).collect();
    }
    value.chars().map(|c| drawn.like(c)).collect()
}

/// The placeholder of a number in JSON: as many digits, the same sign, point and exponent.
pub fn redact_number(redactor: &Redactor, number: &str) -> String {
    let mut drawn = redactor.placeholder(number);
    let mantissa = number.find(['e', 'E']).unwrap_or(number.len());
    let (mantissa, exponent) = number.split_at_checked(mantissa).unwrap_or((number, ""));
    let whole = mantissa.trim_start_matches('-').split('.').next().unwrap_or_default().len();
    let mut out = String::with_capacity(number.len());
    let mut place = 0;
    for character in mantissa.chars() {
        if !character.is_ascii_digit() {
            out.push(character);
            continue;
        }
        out.push(match (place, character) {
            // A number has no zero in front, and 0 stays what it is: nothing.
            (0, '0') => '0',
            // The longest numbers stay within 64 bits.
            (0, _) if whole >= 19 => '1',
            (1, _) if whole >= 19 => '0',
            (0, _) => drawn.of_range('1', 9),
            _ => drawn.of_range('0', 10),
        });
        place += 1;
    }
    out + exponent
}

/// A line that is no JSON object: words replaced, what is between them kept.
pub fn redact_line(redactor: &Redactor, line: &str) -> String {
    if redactor.keeps("message") {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len());
    let head = klog_head(line);
    let mut rest = line.get(head..).unwrap_or(line);
    out.push_str(line.get(..head).unwrap_or_default());
    let mut drawn = redactor.placeholder(line);
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let token = rest.get(..end).unwrap_or(rest);
        let taken = match token.split_once('=').filter(|(key, _)| is_name(key)) {
            Some((key, _)) => {
                out.push_str(key);
                out.push('=');
                let value = rest.get(key.len() + 1..).unwrap_or_default();
                let value = member_value(value);
                redact_member(redactor, key, value, &mut out);
                key.len() + 1 + value.len()
            }
            None => {
                // A time with a space in it is two words.
                let both = two_words(rest).filter(|both| is_time(both));
                let word = both.unwrap_or(token);
                redact_word(word, &mut drawn, &mut out);
                word.len()
            }
        };
        rest = rest.get(taken.max(1)..).unwrap_or_default();
    }
    out
}

/// `level=info`, `msg="two words"`.
fn redact_member(redactor: &Redactor, key: &str, value: &str, out: &mut String) {
    if redactor.keeps(key) || is_telling_number(key, value) {
        out.push_str(value);
        return;
    }
    let quote = value.chars().next().filter(|quote| QUOTES.contains(quote));
    let Some(quote) = quote else {
        out.push_str(&redact_value(redactor, value));
        return;
    };
    let inner = value.strip_prefix(quote).unwrap_or(value);
    let (inner, closing) = match inner.strip_suffix(quote) {
        Some(inner) => (inner, true),
        None => (inner, false),
    };
    out.push(quote);
    // What a backslash stands before goes with it.
    out.push_str(&redact_value(redactor, &inner.replace('\\', "")));
    if closing {
        out.push(quote);
    }
}

/// A value at the beginning of a text: quoted, or up to the next space.
fn member_value(text: &str) -> &str {
    let quote = text.chars().next().filter(|quote| QUOTES.contains(quote));
    let end = match quote {
        None => text.find(char::is_whitespace),
        Some(quote) => {
            let mut escaped = false;
            let is_end = |(at, c): (usize, char)| {
                let ends = at > 0 && c == quote && !escaped;
                escaped = c == '\\' && !escaped;
                ends.then_some(at + c.len_utf8())
            };
            text.char_indices().find_map(is_end)
        }
    };
    text.get(..end.unwrap_or(text.len())).unwrap_or(text)
}

/// A word, with what stands around it, such as `[INFO]`.
fn redact_word(word: &str, drawn: &mut Placeholder, out: &mut String) {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    // In a sentence, `no` and `error` are words like any other; levels stand out.
    let stands_out = bare.len() > 1 && bare.chars().all(|c| c.is_ascii_uppercase());
    if (stands_out && is_word(bare)) || is_time(word) || is_time(bare) {
        out.push_str(word);
        return;
    }
    out.extend(word.chars().map(|c| drawn.like(c)));
}

fn two_words(text: &str) -> Option<&str> {
    let first = text.find(' ')?;
    let second = text.get(first + 1..)?;
    text.get(..first + 1 + second.find(char::is_whitespace).unwrap_or(second.len()))
}

/// The bytes of `I1122 10:00:00.123456`, where a line begins so.
fn klog_head(line: &str) -> usize {
    let Some(head) = line.as_bytes().get(..KLOG_HEAD) else { return 0 };
    let shape = b"I1111 11:11:11.111111";
    let fits = |(byte, like): (&u8, &u8)| match like {
        b'I' => matches!(byte, b'I' | b'W' | b'E' | b'F'),
        b'1' => byte.is_ascii_digit(),
        other => byte == other,
    };
    if head.iter().zip(shape).all(fits) { KLOG_HEAD } else { 0 }
}

/// Of the network that is for benchmarks, which nobody has.
fn ipv4(address: Ipv4Addr, drawn: &mut Placeholder) -> String {
    if address.is_loopback() || address.is_unspecified() {
        return address.to_string();
    }
    let third = drawn.of(18, 2);
    format!("198.{third}.{}.{}", drawn.byte(), drawn.byte())
}

/// Of the network that is for examples.
fn ipv6(drawn: &mut Placeholder) -> String {
    let mut group = || drawn.of(0x1000, 0xf000);
    format!("2001:db8:{:x}:{:x}::{:x}", group(), group(), group())
}

/// Digests, ids of traces, UUIDs: hexadecimal digits and dashes, of one case.
fn is_hex(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    let has_letters = text.chars().any(|c| c.is_ascii_alphabetic());
    let mixed = text.chars().any(|c| c.is_ascii_lowercase()) && text.chars().any(|c| c.is_ascii_uppercase());
    digits >= 8 && has_letters && !mixed && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}
