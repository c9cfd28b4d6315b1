//! `lucid network policy`: which policy is in force, what is to come, and what differs from the genesis.

use lucid_types::time::Epoch;

use crate::api::model::{PolicyView, differences};
use crate::cli::command::text::policy_change;
use crate::cli::read::show;
use crate::cli::{Context, Json, output};

pub(super) fn policy(epoch: Option<Epoch>, json: Json, context: &Context) -> anyhow::Result<()> {
    let path = epoch.map_or_else(|| "policy".to_owned(), |epoch| format!("policy?epoch={epoch}"));
    show(json.json, &context.api()?.get::<PolicyView>(&path)?, text)
}

fn text(view: &PolicyView) -> String {
    let mut lines = vec![
        ("epoch", view.epoch.to_string()),
        ("in force", format!("since epoch {}", view.from)),
        ("policy", view.hash.to_string()),
    ];
    let since_genesis = policy_change(&differences(&view.genesis, &view.policy));
    if since_genesis.is_empty() {
        lines.push(("genesis", "it is that of the genesis".to_owned()));
    }
    let labelled = |label, (i, (_, text))| (if i == 0 { label } else { "" }, text);
    lines.extend(since_genesis.into_iter().enumerate().map(|line| labelled("since the genesis", line)));
    let mut before = &view.policy;
    for next in &view.next {
        lines.push(("to come", format!("from epoch {} on: {}", next.from, next.hash)));
        lines.extend(policy_change(&differences(before, &next.policy)).into_iter().map(|(_, text)| ("", text)));
        before = &next.policy;
    }
    output::pairs(&lines)
}
