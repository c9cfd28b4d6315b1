//! `lucid config`: shows, checks and explains the configuration.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{Json, configuration, output};
use crate::config::settings::{self, SETTINGS};
use crate::config::{Config, Role};
use crate::home::Home;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigAction {
    /// Show every key with its value and where the value comes from; secrets are hidden
    Show(Json),
    /// Check the configuration, the key and the genesis of the home; exit code 0 if the node could start with them
    Check,
    /// Print every key with its description and default, as a configuration file
    Doc,
}

pub(super) fn config(home: &Home, action: ConfigAction, set: &[(String, String)]) -> anyhow::Result<()> {
    match action {
        ConfigAction::Show(form) => show(home, set, form.json),
        ConfigAction::Check => check(home, set),
        ConfigAction::Doc => output::print(&settings::render(&Config::default())),
    }
}

fn show(home: &Home, set: &[(String, String)], as_json: bool) -> anyhow::Result<()> {
    let loaded = configuration(home, set)?;
    let values = settings::to_table(&loaded.config);
    let entries = SETTINGS.iter().filter_map(|setting| {
        let origin = loaded.origins.get(setting.key)?;
        Some((setting, setting.get(&values), origin))
    });
    if as_json {
        let object: Map<String, Value> = entries
            .map(|(setting, value, origin)| (setting.key.to_owned(), json!({ "value": value, "origin": origin })))
            .collect();
        return output::json(&object);
    }
    let rows: Vec<[String; 3]> = entries
        .map(|(setting, value, origin)| [setting.key.to_owned(), output::or_dash(value), origin.to_string()])
        .collect();
    output::print(&output::table(["key", "value", "origin"], &rows))
}

fn check(home: &Home, set: &[(String, String)]) -> anyhow::Result<()> {
    let loaded = configuration(home, set)?;
    let config = &loaded.config;
    let me = home.load_identity()?;
    let signer = config.holds_signer_key().then(|| home.load_signer_key(config)).transpose()?;
    let gas = if config.has(Role::Worker) { home.load_gas_key(config)? } else { None };
    let genesis = home.load_genesis()?;
    let mut lines = vec![
        ("node id", me.account.to_string()),
        ("node key", me.public_key().to_string()),
        ("network id", genesis.network_id.to_string()),
        ("network", genesis.genesis.name),
        ("validators", genesis.validators.members().len().to_string()),
    ];
    lines.extend(gas.map(|key| ("gas address", key.address().to_string())));
    lines.extend(signer.map(|key| ("signer address", key.address().to_string())));
    output::print(&output::pairs(&lines))?;
    for warning in &loaded.warnings {
        output::print(&format!("warning: {warning}\n"))?;
    }
    output::print("configuration, key and genesis are good\n")
}
