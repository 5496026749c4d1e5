//! The ledger, as the agent shows it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A number of events and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Amount {
    /// Events.
    pub events: u64,
    /// Bytes as they were read.
    pub bytes: u64,
}

/// What became of the events of one pipeline and sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// The pipeline's name.
    pub pipeline: String,
    /// The sink's name.
    pub sink: String,
    /// Taken over from sources.
    pub read: Amount,
    /// Made by stages.
    pub created: Amount,
    /// Taken over from agents that are gone.
    #[serde(default)]
    pub adopted: Amount,
    /// Taken over by other agents.
    #[serde(default)]
    pub handed_over: Amount,
    /// The sink has them.
    pub delivered: Amount,
    /// By reason.
    pub sampled: BTreeMap<String, Amount>,
    /// By reason.
    pub dropped: BTreeMap<String, Amount>,
    /// By reason.
    pub dead_lettered: BTreeMap<String, Amount>,
    /// By reason.
    pub lost: BTreeMap<String, Amount>,
    /// By tier.
    pub buffered: BTreeMap<String, Amount>,
    /// On the way to the buffer.
    pub in_flight: Amount,
    /// What the agent says of its own sums.
    pub balanced: bool,
}

/// All accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Ledger {
    /// `live` or `stopped`; only the command says it.
    pub agent: Option<String>,
    /// In no particular order.
    pub accounts: Vec<Account>,
}

// === impl Account ===

impl Account {
    /// Everything that came in.
    pub fn incoming(&self) -> Amount {
        sum([self.read, self.created, self.adopted])
    }

    /// Everything in a state that it will not leave.
    pub fn settled(&self) -> Amount {
        let reasons = [&self.sampled, &self.dropped, &self.dead_lettered, &self.lost];
        let ends = [self.delivered, self.handed_over];
        sum(reasons.into_iter().flat_map(|reasons| reasons.values().copied()).chain(ends))
    }

    /// Everything that is still on its way.
    pub fn on_the_way(&self) -> Amount {
        sum(self.buffered.values().copied().chain([self.in_flight]))
    }

    /// Whether all that came in has its fate.
    pub fn is_settled(&self) -> bool {
        self.on_the_way() == Amount::default()
    }

    /// Adds up both sides, in events and in bytes.
    #[track_caller]
    pub fn check(&self) {
        assert_eq!(self.incoming(), sum([self.settled(), self.on_the_way()]), "{self:#?}");
        assert!(self.balanced, "{self:#?}");
    }

    /// Events of one reason, of whatever state.
    pub fn events_for(&self, reason: &str) -> u64 {
        let reasons = [&self.sampled, &self.dropped, &self.dead_lettered, &self.lost];
        reasons.iter().filter_map(|reasons| reasons.get(reason)).map(|amount| amount.events).sum()
    }

    /// Events that are lost, for whatever reason.
    pub fn lost_events(&self) -> u64 {
        self.lost.values().map(|amount| amount.events).sum()
    }
}

// === impl Ledger ===

impl Ledger {
    /// Reads the ledger's JSON.
    pub fn parse(json: &str) -> Ledger {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("not a ledger: {error}\n{json}"))
    }

    /// The account of a pipeline and sink, with its sums checked.
    #[track_caller]
    pub fn account(&self, pipeline: &str, sink: &str) -> Account {
        let found = self.accounts.iter().find(|a| a.pipeline == pipeline && a.sink == sink);
        let account =
            found.unwrap_or_else(|| panic!("no account of {pipeline} and {sink} in {self:#?}")).clone();
        account.check();
        account
    }

    /// Checks the sums of all accounts.
    #[track_caller]
    pub fn check(&self) {
        assert!(!self.accounts.is_empty(), "there are no accounts");
        self.accounts.iter().for_each(Account::check);
    }
}

fn sum(amounts: impl IntoIterator<Item = Amount>) -> Amount {
    amounts.into_iter().fold(Amount::default(), |sum, amount| Amount {
        events: sum.events + amount.events,
        bytes: sum.bytes + amount.bytes,
    })
}
