//! What HTTP and gRPC have in common: from the bytes of a request to the answer that its records are safe.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use weir_event::batch::MAX_EVENT_BYTES;

use super::compression::{Compression, UnpackError};
use super::document::write_documents;
use super::request::{DecodeError, Encoding, decode, key};
use super::settings::Settings;
use crate::documents::Documents;
use crate::http::body::Held;
use crate::http::refused::Refused;
use crate::intake::{Intake, Message, Refusal};

/// A body that is expected to unpack to more is decoded where it holds up no connection: a megabyte takes
/// milliseconds.
const INLINE_BYTES: usize = 64 * 1024;

/// Room is asked for by what a request has in bytes; documents are larger, usually twofold, and the pipeline reckons with
/// it. Where they are more than this many times larger, there must be room for more.
const GROWTH: usize = 4;

/// A request's body, as it came.
pub(super) struct Packed {
    pub(super) body: Vec<u8>,
    pub(super) compression: Compression,
    pub(super) encoding: Encoding,
}

/// What a request became.
struct Decoded {
    documents: Documents,
    rejected: u64,
    key: u64,
    /// Bytes of the request before it was packed.
    unpacked: usize,
    /// Kept until there is room for the documents, so that only few are without.
    permit: OwnedSemaphorePermit,
}

/// Hands requests on.
#[derive(Clone, Debug)]
pub(super) struct Exporter<I> {
    pub(super) settings: Arc<Settings>,
    pub(super) intake: I,
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Refused {
        match error {
            DecodeError::TooLarge { .. } => Refused::TooLarge(error.to_string()),
            DecodeError::Protobuf(_) | DecodeError::Json(_) => Refused::Malformed(error.to_string()),
        }
    }
}

impl From<UnpackError> for Refused {
    fn from(error: UnpackError) -> Refused {
        match error {
            UnpackError::TooLarge { .. } => Refused::TooLarge(error.to_string()),
            UnpackError::Malformed => Refused::Malformed(error.to_string()),
        }
    }
}

// === impl Exporter ===

impl<I: Intake> Exporter<I> {
    /// No room yet for a request.
    pub(super) fn held(&self) -> Held<'_, I> {
        Held::new(&self.intake, self.settings.room_timeout)
    }

    /// Decodes a request and hands it on; the answer is there when all its records are safe. Cancelling changes
    /// nothing for records that were handed on.
    pub(super) async fn export(
        &self,
        packed: Packed,
        mut held: Held<'_, I>,
    ) -> Result<ExportLogsServiceResponse, Refused> {
        let decoded = self.decode(packed, &mut held).await?;
        let rejected = decoded.rejected;
        if !decoded.documents.is_empty() {
            self.make_safe(decoded, held).await?;
        }
        // Not before: a request that is not safe is sent again, with the same records.
        if rejected > 0 {
            self.intake.count(Refusal::TooLarge, rejected);
        }
        Ok(response(rejected))
    }

    /// Counts what a client did wrong.
    pub(super) fn count(&self, refused: &Refused) {
        if let Some(refusal) = refused.refusal() {
            self.intake.count(refusal, 1);
        }
    }

    async fn make_safe(&self, decoded: Decoded, held: Held<'_, I>) -> Result<(), Refused> {
        let room = held.into_room(decoded.unpacked.max(decoded.documents.bytes() / GROWTH)).await?;
        drop(decoded.permit);
        let message = Message { documents: decoded.documents, tag: String::new(), key: Some(decoded.key) };
        let safe = self.intake.push(message.into(), room);
        let safe = timeout(self.settings.answer_timeout, safe).await.map_err(|_| Refused::Unsafe)?;
        safe.map_err(|_| Refused::Unsafe)
    }

    async fn decode(&self, packed: Packed, held: &mut Held<'_, I>) -> Result<Decoded, Refused> {
        let settings = Arc::clone(&self.settings);
        let expected = packed.compression.expected(packed.body.len(), settings.max_message);
        held.cover(expected).await?;
        let decoders = Arc::clone(&settings.decoders).acquire_owned();
        let permit = timeout(settings.room_timeout, decoders).await.map_err(|_| Refused::Busy)?;
        let permit = permit.map_err(|_| Refused::Failed)?;
        if expected <= INLINE_BYTES {
            return convert(packed, &settings, permit);
        }
        let converting = tokio::task::spawn_blocking(move || convert(packed, &settings, permit));
        converting.await.map_err(|_| Refused::Failed)?
    }
}

/// All that is done without waiting.
fn convert(packed: Packed, settings: &Settings, permit: OwnedSemaphorePermit) -> Result<Decoded, Refused> {
    let body = packed.compression.unpack(packed.body, settings.max_message)?;
    let request = decode(&body, packed.encoding, settings.max_decoded())?;
    let unpacked = body.len();
    drop(body);
    let mut documents = Documents::new(settings.max_documents());
    let rejected = write_documents(&request, settings.trust_kubernetes, &mut documents)
        .map_err(|error| Refused::TooLarge(format!("{error}; send fewer records at once")))?;
    Ok(Decoded { documents, rejected, key: key(&request), unpacked, permit })
}

fn response(rejected: u64) -> ExportLogsServiceResponse {
    if rejected == 0 {
        return ExportLogsServiceResponse { partial_success: None };
    }
    let partial_success = ExportLogsPartialSuccess {
        rejected_log_records: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: format!("the document of a log record may have {MAX_EVENT_BYTES} bytes at the most"),
    };
    ExportLogsServiceResponse { partial_success: Some(partial_success) }
}
