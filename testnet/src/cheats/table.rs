//! The table as the book has it.

use super::{Found, Prevented};

const BEGIN: &str = "<!-- cheats: written by `lucid-testnet cheats --page docs/src/cheating.md --write` -->\n";
const END: &str = "<!-- /cheats -->\n";

/// Per cent with one decimal.
fn percent(ppm: u64) -> String {
    let tenths = ppm.saturating_add(500) / 1_000;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// With a comma at each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let place = |(i, digit): (usize, char)| {
        let is_comma = i > 0 && (digits.len() - i).is_multiple_of(3);
        is_comma.then_some(',').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(place).collect()
}

/// The table, and below it what is not prevented.
pub(super) fn markdown(found: &[Found]) -> String {
    let head = "| attack | with it | honest | part | bound | defence (and what is in its place without) | without | seed | prevented |\n\
                |---|---:|---:|---:|---|---|---:|---:|---|\n";
    let prevented = |it: Prevented| match it {
        Prevented::Yes => "yes",
        Prevented::Partly => "partly",
        Prevented::No => "**no**",
    };
    let row = |it: &Found| {
        let bound = if it.is_harm { "at least" } else { "at most" };
        format!(
            "| `{}`: {} | {} | {} | {} | {bound} {}: {} | {} | {} | {} | {} |\n",
            it.name,
            it.attack,
            grouped(it.earned),
            grouped(it.honest),
            percent(it.ratio_ppm),
            percent(it.bound_ppm),
            it.bound_why,
            it.defence.unwrap_or("none"),
            it.undefended_ppm.map_or_else(|| "-".to_owned(), percent),
            it.seed,
            prevented(it.prevented),
        )
    };
    let said = found.iter().filter(|it| !it.says.is_empty());
    let notes = said.map(|it| format!("- `{}` ({}): {}\n", it.name, prevented(it.prevented), it.says));
    [head.to_owned(), found.iter().map(row).collect(), "\n".to_owned(), notes.collect()].concat()
}

/// The page with this table in place of its own; `None` if it has no place for one.
pub(super) fn replaced(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some([before, BEGIN, "\n", table, "\n", END, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_read_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 499, 500, 1_000_000, 1_049_500].map(percent), ["0.0 %", "0.0 %", "0.1 %", "100.0 %", "105.0 %"]);
    }

    #[test]
    fn a_table_is_put_in_its_place() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(replaced(&page, "new\n"), Some(format!("a\n{BEGIN}\nnew\n\n{END}b\n")));
        assert_eq!(replaced("a\nb\n", "new\n"), None);
    }
}
