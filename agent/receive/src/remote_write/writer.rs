//! From the bytes of a request to the answer that its samples are safe.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio::time::timeout;
use twox_hash::XxHash3_64;
use weir_samples::receive::{DecodeError, Decoded, Report, Version};

use super::body::{unpack, unpacked_bytes};
use super::settings::Settings;
use crate::http::body::Held;
use crate::http::refused::Refused;
use crate::intake::{Intake, Refusal, Safe, SampleMessage};

/// A body that unpacks to more is decoded where it holds up no connection: a megabyte takes milliseconds.
const INLINE_BYTES: usize = 64 * 1024;

/// Room is asked for by what a request unpacks to; its rows are usually a little larger, and the pipeline reckons with it.
/// Where they are more than this many times larger, there must be room for more.
const GROWTH: usize = 4;

/// A request's body, as it came.
pub(super) struct Packed {
    pub(super) body: Vec<u8>,
    pub(super) version: Version,
}

/// Hands the requests of one connection on.
pub(super) struct Writer<I> {
    pub(super) settings: Arc<Settings>,
    intake: I,
    /// Who has it decodes and hands on. Requests that share a connection wait here in the order in which they came.
    turn: Mutex<()>,
}

/// What a request became.
struct Converted {
    decoded: Decoded,
    key: u64,
    /// Bytes of the request before it was packed.
    unpacked: usize,
    /// Kept until there is room for the rows, so that only few are without.
    permit: OwnedSemaphorePermit,
}

// === impl Writer ===

impl<I: Intake> Writer<I> {
    pub(super) fn new(settings: Arc<Settings>, intake: I) -> Writer<I> {
        Writer { settings, intake, turn: Mutex::new(()) }
    }

    /// No room yet for a request.
    pub(super) fn held(&self) -> Held<'_, I> {
        Held::new(&self.intake, self.settings.room_timeout)
    }

    /// Decodes a request and hands it on; the report is there when all that it says was taken is safe. Cancelling changes
    /// nothing for samples that were handed on.
    pub(super) async fn write(&self, packed: Packed, held: Held<'_, I>) -> Result<Report, Refused> {
        let (report, safe) = self.hand_on(packed, held).await?;
        if let Some(safe) = safe {
            let safe = timeout(self.settings.answer_timeout, safe).await.map_err(|_| Refused::Unsafe)?;
            safe.map_err(|_| Refused::Unsafe)?;
        }
        // Not before: a request that is not safe is sent again, with the same samples.
        self.count_report(&report);
        Ok(report)
    }

    /// Counts what a client did wrong.
    pub(super) fn count(&self, refusal: Refusal) {
        self.intake.count(refusal, 1);
    }

    fn count_report(&self, report: &Report) {
        if report.is_partial() {
            self.intake.count(Refusal::Malformed, report.refused_samples());
        }
        if report.lost_exemplars > 0 {
            self.intake.count(Refusal::Unsupported, report.lost_exemplars);
        }
    }

    async fn hand_on(
        &self,
        packed: Packed,
        mut held: Held<'_, I>,
    ) -> Result<(Report, Option<Safe>), Refused> {
        let turn =
            timeout(self.settings.answer_timeout, self.turn.lock()).await.map_err(|_| Refused::Busy)?;
        let Converted { decoded, key, unpacked, permit } = self.convert(packed, &mut held).await?;
        let Decoded { samples, report } = decoded;
        if samples.is_empty() {
            return Ok((report, None));
        }
        let room = held.into_room(unpacked.max(samples.bytes() / GROWTH)).await?;
        drop(permit);
        let safe = self.intake.push(SampleMessage { samples, key }.into(), room);
        drop(turn);
        Ok((report, Some(safe)))
    }

    async fn convert(&self, packed: Packed, held: &mut Held<'_, I>) -> Result<Converted, Refused> {
        let settings = Arc::clone(&self.settings);
        let unpacked = unpacked_bytes(&packed.body, settings.max_message)?;
        held.cover(unpacked.max(packed.body.len())).await?;
        let decoders = Arc::clone(&settings.decoders).acquire_owned();
        let permit = timeout(settings.room_timeout, decoders).await.map_err(|_| Refused::Busy)?;
        let permit = permit.map_err(|_| Refused::Failed)?;
        if unpacked <= INLINE_BYTES {
            return convert(&packed, unpacked, &settings, permit);
        }
        let converting = tokio::task::spawn_blocking(move || convert(&packed, unpacked, &settings, permit));
        converting.await.map_err(|_| Refused::Failed)?
    }
}

/// All that is done without waiting.
fn convert(
    packed: &Packed,
    unpacked: usize,
    settings: &Settings,
    permit: OwnedSemaphorePermit,
) -> Result<Converted, Refused> {
    let body = unpack(&packed.body, unpacked)?;
    let decoded = settings.decoder.decode(packed.version, &body, settings.max_rows());
    let decoded = decoded.map_err(|error| match error {
        DecodeError::Malformed { .. } => Refused::Malformed(error.to_string()),
        DecodeError::TooLarge { .. } => Refused::TooLarge(error.to_string()),
    })?;
    // The same bytes are something else in the other version.
    let key = XxHash3_64::oneshot_with_seed(packed.version as u64 + 1, &packed.body);
    Ok(Converted { decoded, key, unpacked, permit })
}
