//! Remote write 2.0: `io.prometheus.write.v2.Request`.

use std::collections::HashMap;
use std::sync::Arc;

use weir_event::stream::Family;

use super::decoder::{Decoded, Dialect, Reader};
use super::families::{Families, MAX_FAMILIES, MAX_NAME_BYTES};
use super::label_list::LabelList;
use super::report::Reason;
use super::rows::Samples;
use super::wire::{Fault, Fields, Value};

struct V2<'a> {
    /// `None` for one that is not UTF-8.
    symbols: Vec<Option<&'a str>>,
    families: &'a Families,
    /// Families of this request, by what its series say.
    found: HashMap<Said<'a>, u32>,
    /// That of the series before: series of a family come together.
    last: Option<(Said<'a>, u32)>,
}

/// What a series says of its family: its metric, its type, and the references of its unit and help.
type Said<'a> = (&'a str, u64, u64, u64);

pub(super) fn decode<'a>(
    body: &'a [u8],
    families: &'a Families,
    external: &'a [(String, String)],
    samples: Samples,
) -> Result<Decoded, Fault> {
    let symbols = symbols(body, samples.left())?;
    let dialect = V2 { symbols, families, found: HashMap::new(), last: None };
    let mut reader = Reader::new(dialect, external, samples);
    let mut fields = Fields::new(body);
    while let Some((field, value)) = fields.read()? {
        if field == 5 {
            reader.series(value.bytes()?)?;
        }
    }
    reader.finish()
}

/// All symbols of a request, which may come behind its series; they take at most `limit` bytes.
fn symbols(body: &[u8], limit: usize) -> Result<Vec<Option<&str>>, Fault> {
    let mut symbols = Vec::new();
    let (mut is_other, mut has_series) = (false, false);
    let mut fields = Fields::new(body);
    while let Some((field, value)) = fields.read()? {
        match field {
            4 => {
                symbols.push(str::from_utf8(value.bytes()?).ok());
                if size_of_val(&symbols[..]) > limit {
                    return Err(Fault::TooLarge);
                }
            }
            5 => has_series = true,
            // Series and metadata of 1.0, which 2.0 reserves.
            1..=3 => is_other = true,
            _ => {}
        }
    }
    match symbols.first() {
        // With another first symbol all references may be meant otherwise.
        Some(first) if *first != Some("") => Err(Fault::Broken("the first symbol is not the empty text")),
        None if is_other && !has_series => {
            Err(Fault::Broken("it is a request of remote write 1.0, which the content type does not say"))
        }
        _ => Ok(symbols),
    }
}

impl<'a> V2<'a> {
    #[inline]
    fn symbol(&self, reference: u64) -> Result<&'a str, Fault> {
        let symbol = usize::try_from(reference).ok().and_then(|at| self.symbols.get(at));
        let symbol = symbol.ok_or(Fault::Refused(Reason::UnknownSymbol))?;
        symbol.ok_or(Fault::Refused(Reason::InvalidUtf8))
    }

    /// A symbol that may be left out: the first one says so, even where there is none.
    fn optional(&self, reference: u64) -> Result<&'a str, Fault> {
        if reference == 0 { Ok("") } else { self.symbol(reference) }
    }
}

impl<'a> Dialect<'a> for V2<'a> {
    const EXEMPLARS: u32 = 4;
    const HISTOGRAMS: u32 = 3;
    const KNOWS_ALL: bool = true;

    #[inline]
    fn label(&self, value: Value<'a>, labels: &mut LabelList<'a>) -> Result<(), Fault> {
        value.each_number(|reference| labels.push_text(self.symbol(reference)?))
    }

    fn family(
        &mut self,
        metric: &'a str,
        metadata: Option<&'a [u8]>,
        families: &mut Vec<Arc<Family>>,
    ) -> Result<u32, Fault> {
        let (mut kind, mut help, mut unit) = (0, 0, 0);
        let mut fields = Fields::new(metadata.unwrap_or_default());
        while let Some((field, value)) = fields.read()? {
            match field {
                1 => kind = value.number()?,
                3 => help = value.number()?,
                4 => unit = value.number()?,
                _ => {}
            }
        }
        if (kind, unit, help) == (0, 0, 0) {
            return Ok(0);
        }
        let said = (metric, kind, unit, help);
        if let Some((_, index)) = self.last.filter(|(last, _)| *last == said) {
            return Ok(index);
        }
        if let Some(index) = self.found.get(&said) {
            self.last = Some((said, *index));
            return Ok(*index);
        }
        let (unit_text, help_text) = (self.optional(unit)?, self.optional(help)?);
        // So many different ones are nobody's metrics, and each takes memory.
        if families.len() >= MAX_FAMILIES || metric.len() > MAX_NAME_BYTES {
            return Ok(0);
        }
        families.push(self.families.shared(metric, kind, unit_text, help_text));
        let index = families.len() as u32;
        self.found.insert(said, index);
        self.last = Some((said, index));
        Ok(index)
    }
}
