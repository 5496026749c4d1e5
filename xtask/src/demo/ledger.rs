//! The agent's account of what became of every event, as `weir ledger --output json` prints it.

use serde_json::Value;

use crate::error::{Error, Result};

/// Of one pipeline and sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The pipeline's name.
    pub pipeline: String,
    /// The sink's name.
    pub sink: String,
    /// Events taken from the source.
    pub read: u64,
    /// Events that the sink has.
    pub delivered: u64,
    /// Events left out on purpose, by reason.
    pub sampled: Vec<(String, u64)>,
    /// Events filtered out, by reason.
    pub dropped: Vec<(String, u64)>,
    /// Events in the dead letters and events lost, by reason: bad news.
    pub gone: Vec<(String, u64)>,
    /// Whether both sides of the account are equal.
    pub balanced: bool,
}

/// Reads the accounts; the agent gives a list of them.
pub fn accounts(text: &str) -> Result<Vec<Account>> {
    let wrong = |what: &str| Error::failed(format!("weir ledger printed {what}: {text}"));
    let value: Value = serde_json::from_str(text).map_err(|_| wrong("no JSON"))?;
    let list = value.as_array().or_else(|| value["accounts"].as_array());
    let accounts = list.ok_or_else(|| wrong("no list of accounts"))?;
    accounts
        .iter()
        .map(|account| one(account).ok_or_else(|| wrong("an account of an unknown form")))
        .collect()
}

fn one(value: &Value) -> Option<Account> {
    let events = |name: &str| value[name]["events"].as_u64();
    Some(Account {
        pipeline: value["pipeline"].as_str()?.to_owned(),
        sink: value["sink"].as_str()?.to_owned(),
        read: events("read")?,
        delivered: events("delivered")?,
        sampled: by_reason(&value["sampled"]),
        dropped: by_reason(&value["dropped"]),
        gone: [by_reason(&value["dead_lettered"]), by_reason(&value["lost"])].concat(),
        balanced: value["balanced"].as_bool()?,
    })
}

fn by_reason(value: &Value) -> Vec<(String, u64)> {
    let reasons = value.as_object().into_iter().flatten();
    reasons
        .filter_map(|(reason, amount)| Some((reason.clone(), amount["events"].as_u64()?)))
        .filter(|(_, events)| *events > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = r#"{
        "pipeline": "app-logs", "sink": "local", "read": {"events": 10, "bytes": 100},
        "created": {"events": 0, "bytes": 0}, "delivered": {"events": 7, "bytes": 70},
        "sampled": {"log-sampler.level=info": {"events": 3, "bytes": 30}}, "dropped": {},
        "dead_lettered": {}, "lost": {"rotation": {"events": 0, "bytes": 0}}, "buffered": {},
        "in_flight": {"events": 0, "bytes": 0}, "balanced": true
    }"#;

    #[test]
    fn accounts_are_read() {
        for text in [format!("[{ACCOUNT}]"), format!("{{\"accounts\": [{ACCOUNT}]}}")] {
            let accounts = accounts(&text).unwrap();
            let [account] = accounts.as_slice() else { panic!("{accounts:?}") };
            assert_eq!((account.read, account.delivered, account.balanced), (10, 7, true));
            assert_eq!(account.sampled, [("log-sampler.level=info".to_owned(), 3)]);
            assert!(account.gone.is_empty());
        }
    }

    #[test]
    fn another_form_is_an_error_that_shows_it() {
        for text in ["", "{}", "[{}]", "[{\"pipeline\": \"a\"}]"] {
            assert!(accounts(text).unwrap_err().to_string().contains("weir ledger printed"), "{text}");
        }
    }
}
