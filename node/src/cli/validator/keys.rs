//! `lucid validator keys` and `lucid validator rotate-key`: the keys with which the home's node signs as a validator.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use lucid_types::command::{Action, ValidatorAction as Act};
use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::validator::Validator;
use lucid_types::validator_key::{ValidatorKey, ValidatorKeys};
use serde::Serialize;

use super::super::command::{GiveArgs, Giver};
use super::super::node_api::NodeApi;
use super::super::{Context, Json, output};
use crate::api::model::{RegisteredView, ValidatorStatusView};
use crate::home::{self, Home};

#[derive(Debug, Args)]
pub(in crate::cli) struct KeysArgs {
    /// Make one more key first. It signs nothing before it is announced: by `rotate-key --key ID`, or in an entry for validators
    #[arg(long)]
    new: bool,
    /// Print the entry with this key, to be proposed with it [default: the key in force, or the only one]
    #[arg(long, value_name = "ID", conflicts_with = "new")]
    key: Option<ValidatorId>,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    /// Announce this key, whose file is in the home already, instead of a new one
    #[arg(long, value_name = "ID")]
    key: Option<ValidatorId>,
    #[command(flatten)]
    give: GiveArgs,
}

/// What the chain does with a key, as far as the running node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum KeyUse {
    /// The validator signs with it.
    InForce,
    /// It is to sign from this epoch on.
    From(u64),
    /// It signs nothing: it is new, or was given up.
    Unused,
    /// The node does not answer.
    Unknown,
}

#[derive(Debug, Serialize)]
struct KeyView {
    file: PathBuf,
    #[serde(rename = "use")]
    usage: KeyUse,
    #[serde(flatten)]
    keys: ValidatorKeys,
}

#[derive(Debug, Serialize)]
struct KeyList {
    node: NodeId,
    keys: Vec<KeyView>,
    /// The key that the chain lists and that is not here.
    missing: Option<ValidatorId>,
    /// The entry with which the node is proposed, or stands in a genesis: with the key that was asked for or made, or that in force, or the
    /// only one.
    validator: Option<Validator>,
}

/// What the running node says of the account.
struct Known {
    /// None if it is no validator.
    status: Option<ValidatorStatusView>,
    /// Who runs it, if it is registered.
    operator: Option<NodeId>,
}

pub(super) async fn keys(args: &KeysArgs, context: &Context) -> anyhow::Result<()> {
    let home = context.home()?;
    let node = home.load_identity()?.account;
    let entry_of = if args.new {
        let key = home::new_validator_key()?;
        home.write_validator_key(&key)?;
        Some(key.id())
    } else {
        args.key
    };
    let known = match context.node() {
        Ok(api) => ask(&api, node).await,
        Err(_) => None,
    };
    let list = list(&home, node, known.as_ref(), entry_of)?;
    if args.json.json { output::json(&list) } else { output::print(&list.text(&home)?) }
}

/// Nothing of a node that does not answer: the keys are shown all the same.
async fn ask(api: &NodeApi, node: NodeId) -> Option<Known> {
    api.get::<serde_json::Value>("status").await.ok()?;
    // Of whoever is none, the node says so by an error.
    let status = api.get::<ValidatorStatusView>(&format!("validators/{node}")).await.ok();
    let registered: Option<RegisteredView> = api.registered(&node).await.ok();
    Some(Known { status, operator: registered.map(|row| row.operator) })
}

fn list(home: &Home, node: NodeId, known: Option<&Known>, entry_of: Option<ValidatorId>) -> anyhow::Result<KeyList> {
    let status = known.and_then(|known| known.status.as_ref());
    let (in_force, rotation) = status.map_or((None, None), |view| (view.key, view.rotation));
    let operator = known.and_then(|known| known.operator).unwrap_or(node);
    let usage = |id: ValidatorId| match rotation {
        _ if known.is_none() => KeyUse::Unknown,
        _ if in_force == Some(id) => KeyUse::InForce,
        Some(rotation) if rotation.key == id => KeyUse::From(rotation.from.get()),
        _ => KeyUse::Unused,
    };
    let files = home.validator_keys()?.into_iter();
    let view = |(file, key): (PathBuf, ValidatorKey)| KeyView { file, usage: usage(key.id()), keys: key.keys(&node) };
    let keys: Vec<_> = files.map(view).collect();
    let wanted = match entry_of {
        Some(id) => {
            let found = keys.iter().find(|view| view.keys.id == id);
            Some(found.with_context(|| format!("the key {id} is not in {}", home.validator_keys_dir().display()))?)
        }
        None if in_force.is_none() && keys.len() == 1 => keys.first(),
        None => keys.iter().find(|view| view.usage == KeyUse::InForce),
    };
    let entry = wanted.map(|view| Validator { node, power: 1, operator, keys: view.keys });
    let missing = in_force.filter(|id| keys.iter().all(|view| view.keys.id != *id));
    Ok(KeyList { node, missing, validator: entry, keys })
}

impl KeyList {
    fn text(&self, home: &Home) -> anyhow::Result<String> {
        let folder = home.validator_keys_dir();
        let mut text = output::pairs(&[("node", self.node.to_string()), ("folder", folder.display().to_string())]);
        if self.keys.is_empty() {
            text.push_str("\nThere is no validator key; `lucid validator keys --new` makes one.\n");
        }
        for KeyView { file, usage, keys } in &self.keys {
            let usage = match usage {
                KeyUse::InForce => "in force".to_owned(),
                KeyUse::From(epoch) => format!("waits: it signs from epoch {epoch} on"),
                KeyUse::Unused => "signs nothing".to_owned(),
                KeyUse::Unknown => "not known: the node does not answer".to_owned(),
            };
            let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            text.push('\n');
            text.push_str(&output::pairs(&[
                ("key", keys.id.to_string()),
                ("file", name),
                ("is", usage),
                ("proof", keys.proof.to_string()),
                ("BLS key", keys.bls_key.to_string()),
                ("BLS proof", keys.bls_proof.to_string()),
            ]));
        }
        if let Some(missing) = self.missing {
            text.push_str(&format!(
                "\nThe validator signs with the key {missing}, which is not here: this node signs nothing. Put its file {}.key into the \
                 folder, if no other machine runs with it.\n",
                missing.short()
            ));
        }
        if let Some(validator) = &self.validator {
            text.push_str("\nIts entry, with the power and the operator that are agreed on:\n\n");
            text.push_str(&entry_text(validator)?);
        }
        Ok(text)
    }
}

/// The entry of a validator as it stands in a genesis.
pub(in crate::cli) fn entry_text(validator: &Validator) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Entries<'a> {
        validator: [&'a Validator; 1],
    }
    toml::to_string(&Entries { validator: [validator] }).context("the validator's entry cannot be written")
}

/// Announces another key. Its file is durable before anything is sent.
pub(super) async fn rotate(args: &RotateArgs, context: &Context) -> anyhow::Result<()> {
    let home = context.home()?;
    let giver = Giver::open(context).await?;
    let account = giver.me.account;
    let known = match &args.key {
        Some(id) => {
            let found = home.validator_keys()?.into_iter().map(|(_, key)| key).find(|key| key.id() == *id);
            Some(found.with_context(|| format!("the key {id} is not in {}", home.validator_keys_dir().display()))?)
        }
        None => None,
    };
    let (key, is_new) = match known {
        Some(key) => (key, false),
        None => (home::new_validator_key()?, true),
    };
    let action = Action::Validator(Act::RotateKey(key.keys(&account)));
    let write = || {
        if is_new {
            home.write_validator_key(&key)?;
        }
        Ok(())
    };
    let again = || {
        format!(
            "if the key's file {} was made, `lucid validator rotate-key --key {}` announces it again",
            home.validator_key_file(&key.id()).display(),
            key.id()
        )
    };
    args.give.give_after(&giver, account, action, None, write).await.with_context(again)
}
