//! A client of Prometheus' HTTP API, which Thanos Query speaks too, and what it means that two answers agree.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::http1::Message;

const TIMEOUT: Duration = Duration::from_secs(60);
/// Two numbers agree when they differ by no more than this share of the larger one.
const TOLERANCE: f64 = 1e-9;

/// A server that answers PromQL.
#[derive(Clone, Copy, Debug)]
pub struct PromQl {
    address: SocketAddr,
}

/// A time span that a query is asked over, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first moment.
    pub start: i64,
    /// The last one.
    pub end: i64,
    /// From one moment to the next.
    pub step: i64,
}

// === impl PromQl ===

impl PromQl {
    /// The server at `http://ADDRESS:PORT`.
    #[track_caller]
    pub fn at(url: &str) -> PromQl {
        let address = url.strip_prefix("http://").expect("a URL with http").trim_end_matches('/');
        PromQl { address: address.parse().expect("an address and a port") }
    }

    /// `/api/v1/query` at a moment in milliseconds; the `data` of the answer.
    #[track_caller]
    pub fn instant(&self, query: &str, time: i64) -> Value {
        self.expect("query", &[("query", query), ("time", &seconds(time))])
    }

    /// `/api/v1/query_range`.
    #[track_caller]
    pub fn range(&self, query: &str, span: Span) -> Value {
        let (start, end, step) = (seconds(span.start), seconds(span.end), seconds(span.step));
        let parameters = [("query", query), ("start", &*start), ("end", &*end), ("step", &*step)];
        self.expect("query_range", &parameters)
    }

    /// `/api/v1/query_exemplars`.
    #[track_caller]
    pub fn exemplars(&self, query: &str, start: i64, end: i64) -> Value {
        let (start, end) = (seconds(start), seconds(end));
        self.expect("query_exemplars", &[("query", query), ("start", &start), ("end", &end)])
    }

    /// `/api/v1/series`: the label sets that a selector finds.
    #[track_caller]
    pub fn series(&self, selector: &str, start: i64, end: i64) -> Value {
        let (start, end) = (seconds(start), seconds(end));
        self.expect("series", &[("match[]", selector), ("start", &start), ("end", &end)])
    }

    /// The value of a query whose answer is one number, if it has one.
    #[track_caller]
    pub fn number(&self, query: &str, time: i64) -> Option<f64> {
        let answer = self.instant(query, time);
        answer["result"].as_array()?.first()?["value"][1].as_str()?.parse().ok()
    }

    #[track_caller]
    fn expect(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let answer =
            self.ask(path, parameters).unwrap_or_else(|error| panic!("{path} {parameters:?}: {error}"));
        assert_eq!(answer["status"], "success", "{path} {parameters:?}: {answer}");
        answer["data"].clone()
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> std::io::Result<Value> {
        // Thanos would smooth away the resets of counters where it could put replicas together.
        let all = parameters.iter().chain(&[("dedup", "false")]);
        let pairs = all.map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let target = format!("/api/v1/{path}?{}", pairs.collect::<Vec<_>>().join("&"));
        let headers = [("host", self.address.to_string()), ("connection", "close".to_owned())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        let request = Message { start: format!("GET {target} HTTP/1.1"), headers, body: Vec::new() };
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        request.write(&mut stream)?;
        let answer = Message::read_answer(&mut BufReader::new(stream))?;
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

/// Prometheus takes moments and durations in seconds.
fn seconds(milliseconds: i64) -> String {
    format!("{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// The number of samples, histograms or exemplars in the `data` of an answer.
pub fn count_samples(data: &Value) -> usize {
    let length = |value: &Value| value.as_array().map_or(0, Vec::len);
    if data["resultType"] == "scalar" {
        return 1;
    }
    let of_exemplars = data.as_array();
    let results = of_exemplars.or_else(|| data["result"].as_array()).into_iter().flatten();
    results
        .map(|result| {
            let single =
                usize::from(!result["value"].is_null()) + usize::from(!result["histogram"].is_null());
            single + length(&result["values"]) + length(&result["histograms"]) + length(&result["exemplars"])
        })
        .sum()
}

/// Whether the `data` of two answers says the same about the same series, whatever their order and the labels that are
/// `ignored`; else where they differ first.
pub fn agree(left: &Value, right: &Value, ignored: &[&str]) -> Result<(), String> {
    let kinds = (&left["resultType"], &right["resultType"]);
    if kinds.0 != kinds.1 {
        return Err(format!("{} is not {}", kinds.0, kinds.1));
    }
    if !left["result"].is_array() || left["resultType"] == "scalar" {
        if let (Some(one), Some(other)) = (left.as_array(), right.as_array()) {
            return same_series(one, other, ignored);
        }
        return same(&left["result"], &right["result"], "the result");
    }
    let results = |data: &Value| data["result"].as_array().cloned().unwrap_or_default();
    same_series(&results(left), &results(right), ignored)
}

fn same_series(left: &[Value], right: &[Value], ignored: &[&str]) -> Result<(), String> {
    let (left, right) = (by_labels(left, ignored)?, by_labels(right, ignored)?);
    if let Some(labels) = left.keys().find(|labels| !right.contains_key(*labels)) {
        return Err(format!("only the first has {labels}"));
    }
    if let Some(labels) = right.keys().find(|labels| !left.contains_key(*labels)) {
        return Err(format!("only the second has {labels}"));
    }
    for (labels, one) in &left {
        for part in ["value", "values", "histogram", "histograms", "exemplars"] {
            same(&one[part], &right[labels][part], &format!("{part} of {labels}"))?;
        }
    }
    Ok(())
}

/// Of a vector, a matrix, or the answer to a question for exemplars or series.
fn by_labels<'a>(results: &'a [Value], ignored: &[&str]) -> Result<BTreeMap<String, &'a Value>, String> {
    let mut found = BTreeMap::new();
    for result in results {
        let labels =
            ["metric", "seriesLabels"].into_iter().find_map(|name| result.get(name)).unwrap_or(result);
        let kept: BTreeMap<&String, &Value> = labels
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !ignored.contains(&name.as_str()))
            .collect();
        let key = serde_json::to_string(&kept).map_err(|error| error.to_string())?;
        if found.insert(key.clone(), result).is_some() {
            return Err(format!("{key} is there twice"));
        }
    }
    Ok(found)
}

/// Numbers, and texts that are numbers, agree within the tolerance; all else must be equal.
fn same(left: &Value, right: &Value, place: &str) -> Result<(), String> {
    let differ = || Err(format!("{place}: {left} is not {right}"));
    match (left, right) {
        (Value::Array(one), Value::Array(other)) => {
            if one.len() != other.len() {
                return Err(format!("{place}: {} is not {}: {left} {right}", one.len(), other.len()));
            }
            one.iter()
                .zip(other)
                .enumerate()
                .try_for_each(|(at, (a, b))| same(a, b, &format!("{place}[{at}]")))
        }
        (Value::Object(one), Value::Object(other)) => {
            if one.len() != other.len() || one.keys().any(|name| !other.contains_key(name)) {
                return differ();
            }
            one.iter().try_for_each(|(name, value)| same(value, &other[name], &format!("{place}.{name}")))
        }
        _ => match (number(left), number(right)) {
            (Some(a), Some(b)) if is_close(a, b) => Ok(()),
            _ if left == right => Ok(()),
            _ => differ(),
        },
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn is_close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vector(series: &[(&str, &str, &str)]) -> Value {
        let result = series.iter().map(|(name, tenant, value)| {
            json!({"metric": {"__name__": name, "tenant_id": tenant}, "value": [1, value]})
        });
        json!({"resultType": "vector", "result": result.collect::<Vec<_>>()})
    }

    #[test]
    fn answers_agree_within_the_tolerance_in_any_order() {
        let agree = |a: &[_], b: &[_]| agree(&vector(a), &vector(b), &["tenant_id"]);
        let left = [("a", "x", "1"), ("b", "x", "NaN")];
        agree(&left, &[("b", "", "NaN"), ("a", "y", "1.0000000001")]).unwrap();
        for (right, says) in [
            (vec![("a", "x", "1.00000001"), ("b", "x", "NaN")], "is not"),
            (vec![("a", "x", "1"), ("b", "x", "+Inf")], "is not"),
            (vec![("a", "x", "1")], "only the first"),
            (vec![("a", "x", "1"), ("b", "x", "NaN"), ("c", "x", "0")], "only the second"),
            (vec![("a", "x", "1"), ("a", "y", "1")], "twice"),
        ] {
            let error = agree(&left, &right).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn histograms_exemplars_and_series_are_compared() {
        let histogram = |sum: &str| {
            let histogram = json!({"count": "3", "sum": sum, "buckets": [[0, "1", "2", "3"]]});
            json!({"resultType": "vector", "result": [{"metric": {"a": "b"}, "histogram": [1, histogram]}]})
        };
        agree(&histogram("4"), &histogram("4.0"), &[]).unwrap();
        assert!(agree(&histogram("4"), &histogram("5"), &[]).unwrap_err().contains("sum"));
        let exemplars = |trace: &str| {
            let exemplar = json!({"labels": {"trace_id": trace}, "value": "1", "timestamp": 1.5});
            json!([{"seriesLabels": {"a": "b"}, "exemplars": [exemplar]}])
        };
        assert_eq!(count_samples(&exemplars("1")), 1);
        agree(&exemplars("f0"), &exemplars("f0"), &[]).unwrap();
        assert!(agree(&exemplars("f0"), &exemplars("f1"), &[]).is_err());
        let series = |node: &str| json!([{"__name__": "up", "node": node}]);
        agree(&series("1"), &series("2"), &["node"]).unwrap();
        assert!(agree(&series("1"), &series("2"), &[]).is_err());
    }

    #[test]
    fn moments_and_queries_are_written_as_they_are_read() {
        assert_eq!((seconds(1_500), seconds(60_000)), ("1.500".to_owned(), "60.000".to_owned()));
        assert_eq!(encoded("a{b=\"c\"}[5m]"), "a%7Bb%3D%22c%22%7D%5B5m%5D");
    }
}
