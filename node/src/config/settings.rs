//! The table of all configuration keys: description, environment variable, and the text form of a whole file.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::Config;

/// How a value is written outside a TOML file, in an environment variable or after `--set key=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    Text,
    /// Items separated by commas; empty for no items.
    List,
    /// `true` or `false`.
    Flag,
    /// Decimal digits.
    Number,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Dotted path in the file.
    pub key: &'static str,
    /// How it is written on the command line.
    pub kind: Kind,
    /// One or more lines for people.
    pub about: &'static str,
}

const fn setting(key: &'static str, kind: Kind, about: &'static str) -> Setting {
    Setting { key, kind, about }
}

/// Every key, in the order of the file.
pub const SETTINGS: [Setting; 28] = [
    setting("name", Kind::Text, "The node's name, for people."),
    setting("roles", Kind::List, "What the node does: validator, worker, treasury, bootstrap, observer."),
    setting("p2p.listen", Kind::List, "Multiaddresses to listen on, TCP and QUIC."),
    setting("p2p.external", Kind::List, "Multiaddresses at which others reach this node, if others than those."),
    setting("p2p.bootstrap", Kind::List, "Nodes to start from, each ending in /p2p/<peer id>. One is enough."),
    setting("p2p.local", Kind::Flag, "All nodes are on one machine or in one private network."),
    setting("api.listen", Kind::Text, "The HTTP API; a loopback address."),
    setting("metrics.listen", Kind::Text, "Metrics for Prometheus, at /metrics."),
    setting(
        "tron.providers",
        Kind::List,
        "Provider groups, witnesses of each other: URLs of TRON full nodes' HTTP APIs, in one group separated by |.",
    ),
    setting(
        "tron.api_keys",
        Kind::List,
        "HOST=KEY: sent to that host only, as TRON-PRO-API-KEY. Secret; better set in the environment.",
    ),
    setting("tron.requests_per_s", Kind::Number, "Requests a second to each provider group, 1 to 1000."),
    setting("treasury.key_file", Kind::Text, "The key of a treasury signer, relative to the home; mode 0600."),
    setting(
        "treasury.socket",
        Kind::Text,
        "Where `lucid signer` listens, which then holds the key; relative to the home. Empty: this node holds the key.",
    ),
    setting(
        "bridge.key_file",
        Kind::Text,
        "The key of the gas account of a worker that can lead, relative to the home; mode 0600.",
    ),
    setting("bridge.max_trx_per_day", Kind::Number, "Most whole TRX that the gas account may spend in 24 hours."),
    setting("probe.echo_sessions", Kind::Number, "Echoes that a worker serves at a time, 1 to 64."),
    setting(
        "limits.month_bytes",
        Kind::Number,
        "Bytes that probes may take of a worker's line in a calendar month (UTC), both ways together; 0: no limit.",
    ),
    setting(
        "limits.up_kbps",
        Kind::Number,
        "Kilobits a second that a worker sends for echoes and storage challenges, at least 8192; 0: no limit.",
    ),
    setting(
        "limits.down_kbps",
        Kind::Number,
        "Kilobits a second of echoes and storage chunks that a worker serves, on average, at least 8192; 0: no limit.",
    ),
    setting(
        "limits.disk_bytes",
        Kind::Number,
        "Bytes of disk for storage chunks, if less than the worker declares; 0: as it declares.",
    ),
    setting("limits.min_free_bytes", Kind::Number, "Bytes that storage chunks leave free on their file system."),
    setting(
        "limits.schedule",
        Kind::List,
        "When a worker works, in UTC: \"Mon-Fri 22:00-07:00\"; the rest is announced as maintenance. None: always.",
    ),
    setting(
        "sync.mode",
        Kind::Text,
        "How a node without a state begins: snapshot (a certified state of peers) or full (every block).",
    ),
    setting("sync.archive", Kind::Flag, "Keep every block, and fetch every block."),
    setting(
        "sync.keep_blocks_s",
        Kind::Number,
        "Seconds that blocks are kept, at least 60; 0: as the network's policy says.",
    ),
    setting("sync.pinned", Kind::Text, "HEIGHT:HASH of a block that the chain must have; empty: none."),
    setting("log.filter", Kind::Text, "What is logged, in the syntax of RUST_LOG (which goes before it)."),
    setting("log.json", Kind::Flag, "Log one JSON object a line."),
];

impl Setting {
    /// The setting of a key.
    pub fn of(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The environment variable that overrides the file, for example `LUCID_P2P_LISTEN`.
    pub fn variable(&self) -> String {
        format!("LUCID_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The TOML value of `text` as written in a variable or on the command line.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        match self.kind {
            Kind::Text => Ok(Value::String(text.to_owned())),
            Kind::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
            }
            Kind::Flag => text.parse().map(Value::Boolean).map_err(|_| "true or false is expected".to_owned()),
            Kind::Number => match text.parse::<i64>() {
                Ok(number) if number >= 0 => Ok(Value::Integer(number)),
                _ => Err("a whole number is expected".to_owned()),
            },
        }
    }

    /// The value of this key in a table; `None` when it is not set.
    pub fn get<'t>(&self, table: &'t Table) -> Option<&'t Value> {
        match self.key.split_once('.') {
            Some((section, key)) => table.get(section)?.as_table()?.get(key),
            None => table.get(self.key),
        }
    }

    /// Sets this key in a table.
    pub fn put(&self, table: &mut Table, value: Value) {
        let (table, key) = match self.key.split_once('.') {
            Some((section, key)) => match table.entry(section).or_insert_with(|| Value::Table(Table::new())) {
                Value::Table(section) => (section, key),
                // Whoever reads the table sees that the section is no table.
                _ => return,
            },
            None => (table, self.key),
        };
        table.insert(key.to_owned(), value);
    }
}

/// The configuration as a table, secrets hidden.
pub fn to_table(config: &Config) -> Table {
    // Nothing in a configuration fails to serialise; if it did, the dump would be empty, not wrong.
    Table::try_from(config).unwrap_or_default()
}

/// The text of a configuration file: every key with its description, those that have their default commented out.
pub fn render(config: &Config) -> String {
    let (values, defaults) = (to_table(config), to_table(&Config::default()));
    let mut text = String::from(
        "# Configuration of a Lucid node. Commented values are the defaults. Every key can be overridden by the\n\
         # environment variable LUCID_<KEY> (LUCID_API_LISTEN for api.listen) and, before that, by --set key=value.\n\n",
    );
    let mut section = "";
    for setting in &SETTINGS {
        let (in_section, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if in_section != section {
            section = in_section;
            text.push_str(&format!("\n[{section}]\n"));
        }
        let value = setting.get(&values);
        let comment = if value == setting.get(&defaults) { "# " } else { "" };
        let shown = value.map_or_else(|| "\"\"".to_owned(), Value::to_string);
        // Writing to a string cannot fail.
        let _ = write!(text, "# {}\n{comment}{key} = {shown}\n", setting.about);
    }
    text
}
