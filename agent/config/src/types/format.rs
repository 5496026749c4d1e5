//! The formats of text that the schema may ask for.

use std::time::Duration;

use super::{
    Address, AnchoredPattern, Artifact, BucketName, ClassKey, CronTime, Endpoint, FieldPath, FilePath, Glob,
    HeaderName, HeaderValue, HttpPath, IndexName, IndexTemplate, JournalField, JournalWord, KeyPrefix, Label,
    LabelName, LinePattern, MetricLabel, MetricName, Name, Origin, ParameterName, Pattern, PlainText,
    PrometheusDuration, PrometheusSize, RegionName, RegistryPrefix, RelabelAction, ScrapeTarget, Share, Size,
    UnitName, Url, UserName, VariableName, WriteProtocol, ZoneName,
};
use crate::error::Complaint;

/// Text with a meaning.
pub(crate) trait Format: Sized {
    /// The name of the definition and the `format` in the JSON Schema.
    const NAME: &'static str;
    /// What it is and how it is written, for the schema and the reference.
    const DESCRIPTION: &'static str;
    /// A regular expression that every valid text matches, for editors; `None` where that would be of no use.
    const PATTERN: Option<&'static str> = None;
    /// Whether a number counts as the text that it was written as, which is how Prometheus reads its configuration.
    const TAKES_NUMBERS: bool = false;
    /// What is expected, for messages: "a size such as 64MiB".
    const EXPECTED: &'static str;

    /// The value of a text.
    fn parse(text: &str) -> Result<Self, Complaint>;
}

/// A format by its name.
pub(crate) struct Known {
    name: &'static str,
    /// [`Format::PATTERN`].
    pattern: Option<&'static str>,
    /// [`Format::EXPECTED`].
    pub expected: &'static str,
    /// What is wrong with a text of this format.
    pub check: fn(&str) -> Result<(), Complaint>,
}

static FORMATS: [Known; 43] = [
    entry::<Address>(),
    entry::<Artifact>(),
    entry::<BucketName>(),
    entry::<Duration>(),
    entry::<Endpoint>(),
    entry::<FieldPath>(),
    entry::<FilePath>(),
    entry::<Glob>(),
    entry::<IndexName>(),
    entry::<IndexTemplate>(),
    entry::<KeyPrefix>(),
    entry::<Label>(),
    entry::<LinePattern>(),
    entry::<Name>(),
    entry::<Pattern>(),
    entry::<RegionName>(),
    entry::<RegistryPrefix>(),
    entry::<Share>(),
    entry::<Size>(),
    entry::<UserName>(),
    entry::<UnitName>(),
    entry::<JournalWord>(),
    entry::<JournalField>(),
    entry::<VariableName>(),
    entry::<AnchoredPattern>(),
    entry::<ClassKey>(),
    entry::<CronTime>(),
    entry::<HeaderName>(),
    entry::<HeaderValue>(),
    entry::<HttpPath>(),
    entry::<LabelName>(),
    entry::<MetricLabel>(),
    entry::<MetricName>(),
    entry::<Origin>(),
    entry::<ParameterName>(),
    entry::<PlainText>(),
    entry::<PrometheusDuration>(),
    entry::<PrometheusSize>(),
    entry::<RelabelAction>(),
    entry::<ScrapeTarget>(),
    entry::<Url>(),
    entry::<WriteProtocol>(),
    entry::<ZoneName>(),
];

/// The format of this name in the schema.
pub(crate) fn known(name: &str) -> Option<&'static Known> {
    FORMATS.iter().find(|format| format.name == name)
}

/// The format of keys that this pattern is for; each that keys have has one of its own.
pub(crate) fn of_keys(pattern: &str) -> Option<&'static Known> {
    FORMATS.iter().find(|format| format.pattern == Some(pattern))
}

const fn entry<T: Format>() -> Known {
    Known {
        name: T::NAME,
        pattern: T::PATTERN,
        expected: T::EXPECTED,
        check: |text| T::parse(text).map(drop),
    }
}
