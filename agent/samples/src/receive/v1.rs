//! Remote write 1.0: `prometheus.WriteRequest`.

use std::collections::HashMap;
use std::sync::Arc;

use weir_event::stream::Family;

use super::decoder::{Decoded, Dialect, Reader};
use super::families::Families;
use super::label_list::{LabelList, plain_label};
use super::report::Reason;
use super::rows::Samples;
use super::wire::{Fault, Fields, Value};

struct V1<'a> {
    families: &'a Families,
    has_families: bool,
    /// Families of this request's metrics, as [`Dialect::family`] says them.
    found: HashMap<&'a str, u32>,
}

pub(super) fn decode<'a>(
    body: &'a [u8],
    families: &'a Families,
    external: &'a [(String, String)],
    samples: Samples,
) -> Result<Decoded, Fault> {
    let mut fields = Fields::new(body);
    let (mut is_known, mut is_other) = (false, false);
    while let Some((field, value)) = fields.read()? {
        match field {
            1 => is_known = true,
            3 => {
                is_known = true;
                remember(value.bytes()?, families)?;
            }
            // Symbols and series of 2.0, which reserves what 1.0 has.
            4 | 5 => is_other = true,
            _ => {}
        }
    }
    if is_other && !is_known {
        return Err(Fault::Broken(
            "it is a request of remote write 2.0, which the content type does not say",
        ));
    }
    let dialect = V1 { families, has_families: !families.is_empty(), found: HashMap::new() };
    let mut reader = Reader::new(dialect, external, samples);
    let mut fields = Fields::new(body);
    while let Some((field, value)) = fields.read()? {
        if field == 1 {
            reader.series(value.bytes()?)?;
        }
    }
    reader.finish()
}

/// Takes a message `MetricMetadata`. One that is not text is nobody's sample, and left out.
fn remember(message: &[u8], families: &Families) -> Result<(), Fault> {
    let (mut kind, mut name, mut help, mut unit) = (0, &[][..], &[][..], &[][..]);
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.read()? {
        match field {
            1 => kind = value.number()?,
            2 => name = value.bytes()?,
            4 => help = value.bytes()?,
            5 => unit = value.bytes()?,
            _ => {}
        }
    }
    if let (Ok(name), Ok(help), Ok(unit)) = (str::from_utf8(name), str::from_utf8(help), str::from_utf8(unit))
    {
        families.remember(name, kind, unit, help);
    }
    Ok(())
}

impl<'a> Dialect<'a> for V1<'a> {
    const EXEMPLARS: u32 = 3;
    const HISTOGRAMS: u32 = 4;
    const KNOWS_ALL: bool = false;

    #[inline]
    fn label(&self, value: Value<'a>, labels: &mut LabelList<'a>) -> Result<(), Fault> {
        let message = value.bytes()?;
        if let Some((name, value)) = plain_label(message) {
            return labels.push(name, value, message);
        }
        let (mut name, mut text) = (&[][..], &[][..]);
        let mut fields = Fields::new(message);
        while let Some((field, value)) = fields.read()? {
            match field {
                1 => name = value.bytes()?,
                2 => text = value.bytes()?,
                _ => {}
            }
        }
        let (Ok(name), Ok(text)) = (str::from_utf8(name), str::from_utf8(text)) else {
            return Err(Fault::Refused(Reason::InvalidUtf8));
        };
        labels.push(name, text, &[])
    }

    fn family(
        &mut self,
        metric: &'a str,
        _metadata: Option<&'a [u8]>,
        families: &mut Vec<Arc<Family>>,
    ) -> Result<u32, Fault> {
        if !self.has_families {
            return Ok(0);
        }
        let known = self.families;
        let index = self.found.entry(metric).or_insert_with(|| match known.of_metric(metric) {
            Some(family) => {
                families.push(family);
                families.len() as u32
            }
            None => 0,
        });
        Ok(*index)
    }
}
