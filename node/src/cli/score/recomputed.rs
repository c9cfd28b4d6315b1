//! `lucid score why | verify | report | statistics`: scores computed once more, and what came of them.

use anyhow::bail;
use clap::Args;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::time::Epoch;

use super::{WorkerArg, points, pool_of};
use crate::api::model::{
    CauseView, Check, Components, PointsChange, PoolReportView, Quantiles, ReportLineView, ReportSource,
    Responsibility, ScoreChangeView, StatisticsView, StepView, VerifyView, WhyView,
};
use crate::cli::output::{self, millionths, or_dash};
use crate::cli::read::{Api, show};
use crate::cli::{Context, Json};

#[derive(Debug, Args)]
pub(in crate::cli) struct WhyArgs {
    #[command(flatten)]
    worker: WorkerArg,
    /// The settlement; the newest that is final if not given
    #[arg(long, value_name = "N", conflicts_with = "epoch")]
    settlement: Option<u64>,
    /// How the score of this epoch came from the one before, instead of what a settlement cost
    #[arg(long, value_name = "N", value_parser = crate::cli::epoch)]
    epoch: Option<Epoch>,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    worker: WorkerArg,
    /// The epoch; the newest with final scores if not given
    #[arg(long, value_name = "N", value_parser = crate::cli::epoch)]
    epoch: Option<Epoch>,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// The pool: its name or id
    #[arg(long, value_name = "POOL")]
    pool: String,
    /// From this epoch on
    #[arg(long, value_name = "N", value_parser = crate::cli::epoch)]
    from: Epoch,
    /// Up to this epoch, at most 5040 in all; of settlements those that end in between
    #[arg(long, value_name = "N", value_parser = crate::cli::epoch)]
    to: Epoch,
    /// Print one line of comma-separated values for each account, after one with their names
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatisticsArgs {
    /// The epoch; the newest with final scores if not given
    #[arg(long, value_name = "N", value_parser = crate::cli::epoch)]
    epoch: Option<Epoch>,
    #[command(flatten)]
    json: Json,
}

/// The epoch as a query, if it is given.
fn of_epoch(epoch: Option<Epoch>) -> String {
    epoch.map_or_else(String::new, |epoch| format!("?epoch={epoch}"))
}

/// A difference in millionths of a whole.
fn signed(value: i64, scale: u64) -> String {
    let sign = if value < 0 { "-" } else { "+" };
    format!("{sign}{}", millionths(value.unsigned_abs().saturating_mul(scale)))
}

/// The parts that differ, in points of a hundred.
fn parts(change: &PointsChange) -> String {
    let parts: Vec<_> = changed(change).map(|(name, part)| format!("{name} {part}")).collect();
    parts.join(", ")
}

/// The parts that differ by their names, likewise.
fn changed(change: &PointsChange) -> impl Iterator<Item = (&'static str, String)> {
    let parts = Components::NAMES.into_iter().zip(change.all()).filter(|(_, part)| *part != 0);
    parts.map(|(name, part)| (name, signed(part, 100)))
}

pub(super) fn why(api: &Api, WhyArgs { worker, settlement, epoch, json }: &WhyArgs) -> anyhow::Result<()> {
    let worker = worker.id(api)?;
    if epoch.is_some() {
        return show(
            json.json,
            &api.get::<ScoreChangeView>(&format!("poot/change/{worker}{}", of_epoch(*epoch)))?,
            change_text,
        );
    }
    let query = settlement.map_or_else(String::new, |settlement| format!("?settlement={settlement}"));
    show(json.json, &api.get::<WhyView>(&format!("poot/why/{worker}{query}"))?, why_text)
}

fn change_text(view: &ScoreChangeView) -> String {
    let from = view.from.map_or_else(|| "nothing".to_owned(), |from| format!("epoch {from}"));
    let mut lines = vec![
        ("worker", view.worker.to_string()),
        ("epoch", view.epoch.to_string()),
        ("score of 100", points(view.score_ppm)),
        ("changed by", format!("{} from {from}", signed(view.change_ppm, 100))),
    ];
    lines.extend(changed(&view.factors_ppm));
    if view.rounding_ppm != 0 {
        lines.push(("rounding", signed(view.rounding_ppm, 100)));
    }
    output::pairs(&lines)
}

fn why_text(view: &WhyView) -> String {
    let held = if view.is_held { ", which is held" } else { "" };
    let score = match (view.first_score_ppm, view.last_score_ppm) {
        (Some(first), Some(last)) => format!("{} to {}", points(first), points(last)),
        _ => "none".to_owned(),
    };
    let lines = [
        ("worker", view.worker.to_string()),
        ("pool", view.pool.to_string()),
        ("settlement", format!("{} (epochs {} to {})", view.settlement, view.from, view.to)),
        ("paid", format!("{} USDT{held}", millionths(view.paid_micro_usdt.get()))),
        ("score of 100", score),
    ];
    let causes: String = view.causes.iter().map(cause).collect();
    let text = output::pairs(&lines);
    if causes.is_empty() {
        return format!(
            "{text}\nnothing in these epochs lowered it; `lucid score show` has what its parts lack, also from epochs before\n"
        );
    }
    format!("{text}\n{causes}\nEach price is of its cause alone, with everything else as it was: they do not add up.\n")
}

/// A cause on one line, and what can be done about it on the next.
fn cause(view: &CauseView) -> String {
    let range = |(first, last): &(Epoch, Epoch)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let epochs: Vec<_> = view.epochs.iter().map(range).collect();
    let side = match view.responsibility {
        Responsibility::Worker => "",
        Responsibility::Validators => ", on the validators' side",
        Responsibility::Network => ", on the network's side",
    };
    let parts = parts(&view.factors_ppm);
    let parts = if parts.is_empty() { String::new() } else { format!(" ({parts})") };
    let cost = if !view.is_priced {
        "unknown: no epoch of the settlement was measured, to compare with".to_owned()
    } else if (view.delta_micro_usdt, view.score_ppm, view.credits) == (0, 0, 0) {
        "nothing".to_owned()
    } else {
        format!(
            "{} USDT, credits {:+}, score {}{parts}",
            signed(view.delta_micro_usdt, 1),
            view.credits,
            signed(view.score_ppm, 100)
        )
    };
    format!(
        "{} {} (epochs {}{side}): {cost}\n    {}\n",
        view.cause.name(),
        time(view.ms),
        epochs.join(", "),
        view.remedy
    )
}

/// A time in its greatest whole unit but one: seconds up to two minutes, minutes up to two hours, then hours and minutes.
fn time(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..120 => format!("{seconds}.{} s", ms % 1_000 / 100),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

pub(super) fn verify(api: &Api, VerifyArgs { worker, epoch, json }: &VerifyArgs) -> anyhow::Result<()> {
    let worker = worker.id(api)?;
    let view: VerifyView = api.get(&format!("poot/verify/{worker}{}", of_epoch(*epoch)))?;
    show(json.json, &view, |view| {
        let source = match view.source {
            ReportSource::Blocks => "the blocks, opened against their commitments",
            ReportSource::History => "the history, since the blocks are not here any more",
        };
        let lines = [
            ("worker", view.worker.to_string()),
            ("epoch", view.epoch.to_string()),
            ("score of 100", or_dash(view.score_ppm.map(points))),
            ("reports from", source.to_owned()),
        ];
        format!("{}\n{}", output::pairs(&lines), view.steps.iter().map(step).collect::<String>())
    })?;
    match view.steps.iter().find_map(|step| step.difference.as_ref()) {
        None => Ok(()),
        Some(it) => bail!("the score is not right: {} is {}, and {} follows", it.field, it.found, it.expected),
    }
}

fn step(StepView { check, found, difference }: &StepView) -> String {
    let name = match check {
        Check::Reports => "reports",
        Check::Medians => "medians",
        Check::Score => "score",
        Check::Proof => "proof",
    };
    match difference {
        None => format!("{name:<8} ok   {}\n", found.as_deref().unwrap_or_default()),
        Some(it) => format!("{name:<8} WRONG  {}: expected {}, found {}\n", it.field, it.expected, it.found),
    }
}

pub(super) fn report(api: &Api, context: &Context, args: &ReportArgs) -> anyhow::Result<()> {
    let ReportArgs { pool, from, to, csv, json } = args;
    let pool = pool_of(api, context, pool)?;
    let view: PoolReportView = api.get(&format!("poot/report/{pool}?from={from}&to={to}"))?;
    if *csv { output::print(&csv_text(&view)) } else { show(json.json, &view, report_text) }
}

/// The columns of a report in CSV, with the names that they have in JSON.
const COLUMNS: &str = "kind,node,drawn,measured,unreached,mean_score_ppm,relay_credits,storage_credits,credits,weight,\
owed_micro_usdt,held_micro_usdt,carried_micro_usdt";

fn csv_text(view: &PoolReportView) -> String {
    let line = |it: &ReportLineView| {
        let mean = it.mean_score_ppm.map_or_else(String::new, |mean| mean.to_string());
        let counts = format!("{},{},{},{mean}", it.drawn, it.measured, it.unreached);
        let credits = format!("{},{},{}", it.relay_credits, it.storage_credits, it.credits);
        let amounts = format!("{},{},{}", it.owed_micro_usdt, it.held_micro_usdt, it.carried_micro_usdt);
        format!("{},{},{counts},{credits},{},{amounts}\n", output::kind(it.kind), it.node, it.weight)
    };
    format!("{COLUMNS}\n{}", view.lines.iter().map(line).collect::<String>())
}

fn report_text(view: &PoolReportView) -> String {
    let usdt = |amount: MicroUsdt| millionths(amount.get());
    let unknown = view.epochs.saturating_sub(view.epochs_with_draw);
    let epochs = match unknown {
        0 => view.epochs.to_string(),
        unknown => format!("{}, of {unknown} of which it is not kept who was drawn", view.epochs),
    };
    let lines = [
        ("pool", view.pool.to_string()),
        ("epochs", format!("{} to {}", view.from, view.to)),
        ("with scores", epochs),
        ("settlements", view.settlements.to_string()),
        ("pots", format!("{} USDT", usdt(view.pots_micro_usdt))),
        ("push fees", format!("{} USDT", usdt(view.fees_micro_usdt))),
        ("owed", format!("{} USDT", usdt(view.owed_micro_usdt))),
        ("held", format!("{} USDT", usdt(view.held_micro_usdt))),
        ("carried", format!("{} USDT", usdt(view.carried_micro_usdt))),
    ];
    let row = |it: &ReportLineView| {
        [
            it.node.short(),
            output::kind(it.kind).to_owned(),
            it.drawn.to_string(),
            it.measured.to_string(),
            it.unreached.to_string(),
            or_dash(it.mean_score_ppm.map(points)),
            it.relay_credits.to_string(),
            it.storage_credits.to_string(),
            it.credits.to_string(),
            usdt(it.owed_micro_usdt),
            usdt(it.held_micro_usdt),
            usdt(it.carried_micro_usdt),
        ]
    };
    let rows: Vec<_> = view.lines.iter().map(row).collect();
    let titles = [
        "node",
        "for",
        "drawn",
        "scored",
        "unreached",
        "mean score",
        "echo",
        "storage",
        "credits",
        "owed",
        "held",
        "carried",
    ];
    format!("{}\n{}", output::pairs(&lines), output::table(titles, &rows))
}

pub(super) fn statistics(api: &Api, StatisticsArgs { epoch, json }: &StatisticsArgs) -> anyhow::Result<()> {
    show(json.json, &api.get::<StatisticsView>(&format!("poot/statistics{}", of_epoch(*epoch)))?, |view| {
        let mut lines = vec![
            ("epoch", view.epoch.to_string()),
            ("workers scored", view.scored.to_string()),
            ("drawn, not scored", or_dash(view.unmeasured)),
            ("unusual scores", or_dash(view.suspicious)),
        ];
        if let Some(probes) = view.probes {
            lines.push(("pings", format!("{} answered of {}", probes.pings_answered, probes.pings_sent)));
            lines.push(("echoes", format!("{} verified of {}", probes.echoes_verified, probes.echoes_sent)));
        }
        let row = |name: &str, of: Quantiles, form: fn(u64) -> String| {
            [name.to_owned(), form(of.min), form(of.p10), form(of.p50), form(of.p90), form(of.max)]
        };
        let score = |value: u64| u32::try_from(value).map_or_else(|_| value.to_string(), |ppm| points(Ppm::new(ppm)));
        let rows = [
            row("score of 100", view.score_ppm, score),
            row("credits", view.credits, |value| value.to_string()),
            row("round trip us", view.rtt_us, |value| value.to_string()),
        ];
        let titles = ["", "least", "10 %", "half", "90 %", "greatest"];
        format!("{}\n{}", output::pairs(&lines), output::table(titles, &rows))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_times_are_read_easily() {
        assert_eq!([signed(-410_000, 1), signed(12_500, 100)], ["-0.410000", "+1.250000"]);
        assert_eq!(parts(&PointsChange::default()), "");
        let change = PointsChange { uptime: -13_500, trust: 100, ..PointsChange::default() };
        assert_eq!(parts(&change), "uptime -1.350000, trust +0.010000");
        let times = [0, 1_500, 119_900, 120_000, 7_199_999, 7_260_000].map(time);
        assert_eq!(times, ["0.0 s", "1.5 s", "119.9 s", "2 min", "119 min", "2 h 1 min"]);
    }
}
