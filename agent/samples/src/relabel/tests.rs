//! Every action by cases, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::labels::LabelsBuilder;

type Pairs = Vec<(String, String)>;

fn pairs(text: &str) -> Pairs {
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.split_whitespace().filter_map(pair).collect()
}

/// Applies rules to labels, `None` where they are dropped.
fn apply(rules: &Rules, labels: &Pairs) -> Option<Pairs> {
    let mut builder = LabelsBuilder::new();
    labels.iter().for_each(|(name, value)| builder.push(name, value));
    let kept = rules.apply(&mut builder);
    let mut labels: Pairs = builder.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    labels.sort();
    kept.then_some(labels)
}

/// A rule as `action member=value ...`, where `source_labels` are joined by commas.
fn rule(text: &str) -> Rule {
    let (action, members) = text.split_once(' ').unwrap_or((text, ""));
    let mut rule = Rule { action: action.parse().unwrap(), ..Rule::default() };
    for (member, value) in pairs(members) {
        match &*member {
            "from" => rule.source_labels = value.split(',').map(str::to_owned).collect(),
            "separator" => rule.separator = value,
            "regex" => rule.regex = value,
            "modulus" => rule.modulus = value.parse().unwrap(),
            "to" => rule.target_label = value,
            "replacement" => rule.replacement = value,
            other => panic!("{other}"),
        }
    }
    rule
}

#[track_caller]
fn check(rules: &[&str], labels: &str, wanted: Option<&str>) {
    let compiled = Rules::new(&rules.iter().map(|text| rule(text)).collect::<Vec<_>>()).unwrap();
    assert_eq!(apply(&compiled, &pairs(labels)), wanted.map(pairs), "{rules:?} over {labels}");
}

#[test]
fn replace_writes_where_the_values_match() {
    check(&["replace from=a to=b"], "a=x", Some("a=x b=x"));
    check(&["replace from=a,b to=c"], "a=x b=y", Some("a=x b=y c=x;y"));
    check(&["replace from=a,b,none separator=- to=c"], "a=x b=y", Some("a=x b=y c=x-y-"));
    check(&["replace from=a regex=(x)(y) replacement=$2-$1 to=a"], "a=xy", Some("a=y-x"));
    check(&["replace from=a regex=x to=a replacement=z"], "a=xx", Some("a=xx"));
    check(&["replace from=a regex=x(.*) to=b"], "a=x b=gone", Some("a=x"));
    check(&["replace to=b replacement=fixed"], "a=x", Some("a=x b=fixed"));
    check(&["replace from=a regex=(.+)-(.+) to=${1}_x replacement=$2"], "a=p-q", Some("a=p-q p_x=q"));
    check(&["replace from=a regex=(y?).* to=$1 replacement=v"], "a=x", Some("a=x"));
    check(&["replace from=a regex=(?P<who>.+) to=b replacement=${who}!$$"], "a=x", Some("a=x b=x!$"));
    check(&["replace from=a to=nämé"], "a=x", Some("a=x nämé=x"));
}

#[test]
fn keep_and_drop_decide() {
    check(&["keep from=a regex=x|y"], "a=x", Some("a=x"));
    check(&["keep from=a regex=x|y"], "a=xy", None);
    check(&["drop from=a regex=x.*"], "a=xy", None);
    check(&["drop from=a regex=x.*"], "a=yx", Some("a=yx"));
    check(&["drop from=none"], "a=x", None);
    check(&["keepequal from=a to=b"], "a=x b=x", Some("a=x b=x"));
    check(&["keepequal from=a to=b"], "a=x b=y", None);
    check(&["keepequal from=a,b to=c"], "a=x b=y c=x;y", Some("a=x b=y c=x;y"));
    check(&["dropequal from=a to=b"], "a=x b=x", None);
    check(&["dropequal from=a to=b"], "a=x", Some("a=x"));
    check(&["dropequal from=none to=other"], "a=x", None);
}

#[test]
fn labels_are_mapped_dropped_and_kept_by_name() {
    check(&["labelmap regex=meta_(.+)"], "meta_a=x b=y", Some("a=x b=y meta_a=x"));
    check(&["labelmap regex=(.)(.) replacement=$2$1"], "ab=1 ba=2 c=3", Some("ab=2 ba=1 c=3"));
    check(&["labelmap regex=m_.* replacement=one"], "m_a=1 m_b=2", Some("m_a=1 m_b=2 one=2"));
    // The label that was written last goes last, as in Prometheus.
    check(
        &["replace to=m_a replacement=3", "labelmap regex=m_.* replacement=one"],
        "m_a=1 m_b=2",
        Some("m_a=3 m_b=2 one=3"),
    );
    check(&["labeldrop regex=a.*"], "a=1 ab=2 b=3", Some("b=3"));
    check(&["labelkeep regex=a.*"], "a=1 ab=2 b=3", Some("a=1 ab=2"));
    check(&["labeldrop"], "a=1", Some(""));
}

#[test]
fn values_are_hashed_and_changed_in_case() {
    // The second half of MD5 of "x;y": 8 bytes, big-endian.
    check(&["hashmod from=a,b modulus=1000 to=shard"], "a=x b=y", Some("a=x b=y shard=238"));
    check(&["hashmod from=a modulus=1 to=shard"], "a=x", Some("a=x shard=0"));
    check(&["lowercase from=a to=a"], "a=XÉ", Some("a=xé"));
    check(&["uppercase from=a,b to=c"], "a=x b=ß", Some("a=x b=ß c=X;ß"));
    check(&["lowercase from=none to=a"], "a=x", Some(""));
}

#[test]
fn rules_see_what_those_before_them_did_and_the_first_drop_ends_them() {
    check(&["replace from=a to=b", "keep from=b regex=x", "labeldrop regex=a"], "a=x", Some("b=x"));
    check(&["drop from=a regex=x", "labeldrop regex=a"], "a=x", None);
    check(&[], "a=x", Some("a=x"));
}

#[test]
fn a_wrong_rule_is_named_by_its_place() {
    let wrong = Rule { regex: "a(".into(), ..rule("drop from=a") };
    let error = Rules::new(&[rule("keep"), wrong]).unwrap_err();
    assert_eq!(error.index, 1);
    assert_eq!(
        error.to_string(),
        "rule 2 of relabelling: the regular expression \"a(\" is not valid: unclosed group"
    );
    let error = Rules::new(&[rule("replace")]).unwrap_err();
    assert_eq!(error.to_string(), "rule 1 of relabelling: action replace requires \"target_label\"");
}

#[test]
fn a_value_that_doubles_without_end_is_dropped() {
    let rules = vec![rule("replace from=a to=a replacement=$1$1"); 40];
    assert_eq!(apply(&Rules::new(&rules).unwrap(), &pairs("a=x")), None);
    let rules = Rules::new(&rules[..10]).unwrap();
    assert_eq!(apply(&rules, &pairs("a=x")).unwrap()[0].1.len(), 1024);
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let text = || prop_oneof![Just(String::new()), "[a-c_$()*|{}\\[\\]?.1-]{0,6}", any::<String>()];
    let name = || prop_oneof!["[abc]", "\\PC{0,2}"];
    let actions = prop::sample::select(Action::ALL.to_vec());
    let members = (prop::collection::vec(name(), 0..3), text(), text(), 0u64..3, name(), text(), actions);
    members.prop_map(|(source_labels, separator, regex, modulus, target_label, replacement, action)| Rule {
        source_labels,
        separator,
        regex,
        modulus,
        target_label,
        replacement,
        action,
    })
}

proptest! {
    // Compiling takes long in a build for tests.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_rules_do_no_harm(rules in prop::collection::vec(any_rule(), 1..4), labels: std::collections::BTreeMap<String, String>) {
        if let Ok(rules) = Rules::new(&rules) {
            let labels: Pairs = labels.into_iter().collect();
            let first = apply(&rules, &labels);
            prop_assert_eq!(&first, &apply(&rules, &labels));
            for (name, value) in first.into_iter().flatten() {
                prop_assert!(!value.is_empty() || labels.contains(&(name, value)));
            }
        }
    }
}

proptest! {
    #[test]
    fn keep_and_drop_are_opposites(regex in "[ab.|*+?]{0,5}", value in "[ab]{0,4}") {
        let rule = |action| Rule { source_labels: vec!["a".into()], regex: regex.clone(), action, ..Rule::default() };
        if let (Ok(keep), Ok(drop)) = (Rules::new(&[rule(Action::Keep)]), Rules::new(&[rule(Action::Drop)])) {
            let labels = vec![("a".to_owned(), value)];
            prop_assert_ne!(apply(&keep, &labels).is_some(), apply(&drop, &labels).is_some());
        }
    }

    #[test]
    fn labeldrop_and_labelkeep_part_the_labels(regex in "[ab.|*+?]{0,5}", names in prop::collection::btree_set("[ab]{1,3}", 0..6)) {
        let rule = |action| Rule { regex: regex.clone(), action, ..Rule::default() };
        if let (Ok(keep), Ok(drop)) = (Rules::new(&[rule(Action::LabelKeep)]), Rules::new(&[rule(Action::LabelDrop)])) {
            let labels: Pairs = names.into_iter().map(|name| (name, "v".to_owned())).collect();
            let mut both = apply(&keep, &labels).unwrap();
            both.extend(apply(&drop, &labels).unwrap());
            both.sort();
            prop_assert_eq!(both, labels);
        }
    }
}
