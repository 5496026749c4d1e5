//! Rows that follow each other are loaded two at a time where they look alike. What comes of a row must not depend on
//! that, nor on what its neighbours are.

use proptest::prelude::*;

use super::harness::{Stage, batch, remove, run_on, set, strings, values};
use crate::column::Kind;
use crate::parse::Parser;
use crate::sheet::Sheet;
use crate::transform::{Handled, Plan};

/// What is put between the literals of a template. The bad ones make a line something else than an object.
const VALUES: [&[u8]; 24] = [
    b"\"\"",
    b"\"info\"",
    b"\"a text that is longer than thirty-two bytes, so that it takes two blocks or three\"",
    b"\"exactly thirty-one bytes long..\"",
    b"\"exactly thirty-two bytes of it..\"",
    b"\"with \\\"quotes\\\" and \\\\ in it\"",
    b"\"\\u0041\\ud800\"",
    b"\"\\x\"",
    "\"größer\"".as_bytes(),
    b"\"\xff\xfe\"",
    b"\"a\tb\"",
    b"\"open",
    b"0",
    b"200",
    b"13.91",
    b"-1.5e3",
    b"01",
    b"1234567890123456789",
    b"true",
    b"nul",
    b"null",
    b"{\"k\":\"v\"}",
    b"[1,\"x\"]",
    b"",
];
const TEMPLATES: [&[&[u8]]; 5] = [
    &[b"{\"level\":", b",\"user\":{\"email\":", b",\"id\":", b"},\"n\":", b"}"],
    &[b"{\"level\":", b",\"user\":{\"email\":", b",\"id\":", b"},\"m\":", b"}"],
    &[b"{ \"n\" : ", b", \"a key that is much longer than a block of thirty-two bytes\":", b"}"],
    &[b"{\"n\":", b",\"n\":", b",\"user.email\":", b"}\r"],
    &[b"plain text ", b" and more"],
];

fn line() -> impl Strategy<Value = Vec<u8>> {
    let values = prop::collection::vec(prop::sample::select(&VALUES[..]), 4);
    // Mostly good lines of one template, so that they are paired.
    let template = prop_oneof![6 => Just(0_usize), 1 => 1..TEMPLATES.len()];
    let good = prop::collection::vec(prop::sample::select(vec![1_usize, 2, 3, 4, 13, 14]), 4);
    let cut = prop_oneof![9 => Just(None), 1 => (0_usize..60).prop_map(Some)];
    (template, values, good, prop::bool::weighted(0.7), cut).prop_map(
        |(template, any, good, is_good, cut)| {
            let mut line = Vec::new();
            for (place, literal) in TEMPLATES[template].iter().enumerate() {
                line.extend_from_slice(literal);
                if place + 1 < TEMPLATES[template].len() {
                    line.extend_from_slice(if is_good { VALUES[good[place]] } else { any[place] });
                }
            }
            line.truncate(cut.unwrap_or(usize::MAX));
            line
        },
    )
}

type Rows = Vec<(Vec<(Kind, String)>, String)>;

/// What a stage sees of each row, and the documents.
fn treated(sheet: &mut Sheet, lines: &[&[u8]]) -> Rows {
    let plan = Plan {
        reads: strings(&["level", "user.email", "n", "*"]),
        edits: vec![remove("user.email"), set("user.seen", "true")],
        ..Plan::default()
    };
    let mut seen = Vec::new();
    let batch = batch(lines);
    let stage = Stage::new(plan, |call, _| {
        let columns: Vec<_> = call.columns.iter().map(values).collect();
        seen = (0..call.rows as usize)
            .map(|row| columns.iter().map(|column| column[row].clone()).collect())
            .collect();
        Handled::default()
    });
    let documents = run_on(sheet, &batch, &Parser::Auto, &mut [stage]).documents;
    let rows = batch.rows().iter().zip(documents);
    let documents: Vec<String> = rows
        .map(|(row, document)| document.replace(&format!("\"offset\":{}", row.offset), "\"offset\":0"))
        .collect();
    assert_eq!(documents.len(), lines.len());
    seen.into_iter().zip(documents).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn a_row_is_what_it_is_alone(lines in prop::collection::vec(line(), 1..24)) {
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let mut sheet = Sheet::new();
        // The second time the shapes are known.
        let first = treated(&mut sheet, &lines);
        let together = treated(&mut sheet, &lines);
        prop_assert_eq!(&first, &together);
        let alone: Rows = lines.iter().flat_map(|line| treated(&mut Sheet::new(), &[line])).collect();
        prop_assert_eq!(together, alone);
    }
}
