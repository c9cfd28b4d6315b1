//! Where values come from: the file, then `LUCID_*` variables, then `--set` on the command line; the later wins.
//!
//! Reads one file and writes nothing. The environment and the command line are arguments.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;

use super::locate::{self, TomlError};
use super::settings::{SETTINGS, Setting};
use super::{Config, Invalid};

/// Variables of that form that are no settings: the home, which is found before its configuration.
const OTHER_VARIABLES: [&str; 1] = ["LUCID_HOME"];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "from", content = "at")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file, at this line.
    File(usize),
    /// This environment variable.
    Environment(String),
    /// `--set` on the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "file, line {line}"),
            Self::Environment(variable) => write!(f, "environment, {variable}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// A checked configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The origin of every key of [`SETTINGS`].
    pub origins: BTreeMap<&'static str, Origin>,
    /// Things to tell the operator that stop nothing.
    pub warnings: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no file.
    #[error("there is no configuration at {}; `lucid init --home {}` makes one", path.display(), home.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Its folder.
        home: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file holds something that cannot stand there.
    #[error(transparent)]
    File(#[from] TomlError),
    /// `--set` names no key.
    #[error("--set {key}: there is no such key; `lucid config doc` lists them")]
    UnknownKey {
        /// As given.
        key: String,
    },
    /// A variable or flag whose value is of the wrong type.
    #[error("{origin}: {key} = {value}: {problem}")]
    Override {
        /// Where it was given.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The text.
        value: String,
        /// What is expected.
        problem: String,
    },
    /// A value of the right type that cannot be.
    #[error("{place}: {invalid}")]
    Invalid {
        /// The file and line, the variable or the flag.
        place: String,
        /// The key, its value and what is wrong.
        invalid: Invalid,
    },
}

/// Loads and checks a configuration.
///
/// `environment` holds name and value of every variable, `flags` key and value of every `--set`. An empty variable counts as not
/// set; a list is emptied with a flag.
///
/// # Errors
/// [`ConfigError`], naming file and line, variable or flag, the key, its value and what is expected.
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<Loaded, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing {
            path: path.to_path_buf(),
            home: path.parent().unwrap_or_else(|| Path::new(".")).to_path_buf(),
        },
        _ => ConfigError::Read { path: path.to_path_buf(), source },
    })?;
    read(path, &text, environment, flags)
}

/// The same of a file with this text, which need not be there yet.
///
/// # Errors
/// As [`load`].
pub fn read(
    path: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<Loaded, ConfigError> {
    // Typed at once, so that mistakes in the file are told with their line.
    let _in_file: Config = locate::parse(path, text)?;
    let mut table: Table = locate::parse(path, text)?;
    let mut origins = BTreeMap::new();
    for setting in &SETTINGS {
        let line = locate::line_of_key(text, setting.key);
        origins.insert(setting.key, line.map_or(Origin::Default, Origin::File));
    }
    let (overrides, warnings) = overrides(environment, flags)?;
    for Override { setting, origin, text } in overrides {
        put(&mut table, setting, &origin, &text)?;
        origins.insert(setting.key, origin);
    }
    let config =
        typed(table).map_err(|e| ConfigError::Read { path: path.to_path_buf(), source: io::Error::other(e) })?;
    config.check().map_err(|invalid| {
        let place = match origins.get(invalid.key) {
            Some(Origin::File(line)) => format!("{}:{line}", path.display()),
            Some(Origin::Default) | None => format!("{} (default)", path.display()),
            Some(origin) => origin.to_string(),
        };
        ConfigError::Invalid { place, invalid }
    })?;
    Ok(Loaded { config, origins, warnings })
}

struct Override {
    setting: &'static Setting,
    origin: Origin,
    text: String,
}

/// Variables before flags: what is put later wins.
fn overrides(
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<(Vec<Override>, Vec<String>), ConfigError> {
    let (mut found, mut warnings) = (Vec::new(), Vec::new());
    for (variable, text) in environment {
        // Service managers and shells often cannot take a variable away, and set it to nothing instead.
        if text.is_empty() || !variable.starts_with("LUCID_") || OTHER_VARIABLES.contains(&variable.as_str()) {
            continue;
        }
        match SETTINGS.iter().find(|setting| setting.variable() == variable) {
            Some(setting) => found.push(Override { setting, origin: Origin::Environment(variable), text }),
            // Not an error: container platforms set variables named after their services.
            None => warnings.push(format!("the environment variable {variable} is no setting and is ignored")),
        }
    }
    for (key, text) in flags {
        let setting = Setting::of(key).ok_or_else(|| ConfigError::UnknownKey { key: key.clone() })?;
        found.push(Override { setting, origin: Origin::Flag, text: text.clone() });
    }
    Ok((found, warnings))
}

/// Puts one value; its type is checked with a configuration that holds nothing else.
fn put(table: &mut Table, setting: &'static Setting, origin: &Origin, text: &str) -> Result<(), ConfigError> {
    let fail = |problem| ConfigError::Override {
        origin: origin.clone(),
        key: setting.key,
        value: if locate::is_secret(setting.key) { "(hidden)".to_owned() } else { format!("{text:?}") },
        problem,
    };
    let value = setting.parse(text).map_err(fail)?;
    let mut alone = Table::new();
    setting.put(&mut alone, value.clone());
    typed(alone).map_err(|e| fail(e.message().trim().replace('\n', "; ")))?;
    setting.put(table, value);
    Ok(())
}

fn typed(table: Table) -> Result<Config, toml::de::Error> {
    Config::deserialize(table)
}
