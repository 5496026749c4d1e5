//! Floats as text, as Prometheus has them in the label `le` (OpenMetrics, "Considerations: Canonical Numbers"): `0.1`,
//! `1.0`, `1e+06`, `+Inf`.

/// The shortest decimal text that is read as this number.
pub(super) fn canonical(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if number.is_nan() {
        return "NaN".to_owned();
    }
    let scientific = format!("{number:e}");
    let exponent =
        scientific.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse().ok()?)));
    match exponent {
        Some((digits, exponent)) if !(-4..6).contains(&exponent) => {
            let exponent: i32 = exponent;
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        // With a point also where there is no fraction.
        _ => format!("{number:?}"),
    }
}
