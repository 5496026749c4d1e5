//! The `_bulk` protocol: requests from documents, fates from answers.
//!
//! 1. Documents are spliced into the request as they lie in their segments; nothing is allocated for one that fits.
//! 2. An answer counts only if it has as many items as the request, each for a `create`. Else nothing is known.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::limits::{Checked, FieldLimits};
use crate::outcome::{Failure, Fate, Refusal, fate, reason};
use crate::parcel::Parcel;
use crate::settings::Compression;

/// What is asked for of an answer.
pub(crate) const FILTER_PATH: &str = "took,errors,items.*.status,items.*.error.type,items.*.error.reason";
/// Bytes around a document: its action, id and index.
pub(crate) const ACTION_BYTES: usize = 128;

/// A request, ready to be sent.
pub(crate) struct Encoded {
    pub body: Bytes,
    pub is_gzip: bool,
    /// For each document of each parcel, in order: what became of it before it was sent; `None` if it is in the body.
    pub fates: Vec<Vec<Option<Fate>>>,
    /// Documents in the body.
    pub sent: usize,
}

/// Makes the request for the documents of these parcels.
pub(crate) fn encode<'a>(
    parcels: impl Iterator<Item = &'a Parcel>,
    limits: &FieldLimits,
    compression: Compression,
    mut plain: Vec<u8>,
) -> Encoded {
    plain.clear();
    let mut fates = Vec::new();
    let mut sent = 0;
    for Parcel { lease, stage, .. } in parcels {
        let documents = lease.documents();
        let mut of_parcel = vec![None; documents.records.len()];
        for (index, ((record, document), place)) in documents.iter().zip(&mut of_parcel).enumerate() {
            let repaired = stage.repair(index).and_then(|repair| repair.apply(document));
            let document = repaired.as_deref().unwrap_or(document);
            let checked = limits.check(document);
            let bytes = match &checked {
                Checked::Fits => document,
                Checked::Changed(changed) => changed.as_slice(),
                Checked::TooManyFields => {
                    let text = format!("more than {} fields", limits.max_fields);
                    let refusal = Refusal { status: 0, kind: String::new(), reason: text };
                    *place = Some(Fate::Dead(reason::TOO_MANY_FIELDS, refusal));
                    continue;
                }
            };
            let target = lease.targets().name(index).map_or("weir", |name| name);
            plain.extend_from_slice(b"{\"create\":{\"_index\":\"");
            // Index names were cleaned: nothing in them needs to be escaped.
            plain.extend_from_slice(target.as_bytes());
            plain.extend_from_slice(b"\",\"_id\":\"");
            record.id.write(&mut plain);
            plain.extend_from_slice(b"\"}}\n");
            plain.extend_from_slice(bytes);
            plain.push(b'\n');
            sent += 1;
        }
        fates.push(of_parcel);
    }
    let (body, is_gzip) = compressed(plain, compression);
    Encoded { body, is_gzip, fates, sent }
}

fn compressed(plain: Vec<u8>, compression: Compression) -> (Bytes, bool) {
    match compression {
        Compression::None => (plain.into(), false),
        Compression::Gzip => {
            let out = Vec::with_capacity(plain.len() / 6 + 64);
            let mut encoder = GzEncoder::new(out, flate2::Compression::fast());
            // A vector takes everything; if it ever did not, the plain request would do.
            match encoder.write_all(&plain).and_then(|()| encoder.finish()) {
                Ok(packed) => (packed.into(), true),
                Err(_) => (plain.into(), false),
            }
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    create: Option<ItemBody>,
}

#[derive(Deserialize)]
struct ItemBody {
    status: u16,
    error: Option<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    #[serde(rename = "type")]
    kind: Option<String>,
    reason: Option<String>,
}

/// Longest text of an answer that is kept: it goes into dead letters and logs.
const MAX_REASON_BYTES: usize = 1024;

/// The fates of the `sent` documents of a request, in order.
pub(crate) fn read_answer(body: &[u8], sent: usize) -> Result<Vec<Fate>, Failure> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| Failure::Unknown(format!("the answer is not that of a _bulk request: {error}")))?;
    let items = answer.items.unwrap_or_default();
    if items.len() != sent {
        let text = format!("the answer has {} items for {sent} documents", items.len());
        return Err(Failure::Unknown(text));
    }
    let mut fates = Vec::with_capacity(sent);
    for item in items {
        let Some(create) = item.create else {
            return Err(Failure::Unknown("the answer has an item that is not for a create".to_owned()));
        };
        let error = create.error.unwrap_or(ItemError { kind: None, reason: None });
        let kind = error.kind.unwrap_or_default();
        let text = error.reason.unwrap_or_default();
        fates.push(fate(create.status, &kind, shortened(&text)));
    }
    Ok(fates)
}

pub(crate) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_if_it_fits_the_request() {
        let good = br#"{"took":3,"errors":false,"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"x"}}}]}"#;
        assert_eq!(read_answer(good, 2).unwrap(), [Fate::Created, Fate::Existed]);
        for sent in [0, 1, 3] {
            assert!(matches!(read_answer(good, sent), Err(Failure::Unknown(_))));
        }
        for cut in 0..good.len() {
            assert!(matches!(read_answer(&good[..cut], 2), Err(Failure::Unknown(_))), "{cut}");
        }
        for wrong in [
            &br#"{"items":[{"index":{"status":201}}]}"#[..],
            br#"{"items":[{"create":{}}]}"#,
            br#"{"items":[{"create":{"status":99999}}]}"#,
            br#"{"error":"x"}"#,
            b"<html>",
            b"\xff",
        ] {
            assert!(matches!(read_answer(wrong, 1), Err(Failure::Unknown(_))));
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let text = "ä".repeat(MAX_REASON_BYTES);
        assert_eq!(shortened(&text).len(), MAX_REASON_BYTES);
        let text = format!("x{text}");
        assert_eq!(shortened(&text).len(), MAX_REASON_BYTES - 1);
    }
}
