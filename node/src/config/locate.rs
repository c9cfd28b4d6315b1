//! Errors in TOML files that name file, line, key and value, whoever wrote the file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// Values longer than this are cut in messages.
const SHOWN_VALUE: usize = 60;

/// Something in a TOML file that cannot stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TomlError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key with the tables around it, for example `p2p.listen[0]`; `None` when the text is no TOML at that place.
    pub key: Option<String>,
    /// The value as it is written; `None` for secrets and where no value is at fault.
    pub value: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for TomlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.path.display(), self.line)?;
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => write!(f, "{key} = {value}: ")?,
            (Some(key), None) => write!(f, "{key}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.problem)
    }
}

/// Reads a `T` from the text of the file at `path`.
///
/// # Errors
/// Names the line, the key and the value; unknown keys come with the list of known ones.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|e| locate(path, text, &e))
}

fn locate(path: &Path, text: &str, error: &toml::de::Error) -> TomlError {
    let span = error.span().unwrap_or(0..0);
    let place = DeTable::parse(text).ok().and_then(|root| find(root.get_ref(), &span, ""));
    let (key, value) = match place {
        Some(place) => {
            // A table's value is the rest of the file or all of a line's braces: too much to show.
            let value = place.value.filter(|_| !is_secret(&place.key)).and_then(|range| text.get(range));
            (Some(place.key), value.map(shown))
        }
        None => (None, None),
    };
    let problem = match &key {
        // The parser's words repeat the value.
        Some(key) if is_secret(key) => "a list of texts in quotes is expected".to_owned(),
        _ => error.message().trim().replace('\n', "; "),
    };
    TomlError { path: path.to_path_buf(), line: line_of(text, span.start), key, value, problem }
}

/// The line of a byte position, from 1.
fn line_of(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}

/// The line on which `key` (a dotted path of plain tables) is set; `None` when it is not.
pub(super) fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        let (name, value) = table.iter().find(|(name, _)| name.get_ref() == part)?;
        if parts.peek().is_none() {
            return Some(line_of(text, name.span().start));
        }
        table = value.get_ref().as_table()?;
    }
    None
}

/// Whether a key, or the list that it is an item of, holds secrets.
pub(super) fn is_secret(key: &str) -> bool {
    key.split('[').next().is_some_and(|key| key.ends_with("api_keys"))
}

fn shown(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN_VALUE) {
        Some((cut, _)) => format!("{}...", &line[..cut]),
        None if line.len() < value.len() => format!("{line} ..."),
        None => line.to_owned(),
    }
}

struct Place {
    key: String,
    value: Option<Range<usize>>,
}

/// The innermost entry of `table` that contains the start of `span`.
fn find(table: &DeTable<'_>, span: &Range<usize>, prefix: &str) -> Option<Place> {
    let contains = |range: &Range<usize>| range.contains(&span.start);
    table.iter().find_map(|(name, value)| {
        let path = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        if let Some(inner) = find_in(value.get_ref(), span, &path) {
            return Some(inner);
        }
        let is_table = value.get_ref().is_table();
        (contains(&name.span()) || contains(&value.span()))
            .then(|| Place { key: path, value: (!is_table).then(|| value.span()) })
    })
}

fn find_in(value: &DeValue<'_>, span: &Range<usize>, path: &str) -> Option<Place> {
    match value {
        DeValue::Table(table) => find(table, span, path),
        DeValue::Array(items) => items.iter().enumerate().find_map(|(i, item)| {
            let path = format!("{path}[{i}]");
            if let Some(inner) = find_in(item.get_ref(), span, &path) {
                return Some(inner);
            }
            let is_table = item.get_ref().is_table();
            item.span().contains(&span.start).then(|| Place { key: path, value: (!is_table).then(|| item.span()) })
        }),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Sample {
        name: String,
        part: Option<Part>,
        #[serde(default)]
        item: Vec<Part>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Part {
        size: u32,
        #[serde(default)]
        list: Vec<String>,
        #[serde(default)]
        api_keys: Vec<String>,
    }

    fn error(text: &str) -> String {
        parse::<Sample>(Path::new("f.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_file_line_key_value_and_expectation() {
        for (text, wanted) in [
            ("name = 1", "f.toml:1: name = 1: invalid type: integer `1`, expected a string"),
            ("name = \"a\"\nnmae = 2", "f.toml:2: nmae = 2: unknown field `nmae`, expected one of"),
            (
                "name = \"a\"\n[part]\nsize = \"big\"",
                "f.toml:3: part.size = \"big\": invalid type: string \"big\", expected u32",
            ),
            ("name = \"a\"\n[part]\nsize = -1", "f.toml:3: part.size = -1: invalid value: integer `-1`, expected u32"),
            (
                "name = \"a\"\n[part]\nsize = 1\nlist = [\"a\", 7]",
                "f.toml:4: part.list[1] = 7: invalid type: integer `7`",
            ),
            ("name = \"a\"\n[[item]]\nsize = 1\n[[item]]\nsice = 1", "f.toml:5: item[1].sice = 1: unknown field"),
            ("name = \"a\"\n[part]\nlist = []", "f.toml:2: part: missing field `size`"),
        ] {
            let found = error(text);
            assert!(found.starts_with(wanted), "{text}\nfound  {found}\nwanted {wanted}");
        }
    }

    #[test]
    fn a_secret_is_not_repeated() {
        for value in ["123456", "[123456]"] {
            let found = error(&format!("name = \"a\"\n[part]\nsize = 1\napi_keys = {value}"));
            assert!(found.starts_with("f.toml:4: part.api_keys") && !found.contains("123456"), "{found}");
            assert!(found.ends_with(": a list of texts in quotes is expected"), "{found}");
        }
    }

    #[test]
    fn broken_syntax_names_the_line() {
        let found = error("name = \"a\"\n[part\nsize = 1");
        assert!(found.starts_with("f.toml:2: "), "{found}");
    }

    #[test]
    fn keys_are_found_by_path() {
        let text = "name = \"a\"\n\n[part]\n# why\nsize = 1\n";
        assert_eq!(line_of_key(text, "part.size"), Some(5));
        assert_eq!(line_of_key(text, "name"), Some(1));
        assert_eq!(line_of_key(text, "part.list"), None);
        assert_eq!(line_of_key(text, "name.size"), None);
    }
}
