//! `lucid score calc`: the seven factors to a score, for whoever wants to know what if.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use lucid_score::score::Factors;
use lucid_types::amount::{Credits, Ppm};
use lucid_types::genesis::Genesis;
use lucid_types::policy::Policy;
use serde::{Deserialize, Serialize};

/// A line is no longer.
const MAX_LINE: u64 = 4_096;

#[derive(Debug, Args)]
pub(in crate::cli) struct CalcArgs {
    /// A file with one JSON object a line, `-` for the standard input: {"session_seconds", "credits", "utilisation_ppm", "kbit_s",
    /// "uptime_ppm", "quality_ppm", "trust_ppm"}, all of them integers
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// With the weights and full marks of this network's genesis [default: those of the public mesh]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    session_seconds: u64,
    credits: u64,
    utilisation_ppm: u64,
    kbit_s: u64,
    uptime_ppm: u64,
    quality_ppm: u64,
    trust_ppm: u64,
}

#[derive(Serialize)]
struct Score {
    score_ppm: Ppm,
}

fn ppm(name: &str, value: u64) -> anyhow::Result<Ppm> {
    match u32::try_from(value) {
        Ok(value) if value <= Ppm::ONE.get() => Ok(Ppm::new(value)),
        _ => bail!("{name} = {value}: parts per million are at most {}", Ppm::ONE),
    }
}

/// The score of one line.
fn of_line(policy: &Policy, line: &str) -> anyhow::Result<Ppm> {
    let given: Given = serde_json::from_str(line)?;
    let factors = Factors {
        session_seconds: given.session_seconds,
        credits: Credits::capped(given.credits),
        utilisation: ppm("utilisation_ppm", given.utilisation_ppm)?,
        kbit_s: given.kbit_s,
        uptime: ppm("uptime_ppm", given.uptime_ppm)?,
        quality: ppm("quality_ppm", given.quality_ppm)?,
        trust: ppm("trust_ppm", given.trust_ppm)?,
    };
    Ok(factors.components(policy).score(&policy.weights))
}

/// The next line, without its end; `None` after the last.
fn next_line(input: &mut dyn BufRead) -> anyhow::Result<Option<String>> {
    let mut line = Vec::new();
    if io::Read::take(input, MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && line.len() >= usize::try_from(MAX_LINE)? {
        bail!("it has more than {MAX_LINE} bytes");
    }
    Ok(Some(String::from_utf8(line)?))
}

fn run(policy: &Policy, input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<()> {
    for number in 1_u64.. {
        let line = next_line(input).with_context(|| format!("line {number}"))?;
        let Some(line) = line else { break };
        if line.trim().is_empty() {
            continue;
        }
        let score_ppm = of_line(policy, &line).with_context(|| format!("line {number}"))?;
        serde_json::to_writer(&mut *out, &Score { score_ppm })?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

fn policy_of(genesis: Option<&Path>) -> anyhow::Result<Policy> {
    let Some(path) = genesis else { return Ok(Policy::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let genesis: Genesis = toml::from_str(&text).with_context(|| format!("{} is no genesis", path.display()))?;
    Ok(genesis.policy)
}

pub(super) fn calc(CalcArgs { file, genesis }: &CalcArgs) -> anyhow::Result<()> {
    let policy = policy_of(genesis.as_deref())?;
    let mut out = io::stdout().lock();
    if file.as_os_str() == "-" {
        return run(&policy, &mut io::stdin().lock(), &mut out);
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    run(&policy, &mut BufReader::new(opened), &mut out).with_context(|| file.display().to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn calculated(input: &str) -> (String, anyhow::Result<()>) {
        let mut out = Vec::new();
        let result = run(&Policy::default(), &mut input.as_bytes(), &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    fn line(changes: &Value) -> String {
        let mut line = json!({"session_seconds": 36_000, "credits": 10_000, "utilisation_ppm": 1_000_000, "kbit_s": 1_000_000,
            "uptime_ppm": 1_000_000, "quality_ppm": 1_000_000, "trust_ppm": 1_000_000});
        line.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        format!("{line}\n")
    }

    #[test]
    fn vectors() {
        let file = include_str!("../../../../consensus/score/tests/data/poot_scores.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let cases = file["cases"].as_array().unwrap();
        let input: String = cases.iter().map(|case| format!("{}\n", case["in"])).collect();
        let expected: String = cases.iter().map(|case| format!("{{\"score_ppm\":{}}}\n", case["score_ppm"])).collect();
        let (out, result) = calculated(&input);
        result.unwrap();
        assert_eq!(out, expected);
        assert!(cases.len() >= 10);
    }

    #[test]
    fn a_bad_line_is_named_and_ends_it() {
        let good = line(&json!({}));
        for (bad, reason) in [
            (line(&json!({"trust_ppm": 1_000_001})), "trust_ppm = 1000001: parts per million are at most 1000000"),
            (line(&json!({"credits": -1})), "invalid value"),
            (line(&json!({"credits": 1.5})), "invalid type"),
            (line(&json!({"bonus": 1})), "unknown field `bonus`"),
            ("{}\n".to_owned(), "missing field"),
            ("no json\n".to_owned(), "expected"),
            (format!("{{\"x\":\"{}\"}}\n", "y".repeat(5_000)), "more than 4096 bytes"),
        ] {
            let (out, result) = calculated(&format!("{good}\n{bad}{good}"));
            assert_eq!(out, "{\"score_ppm\":1000000}\n", "{bad}");
            let error = format!("{:#}", result.unwrap_err());
            assert!(error.starts_with("line 3: ") && error.contains(reason), "{error}");
        }
        assert_eq!(calculated(&good[..good.len() - 1]).0, "{\"score_ppm\":1000000}\n", "the last line may not end");
    }
}
