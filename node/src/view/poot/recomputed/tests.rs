use std::sync::LazyLock;

use lucid_consensus::ledger::registry::Maintenance;
use lucid_consensus::ledger::table::Nodes;
use lucid_storage::{HistoryKind, HistoryRecord};
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::codec::encode;
use lucid_types::payout::AccountKind;
use lucid_types::pool::SplitRule;

use super::*;
use crate::api::Asker;
use crate::api::model::{Cause, Responsibility};
use crate::history::scores;
use crate::payout::testing::{self, OWNER};
use crate::score::fixture::{Chain, Did, EPOCHS};
use crate::score::watch::ScoreWatch;

/// Two settlements and an epoch: in 6 and 7 the first worker is away, and nobody tells of the other one in 6.
fn chain() -> Chain {
    let mut chain = Chain::with(SplitRule::CreditsTimesScore, |start| {
        start.pools[0].commission = Ppm::new(100_000);
    });
    chain.run(2 * EPOCHS + 1, |epoch, worker| match (epoch.get(), worker) {
        (6 | 7, 0) => Did::Nothing,
        (6, 1) => Did::NotMeasured,
        _ => Did::Well,
    });
    chain
}

fn poot(chain: &Chain) -> Poot<'_> {
    static WATCH: LazyLock<ScoreWatch> = LazyLock::new(ScoreWatch::default);
    static ASKER: LazyLock<Asker> = LazyLock::new(Asker::default);
    Poot {
        spec: &chain.spec,
        store: &chain.store,
        watch: &WATCH,
        head: chain.head(),
        now: chain.state.time(),
        asker: &ASKER,
    }
}

#[track_caller]
fn unknown<T: std::fmt::Debug>(found: Result<T, ActionError>) -> String {
    match found {
        Err(ActionError::Unknown(told)) => told,
        other => panic!("{other:?}"),
    }
}

/// Every record of a kind that begins so, changed.
fn damage(chain: &Chain, kind: HistoryKind, key: &[u8], change: impl Fn(HistoryRecord) -> HistoryRecord) {
    let found = chain.store.history(kind, key, usize::MAX, chain.state.time()).unwrap();
    assert!(!found.is_empty());
    chain.store.write_history(&found.into_iter().map(change).collect::<Vec<_>>(), &[]).unwrap();
}

fn remove(chain: &Chain, kind: HistoryKind, key: &[u8]) {
    let found = chain.store.history(kind, key, usize::MAX, chain.state.time()).unwrap();
    assert!(!found.is_empty());
    let found: Vec<_> = found.into_iter().map(|record| (record.kind, record.key)).collect();
    chain.store.write_history(&[], &found).unwrap();
}

#[test]
fn every_score_follows_from_the_blocks_and_is_certified() {
    let chain = chain();
    let poot = poot(&chain);
    for (epoch, worker) in (1..=2 * EPOCHS + 1).flat_map(|epoch| [(epoch, 0), (epoch, 1)]) {
        let found = poot.verify(&chain.worker(worker), Some(Epoch::new(epoch))).unwrap().unwrap();
        assert!(found.is_right, "{found:?}");
        let checks: Vec<_> = found.steps.iter().map(|step| step.check).collect();
        assert_eq!(checks, [Check::Reports, Check::Medians, Check::Score, Check::Proof]);
        assert_eq!((found.source, found.epoch), (ReportSource::Blocks, Epoch::new(epoch)));
        assert_eq!(found.score_ppm.is_some(), (epoch, worker) != (6, 1));
        let proof = found.steps[3].found.as_ref().unwrap();
        assert!(proof.contains(&format!("block {} by 1 of 1 power", chain.state.height())), "{proof}");
    }
    let newest = poot.verify(&chain.worker(0), None).unwrap().unwrap();
    assert_eq!(newest.epoch, chain.state.head().scored);
}

#[test]
fn reports_are_taken_from_the_history_where_blocks_are_gone() {
    let chain = chain();
    let of = |epoch| poot(&chain).verify(&chain.worker(0), Some(Epoch::new(epoch))).unwrap().unwrap();
    let closing = epochs::closing(&chain.store, Epoch::new(3)).unwrap().unwrap();
    let gone: Vec<_> = (1..=closing.height.next().get()).map(|height| (Height::new(height), None)).collect();
    chain.store.prune_blocks(&gone).unwrap();
    let sources = [1, 3, 4].map(|epoch| (of(epoch).source, of(epoch).is_right));
    let (history, blocks) = ((ReportSource::History, true), (ReportSource::Blocks, true));
    assert_eq!(sources, [history, history, blocks], "one of the blocks of epoch 3 is gone");
}

#[test]
fn a_stored_score_that_does_not_follow_is_told() {
    let chain = chain();
    let epoch = Epoch::new(5);
    damage(&chain, HistoryKind::Score, &epoch.get().to_be_bytes(), |record| {
        let mut scores = scores::parse(&record).unwrap();
        let of = scores.rows.iter_mut().find(|row| row.worker == chain.worker(0)).unwrap();
        of.score = Ppm::new(of.score.get() + 1);
        HistoryRecord { value: encode(&scores), ..record }
    });
    let found = poot(&chain).verify(&chain.worker(0), Some(epoch)).unwrap().unwrap();
    let last = found.steps.last().unwrap();
    let difference = last.difference.as_ref().unwrap();
    assert_eq!((found.is_right, last.check, difference.field.as_str()), (false, Check::Score, "score"));
    let is = |text: &str| text.parse::<u32>().unwrap();
    assert_eq!(is(&difference.found), is(&difference.expected) + 1);
    // The other one's row is right, but what is stored does not lead to the certified root.
    let found = poot(&chain).verify(&chain.worker(1), Some(epoch)).unwrap().unwrap();
    let last = found.steps.last().unwrap();
    assert_eq!((found.is_right, last.check), (false, Check::Proof));
    assert!(last.difference.as_ref().unwrap().found.contains("lucid db check"), "{last:?}");
}

#[test]
fn what_cannot_be_verified_says_why() {
    let chain = chain();
    let poot = poot(&chain);
    let verify = |worker: &NodeId, epoch| unknown(poot.verify(worker, Some(Epoch::new(epoch))).unwrap());
    let worker = chain.worker(0);
    let told = verify(&worker, 99);
    assert!(told.contains("epoch 99 is not final yet") && told.contains("is 9"), "{told}");
    assert!(verify(&testing::node(OWNER), 5).contains("was not drawn in epoch 5"));
    remove(&chain, HistoryKind::Report, &[&[2][..], &2_u64.to_be_bytes(), worker.as_bytes()].concat());
    assert!(verify(&worker, 6).contains("before settlement 2 is not kept here"));
    remove(&chain, HistoryKind::Report, &[&[0][..], &5_u64.to_be_bytes()].concat());
    assert!(verify(&worker, 6).contains("epoch 5, from which the score of epoch 6 follows, is not kept here"));
    assert!(verify(&worker, 5).contains("what was reported of epoch 5 is not kept here"));
}

#[test]
fn a_worker_is_told_what_its_absence_cost() {
    let chain = chain();
    let poot = poot(&chain);
    let found = poot.why(&chain.worker(0), Some(2)).unwrap().unwrap();
    assert_eq!((found.settlement, found.from, found.to), (2, Epoch::new(5), Epoch::new(8)));
    let part = chain.shared(2).part(AccountKind::Worker, &chain.worker(0)).unwrap();
    assert_eq!((found.paid_micro_usdt, found.is_held, found.pool), (part.amount, false, chain.pool()));
    let CauseView { cause, responsibility, epochs, ms, delta_micro_usdt, remedy, .. } = &found.causes[0];
    assert_eq!((*cause, *responsibility, *ms), (Cause::Offline, Responsibility::Worker, 10_000));
    assert_eq!(*epochs, [(Epoch::new(6), Epoch::new(7))]);
    assert!(*delta_micro_usdt < 0 && !remedy.is_empty(), "{found:?}");
    let rows = chain.rows(2, 0);
    let scores = (Some(rows[0].1.score), Some(rows[3].1.score));
    assert_eq!((found.first_score_ppm, found.last_score_ppm), scores);
    // The other one had a validator too few in one epoch.
    let other = poot.why(&chain.worker(1), None).unwrap().unwrap();
    let causes: Vec<_> = other.causes.iter().map(|it| (it.cause, it.responsibility, it.epochs.clone())).collect();
    assert_eq!(causes, [(Cause::NotMeasured, Responsibility::Validators, vec![(Epoch::new(6), Epoch::new(6))])]);
    assert!(poot.why(&chain.worker(1), Some(1)).unwrap().unwrap().causes.is_empty());
}

/// After the last echo failed its throughput is known from a settlement before.
#[test]
fn a_long_absence_costs_bandwidth_too() {
    let mut chain = Chain::new(SplitRule::Credits);
    chain.run(3 * EPOCHS, |epoch, worker| if epoch.get() > 6 && worker == 0 { Did::Nothing } else { Did::Well });
    let (before, _) = chain.inputs(3, 0);
    assert_eq!(before.kbit_s.0, 0);
    let found = poot(&chain).why(&chain.worker(0), Some(3)).unwrap().unwrap();
    let CauseView { cause, epochs, factors_ppm, .. } = &found.causes[0];
    assert_eq!((*cause, epochs.as_slice()), (Cause::Offline, [(Epoch::new(9), Epoch::new(12))].as_slice()));
    assert!(factors_ppm.bandwidth < 0, "{found:?}");
}

#[test]
fn what_a_settlement_cost_is_not_guessed() {
    let chain = chain();
    let worker = chain.worker(0);
    let why = |worker: &NodeId, settlement| unknown(poot(&chain).why(worker, Some(settlement)).unwrap());
    for settlement in [3, 99] {
        assert!(why(&worker, settlement).contains("not final yet: the newest that is, is 2"), "{settlement}");
    }
    assert!(why(&worker, 0).contains("no settlement 0"));
    assert!(why(&testing::node(OWNER), 2).contains("no pool"));
    // As of a share that another row would have led to.
    damage(&chain, HistoryKind::Score, &6_u64.to_be_bytes(), |record| {
        let mut scores = scores::parse(&record).unwrap();
        scores.rows.iter_mut().for_each(|row| row.aggregate.reachable_ms = 5_000);
        HistoryRecord { value: encode(&scores), ..record }
    });
    let Err(ActionError::Unavailable(told)) = poot(&chain).why(&worker, Some(2)).unwrap() else {
        panic!("the share does not follow");
    };
    assert!(told.contains("lucid db check"), "{told}");
    remove(&chain, HistoryKind::Report, &[&[2][..], &2_u64.to_be_bytes(), worker.as_bytes()].concat());
    assert!(why(&worker, 2).contains("before settlement 2 is not kept here"));
    remove(&chain, HistoryKind::Report, &[&[0][..], &7_u64.to_be_bytes()].concat());
    assert!(why(&worker, 2).contains("epoch 7 of settlement 2 is not kept here"));
}

/// It costs no uptime, and what epochs of echo and storage would have brought: of all and of traffic alone.
#[test]
fn maintenance_costs_what_ordinary_epochs_would_have_brought() {
    let paid = |chain: &Chain| chain.shared(2).part(AccountKind::Worker, &chain.worker(0)).unwrap().amount.get();
    let mut without = Chain::new(SplitRule::Credits);
    without.run(2 * EPOCHS, |_, _| Did::Well);
    for scope in [MaintenanceScope::All, MaintenanceScope::Traffic] {
        let mut chain = Chain::new(SplitRule::Credits);
        let worker = chain.worker(0);
        chain.state = chain.state.changed(|rows| {
            let mut node = rows.get::<Nodes>(&worker).unwrap().clone();
            node.maintenance = vec![Maintenance { from: Epoch::new(6), until: Epoch::new(8), scope }];
            rows.put::<Nodes>(&worker, node);
        });
        chain.run(2 * EPOCHS, |_, _| Did::Well);
        let found = poot(&chain).why(&worker, Some(2)).unwrap().unwrap();
        let causes: Vec<_> = found.causes.iter().map(|it| (it.cause, it.epochs.clone(), it.ms)).collect();
        assert_eq!(causes, [(Cause::Maintenance, vec![(Epoch::new(6), Epoch::new(7))], 10_000)]);
        let CauseView { responsibility, is_priced, delta_micro_usdt, credits, factors_ppm, .. } = &found.causes[0];
        assert_eq!((*responsibility, *is_priced), (Responsibility::Worker, true));
        let lost = i64::try_from(paid(&without)).unwrap() - i64::try_from(paid(&chain)).unwrap();
        assert_eq!(*delta_micro_usdt, -lost, "{scope:?}: {found:?}");
        assert!(lost > 0 && *credits < 0 && factors_ppm.uptime == 0, "{scope:?}: {found:?}");
        if scope == MaintenanceScope::All {
            let told = unknown(poot(&chain).verify(&worker, Some(Epoch::new(6))).unwrap());
            assert!(told.contains("was not drawn in epoch 6"), "{told}");
        }
    }
}

#[test]
fn a_report_has_the_amounts_that_the_pool_owes() {
    let chain = chain();
    let poot = poot(&chain);
    let of = |from, to| poot.report(&chain.pool(), Epoch::new(from), Epoch::new(to)).unwrap().unwrap();
    let whole = of(1, 2 * EPOCHS + 1);
    assert_eq!((whole.epochs, whole.epochs_with_draw, whole.settlements), (9, 9, 2));
    assert_eq!(Some(whole.owed_micro_usdt), chain.state.owed(&chain.pool()));
    for line in &whole.lines {
        let account = chain.state.accounts(&chain.pool()).find(|(_, it)| (it.kind, it.node) == (line.kind, line.node));
        assert_eq!(line.owed_micro_usdt, account.map_or(MicroUsdt::ZERO, |(_, account)| account.owed), "{line:?}");
    }
    // Of a settlement that ends later, or that nobody reads, nothing is counted.
    let part = of(4, 7);
    assert_eq!((part.epochs, part.settlements), (4, 1));
    assert_eq!(part.pots_micro_usdt, chain.shared(1).pot);
    let line = part.lines.iter().find(|line| line.node == chain.worker(0)).unwrap();
    assert_eq!((line.drawn, line.measured, line.unreached), (4, 4, 2));
    let later = of(100, 200);
    assert_eq!((later.epochs, later.settlements, later.lines), (0, 0, vec![]));
    assert_eq!(poot.report(&PoolId::from_bytes([7; 32]), Epoch::new(1), Epoch::new(9)).unwrap(), None);
}

#[test]
fn statistics_count_what_was_sent_and_scored() {
    let chain = chain();
    let of = |epoch| poot(&chain).statistics(Some(Epoch::new(epoch))).unwrap().unwrap();
    let found = of(6);
    assert_eq!((found.epoch, found.scored, found.unmeasured), (Epoch::new(6), 1, Some(1)));
    let row = chain.rows(2, 0)[1].1;
    let same = |value| Quantiles { min: value, p10: value, p50: value, p90: value, max: value };
    assert_eq!((found.score_ppm, found.rtt_us), (same(row.score.get().into()), Quantiles::default()));
    let probes = found.probes.unwrap();
    assert_eq!((probes.pings_sent, probes.pings_answered, probes.echoes_verified), (4, 0, 0));
    let newest = poot(&chain).statistics(None).unwrap().unwrap();
    assert_eq!((newest.epoch, newest.scored), (Epoch::new(9), 2));
    assert_eq!(newest.probes.unwrap().pings_answered, 8);
    assert_eq!(poot(&chain).statistics(Some(Epoch::new(99))).unwrap(), None);
    assert_eq!((of(6).suspicious, newest.suspicious), (Some(0), Some(0)));
    // Without the scores before, nobody knows what is usual.
    remove(&chain, HistoryKind::Score, &5_u64.to_be_bytes());
    assert_eq!((of(6).suspicious, of(9).suspicious, of(4).suspicious), (None, None, Some(0)));
}

#[test]
fn statistics_of_an_old_epoch_count_what_was_unusual_in_it() {
    let mut chain = Chain::with(SplitRule::Credits, |start| start.genesis.policy.history_window = 24);
    chain.run(46, |epoch, _| if epoch.get() >= 43 { Did::Nothing } else { Did::Well });
    let of = |epoch| poot(&chain).statistics(Some(Epoch::new(epoch))).unwrap().unwrap().suspicious;
    assert_eq!((of(42), of(43)), (Some(0), Some(2)));
}

#[test]
fn a_change_is_from_the_score_before() {
    let chain = chain();
    let of = |worker, epoch| poot(&chain).change(&chain.worker(worker), Some(Epoch::new(epoch))).unwrap();
    let first = of(0, 1).unwrap();
    assert_eq!((first.from, first.change_ppm), (None, i64::from(first.score_ppm.get())));
    let fell = of(0, 6).unwrap();
    assert_eq!(fell.from, Some(Epoch::new(5)));
    assert!(fell.change_ppm < 0 && fell.factors_ppm.sum() + fell.rounding_ppm == fell.change_ppm, "{fell:?}");
    assert_eq!(of(1, 6), None);
    assert_eq!(of(1, 7).unwrap().from, Some(Epoch::new(5)), "there is none of epoch 6");
}

#[test]
fn quantiles_are_values() {
    let of = |values: &[u64]| {
        let Quantiles { min, p10, p50, p90, max } = quantiles(values.iter().copied());
        [min, p10, p50, p90, max]
    };
    assert_eq!(of(&[]), [0; 5]);
    assert_eq!(of(&[7]), [7; 5]);
    assert_eq!(of(&[30, 10, 20]), [10, 10, 20, 30, 30]);
    let hundred: Vec<_> = (1..=100).rev().collect();
    assert_eq!(of(&hundred), [1, 10, 50, 90, 100]);
}
