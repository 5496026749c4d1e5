//! How long a bucket keeps an archive, as the bucket is told.

use serde_json::json;

/// Why there is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// Stores keep everything for a day at least.
    #[error("an archive is kept for 1 day at least")]
    NoDays,
    /// It would empty the bucket.
    #[error("without a prefix the rule would be for everything in the bucket; give the archive a prefix")]
    NoPrefix,
}

/// The lifecycle configuration of a bucket that removes what is below this prefix after so many days: JSON as
/// `aws s3api put-bucket-lifecycle-configuration --lifecycle-configuration file://FILE` and `mc ilm rule import ALIAS/BUCKET <
/// FILE` take it. It is the bucket's whole configuration: rules that it has are to be added by hand. Stores count from
/// when an object was written: an index, which is written again, may stay some hours longer than the first of its
/// objects.
///
/// # Errors
///
/// Less than a day, or no prefix.
pub fn lifecycle(prefix: &str, days: u32) -> Result<String, LifecycleError> {
    if days == 0 {
        return Err(LifecycleError::NoDays);
    }
    if prefix.is_empty() {
        return Err(LifecycleError::NoPrefix);
    }
    let rule = json!({"Rules": [{
        "ID": format!("weir-archive-{}", prefix.replace(|char: char| !char.is_ascii_alphanumeric(), "-")),
        "Status": "Enabled",
        "Filter": {"Prefix": format!("{prefix}/")},
        "Expiration": {"Days": days},
    }]});
    Ok(format!("{rule:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_what_tools_take() {
        let text = lifecycle("logs/archive", 30).unwrap();
        let expected = r#"{
  "Rules": [
    {
      "ID": "weir-archive-logs-archive",
      "Status": "Enabled",
      "Filter": {
        "Prefix": "logs/archive/"
      },
      "Expiration": {
        "Days": 30
      }
    }
  ]
}
"#;
        assert_eq!(text, expected);
        assert_eq!(lifecycle("a", 0), Err(LifecycleError::NoDays));
        assert_eq!(lifecycle("", 1), Err(LifecycleError::NoPrefix));
    }
}
