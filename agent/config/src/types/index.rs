//! OpenSearch: where it answers, names of indices and users.

use weir_event::name_template::NameTemplate;

use super::Format;
use crate::error::Complaint;
use crate::text::quoted;

/// Where a server answers over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(pub String);

/// The name of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexName(pub String);

/// The name of an index, with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexTemplate(pub NameTemplate);

/// The name of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserName(pub String);

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VariableName(pub String);

/// What OpenSearch does not take in the name of an index.
const FORBIDDEN: [char; 12] = ['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':'];

impl Format for Endpoint {
    const NAME: &'static str = "Endpoint";
    const DESCRIPTION: &'static str =
        "Where a server answers: `https://` or `http://`, a host, perhaps a port and a path.";
    const PATTERN: Option<&'static str> = Some("^https?://.+$");
    const EXPECTED: &'static str = "an endpoint such as https://opensearch:9200";

    fn parse(text: &str) -> Result<Endpoint, Complaint> {
        // A password in it would be in every log, so it is not shown either.
        if text.contains('@') {
            let complaint = Complaint::new("an endpoint has no name and password in it");
            return Err(complaint.help("write them under auth: {basic: …}"));
        }
        let wrong = || Complaint::new(format!("expected {}, found {}", Endpoint::EXPECTED, quoted(text)));
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let Some(rest) = rest else {
            let is_bare = !text.contains("://") && !text.is_empty();
            let help = is_bare.then(|| format!("did you mean {}?", quoted(&format!("https://{text}"))));
            return Err(Complaint { help, ..wrong() });
        };
        let host = rest.split('/').next().unwrap_or_default();
        let (name, port) = match host.rsplit_once(':') {
            // The colons of an IPv6 address are within brackets.
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (host, None),
        };
        let is_good = !name.is_empty()
            && !text.contains(['?', '#', '\\'])
            && !text.chars().any(|character| character.is_whitespace() || character.is_control())
            && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if is_good { Ok(Endpoint(text.to_owned())) } else { Err(wrong()) }
    }
}

impl Format for IndexName {
    const NAME: &'static str = "IndexName";
    const DESCRIPTION: &'static str = "The name of an index: small letters, digits, `-`, `_` and `.`.";
    const EXPECTED: &'static str = "the name of an index such as dead-letters";

    fn parse(text: &str) -> Result<IndexName, Complaint> {
        if text.is_empty() || text.len() > 255 {
            return Err(Complaint::new(format!("expected {}, found {}", IndexName::EXPECTED, quoted(text))));
        }
        check_literal(text, true)?;
        Ok(IndexName(text.to_owned()))
    }
}

impl Format for IndexTemplate {
    const NAME: &'static str = "IndexTemplate";
    const DESCRIPTION: &'static str = "The name of an index with placeholders, such as \
                                       `logs-app-{namespace}-%Y.%m.%d`.";
    const EXPECTED: &'static str = "the name of an index such as logs-app-{namespace}-%Y.%m.%d";

    fn parse(text: &str) -> Result<IndexTemplate, Complaint> {
        let template = NameTemplate::parse(text).map_err(|error| Complaint::new(error.to_string()))?;
        let mut rest = text;
        let mut is_first = true;
        while let Some(at) = rest.find(['{', '%']) {
            let (literal, behind) = rest.split_at(at);
            check_literal(literal, is_first)?;
            is_first = false;
            // The template is known to be well-formed: a placeholder ends, and a percent sign has its letter.
            let skip = match behind.strip_prefix('{') {
                Some(name) => name.find('}').map_or(behind.len(), |end| end + 2),
                None => 2,
            };
            rest = behind.get(skip..).unwrap_or_default();
        }
        check_literal(rest, is_first)?;
        Ok(IndexTemplate(template))
    }
}

impl Format for UserName {
    const NAME: &'static str = "UserName";
    const DESCRIPTION: &'static str = "The name of a user, without a colon.";
    const EXPECTED: &'static str = "the name of a user";

    fn parse(text: &str) -> Result<UserName, Complaint> {
        // A colon would end it: that is how name and password stand in a header.
        if text.is_empty() || text.contains(':') || text.chars().any(char::is_control) {
            return Err(Complaint::new(format!("expected {}, found {}", UserName::EXPECTED, quoted(text))));
        }
        Ok(UserName(text.to_owned()))
    }
}

impl Format for VariableName {
    const NAME: &'static str = "VariableName";
    const DESCRIPTION: &'static str = "The name of an environment variable.";
    const EXPECTED: &'static str = "the name of an environment variable";

    fn parse(text: &str) -> Result<VariableName, Complaint> {
        if text.is_empty() || text.contains(['=', '\0']) {
            let message = format!("expected {}, found {}", VariableName::EXPECTED, quoted(text));
            return Err(Complaint::new(message));
        }
        Ok(VariableName(text.to_owned()))
    }
}

/// What stands in a name as it is. What values bring with them is made fit later, but this can be written right.
fn check_literal(text: &str, is_first: bool) -> Result<(), Complaint> {
    if let Some(character) = text.chars().find(|c| FORBIDDEN.contains(c) || c.is_control()) {
        let message = format!("the name of an index cannot contain {}", quoted(&character.to_string()));
        return Err(Complaint::new(message));
    }
    if text.chars().any(char::is_uppercase) {
        let complaint = Complaint::new("the name of an index has small letters only");
        return Err(complaint.help(format!("write {}", quoted(&text.to_lowercase()))));
    }
    if is_first && text.starts_with(['-', '_', '+', '.']) {
        return Err(Complaint::new("the name of an index cannot begin with `-`, `_`, `+` or `.`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for good in
            ["http://a", "https://a.b:9200", "https://[::1]:9200/path/", "http://[::1]", "https://a:1/"]
        {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        let bad = [
            "",
            "a:9200",
            "ftp://a",
            "http://",
            "http://:9200",
            "http://a:x",
            "http://a b",
            "http://a?b",
            "http://a:0",
        ];
        for bad in bad {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        let complaint = Endpoint::parse("https://admin:secret@a").unwrap_err();
        assert!(!format!("{complaint:?}").contains("secret"));
    }

    #[test]
    fn names_of_indices() {
        for good in ["logs", "logs-{namespace}-%Y.%m.%d", "{pod}-x", "a_b.c+d"] {
            assert!(IndexTemplate::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "Logs", "-logs", "a b", "a/%Y", "{team}", "%Y:%m", "{pod}-A", "a{pod", "a*"] {
            assert!(IndexTemplate::parse(bad).is_err(), "{bad}");
        }
        assert!(IndexName::parse("dead-letters").is_ok());
        assert!(IndexName::parse("").is_err() && IndexName::parse("_x").is_err());
    }
}
