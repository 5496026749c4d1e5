//! What an answer means for a document.

use std::time::Duration;

/// What is to be done with a document after an answer about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in its index by this request.
    Created,
    /// It was there before.
    Existed,
    /// Once more after a pause.
    Retry(Why),
    /// It failed over this document, or seemed to: once more after a pause, but not for ever.
    Fault(Refusal),
    /// Refused for what it holds; to be changed and sent once more.
    Repair(Refusal),
    /// Its index takes nothing for now.
    Hold(Refusal),
    /// It will never be taken.
    Dead(&'static str, Refusal),
}

/// Why a document is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// OpenSearch is busy.
    Throttled,
    /// It could not do it now.
    Unavailable,
}

/// What OpenSearch said about a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: u16,
    /// The type of the error, such as `mapper_parsing_exception`.
    pub kind: String,
    pub reason: String,
}

/// Why a whole request has no list of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was too large, or not understood: to be halved until the document is found.
    Split(Refusal),
    /// OpenSearch does not accept who the agent is.
    Unauthorized(String),
    /// OpenSearch is busy.
    Busy(String, Option<Duration>),
    /// Nobody takes connections.
    NoConnection(String),
    /// No answer in time, an answer that is none: nothing is known about any document.
    Unknown(String),
}

/// Reasons of dead letters, as the ledger has them.
pub(crate) mod reason {
    /// Refused for its mapping, after the repair too.
    pub const MAPPING: &str = "mapping";
    /// Larger than a request may be.
    pub const OVERSIZE: &str = "oversize";
    /// Its index is read-only and stays so.
    pub const INDEX_READ_ONLY: &str = "index_read_only";
    /// Its index is closed.
    pub const INDEX_CLOSED: &str = "index_closed";
    /// Its index takes nothing for now, and too much waits for it.
    pub const INDEX_HELD: &str = "index_held";
    /// More fields than the configuration allows.
    pub const TOO_MANY_FIELDS: &str = "too_many_fields";
    /// It failed for as long as others of its index were taken.
    pub const RETRIES_EXHAUSTED: &str = "retries_exhausted";
    /// Refused for another reason that does not go away.
    pub const REFUSED: &str = "refused";
}

/// What an item's status and error mean.
pub(crate) fn fate(status: u16, kind: &str, text: &str) -> Fate {
    let refusal = || Refusal { status, kind: kind.to_owned(), reason: text.to_owned() };
    match (status, kind) {
        (200..=299, _) => Fate::Created,
        // Flood stage is 429 in some versions and 403 in others: the block says what it is.
        (_, "cluster_block_exception") => blocked(text, refusal()),
        (_, "index_closed_exception") => Fate::Dead(reason::INDEX_CLOSED, refusal()),
        (_, "security_exception") | (401 | 403, _) => Fate::Hold(refusal()),
        (409, _) => Fate::Existed,
        (429, _) => Fate::Retry(Why::Throttled),
        (404, _) => Fate::Hold(refusal()),
        // No room for another index or its shards: nothing is wrong with the document.
        (400, "validation_exception") => Fate::Hold(refusal()),
        (400, "invalid_index_name_exception" | "illegal_index_name_exception") => {
            Fate::Dead(reason::REFUSED, refusal())
        }
        (400, _) => Fate::Repair(refusal()),
        (413, _) => Fate::Dead(reason::OVERSIZE, refusal()),
        // These say that somebody does not answer: a shard, or who knows about mappings. The document is well.
        (408 | 502..=504, _) => Fate::Retry(Why::Unavailable),
        (500..=599, _) => Fate::Fault(refusal()),
        (402..=499, _) => Fate::Dead(reason::REFUSED, refusal()),
        _ => Fate::Retry(Why::Unavailable),
    }
}

/// A block has its kind only in the text: `index [x] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];`.
fn blocked(text: &str, refusal: Refusal) -> Fate {
    let mut lasting = None;
    for block in text.split('[').skip(1) {
        let mut parts = block.split('/');
        let (Some(level), Some(number)) = (parts.next(), parts.next()) else { continue };
        if level.is_empty() || !level.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            continue;
        }
        match number {
            // Closed; read-only; no writes: an operator's wish, which stays.
            "4" => lasting = Some(reason::INDEX_CLOSED),
            "5" | "8" => lasting = lasting.or(Some(reason::INDEX_READ_ONLY)),
            _ => {}
        }
    }
    match lasting {
        Some(reason) => Fate::Dead(reason, refusal),
        // Flood stage clears itself; a cluster without manager or state comes back.
        None => Fate::Hold(refusal),
    }
}

/// What the status of a whole request means, with the beginning of what was said.
pub(crate) fn failure(status: u16, retry_after: Option<Duration>, said: &str) -> Failure {
    let message = format!("HTTP {status}: {said}");
    match status {
        413 | 400 => Failure::Split(Refusal { status, kind: String::new(), reason: said.to_owned() }),
        401 | 403 => Failure::Unauthorized(message),
        429 => Failure::Busy(message, retry_after),
        503 if retry_after.is_some() => Failure::Busy(message, retry_after),
        _ => Failure::Unknown(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_as_the_table_says() {
        let check = |status, kind: &str, text: &str, expected: &str| {
            let got = format!("{:?}", fate(status, kind, text));
            assert!(got.starts_with(expected), "{status} {kind} {text}: {got}");
        };
        check(201, "", "", "Created");
        check(200, "", "", "Created");
        check(409, "version_conflict_engine_exception", "", "Existed");
        check(429, "rejected_execution_exception", "", "Retry(Throttled)");
        check(429, "circuit_breaking_exception", "", "Retry(Throttled)");
        for status in [408, 502, 503, 504] {
            check(status, "unavailable_shards_exception", "", "Retry(Unavailable)");
        }
        check(500, "null_pointer_exception", "", "Fault");
        check(400, "mapper_parsing_exception", "failed to parse field [a]", "Repair");
        check(400, "strict_dynamic_mapping_exception", "", "Repair");
        check(400, "illegal_argument_exception", "Limit of total fields [10] has been exceeded", "Repair");
        check(400, "index_closed_exception", "closed", "Dead(\"index_closed\"");
        check(404, "index_not_found_exception", "no such index [x]", "Hold");
        check(403, "security_exception", "no permissions for [indices:data/write/bulk]", "Hold");
        check(401, "", "", "Hold");
        check(400, "validation_exception", "this action would add [2] shards", "Hold");
        check(413, "", "", "Dead(\"oversize\"");
        check(422, "something", "", "Dead(\"refused\"");
        check(0, "", "", "Retry(Unavailable)");
    }

    #[test]
    fn a_block_is_held_when_it_clears_itself() {
        let check = |text: &str, expected: &str| {
            for status in [403, 429, 503] {
                let got = format!("{:?}", fate(status, "cluster_block_exception", text));
                assert!(got.starts_with(expected), "{text}: {got}");
            }
        };
        check("index [x] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];", "Hold");
        check("index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage];", "Hold");
        check("blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];", "Hold");
        check("blocked by: [SERVICE_UNAVAILABLE/2/no cluster manager];", "Hold");
        check("index [FORBIDDEN/5] blocked by: [FORBIDDEN/8/index write (api)];", "Dead(\"index_read_only\"");
        check("index [x] blocked by: [FORBIDDEN/5/index read-only (api)];", "Dead(\"index_read_only\"");
        check("index [x] blocked by: [FORBIDDEN/4/index closed];", "Dead(\"index_closed\"");
        check("", "Hold");
    }

    #[test]
    fn a_whole_request_fails_by_its_status() {
        assert!(matches!(failure(413, None, ""), Failure::Split(_)));
        assert!(matches!(failure(401, None, ""), Failure::Unauthorized(_)));
        assert!(matches!(failure(403, None, ""), Failure::Unauthorized(_)));
        assert!(matches!(failure(429, None, ""), Failure::Busy(..)));
        for status in [500, 502, 503, 504, 404, 302] {
            assert!(matches!(failure(status, None, ""), Failure::Unknown(_)), "{status}");
        }
    }
}
