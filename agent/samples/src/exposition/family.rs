//! What a family of metrics is, and which series are of it.

/// The type of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows, but for resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations by bucket.
    Histogram,
    /// A histogram that may fall.
    GaugeHistogram,
    /// Quantiles of observations.
    Summary,
    /// Facts as labels, always 1.
    Info,
    /// One series for each state, 0 or 1.
    StateSet,
    /// Nobody said; `untyped` in the text format.
    #[default]
    Unknown,
}

impl Kind {
    /// Its name in OpenMetrics, as [`weir_event::stream::Family::kind`] holds it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::GaugeHistogram => "gaugehistogram",
            Kind::Summary => "summary",
            Kind::Info => "info",
            Kind::StateSet => "stateset",
            Kind::Unknown => "unknown",
        }
    }

    /// What the text format calls by this name.
    pub(super) fn of_text(name: &[u8]) -> Option<Kind> {
        Some(match name {
            b"counter" => Kind::Counter,
            b"gauge" => Kind::Gauge,
            b"histogram" => Kind::Histogram,
            b"summary" => Kind::Summary,
            b"untyped" => Kind::Unknown,
            _ => return None,
        })
    }

    /// What OpenMetrics calls by this name.
    pub(super) fn of_open_metrics(name: &[u8]) -> Option<Kind> {
        Some(match name {
            b"gaugehistogram" => Kind::GaugeHistogram,
            b"info" => Kind::Info,
            b"stateset" => Kind::StateSet,
            b"unknown" => Kind::Unknown,
            b"untyped" => return None,
            name => return Kind::of_text(name),
        })
    }

    /// Whether a series with this name is of the family of this type and name (OpenMetrics 1.0, "Metric types": suffixes).
    /// The text format writes `_total` and `_info` into the family's name too.
    pub fn has_series(self, family: &str, series: &str) -> bool {
        let stem = match self {
            Kind::Counter => family.strip_suffix("_total").unwrap_or(family),
            Kind::Info => family.strip_suffix("_info").unwrap_or(family),
            _ => family,
        };
        let Some(suffix) = series.strip_prefix(stem) else { return false };
        if series == family {
            return true;
        }
        match self {
            Kind::Counter => matches!(suffix, "_total" | "_created"),
            Kind::Histogram => matches!(suffix, "_bucket" | "_sum" | "_count" | "_created"),
            Kind::GaugeHistogram => {
                matches!(suffix, "_bucket" | "_gsum" | "_gcount" | "_sum" | "_count" | "_created")
            }
            Kind::Summary => matches!(suffix, "_sum" | "_count" | "_created"),
            Kind::Info => suffix == "_info",
            Kind::Gauge | Kind::StateSet | Kind::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_of_the_family_that_their_suffix_says() {
        let cases = [
            (Kind::Counter, "a", "a_total", true),
            (Kind::Counter, "a_total", "a_total", true),
            (Kind::Counter, "a_total", "a_created", true),
            (Kind::Counter, "a", "a_bucket", false),
            (Kind::Counter, "a", "a", true),
            (Kind::Histogram, "a", "a_bucket", true),
            (Kind::Histogram, "a", "a_created", true),
            (Kind::Histogram, "a", "ab_bucket", false),
            (Kind::GaugeHistogram, "a", "a_gcount", true),
            (Kind::Summary, "a", "a_sum", true),
            (Kind::Summary, "a", "a_bucket", false),
            (Kind::Info, "a", "a_info", true),
            (Kind::Gauge, "a", "a", true),
            (Kind::Gauge, "a", "a_total", false),
            (Kind::Unknown, "a", "b", false),
        ];
        for (kind, family, series, wanted) in cases {
            assert_eq!(kind.has_series(family, series), wanted, "{kind:?} {family} {series}");
        }
    }
}
