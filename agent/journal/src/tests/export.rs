//! The parser of the export format.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::export::{MAX_ENTRY_BYTES, MAX_FIELD_BYTES, MAX_FIELDS, Parsed, Parser, whole_characters};
use crate::selection::Selection;
use crate::settings::{Fields, JournalSettings};

/// An entry as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Read {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    is_cut: bool,
    is_malformed: bool,
}

fn parser() -> Parser {
    Parser::new(Selection::new(&JournalSettings { fields: Fields::All, ..JournalSettings::default() }))
}

/// The entries of these pieces, with `None` for what was no export format.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Option<Read>> {
    let mut parser = parser();
    let mut found = Vec::new();
    for mut piece in pieces {
        while let Some(parsed) = parser.next(&mut piece) {
            found.push((parsed == Parsed::Entry).then(|| {
                let entry = parser.entry();
                let fields = entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                Read { fields, is_cut: entry.is_cut, is_malformed: entry.is_malformed }
            }));
        }
        assert!(piece.is_empty(), "all is taken");
    }
    found
}

fn binary(name: &str, value: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat()
}

/// Reads an input whole and byte by byte. `!` stands for what was no export format.
fn check(input: &[u8], expected: &[&[(&str, &str)]]) {
    let expected: Vec<Option<Vec<(String, String)>>> = expected
        .iter()
        .map(|entry| {
            let field = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            (*entry != [("!", "")]).then(|| entry.iter().map(field).collect())
        })
        .collect();
    for found in [read([input]), read(input.chunks(1))] {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let found: Vec<_> = found
            .iter()
            .map(|entry| {
                let fields = entry.as_ref()?.fields.iter();
                Some(fields.map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(input));
    }
}

const LOST: &[(&str, &str)] = &[("!", "")];

#[test]
fn text_and_binary_fields_are_read() {
    check(b"", &[]);
    check(b"\n\n\n", &[]);
    check(b"A=1\n\n", &[&[("A", "1")]]);
    check(b"\nA=1\nB_2=\n\n\n\n_C==x=\n\n", &[&[("A", "1"), ("B_2", "")], &[("_C", "=x=")]]);
    check(
        &[&binary("MESSAGE", b"two\nlines\n\n"), &b"A=1\n\n"[..]].concat(),
        &[&[("MESSAGE", "two\nlines\n\n"), ("A", "1")]],
    );
    check(&[&binary("EMPTY", b""), &b"\n"[..]].concat(), &[&[("EMPTY", "")]]);
    check(b"A=1\nA=2\n\n", &[&[("A", "1"), ("A", "2")]]);
}

#[test]
fn an_entry_that_has_not_ended_is_none() {
    for input in [&b"A=1\n"[..], b"A=1", b"A", b"A\n", b"A\n\x01\0\0\0\0\0\0\0", b"A\n\x01\0\0\0\0\0\0\0x"] {
        check(input, &[]);
    }
}

#[test]
fn only_what_is_of_use_is_kept() {
    let mut parser = Parser::new(Selection::new(&JournalSettings {
        extra_fields: vec!["EXTRA".into()],
        ..JournalSettings::default()
    }));
    let mut input = &b"__CURSOR=c\n__SEQNUM=1\nMESSAGE=m\nOTHER=o\nEXTRA=e\n_UID=0\n\n"[..];
    assert_eq!(parser.next(&mut input), Some(Parsed::Entry));
    let names: Vec<&[u8]> = parser.entry().fields().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"__CURSOR"[..], b"MESSAGE", b"EXTRA"]);
}

#[test]
fn behind_what_is_no_field_the_next_entry_is_found() {
    let next: &[(&str, &str)] = &[("B", "2")];
    check(b"A=1\nnonsense\nC=3\n\nB=2\n\n", &[LOST, next]);
    check(b"A=1\nnonsense\n\nB=2\n\n", &[LOST, next]);
    check(b"A=1\n lower\n\n\nB=2\n\n", &[LOST, next]);
    // A length that cannot be, and a value that is longer than it says.
    check(b"A\n\xff\xff\xff\xff\xff\xff\xff\xffx\n\nB=2\n\n", &[LOST, next]);
    check(b"A\n\x01\0\0\0\0\0\0\0xy\n\nB=2\n\n", &[LOST, next]);
    // A name without an end.
    check(&[&[b'A'; 5_000], &b"\n\nB=2\n\n"[..]].concat(), &[LOST, next]);
}

#[test]
fn a_field_with_a_name_that_cannot_be_is_left_out() {
    let long = "A".repeat(65);
    for name in ["lower", "1ST", "", "A-B", "A B", "\u{e4}", long.as_str()] {
        let input = format!("A=1\n{name}=x\nB=2\n\n");
        check(input.as_bytes(), &[&[("A", "1"), ("B", "2")]]);
        let found = read([input.as_bytes()]);
        assert!(found[0].as_ref().unwrap().is_malformed, "{name}");
    }
}

#[test]
fn a_value_that_is_too_long_is_cut_and_the_rest_passed_over() {
    let long = vec![b'x'; MAX_FIELD_BYTES + 1];
    let as_text = [&b"LONG="[..], &long, b"\nB=2\n\n"].concat();
    let as_binary = [&binary("LONG", &long), &b"B=2\n\n"[..]].concat();
    for input in [as_text, as_binary] {
        for found in [read([&input[..]]), read(input.chunks(4_093))] {
            let [Some(entry)] = &found[..] else { panic!("one entry") };
            assert!(entry.is_cut);
            assert_eq!(entry.fields[0].1.len(), MAX_FIELD_BYTES);
            assert_eq!(entry.fields[1], (b"B".to_vec(), b"2".to_vec()));
        }
    }
    let fits = [&b"LONG="[..], &vec![b'x'; MAX_FIELD_BYTES], b"\n\n"].concat();
    assert!(!read([&fits[..]])[0].as_ref().unwrap().is_cut);
}

#[test]
fn a_cut_leaves_no_part_of_a_character() {
    let long = format!("LONG=x{}\n\n", "\u{20ac}".repeat(MAX_FIELD_BYTES / 3 + 1));
    for found in [read([long.as_bytes()]), read(long.as_bytes().chunks(7_919))] {
        let value = &found[0].as_ref().unwrap().fields[0].1;
        assert!(std::str::from_utf8(value).is_ok());
        assert!(value.len() > MAX_FIELD_BYTES - 3);
    }
}

#[test]
fn whole_characters_are_counted() {
    let cases: [(&[u8], usize); 9] = [
        (b"", 0),
        (b"ab", 2),
        ("a\u{20ac}".as_bytes(), 4),
        (b"a\xe2\x82", 1),
        (b"a\xe2", 1),
        (b"\xf0\x9f\x98", 0),
        ("\u{1f600}".as_bytes(), 4),
        // No UTF-8 to begin with: nothing to keep whole.
        (b"\x80\x80\x80\x80", 4),
        (b"a\xff", 1),
    ];
    for (bytes, expected) in cases {
        assert_eq!(whole_characters(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn an_entry_has_bounds() {
    let fields: Vec<u8> = (0..MAX_FIELDS + 10).flat_map(|n| format!("F{n}={n}\n").into_bytes()).collect();
    let many = [&fields[..], b"\nB=2\n\n"].concat();
    let found = read([&many[..]]);
    assert_eq!(found[0].as_ref().unwrap().fields.len(), MAX_FIELDS);
    assert!(found[0].as_ref().unwrap().is_cut && !found[1].as_ref().unwrap().is_cut);

    let one = [&b"F="[..], &vec![b'x'; MAX_FIELD_BYTES], b"\n"].concat();
    let large = [&one[..], &one, &one, &one, b"\n"].concat();
    let found = read([&large[..]]);
    let entry = found[0].as_ref().unwrap();
    let bytes: usize = entry.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(entry.is_cut && bytes <= MAX_ENTRY_BYTES, "{bytes}");
}

fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let name = "_?[A-Z][A-Z0-9_]{0,9}".prop_map(String::into_bytes);
    let value = prop_oneof![
        "[ -~]{0,20}".prop_map(String::into_bytes),
        "\\PC{0,10}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..40),
        vec(prop_oneof![Just(b'\n'), Just(b'='), Just(b'A')], 0..10),
    ];
    (name, value)
}

fn encode(entries: &[Vec<(Vec<u8>, Vec<u8>)>], as_binary: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        for (name, value) in entry {
            if as_binary || value.contains(&b'\n') {
                out.extend(binary(std::str::from_utf8(name).unwrap(), value));
            } else {
                out.extend([&name[..], b"=", value, b"\n"].concat());
            }
        }
        out.push(b'\n');
    }
    out
}

/// Splits where the lengths say, as long as there is something.
fn split<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back_in_whatever_pieces(
        entries in vec(vec(field(), 1..6), 0..6), as_binary: bool, lengths in vec(0_usize..30, 0..30)
    ) {
        let input = encode(&entries, as_binary);
        let expected: Vec<_> =
            entries.into_iter().map(|fields| Some(Read { fields, ..Read::default() })).collect();
        prop_assert_eq!(read(split(&input, &lengths)), expected);
    }

    #[test]
    fn whatever_comes_pieces_make_no_difference(
        entries in vec(vec(field(), 1..6), 1..6),
        as_binary: bool,
        mutations in vec((any::<usize>(), any::<u8>(), 0..3), 0..8),
        lengths in vec(0_usize..30, 0..30),
    ) {
        let mut input = encode(&entries, as_binary);
        for (place, byte, kind) in mutations {
            let place = place % (input.len() + 1);
            match kind {
                0 if place < input.len() => input[place] = byte,
                1 if place < input.len() => drop(input.remove(place)),
                _ => input.insert(place, byte),
            }
        }
        prop_assert_eq!(read(split(&input, &lengths)), read([&input[..]]));
        prop_assert!(read([&input[..]]).len() <= input.len());
    }

    #[test]
    fn any_bytes_are_taken(input in vec(any::<u8>(), 0..300)) {
        read([&input[..]]);
    }
}
