//! `lucid score`: what workers score, why it is so, and whether it is right.

mod calc;
mod recomputed;

use anyhow::bail;
use clap::{Args, Subcommand};
use lucid_types::amount::Ppm;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::time::Epoch;

use super::output::{self, millionths, or_dash};
use super::read::{Api, percent, show, validator, worker};
use super::values::{IdPrefix, id_prefix, utc};
use super::{Context, Json};
use crate::api::model::{
    AgreementView, Components, CopyingView, Leaderboard, OutlierView, PairView, PlaceView, PootScoreView, ScoreHistory,
    ScoreSpan, ScoreSpanView, StatusView, SuspicionView, ValidationList, ValidationView, ValidationWanted,
};

const EXAMPLES: &str = "\
Examples:
  lucid score show
  lucid score history --span hour --limit 24
  lucid score leaderboard --pool home --limit 10
  lucid score why --settlement 12
  lucid score verify 3fa4 --epoch 1000
  lucid score report --pool home --from 1 --to 720 --csv
  lucid score agreement --from 1000 --to 1100 --json
  lucid score validate 3f2a
  echo '{\"session_seconds\":36000,\"credits\":10000,\"utilisation_ppm\":0,\"kbit_s\":40000,\"uptime_ppm\":990000,\"quality_ppm\":1000000,\"trust_ppm\":900000}' | lucid score calc --file -";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum ScoreAction {
    /// Show a worker's score with all that it is made of
    Show(ShowArgs),
    /// Show how a worker's score went, newest first
    History(HistoryArgs),
    /// List workers by their scores, best first
    Leaderboard(LeaderboardArgs),
    /// Compute scores from numbers, without a node: one JSON object a line in, one a line out
    Calc(calc::CalcArgs),
    /// Say what lowered a worker's pay in a settlement, and what each cause cost
    Why(recomputed::WhyArgs),
    /// Compute a worker's score once more from what was reported, and check that the network has certified it
    Verify(recomputed::VerifyArgs),
    /// Show what a pool's members did in some epochs, and what they were given
    Report(recomputed::ReportArgs),
    /// Show what the scores of an epoch are like, all together
    Statistics(recomputed::StatisticsArgs),
    /// Compare what validators report with each other: copying and being beside the medians stand out
    Agreement(AgreementArgs),
    /// Have a validator ping a worker now; what it finds is signed and kept, and changes no score
    Validate(ValidateArgs),
    /// List what validators found when this node asked them to ping a worker, newest first
    Validations(ValidationsArgs),
}

/// A worker.
#[derive(Debug, Args)]
pub(super) struct WorkerArg {
    /// The worker: its id, or the first digits of it as `lucid score leaderboard` shows them [default: the home's node]
    #[arg(value_parser = id_prefix)]
    worker: Option<IdPrefix>,
}

impl WorkerArg {
    fn id(&self, api: &Api) -> anyhow::Result<NodeId> {
        match &self.worker {
            Some(id) => worker(api, id),
            None => Ok(api.get::<StatusView>("status")?.node_id),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    worker: WorkerArg,
    /// The epoch; the newest with final scores if not given
    #[arg(long, value_name = "N", value_parser = super::epoch)]
    epoch: Option<Epoch>,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    worker: WorkerArg,
    /// From this epoch on; at most 5040 epochs are read at a time
    #[arg(long, value_name = "N", value_parser = super::epoch)]
    from: Option<Epoch>,
    /// Up to this epoch
    #[arg(long, value_name = "N", value_parser = super::epoch)]
    to: Option<Epoch>,
    /// How epochs are put together
    #[arg(long, value_enum, default_value = "epoch")]
    span: ScoreSpan,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(super) struct LeaderboardArgs {
    /// The epoch; the newest with final scores if not given
    #[arg(long, value_name = "N", value_parser = super::epoch)]
    epoch: Option<Epoch>,
    /// Only members of this pool: its name or id
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Leave out so many
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(super) struct AgreementArgs {
    /// From this epoch on; reports are kept for a week, and at most 720 epochs are compared at a time [default: the newest 30]
    #[arg(long, value_name = "N", value_parser = super::epoch)]
    from: Option<Epoch>,
    /// Up to this epoch; the newest with final scores if not given
    #[arg(long, value_name = "N", value_parser = super::epoch)]
    to: Option<Epoch>,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    worker: WorkerArg,
    /// The validator that is to do it: its id, or the first digits of it [default: the first that does]
    #[arg(long, value_name = "VALIDATOR", value_parser = id_prefix)]
    by: Option<IdPrefix>,
    #[command(flatten)]
    json: Json,
}

#[derive(Debug, Args)]
pub(super) struct ValidationsArgs {
    #[command(flatten)]
    worker: WorkerArg,
    /// At most so many, up to 1000
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    json: Json,
}

pub(super) fn score(action: ScoreAction, context: &Context) -> anyhow::Result<()> {
    match action {
        ScoreAction::Show(args) => show_one(&context.api()?, &args),
        ScoreAction::History(args) => history(&context.api()?, &args),
        ScoreAction::Leaderboard(args) => leaderboard(&context.api()?, context, &args),
        ScoreAction::Calc(args) => calc::calc(&args),
        ScoreAction::Why(args) => recomputed::why(&context.api()?, &args),
        ScoreAction::Verify(args) => recomputed::verify(&context.api()?, &args),
        ScoreAction::Report(args) => recomputed::report(&context.api()?, context, &args),
        ScoreAction::Statistics(args) => recomputed::statistics(&context.api()?, &args),
        ScoreAction::Agreement(args) => agreement(&context.api()?, &args),
        ScoreAction::Validate(args) => validate(&context.api()?, &args),
        ScoreAction::Validations(args) => validations(&context.api()?, &args),
    }
}

/// Points of a hundred, with as many places as there are.
fn points(score: Ppm) -> String {
    millionths(u64::from(score.get()).saturating_mul(100))
}

/// The epochs in a query, those that are given.
fn range(from: Option<Epoch>, to: Option<Epoch>) -> String {
    let of = |name, epoch: Option<Epoch>| epoch.map_or_else(String::new, |epoch| format!("&{name}={epoch}"));
    of("from", from) + &of("to", to)
}

fn suspicious(it: &SuspicionView) -> String {
    let SuspicionView { median_ppm, limit_ppm, difference_ppm } = it;
    format!(
        "{} from the median of its last scores, {}; up to {} is usual",
        points(*difference_ppm),
        points(*median_ppm),
        points(*limit_ppm)
    )
}

fn show_one(api: &Api, ShowArgs { worker, epoch, json }: &ShowArgs) -> anyhow::Result<()> {
    let worker = worker.id(api)?;
    let query = epoch.map_or_else(String::new, |epoch| format!("?epoch={epoch}"));
    show(json.json, &api.get::<PootScoreView>(&format!("poot/scores/{worker}{query}"))?, |view| {
        let score = &view.score;
        let (parts, weights, of) = (score.components.all(), view.weights.all(), view.points_ppm.all());
        let row = |(place, name): (usize, &str)| {
            let is_unmeasured = score.unmeasured.iter().any(|it| it == name);
            let note = if is_unmeasured { "nothing has measured it lately" } else { "" };
            let (part, weight, of) = (percent(parts[place]), percent(weights[place]), points(of[place]));
            [name.to_owned(), part, weight, of, note.to_owned()]
        };
        let rows: Vec<_> = Components::NAMES.into_iter().enumerate().map(row).collect();
        let shared = if score.sharers > 1 { format!(", divided by {}", score.sharers) } else { String::new() };
        let chunks = |n: u32| format!("{n} chunks");
        let mut lines = vec![
            ("worker", score.worker.to_string()),
            ("epoch", score.epoch.to_string()),
            ("score of 100", points(score.score_ppm)),
            ("pool", or_dash(view.pool)),
            (
                "credits",
                format!("{} (echo {}, storage {}{shared})", score.credits, score.relay_credits, score.storage_credits),
            ),
            ("reachable", format!("{} ms", score.reachable_ms)),
            ("round trip", format!("{} us", score.rtt_us)),
            ("echo", or_dash(score.echo_kbit_s.map(|kbit_s| format!("{kbit_s} kbit/s")))),
            ("storage proved", or_dash(score.proved_chunks.map(chunks))),
            ("storage asked for", or_dash(view.quota_chunks.map(chunks))),
            ("network group", or_dash(score.network_group)),
            ("validators", or_dash(view.validators)),
        ];
        lines.extend(view.suspicion.as_ref().map(|it| ("UNUSUAL", suspicious(it))));
        let titles = ["part", "%", "weight %", "points", ""];
        format!("{}\n{}", output::pairs(&lines), output::table(titles, &rows))
    })
}

fn history(api: &Api, HistoryArgs { worker, from, to, span, limit, json }: &HistoryArgs) -> anyhow::Result<()> {
    let worker = worker.id(api)?;
    let name = match span {
        ScoreSpan::Epoch => "epoch",
        ScoreSpan::Hour => "hour",
        ScoreSpan::Day => "day",
    };
    let path = format!("poot/history/{worker}?span={name}&limit={limit}{}", range(*from, *to));
    show(json.json, &api.get::<ScoreHistory>(&path)?, |history| {
        if history.spans.is_empty() {
            return format!("worker {worker} has no scores in these epochs here\n");
        }
        let row = |it: &ScoreSpanView| {
            let epochs = if it.from == it.to { it.from.to_string() } else { format!("{} to {}", it.from, it.to) };
            let score = if it.epochs == 1 {
                points(it.mean_ppm)
            } else {
                format!("{} ({} to {})", points(it.mean_ppm), points(it.min_ppm), points(it.max_ppm))
            };
            let [session, work, storage, speed, uptime, quality, trust] = it.components.all().map(percent);
            let (n, credits) = (it.epochs.to_string(), it.credits.to_string());
            [epochs, n, score, credits, session, work, storage, speed, uptime, quality, trust]
        };
        let rows: Vec<_> = history.spans.iter().map(row).collect();
        let titles = [
            "epochs", "scored", "score", "credits", "session", "work", "storage", "speed", "uptime", "quality", "trust",
        ];
        format!("worker {worker}; parts in per cent\n{}", output::table(titles, &rows))
    })
}

fn leaderboard(api: &Api, context: &Context, args: &LeaderboardArgs) -> anyhow::Result<()> {
    let pool = args.pool.as_ref().map(|name| pool_of(api, context, name)).transpose()?;
    let pool = pool.map_or_else(String::new, |pool| format!("&pool={pool}"));
    let epoch = args.epoch.map_or_else(String::new, |epoch| format!("&epoch={epoch}"));
    let path = format!("poot/leaderboard?offset={}&limit={}{pool}{epoch}", args.offset, args.limit);
    show(args.json.json, &api.get::<Leaderboard>(&path)?, |board| {
        let Some(epoch) = board.epoch else { return "no epoch has final scores yet\n".to_owned() };
        let row = |it: &PlaceView| {
            let mut notes: Vec<_> = it.score.unmeasured.iter().map(|part| format!("{part} unmeasured")).collect();
            notes.extend(it.suspicion.as_ref().map(|_| "unusual: see `lucid score show`".to_owned()));
            [
                it.rank.to_string(),
                it.score.worker.short(),
                points(it.score.score_ppm),
                it.score.credits.to_string(),
                or_dash(it.live),
                it.score.rtt_us.to_string(),
                or_dash(it.score.echo_kbit_s),
                or_dash(it.pool.map(|pool| pool.short())),
                notes.join(", "),
            ]
        };
        let rows: Vec<_> = board.places.iter().map(row).collect();
        let left = board.n_places.saturating_sub(args.offset.saturating_add(rows.len()));
        let more = if left == 0 { String::new() } else { format!("{left} more: --offset, --limit\n") };
        let titles = ["rank", "worker", "score of 100", "credits", "live", "rtt us", "kbit/s", "pool", ""];
        format!("epoch {epoch}\n{}{more}", output::table(titles, &rows))
    })
}

/// A pool by its name or id.
fn pool_of(api: &Api, context: &Context, name: &str) -> anyhow::Result<PoolId> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    Ok(api.ledger(context)?.pool(Some(name))?.pool)
}

fn agreement(api: &Api, AgreementArgs { from, to, json }: &AgreementArgs) -> anyhow::Result<()> {
    let range = range(*from, *to);
    let path = format!("poot/agreement?{}", range.trim_start_matches('&'));
    let view: AgreementView = api.get(&path)?;
    if view.epochs == 0 && !json.json {
        bail!("no reports of these epochs are kept here: they are for a week, and the blocks hold them too");
    }
    show(json.json, &view, |view| {
        let mut text = format!(
            "epochs {} to {}, reports of {}\n\n",
            or_dash(view.from),
            or_dash(view.to),
            if view.epochs == 1 { "one epoch".to_owned() } else { format!("{} epochs", view.epochs) }
        );
        text += &matrix(view);
        let copying = |it: &CopyingView| {
            let when = if it.lag == 0 { "in the same epoch, or the other way round" } else { "an epoch later" };
            format!(
                "COPYING  {} says what {} says {when}: {} % of it\n",
                it.validator.short(),
                it.of.short(),
                percent(it.part_ppm)
            )
        };
        let outlier = |it: &OutlierView| {
            let (validator, distance, limit) = (it.validator.short(), percent(it.distance_ppm), percent(it.limit_ppm));
            format!("BESIDE THE MEDIANS  {validator} by {distance} % of success; up to {limit} % is usual\n")
        };
        let found: String = view.copying.iter().map(copying).chain(view.outliers.iter().map(outlier)).collect();
        text + if found.is_empty() { "\nnobody copies, and nobody is beside the medians\n" } else { "\n" } + &found
    })
}

fn validate(api: &Api, ValidateArgs { worker, by, json }: &ValidateArgs) -> anyhow::Result<()> {
    let worker = worker.id(api)?;
    let by = by.as_ref().map(|by| validator(api, by)).transpose()?;
    show(json.json, &api.validate(ValidationWanted { worker, by })?, |it| {
        output::pairs(&[
            ("worker", it.worker.to_string()),
            ("validator", it.validator.to_string()),
            ("time", utc(it.time.get() / 1_000)),
            ("answered", format!("{} of {} pings", it.pings_answered, it.pings_sent)),
            ("round trip", or_dash((it.pings_answered > 0).then(|| format!("{} us", it.rtt_us)))),
            ("network group", or_dash(it.network_group)),
        ])
    })
}

fn validations(api: &Api, ValidationsArgs { worker, limit, json }: &ValidationsArgs) -> anyhow::Result<()> {
    let worker = worker.id(api)?;
    show(json.json, &api.get::<ValidationList>(&format!("poot/validations/{worker}?limit={limit}"))?, |list| {
        if list.validations.is_empty() {
            return format!("this node has not asked for validations of worker {worker} in the last 90 days\n");
        }
        let row = |it: &ValidationView| {
            [
                utc(it.time.get() / 1_000),
                it.validator.short(),
                format!("{} of {}", it.pings_answered, it.pings_sent),
                or_dash((it.pings_answered > 0).then_some(it.rtt_us)),
                or_dash(it.network_group),
            ]
        };
        let rows: Vec<_> = list.validations.iter().map(row).collect();
        let titles = ["time", "validator", "answered", "rtt us", "network group"];
        format!("worker {worker}\n{}", output::table(titles, &rows))
    })
}

/// For each two validators the part of their measurements that are identical, in per cent.
fn matrix(view: &AgreementView) -> String {
    let mut validators: Vec<_> = view.pairs.iter().flat_map(|pair| [pair.a, pair.b]).collect();
    validators.sort_unstable();
    validators.dedup();
    if validators.is_empty() {
        return "no two validators measured the same worker\n".to_owned();
    }
    let of = |a: &NodeId, b: &NodeId| {
        let is_it = |pair: &&PairView| (pair.a == *a && pair.b == *b) || (pair.a == *b && pair.b == *a);
        view.pairs.iter().find(is_it).filter(|pair| pair.in_common > 0)
    };
    let mut text = String::from("identical measurements, per cent (how many in common)\n");
    for (place, a) in validators.iter().enumerate() {
        text += &format!("{:>3}  {}", place + 1, a.short());
        for b in validators.iter().take(place) {
            let cell = of(a, b).map(|pair| format!("{} ({})", percent(pair.identical_ppm), pair.in_common));
            text += &format!("  {:>14}", cell.unwrap_or_else(|| "-".to_owned()));
        }
        text.push('\n');
    }
    text
}
