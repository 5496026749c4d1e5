//! Why a request was not taken, whatever it is written in.

use crate::intake::Refusal;

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("the authorization is missing or wrong")]
    Unauthorized,
    #[error("the request's body did not come in time")]
    TooSlow,
    #[error("the request's body ended early")]
    Broken,
    #[error("the agent has no memory for the request; send it again")]
    Busy,
    #[error("the agent could not make the request safe; send it again")]
    Unsafe,
    #[error("the agent failed on the request")]
    Failed,
}

// === impl Refused ===

impl Refused {
    /// How it is counted, if it is the client's doing.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Refused::Malformed(_) => Some(Refusal::Malformed),
            Refused::TooLarge(_) => Some(Refusal::TooLarge),
            Refused::Unauthorized => Some(Refusal::Unauthorized),
            Refused::TooSlow => Some(Refusal::TimedOut),
            Refused::Broken | Refused::Busy | Refused::Unsafe | Refused::Failed => None,
        }
    }
}
