//! Tests of the configuration: precedence, origins, and what every kind of mistake is called.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::load::{Loaded, Origin, load};
use super::settings::{SETTINGS, render, to_table};
use super::*;

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    File { _folder: folder, path }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn loaded(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, String> {
    let file = file(text);
    let folder = file.path.parent().unwrap().display().to_string();
    load(&file.path, pairs(environment), &pairs(flags)).map_err(|e| e.to_string().replace(&folder, "HOME"))
}

fn error(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    loaded(text, environment, flags).unwrap_err()
}

#[test]
fn the_later_origin_wins_and_is_known() {
    let text = "name = \"f\"\n[log]\nfilter = \"warn\"\n[api]\nlisten = \"127.0.0.1:1\"\n";
    let environment = [("LUCID_LOG_FILTER", "debug"), ("LUCID_ROLES", "validator, treasury"), ("HOME", "/x")];
    let all = loaded(text, &environment, &[("log.filter", "trace"), ("p2p.bootstrap", "")]).unwrap();
    assert_eq!(all.config.name, "f");
    assert_eq!(all.config.log.filter, "trace");
    assert_eq!(all.config.roles, BTreeSet::from([Role::Validator, Role::Treasury]));
    assert_eq!(all.config.api.listen.port(), 1);
    assert!(all.warnings.is_empty());
    let origin = |key| all.origins.get(key).unwrap().clone();
    assert_eq!(origin("name"), Origin::File(1));
    assert_eq!(origin("api.listen"), Origin::File(5));
    assert_eq!(origin("roles"), Origin::Environment("LUCID_ROLES".to_owned()));
    assert_eq!(origin("log.filter"), Origin::Flag);
    assert_eq!(origin("log.json"), Origin::Default);
    assert_eq!(all.origins.len(), SETTINGS.len());
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(loaded("", &[], &[]).unwrap().config, Config::default());
}

#[test]
fn an_empty_variable_is_not_set() {
    let environment = SETTINGS.each_ref().map(|setting| (setting.variable(), ""));
    let environment: Vec<_> = environment.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let text = "[api]\nlisten = \"127.0.0.1:1\"\n";
    let all = loaded(text, &[&environment[..], &[("LUCID_NO_SETTING", "")]].concat(), &[]).unwrap();
    assert_eq!(all.config, loaded(text, &[], &[]).unwrap().config);
    assert!(all.warnings.is_empty() && all.origins.values().all(|origin| !matches!(origin, Origin::Environment(_))));
}

#[test]
fn a_variable_that_is_no_setting_is_told_not_fatal() {
    let all = loaded("", &[("LUCID_API_LISTENN", "x"), ("LUCID_HOME", "/h")], &[]).unwrap();
    assert_eq!(all.warnings, ["the environment variable LUCID_API_LISTENN is no setting and is ignored"]);
}

#[test]
fn mistakes_name_place_key_value_and_expectation() {
    for (found, wanted) in [
        (
            error("[p2p]\nlisen = []", &[], &[]),
            "HOME/config.toml:2: p2p.lisen = []: unknown field `lisen`, expected one of",
        ),
        (error("roles = [\"king\"]", &[], &[]), "HOME/config.toml:1: roles[0] = \"king\": unknown variant `king`"),
        (error("\n[log]\njson = \"yes\"", &[], &[]), "HOME/config.toml:3: log.json = \"yes\": invalid type"),
        (
            error("[api]\nlisten = \"nowhere\"", &[], &[]),
            "HOME/config.toml:2: api.listen = \"nowhere\": invalid socket address",
        ),
        (error("name = \"\"", &[], &[]), "HOME/config.toml:1: name = \"\": 1 to 64 bytes"),
        (
            error("", &[("LUCID_LOG_JSON", "yes")], &[]),
            "environment, LUCID_LOG_JSON: log.json = \"yes\": true or false",
        ),
        (
            error("", &[("LUCID_ROLES", "king")], &[]),
            "environment, LUCID_ROLES: roles = \"king\": unknown variant `king`",
        ),
        (error("", &[], &[("roles", "")]), "command line: roles = []: give at least one"),
        (
            error("", &[], &[("probe.echo_sessions", "-1")]),
            "command line: probe.echo_sessions = \"-1\": a whole number",
        ),
        (error("", &[], &[("probe.echo_sessions", "99")]), "command line: probe.echo_sessions = 99: 1 to 64"),
        (error("", &[], &[("probe.echo", "1")]), "--set probe.echo: there is no such key"),
        (
            error("[limits]\nup_kbps = 8191", &[], &[]),
            "HOME/config.toml:2: limits.up_kbps = 8191: 0 or at least 8192 is possible",
        ),
        (error("", &[], &[("limits.down_kbps", "1")]), "command line: limits.down_kbps = 1: 0 or at least 8192"),
        (
            error("", &[], &[("limits.up_kbps", "4294967296")]),
            "command line: limits.up_kbps = \"4294967296\": invalid value",
        ),
        (
            error("", &[("LUCID_LIMITS_MONTH_BYTES", "-1")], &[]),
            "environment, LUCID_LIMITS_MONTH_BYTES: limits.month_bytes = \"-1\": a whole number",
        ),
        (
            error("[limits]\nschedule = [\"22:00-07:00\", \"Mon 25:00-26:00\"]", &[], &[]),
            "HOME/config.toml:2: limits.schedule = \"Mon 25:00-26:00\": days and times in UTC are expected",
        ),
        (
            error("", &[], &[("limits.schedule", "Mon-Fri 07:00-07:00")]),
            "command line: limits.schedule = \"Mon-Fri 07:00-07:00\": it must begin before 24:00",
        ),
        (
            error("[p2p]\nlisten = [\"127.0.0.1:7001\"]", &[], &[]),
            "HOME/config.toml:2: p2p.listen = \"127.0.0.1:7001\": a multiaddress",
        ),
        (
            error("[p2p]\nbootstrap = [\"/ip4/1.2.3.4/tcp/1\"]", &[], &[]),
            "HOME/config.toml:2: p2p.bootstrap = \"/ip4/1.2.3.4/tcp/1\": a multiaddress that ends in /p2p/",
        ),
        (
            error("[tron]\nproviders = [\"ftp://x\"]", &[], &[]),
            "HOME/config.toml:2: tron.providers = \"ftp://x\": a URL starting with http",
        ),
        (
            error("", &[("LUCID_TRON_PROVIDERS", "http://a|http://b,http://b")], &[]),
            "environment, LUCID_TRON_PROVIDERS: tron.providers = \"http://b\": the URL is listed twice",
        ),
        (
            error("", &[], &[("tron.requests_per_s", "0")]),
            "command line: tron.requests_per_s = 0: 1 to 1000 are possible",
        ),
        (
            error("[tron]\napi_keys = [7]", &[], &[]),
            "HOME/config.toml:2: tron.api_keys[0]: a list of texts in quotes is expected",
        ),
        (
            error("", &[], &[("bridge.max_trx_per_day", "0")]),
            "command line: bridge.max_trx_per_day = 0: 1 to 1000000 are possible",
        ),
        (
            error("[bridge]\nkey_file = \"treasury.key\"", &[], &[]),
            "HOME/config.toml:2: bridge.key_file = \"treasury.key\": the same as treasury.key_file",
        ),
        (error("[log]\nfilter = \"lucid=loud\"", &[], &[]), "HOME/config.toml:2: log.filter = \"lucid=loud\": "),
        (
            error("[api]\nlisten = \"0.0.0.0:80\"", &[], &[]),
            "HOME/config.toml:2: api.listen = 0.0.0.0:80: only a loopback",
        ),
        (
            error("[metrics]\nlisten = \"127.0.0.1:8095\"", &[], &[]),
            "HOME/config.toml:2: metrics.listen = 127.0.0.1:8095: the same as api.listen",
        ),
    ] {
        assert!(found.starts_with(wanted), "\nfound  {found}\nwanted {wanted}");
    }
}

#[test]
fn a_missing_file_says_what_makes_one() {
    let folder = tempfile::tempdir().unwrap();
    let found = load(&folder.path().join("config.toml"), [], &[]).unwrap_err().to_string();
    assert!(found.contains("`lucid init --home "), "{found}");
}

#[test]
fn no_message_or_dump_shows_the_secret() {
    let environment = [
        ("LUCID_TRON_PROVIDERS", "https://a.example|http://127.0.0.1:8090"),
        ("LUCID_TRON_API_KEYS", "a.example=hunter2"),
    ];
    let all = loaded("", &environment, &[]).unwrap();
    let groups = all.config.tron.groups().unwrap();
    let keys: Vec<_> = groups[0].iter().map(|endpoint| endpoint.api_key).collect();
    assert_eq!(keys, [Some("hunter2"), None]);
    for text in [format!("{:?}", all.config), to_table(&all.config).to_string(), render(&all.config)] {
        assert!(!text.contains("hunter2") && text.contains("(hidden)"), "{text}");
    }
}

#[test]
fn the_table_of_settings_is_complete() {
    let config = Config::default();
    let mut keys = BTreeSet::new();
    for (name, value) in to_table(&config) {
        match value.as_table() {
            Some(section) => keys.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => {
                keys.insert(name);
            }
        }
    }
    assert_eq!(keys, SETTINGS.iter().map(|setting| setting.key.to_owned()).collect());
}

#[test]
fn a_rendered_file_reads_back() {
    let mut config = Config { name: "w \"1\"".to_owned(), roles: BTreeSet::from([Role::Worker]), ..Config::default() };
    config.p2p.bootstrap = vec!["/ip4/127.0.0.1/tcp/7001/p2p/12D3KooW".to_owned()];
    config.p2p.local = true;
    config.limits.schedule = vec!["Mon-Fri 22:00-07:00".to_owned(), "Sat-Sun 00:00-24:00".to_owned()];
    let text = render(&config);
    assert_eq!(loaded(&text, &[], &[]).unwrap().config, config, "{text}");
    assert!(text.contains("# json = false") && text.contains("\nlocal = true"), "{text}");
    // Uncommented, the defaults are the defaults.
    let default = render(&Config::default()).replace("\n# json", "\njson").replace("\n# listen", "\nlisten");
    assert_eq!(loaded(&default, &[], &[]).unwrap().config, Config::default());
}
