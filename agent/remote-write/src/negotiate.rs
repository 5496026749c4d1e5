//! Negotiation: which version of the protocol the next request is in.
//!
//! 1. A receiver speaks 2.0 when it said what it has written (the headers `X-Prometheus-Remote-Write-*-Written`). A 2xx
//!    without them is a 1.x receiver that took the request for an empty one and stored nothing.
//! 2. What a receiver did not take in 2.0 for its version is sent once more in 1.0, and 1.0 is spoken from then on for
//!    [`FALLEN_FOR`], or until the receiver could not be reached: it may be another one behind that.
//! 3. A receiver that refuses 1.0 for its version is not spoken to in 1.0 again.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::Protocol;

/// So long 1.0 is spoken before 2.0 is tried once more.
pub(crate) const FALLEN_FOR: Duration = Duration::from_secs(3600);

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

/// What is known of the receiver.
#[derive(Debug)]
pub(crate) struct Negotiation {
    setting: Protocol,
    fallen_until: Option<Instant>,
    /// It said what it wrote of a request in 2.0, or refused one in 1.0.
    speaks_v2: bool,
}

// === impl Version ===

impl Version {
    /// The header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Version::V1 => "application/x-protobuf",
            Version::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The header `X-Prometheus-Remote-Write-Version`.
    pub fn header(self) -> &'static str {
        match self {
            Version::V1 => "0.1.0",
            Version::V2 => "2.0.0",
        }
    }
}

// === impl Negotiation ===

impl Negotiation {
    /// Nothing is known yet.
    pub fn new(setting: Protocol) -> Negotiation {
        Negotiation { setting, fallen_until: None, speaks_v2: false }
    }

    /// The version of the next request.
    pub fn version(&self, now: Instant) -> Version {
        let has_fallen = self.fallen_until.is_some_and(|until| now < until);
        match self.setting {
            Protocol::V1 => Version::V1,
            Protocol::Auto | Protocol::V2 if has_fallen => Version::V1,
            Protocol::Auto | Protocol::V2 => Version::V2,
        }
    }

    /// Whether a 400 to 2.0 may be that of a 1.x receiver (specification 2.0, "Unsupported Request Content").
    pub fn doubts(&self) -> bool {
        self.setting == Protocol::Auto && !self.speaks_v2
    }

    /// Whether 1.0 may be spoken when 2.0 is not known.
    pub fn may_fall_back(&self) -> bool {
        self.setting != Protocol::V1
    }

    /// The receiver does not know 2.0; says whether that is new.
    pub fn fall_back(&mut self, now: Instant) -> bool {
        let is_new = self.version(now) == Version::V2;
        (self.speaks_v2, self.fallen_until) = (false, Some(now + FALLEN_FOR));
        is_new
    }

    /// The receiver said what it wrote of a request in 2.0.
    pub fn wrote_v2(&mut self) {
        self.speaks_v2 = true;
    }

    /// The receiver does not know 1.0.
    pub fn refused_v1(&mut self) {
        if self.setting != Protocol::V1 {
            (self.speaks_v2, self.fallen_until) = (true, None);
        }
    }

    /// Nobody was there: whoever comes back may be another one.
    pub fn unreachable(&mut self) {
        (self.speaks_v2, self.fallen_until) = (false, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_fallen_back_tries_again_after_an_hour_or_an_absence() {
        let now = Instant::now();
        let mut of = Negotiation::new(Protocol::Auto);
        assert_eq!(of.version(now), Version::V2);
        assert!(of.doubts() && of.fall_back(now) && !of.fall_back(now));
        assert_eq!(of.version(now + FALLEN_FOR - Duration::from_secs(1)), Version::V1);
        assert_eq!(of.version(now + FALLEN_FOR), Version::V2);
        of.fall_back(now);
        of.unreachable();
        assert_eq!(of.version(now), Version::V2);
        of.wrote_v2();
        assert!(!of.doubts());
    }

    #[test]
    fn who_refuses_1_0_is_not_asked_for_it_again() {
        let now = Instant::now();
        let mut of = Negotiation::new(Protocol::Auto);
        of.fall_back(now);
        of.refused_v1();
        assert_eq!(of.version(now), Version::V2);
        assert!(!of.doubts());
        let mut of = Negotiation::new(Protocol::V1);
        of.refused_v1();
        assert_eq!(of.version(now), Version::V1);
        assert!(!of.may_fall_back() && !of.doubts());
        assert!(Negotiation::new(Protocol::V2).may_fall_back() && !Negotiation::new(Protocol::V2).doubts());
    }
}
