//! How `journalctl` is called.

use std::ffi::OsString;

use weir_pipeline::source::Mode;

use crate::settings::{JournalSettings, Priority};

/// Kinds of units (`systemd.unit(5)`): a name that ends in none of them is a service's.
const UNIT_KINDS: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

/// Where a child begins to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Start {
    /// The oldest entry that there is.
    #[default]
    Oldest,
    /// What was written at this time or later, in seconds since the Unix epoch.
    Since(i64),
    /// The entry with this cursor. It comes once more: that it comes first says that the journal knows it.
    Cursor(String),
}

/// What a child is told beside the settings.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub start: Start,
    pub mode: Mode,
    /// Whether it may be told to merge the journals of all machines: see [`arguments`].
    pub merges: bool,
}

/// The arguments.
pub(crate) fn arguments(settings: &JournalSettings, call: &Call) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["--output=export", "--no-pager", "--quiet"].map(OsString::from).into();
    let mut push = |argument: String| arguments.push(argument.into());
    if call.mode == Mode::Follow {
        // Without it the last ten entries would be all that is read of what is there.
        push("--follow".to_owned());
        push("--no-tail".to_owned());
    }
    if call.merges {
        // What follows reads the current boot only, from version 251 on, unless it merges: `--boot=all` does not help
        // before version 257. In a container the journal's machine is not this one either.
        push("--merge".to_owned());
    }
    match &call.start {
        Start::Oldest => {}
        Start::Since(seconds) => push(format!("--since=@{seconds}")),
        // Not `--after-cursor`: where the journal does not know the cursor any more, older versions pass over an entry
        // that was never read, and none says so.
        Start::Cursor(cursor) => push(format!("--cursor={cursor}")),
    }
    if let Some(namespace) = &settings.namespace {
        push(format!("--namespace={namespace}"));
    }
    if let Some(priority) = settings.priority {
        push(format!("--priority={}", number(priority)));
    }
    if let Some(directory) = &settings.directory {
        let mut argument = OsString::from("--directory=");
        argument.push(directory);
        arguments.push(argument);
    }
    arguments.extend(matches(settings).into_iter().map(OsString::from));
    arguments
}

/// The matches of which one must hold. The options `--unit` and `--identifier` would both have to hold, and `--dmesg`
/// would mean the current boot.
fn matches(settings: &JournalSettings) -> Vec<String> {
    let mut groups = Vec::new();
    for unit in &settings.units {
        let unit = full_name(unit);
        groups.push(vec![format!("_SYSTEMD_UNIT={unit}")]);
        groups.push(vec!["_PID=1".to_owned(), format!("UNIT={unit}")]);
    }
    groups.extend(settings.identifiers.iter().map(|name| vec![format!("SYSLOG_IDENTIFIER={name}")]));
    if settings.kernel {
        groups.push(vec!["_TRANSPORT=kernel".to_owned()]);
    }
    groups.join(&"+".to_owned())
}

fn full_name(unit: &str) -> String {
    match UNIT_KINDS.iter().any(|kind| unit.ends_with(kind)) {
        true => unit.to_owned(),
        false => format!("{unit}.service"),
    }
}

fn number(priority: Priority) -> u8 {
    match priority {
        Priority::Emergency => 0,
        Priority::Alert => 1,
        Priority::Critical => 2,
        Priority::Error => 3,
        Priority::Warning => 4,
        Priority::Notice => 5,
        Priority::Informational => 6,
        Priority::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn call(start: Start, mode: Mode) -> Call {
        Call { start, mode, merges: true }
    }

    fn check(settings: &JournalSettings, call: &Call, expected: &str) {
        let found = arguments(settings, call).into_iter().map(|argument| argument.into_string().unwrap());
        assert_eq!(found.collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn where_it_begins_and_how_long_it_goes_on() {
        let settings = JournalSettings::default();
        let follow = "--output=export --no-pager --quiet --follow --no-tail --merge";
        check(&settings, &call(Start::Oldest, Mode::Follow), follow);
        check(&settings, &call(Start::Since(12), Mode::Follow), &format!("{follow} --since=@12"));
        check(&settings, &call(Start::Cursor("s=1".into()), Mode::Follow), &format!("{follow} --cursor=s=1"));
        check(&settings, &call(Start::Oldest, Mode::Once), "--output=export --no-pager --quiet --merge");
        let apart = Call { merges: false, ..call(Start::Oldest, Mode::Follow) };
        check(&settings, &apart, "--output=export --no-pager --quiet --follow --no-tail");
    }

    #[test]
    fn one_of_the_matches_must_hold_and_the_priority() {
        let settings = JournalSettings {
            units: vec!["kubelet".into(), "run.mount".into()],
            identifiers: vec!["containerd".into()],
            kernel: true,
            priority: Some(Priority::Warning),
            directory: Some(PathBuf::from("/host/journal")),
            namespace: Some("edge".into()),
            ..JournalSettings::default()
        };
        check(
            &settings,
            &call(Start::Oldest, Mode::Once),
            "--output=export --no-pager --quiet --merge --namespace=edge --priority=4 --directory=/host/journal \
             _SYSTEMD_UNIT=kubelet.service + _PID=1 UNIT=kubelet.service + _SYSTEMD_UNIT=run.mount + _PID=1 \
             UNIT=run.mount + SYSLOG_IDENTIFIER=containerd + _TRANSPORT=kernel",
        );
    }
}
