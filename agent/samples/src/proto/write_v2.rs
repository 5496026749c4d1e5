//! Package `io.prometheus.write.v2`: remote write 2.0 (prometheus/prometheus 3.9,
//! prompb/io/prometheus/write/v2/types.proto). Its `Histogram` is that of 1.0 with one field more.

/// What a 2.0 request holds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// All texts; the first one is empty.
    #[prost(string, repeated, tag = "4")]
    pub symbols: Vec<String>,
    /// The series with their samples.
    #[prost(message, repeated, tag = "5")]
    pub timeseries: Vec<TimeSeries>,
}

/// A series with samples or histograms.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TimeSeries {
    /// Names and values in turn, as indices of the symbols.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// In the order of their times.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// In the order of their times.
    #[prost(message, repeated, tag = "3")]
    pub histograms: Vec<Histogram>,
    /// Of its samples.
    #[prost(message, repeated, tag = "4")]
    pub exemplars: Vec<Exemplar>,
    /// What its family is.
    #[prost(message, optional, tag = "5")]
    pub metadata: Option<Metadata>,
}

/// An example of what was measured.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Exemplar {
    /// Names and values in turn, as indices of the symbols.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// What was measured.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// A number at a time.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Sample {
    /// The number.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
    /// When its counter began, in milliseconds since the Unix epoch; 0 is unknown.
    #[prost(int64, tag = "3")]
    pub start_timestamp: i64,
}

/// What a family of metrics is.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Metadata {
    /// One of [`super::prometheus::MetricType`].
    #[prost(enumeration = "super::prometheus::MetricType", tag = "1")]
    pub r#type: i32,
    /// What it says, as an index of the symbols.
    #[prost(uint32, tag = "3")]
    pub help_ref: u32,
    /// Its unit, as an index of the symbols.
    #[prost(uint32, tag = "4")]
    pub unit_ref: u32,
}

/// A native histogram.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// How many observations.
    #[prost(oneof = "Count", tags = "1, 2")]
    pub count: Option<Count>,
    /// Their sum.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// −4 to 8, or −53 for custom buckets.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// Breadth of the zero bucket.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// How many are in the zero bucket.
    #[prost(oneof = "ZeroCount", tags = "6, 7")]
    pub zero_count: Option<ZeroCount>,
    /// Which negative buckets there are.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    /// Of whole numbers: the difference of each bucket to the one before.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// Of floats: each bucket.
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    /// Which positive buckets there are.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// Of whole numbers: the difference of each bucket to the one before.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Of floats: each bucket.
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    /// One of [`ResetHint`].
    #[prost(enumeration = "ResetHint", tag = "14")]
    pub reset_hint: i32,
    /// Milliseconds since the Unix epoch.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// The bounds of custom buckets.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
    /// When it began to count, in milliseconds since the Unix epoch; 0 is unknown. Only in 2.0.
    #[prost(int64, tag = "17")]
    pub start_timestamp: i64,
}

/// Whether a histogram begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ResetHint {
    /// Nobody said.
    Unspecified = 0,
    /// It is the first one behind a reset.
    Yes = 1,
    /// There was no reset since the one before.
    No = 2,
    /// It may fall.
    Gauge = 3,
}

/// How many observations.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum Count {
    /// As a whole number.
    #[prost(uint64, tag = "1")]
    Int(u64),
    /// As a float.
    #[prost(double, tag = "2")]
    Float(f64),
}

/// How many observations are in the zero bucket.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum ZeroCount {
    /// As a whole number.
    #[prost(uint64, tag = "6")]
    Int(u64),
    /// As a float.
    #[prost(double, tag = "7")]
    Float(f64),
}

/// Buckets that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct BucketSpan {
    /// Gap to the span before, or where the first one begins.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// How many buckets.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}
