//! `lucid resources`: what the running node reads of its machine.

use clap::{Args, Subcommand};

use super::output::{self, or_dash};
use super::read::{Api, percent, show, time_query};
use super::values::{Moment, duration_of, moment, utc};
use super::{Context, Json};
use crate::api::model::{MeanMax, ResourceHistory, ResourcesView, SpanView, TemperatureView};
use crate::sampler::rings::Granularity;

const EXAMPLES: &str = "\
Examples:
  lucid resources
  lucid resources history --granularity 15m --from 24h
  lucid resources history --granularity 1h --from 2026-11-01 --to 2026-12-01 --limit 1000 --json";

/// Without a word more it shows the machine now.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct ResourcesArgs {
    #[command(subcommand)]
    action: Option<ResourcesAction>,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Subcommand)]
enum ResourcesAction {
    /// Show the machine now, and what its control groups leave of it
    Show(Json),
    /// Show how the machine went: mean and greatest value of each figure, newest first
    History(HistoryArgs),
}

#[derive(Debug, Args)]
struct HistoryArgs {
    /// How long the spans are
    #[arg(long, value_enum, default_value = "1m")]
    granularity: Granularity,
    /// Only spans that began then or later: 6h for six hours ago, or a date in UTC, 2026-11-29 or 2026-11-29T00:37
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Moment>,
    /// Only spans that began before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Moment>,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    json: Json,
}

pub(super) fn resources(ResourcesArgs { action, json }: ResourcesArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    match action.unwrap_or(ResourcesAction::Show(json)) {
        ResourcesAction::Show(json) => show(json.json, &api.get::<ResourcesView>("resources")?, now),
        ResourcesAction::History(args) => history(&api, &args),
    }
}

fn now(view: &ResourcesView) -> String {
    let bytes = |used: u64, total: u64, part| format!("{} % ({used} of {total} bytes)", percent(part));
    let per_core: Vec<_> = view.per_core_ppm.iter().map(|core| percent(*core)).collect();
    let load: Vec<_> = view.load_hundredths.iter().map(|load| hundredths((*load).into())).collect();
    let temperature =
        |it: &TemperatureView| format!("{} {} C", it.sensor, hundredths(i64::from(it.millicelsius).div_euclid(10)));
    let temperatures: Vec<_> = view.temperatures.iter().map(temperature).collect();
    let cpu_limit = view.limits.cpu_millis.map(|millis| format!("{}.{:03} CPUs", millis / 1_000, millis % 1_000));
    output::pairs(&[
        ("sampled", utc(view.time.get() / 1_000)),
        ("CPU", format!("{} % of {} cores", percent(view.cpu_ppm), view.cores)),
        ("each core", format!("{} %", per_core.join(", "))),
        ("memory", bytes(view.memory_used_bytes, view.memory_total_bytes, view.memory_ppm)),
        ("disk", bytes(view.disk_used_bytes, view.disk_total_bytes, view.disk_ppm)),
        ("received", format!("{} B/s", view.network_rx_bytes_s)),
        ("sent", format!("{} B/s", view.network_tx_bytes_s)),
        ("load", load.join(", ")),
        ("up for", duration_of(view.uptime_s)),
        ("temperatures", if temperatures.is_empty() { "-".to_owned() } else { temperatures.join(", ") }),
        ("limit of CPU", or_dash(cpu_limit)),
        ("limit of memory", or_dash(view.limits.memory_bytes.map(|bytes| format!("{bytes} bytes")))),
    ])
}

fn history(api: &Api, HistoryArgs { granularity, from, to, limit, json }: &HistoryArgs) -> anyhow::Result<()> {
    let range = time_query(from.as_ref(), to.as_ref());
    let path = format!("resources/history?granularity={}&limit={limit}{range}", granularity.name());
    show(json.json, &api.get::<ResourceHistory>(&path)?, |history| {
        if history.spans.is_empty() {
            return "nothing was sampled in that time\n".to_owned();
        }
        let both = |figure: Option<MeanMax>, shown: fn(i64) -> String| {
            or_dash(figure.map(|MeanMax { mean, max }| format!("{} ({})", shown(mean), shown(max))))
        };
        // Millionths are ten thousandths of a per cent.
        let percent = |ppm: i64| hundredths(ppm.div_euclid(100));
        let row = |it: &SpanView| {
            [
                utc(it.from.get() / 1_000),
                it.samples.to_string(),
                both(it.cpu_ppm, percent),
                both(it.memory_ppm, percent),
                both(it.disk_ppm, percent),
                both(it.network_rx_bytes_s, |bytes| bytes.to_string()),
                both(it.network_tx_bytes_s, |bytes| bytes.to_string()),
                both(it.load_hundredths, hundredths),
                both(it.hottest_millicelsius, |it| hundredths(it.div_euclid(10))),
            ]
        };
        let rows: Vec<_> = history.spans.iter().map(row).collect();
        let titles = ["from", "samples", "CPU %", "memory %", "disk %", "in B/s", "out B/s", "load", "hottest C"];
        format!("spans of {}: mean (greatest)\n{}", granularity.name(), output::table(titles, &rows))
    })
}

/// With two places.
fn hundredths(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", value.unsigned_abs() / 100, value.unsigned_abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundredths_have_two_places() {
        assert_eq!([0, 7, 4_150, -1, -250].map(hundredths), ["0.00", "0.07", "41.50", "-0.01", "-2.50"]);
    }
}
