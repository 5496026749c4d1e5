//! Reasons for which samples are dropped.

/// Why a sample is dropped, as the ledger has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The receiver has a younger sample of its series.
    OutOfOrder,
    /// The receiver has another value at its time.
    Duplicate,
    /// It came in a request that was sent again, since nobody knows what became of it the first time, and the receiver has
    /// younger ones of its series: most likely it is stored.
    Repeated,
    /// Its time is before or behind what the receiver takes. A Thanos that was stopped in order and started takes nothing
    /// older than the newest sample that it had, unless it has a window for samples out of order.
    OutOfBounds,
    /// It is older than what the receiver takes out of order. What the buffer drops for its age is `too_old`.
    ReceiverTooOld,
    /// The receiver did not take its labels.
    InvalidLabels,
    /// A 409 that does not say more.
    Conflict,
    /// Another 4xx that does not say more.
    Rejected,
    /// It alone is too large for the receiver.
    TooLarge,
    /// A receiver of 2.0 said 2xx, and that it wrote fewer.
    Partial,
    /// Native histograms are not sent.
    NativeHistogram,
    /// Its document is none.
    Malformed,
}

// === impl Reason ===

impl Reason {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Reason; 12] = [
        Reason::OutOfOrder,
        Reason::Duplicate,
        Reason::Repeated,
        Reason::OutOfBounds,
        Reason::ReceiverTooOld,
        Reason::InvalidLabels,
        Reason::Conflict,
        Reason::Rejected,
        Reason::TooLarge,
        Reason::Partial,
        Reason::NativeHistogram,
        Reason::Malformed,
    ];

    /// As it stands in the ledger and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Reason::OutOfOrder => "out_of_order",
            Reason::Duplicate => "duplicate",
            Reason::Repeated => "repeated",
            Reason::OutOfBounds => "out_of_bounds",
            Reason::ReceiverTooOld => "receiver_too_old",
            Reason::InvalidLabels => "invalid_labels",
            Reason::Conflict => "conflict",
            Reason::Rejected => "rejected",
            Reason::TooLarge => "too_large",
            Reason::Partial => "partial",
            Reason::NativeHistogram => "native_histogram",
            Reason::Malformed => "malformed",
        }
    }
}
