//! Targets: what is left of discovered labels after relabelling, and what is asked by it.

use std::time::Duration;

use reqwest::Url;
use twox_hash::XxHash3_64;
use weir_samples::labels::{LabelSet, LabelsBuilder};
use weir_samples::relabel::Rules;

use crate::discovery::TargetGroup;
use crate::duration::{format_duration, parse_duration};
use crate::schedule::Pace;
use crate::settings::{DEFAULT_TIMEOUT, Job, ScrapeSettings};

/// Parameters of a URL with such a word in their name are not shown.
const SECRET_WORDS: [&str; 7] = ["token", "secret", "password", "passwd", "key", "auth", "signature"];

/// Something that is scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Which job it is of, by its place.
    pub(crate) job: usize,
    /// What its series bear: a label set without names that begin with `__`.
    pub(crate) labels: Vec<u8>,
    /// What is asked.
    pub(crate) url: Url,
    /// How often and how long.
    pub(crate) pace: Pace,
    /// What tells it from others: of its labels, those beginning with `__` too, and its URL.
    pub(crate) hash: u64,
}

/// Why a discovered target is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("it has no address")]
    NoAddress,
    #[error("{0:?} is no valid hostname; a path stands in __metrics_path__")]
    Address(String),
    #[error("its address holds a name and password; they stand in basic_auth")]
    Secret,
    #[error("{0} {1:?} is no duration above zero")]
    Duration(&'static str, String),
    #[error("the timeout {0} is longer than the interval {1}")]
    Timeout(String, String),
    #[error("its URL cannot be made: {0}")]
    Url(String),
    #[error("two of its labels have the same name")]
    Labels,
}

/// Makes targets of a job's groups.
pub(crate) struct Maker<'a> {
    pub(crate) settings: &'a ScrapeSettings,
    pub(crate) place: usize,
    pub(crate) job: &'a Job,
    pub(crate) rules: &'a Rules,
}

// === impl Target ===

impl Target {
    /// Its labels.
    pub(crate) fn labels(&self) -> LabelSet<'_> {
        LabelSet::new(&self.labels)
    }

    /// Its URL for the eyes of people.
    pub(crate) fn shown_url(&self) -> String {
        let mut url = self.url.clone();
        if url.query().is_some() {
            let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            let mut query = url.query_pairs_mut();
            query.clear();
            for (name, value) in pairs {
                let lower = name.to_ascii_lowercase();
                let is_secret = SECRET_WORDS.iter().any(|word| lower.contains(word));
                query.append_pair(&name, if is_secret { "-" } else { &value });
            }
        }
        url.to_string()
    }
}

// === impl Maker ===

impl Maker<'_> {
    /// Adds the targets of a group to `targets`, and says what is wrong with the others.
    pub(crate) fn make(
        &self,
        group: &TargetGroup,
        targets: &mut Vec<Target>,
        mut wrong: impl FnMut(&str, TargetError),
    ) {
        let mut labels = LabelsBuilder::new();
        for address in &group.targets {
            match self.target(&mut labels, group, address) {
                Ok(Some(target)) => targets.push(target),
                Ok(None) => {}
                Err(error) => wrong(address.rsplit('@').next().unwrap_or_default(), error),
            }
        }
    }

    /// The target with this address; `None` where relabelling drops it.
    fn target(
        &self,
        labels: &mut LabelsBuilder,
        group: &TargetGroup,
        address: &str,
    ) -> Result<Option<Target>, TargetError> {
        self.populate(labels, group, address);
        if !self.rules.apply(labels) {
            return Ok(None);
        }
        let address = labels.get("__address__").to_owned();
        if address.is_empty() {
            return Err(TargetError::NoAddress);
        }
        if address.contains('@') {
            return Err(TargetError::Secret);
        }
        if address.contains('/') {
            return Err(TargetError::Address(address));
        }
        let pace = self.pace(labels)?;
        labels.retain(|name, _| !name.starts_with("__meta_"));
        labels.set_default("instance", &address);
        let url = self.url(labels, &address)?;
        let mut identity = Vec::new();
        labels.finish(&mut identity).map_err(|_| TargetError::Labels)?;
        identity.extend_from_slice(url.as_str().as_bytes());
        labels.retain(|name, _| !name.starts_with("__"));
        let mut public = Vec::new();
        labels.finish(&mut public).map_err(|_| TargetError::Labels)?;
        let hash = XxHash3_64::oneshot(&identity);
        Ok(Some(Target { job: self.place, labels: public, url, pace, hash }))
    }

    /// The labels of a target before relabelling.
    fn populate(&self, labels: &mut LabelsBuilder, group: &TargetGroup, address: &str) {
        let job = self.job;
        labels.clear();
        let mut interval = job.interval.unwrap_or(job.default_interval);
        let class = job.class.as_deref().unwrap_or_default();
        if let (None, Some(known)) = (job.interval, self.settings.classes.get(class)) {
            interval = known.interval;
        }
        let timeout = self.timeout(class, interval);
        labels.set("__address__", address);
        for (name, value) in &group.labels {
            if name != "__address__" {
                labels.set(name, value);
            }
        }
        labels.set_default("job", &job.name);
        labels.set_default("__scrape_interval__", &format_duration(interval));
        labels.set_default("__scrape_timeout__", &format_duration(timeout));
        labels.set_default("__metrics_path__", &job.metrics_path);
        labels.set_default("__scheme__", &job.scheme);
        labels.set_default("__class__", class);
        for (name, values) in &job.params {
            if let Some(first) = values.first() {
                labels.set_default(&format!("__param_{name}"), first);
            }
        }
        // Rules see labels in the order of their names.
        let _ = labels.finish(&mut Vec::new());
    }

    fn timeout(&self, class: &str, interval: Duration) -> Duration {
        let of_class = self.settings.classes.get(class).and_then(|class| class.timeout);
        self.job.timeout.or(of_class).unwrap_or(DEFAULT_TIMEOUT).min(interval)
    }

    /// How often and how long: what labels say; where they say nothing of their own, what the job says; then the class.
    fn pace(&self, labels: &LabelsBuilder) -> Result<Pace, TargetError> {
        let read = |name: &'static str| {
            let text = labels.get(name);
            let wrong = || TargetError::Duration(name, text.to_owned());
            parse_duration(text).filter(|duration| !duration.is_zero()).ok_or_else(wrong)
        };
        let (mut interval, mut timeout) = (read("__scrape_interval__")?, read("__scrape_timeout__")?);
        let class = labels.get("__class__");
        let first = self.job.class.as_deref().unwrap_or_default();
        let (before, after) = (self.settings.classes.get(first), self.settings.classes.get(class));
        let untouched = before.map_or(self.job.default_interval, |class| class.interval);
        if self.job.interval.is_none() && interval == untouched {
            interval = after.map_or(self.job.default_interval, |class| class.interval);
            if timeout == self.timeout(first, untouched) {
                timeout = self.timeout(class, interval);
            }
        }
        if timeout > interval {
            return Err(TargetError::Timeout(format_duration(timeout), format_duration(interval)));
        }
        Ok(Pace { class: class.into(), interval, timeout })
    }

    fn url(&self, labels: &LabelsBuilder, address: &str) -> Result<Url, TargetError> {
        let scheme = labels.get("__scheme__");
        let wrong = |problem: &dyn std::fmt::Display| TargetError::Url(problem.to_string());
        if !matches!(scheme, "http" | "https") {
            return Err(wrong(&format_args!("the scheme {scheme:?} is neither http nor https")));
        }
        let mut url = Url::parse(&format!("{scheme}://{address}")).map_err(|error| wrong(&error))?;
        url.set_path(labels.get("__metrics_path__"));
        let mut params = self.job.params.clone();
        for (name, value) in labels.iter() {
            let Some(name) = name.strip_prefix("__param_") else { continue };
            let values = params.entry(name.to_owned()).or_default();
            match values.first_mut() {
                Some(first) => value.clone_into(first),
                None => values.push(value.to_owned()),
            }
        }
        if !params.is_empty() {
            let mut query = url.query_pairs_mut();
            for (name, values) in &params {
                values.iter().for_each(|value| {
                    query.append_pair(name, value);
                });
            }
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_samples::relabel::{Action, Rule};

    use super::*;
    use crate::settings::Class;

    fn make(settings: &ScrapeSettings, group: &TargetGroup) -> (Vec<Target>, Vec<TargetError>) {
        let job = &settings.jobs[0];
        let rules = Rules::new(&job.relabel).unwrap();
        let (mut targets, mut errors) = (Vec::new(), Vec::new());
        let maker = Maker { settings, place: 0, job, rules: &rules };
        maker.make(group, &mut targets, |_, error| errors.push(error));
        (targets, errors)
    }

    fn group(targets: &[&str], labels: &[(&str, &str)]) -> TargetGroup {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        TargetGroup { targets: targets.iter().map(|target| (*target).into()).collect(), labels }
    }

    fn settings(job: Job) -> ScrapeSettings {
        let seconds = |interval| Class { interval: Duration::from_secs(interval), timeout: None };
        let classes = BTreeMap::from([("core".to_owned(), seconds(15)), ("fast".to_owned(), seconds(5))]);
        ScrapeSettings { jobs: vec![Job { name: "j".into(), ..job }], classes, profiles: Vec::new() }
    }

    fn replace(source: &str, target: &str, replacement: &str) -> Rule {
        Rule {
            source_labels: vec![source.into()],
            target_label: target.into(),
            replacement: replacement.into(),
            ..Rule::default()
        }
    }

    #[test]
    fn labels_make_a_target() {
        let relabel = vec![
            replace("__meta_zone", "zone", "$1"),
            replace("__address__", "__param_target", "$1"),
            replace("__address__", "__address__", "prober:9115"),
            replace("__param_target", "instance", "$1"),
        ];
        let params = BTreeMap::from([("module".to_owned(), vec!["m x".to_owned(), "n".to_owned()])]);
        let job =
            Job { relabel, params, metrics_path: "/probe".into(), scheme: "https".into(), ..Job::default() };
        let (targets, errors) =
            make(&settings(job), &group(&["a:1"], &[("__meta_zone", "z"), ("__tmp", "t")]));
        assert_eq!(errors, []);
        assert_eq!(targets[0].url.as_str(), "https://prober:9115/probe?module=m+x&module=n&target=a%3A1");
        let labels: Vec<_> = targets[0].labels().iter().collect();
        assert_eq!(labels, [("instance", "a:1"), ("job", "j"), ("zone", "z")]);
        assert_eq!(targets[0].pace.interval, Job::default().default_interval);
        assert_eq!(targets[0].pace.timeout, DEFAULT_TIMEOUT);
    }

    #[test]
    fn what_is_no_target_says_why() {
        let cases: [(&str, &[(&str, &str)]); 5] = [
            ("a/b", &[]),
            ("", &[]),
            ("a", &[("__scrape_interval__", "no")]),
            ("a", &[("__scrape_interval__", "1s"), ("__scrape_timeout__", "2s")]),
            ("a", &[("__scheme__", "ftp")]),
        ];
        for (address, labels) in cases {
            let (targets, errors) = make(&settings(Job::default()), &group(&[address], labels));
            assert_eq!((targets.len(), errors.len()), (0, 1), "{address} {labels:?}");
        }
        let keep = Rule { regex: "x".into(), action: Action::Keep, ..replace("__address__", "", "$1") };
        let (targets, errors) =
            make(&settings(Job { relabel: vec![keep], ..Job::default() }), &group(&["a"], &[]));
        assert_eq!((targets.len(), errors.len()), (0, 0));
    }

    #[test]
    fn the_interval_is_what_the_nearest_says() {
        let second = Duration::from_secs;
        let class = |class: &str| Job { class: Some(class.into()), ..Job::default() };
        let to_fast = Job { relabel: vec![replace("__address__", "__class__", "fast")], ..class("core") };
        let label = [("__scrape_interval__", "40s")];
        type Labels<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Job, Labels<'_>, u64, u64, &str); 6] = [
            (Job::default(), &[], 30, 10, ""),
            (class("core"), &[], 15, 10, "core"),
            (to_fast, &[], 5, 5, "fast"),
            (Job { interval: Some(second(20)), ..class("core") }, &[], 20, 10, "core"),
            (class("core"), &label, 40, 10, "core"),
            (class("unheard"), &[], 30, 10, "unheard"),
        ];
        for (job, labels, interval, timeout, class) in cases {
            let (targets, errors) = make(&settings(job), &group(&["a:1"], labels));
            assert_eq!(errors, []);
            let wanted = Pace { class: class.into(), interval: second(interval), timeout: second(timeout) };
            assert_eq!(targets[0].pace, wanted);
        }
    }

    #[test]
    fn secrets_in_urls_are_not_shown() {
        let params = BTreeMap::from([("api_token".to_owned(), vec!["hush".to_owned()])]);
        let (targets, errors) =
            make(&settings(Job { params, ..Job::default() }), &group(&["a:1", "u:hush@a:1"], &[]));
        assert_eq!(errors, [TargetError::Secret]);
        assert_eq!(targets[0].shown_url(), "http://a:1/metrics?api_token=-");
    }
}
