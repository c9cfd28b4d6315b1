//! The providers of the payment network: which URLs are one group, and which key goes to which host.

use std::collections::BTreeSet;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{Invalid, Secret, invalid};

/// Between the URLs of one provider group.
const SEPARATOR: char = '|';

/// The payment network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TronConfig {
    /// Each item is a provider group: base URLs of full nodes' HTTP APIs, separated by `|` and tried in this order. Groups
    /// are independent witnesses. Without any, the node reads nothing of the payment network.
    pub providers: Vec<String>,
    /// `HOST=KEY`: sent to that host only, as `TRON-PRO-API-KEY`.
    pub api_keys: Vec<Secret>,
    /// Requests a second to each group.
    pub requests_per_s: u32,
}

impl Default for TronConfig {
    fn default() -> Self {
        Self { providers: Vec::new(), api_keys: Vec::new(), requests_per_s: 10 }
    }
}

/// One URL of a provider group.
#[derive(Clone, Debug)]
pub struct Endpoint<'a> {
    /// The base URL.
    pub url: &'a str,
    /// The key for its host.
    pub api_key: Option<&'a str>,
}

impl TronConfig {
    /// The provider groups with the keys of their hosts.
    ///
    /// # Errors
    /// The item that is no group or no key, and what would be right.
    pub fn groups(&self) -> Result<Vec<Vec<Endpoint<'_>>>, Invalid> {
        let keys = self.api_keys.iter().map(host_and_key).collect::<Result<Vec<_>, _>>()?;
        let mut groups = Vec::new();
        let (mut urls, mut hosts) = (BTreeSet::new(), BTreeSet::new());
        for item in &self.providers {
            let mut group = Vec::new();
            for text in item.split(SEPARATOR).map(str::trim) {
                let url = parse(text)?;
                if !urls.insert(url.to_string()) {
                    let problem = "the URL is listed twice; groups are witnesses of each other, so each needs its own";
                    return Err(invalid("tron.providers", text, problem));
                }
                let host = url.host_str().unwrap_or_default();
                let api_key = keys.iter().find(|(of, _)| host.eq_ignore_ascii_case(of)).map(|(_, key)| *key);
                if api_key.is_some() && url.scheme() != "https" && !is_loopback(&url) {
                    let problem = "an API key for this host is set, and http would show it to everybody; use https";
                    return Err(invalid("tron.providers", text, problem));
                }
                hosts.insert(host.to_owned());
                group.push(Endpoint { url: text, api_key });
            }
            groups.push(group);
        }
        if let Some((host, _)) = keys.iter().find(|(host, _)| !hosts.contains(&host.to_ascii_lowercase())) {
            return Err(wrong_key(format!("no URL in tron.providers has the host {host}")));
        }
        Ok(groups)
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        self.groups()?;
        if !(1..=1_000).contains(&self.requests_per_s) {
            return Err(invalid("tron.requests_per_s", self.requests_per_s, "1 to 1000 are possible"));
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Url, Invalid> {
    let problem = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => return Ok(url),
        Ok(_) => "a URL starting with http:// or https:// is expected".to_owned(),
        Err(e) => format!("{e}; a URL such as http://127.0.0.1:8090 is expected, several of one group separated by |"),
    };
    Err(invalid("tron.providers", text, problem))
}

fn host_and_key(entry: &Secret) -> Result<(&str, &str), Invalid> {
    let expected = || wrong_key("HOST=KEY is expected, for example api.trongrid.io=<key>".to_owned());
    let (host, key) = entry.expose().split_once('=').ok_or_else(expected)?;
    let (host, key) = (host.trim(), key.trim());
    if host.is_empty() || key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
        return Err(expected());
    }
    Ok((host, key))
}

/// Never shows the entry itself.
fn wrong_key(problem: String) -> Invalid {
    Invalid { key: "tron.api_keys", value: "(hidden)".to_owned(), problem }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn config(providers: &[&str], keys: &[&str]) -> TronConfig {
        let api_keys = keys.iter().map(|key| Secret::from((*key).to_owned())).collect();
        let providers = providers.iter().map(|item| (*item).to_owned()).collect();
        TronConfig { providers, api_keys, ..TronConfig::default() }
    }

    #[test]
    fn a_key_goes_to_its_host_only() {
        let config = config(
            &["https://API.trongrid.io | http://127.0.0.1:8090", "https://other.example/tron", "http://[::1]:1"],
            &["api.trongrid.io=one", "127.0.0.1 = two=2", "[::1]=three"],
        );
        let groups = config.groups().unwrap();
        let keys: Vec<Vec<_>> = groups.iter().map(|group| group.iter().map(|e| e.api_key).collect()).collect();
        assert_eq!(keys, [vec![Some("one"), Some("two=2")], vec![None], vec![Some("three")]]);
        assert_eq!(groups[0][1].url, "http://127.0.0.1:8090");
        assert!(TronConfig::default().groups().unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named_and_keys_are_not_shown() {
        for (providers, keys, wanted) in [
            (&["ftp://x"][..], &[][..], "tron.providers = \"ftp://x\": a URL starting with http"),
            (&["https://a.example|"], &[], "tron.providers = \"\": relative URL without a base; a URL such as"),
            (&[""], &[], "tron.providers = \"\": "),
            (&["https://a.example", "https://a.example/"], &[], "\"https://a.example/\": the URL is listed twice"),
            (&["http://a.example"], &["a.example=secret"], "\"http://a.example\": an API key for this host is set"),
            (&["https://a.example"], &["b.example=secret"], "tron.api_keys = (hidden): no URL in tron.providers has"),
            (&["https://a.example"], &["secret"], "tron.api_keys = (hidden): HOST=KEY is expected"),
            (&["https://a.example"], &["a.example=sec ret"], "tron.api_keys = (hidden): HOST=KEY is expected"),
        ] {
            let error = config(providers, keys).groups().unwrap_err().to_string();
            assert!(error.contains(wanted), "\nfound  {error}\nwanted {wanted}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
