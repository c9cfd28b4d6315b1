//! The task over a real mesh on loopback, as a validator, which takes its own commands over. The tests play the chain.

use lucid_consensus::ledger::command::CommandRefused;
use lucid_consensus::ledger::registry::Membership;
use lucid_consensus::ledger::table::Nodes;
use lucid_types::command::{Action, Entry, Registration};
use lucid_types::id::PublicKey;
use lucid_types::join::{Bootstrap, JoinString};
use tokio::sync::mpsc;

use super::*;
use crate::chain::fixture::peers::{self, within};
use crate::commands::Submission;
use crate::config::Config;
use crate::payout::testing::{self, SIGNERS, WORKERS, address, node, node_key, pool_id};

fn intent(spec: &ChainSpec) -> Intent {
    let bootstrap = Bootstrap::new(vec!["/ip4/127.0.0.1/tcp/1".to_owned()]).unwrap();
    let pool = Some(JoinPool::Named(pool_id(spec)));
    Intent {
        string: JoinString { network: *spec.id(), bootstrap, pool, pin: None },
        payout_address: Some(address(5)),
        payout_key: Some(PublicKey::from_bytes([9; 32])),
        gas_address: None,
        limits: CapacityLimits { cores: Some(3), ..CapacityLimits::default() },
    }
}

#[test]
fn an_intent_is_kept_secret_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path().join("home"));
    home.create(&Config::default(), None).unwrap();
    assert_eq!(home.load_intent().unwrap(), None);
    let spec = testing::network();
    let mut intent = intent(&spec);
    home.write_intent(&intent).unwrap();
    assert_eq!(home.load_intent().unwrap().as_ref(), Some(&intent));
    intent.payout_address = None;
    home.write_intent(&intent).unwrap();
    assert_eq!(home.load_intent().unwrap().as_ref(), Some(&intent));
    let mode = std::os::unix::fs::PermissionsExt::mode(&home.intent_file().metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    home.remove_intent().unwrap();
    assert_eq!(home.load_intent().unwrap(), None);
    home.remove_intent().unwrap();
}

/// It stands in the first epoch.
struct Early;

impl Clock for Early {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(1_001_000)
    }
}

/// Waits for a step.
async fn step(progress: &mut watch::Receiver<Option<EnrolmentView>>, step: EnrolmentStep) -> EnrolmentView {
    let told = progress.wait_for(|told| told.as_ref().is_some_and(|told| told.step == step));
    within(async { told.await.unwrap().clone().unwrap() }).await
}

#[tokio::test]
async fn a_node_hands_in_until_a_block_has_it_and_forgets_the_intent_then() {
    let (spec, dir) = (testing::network(), tempfile::tempdir().unwrap());
    let home = Home::new(dir.path().join("home"));
    home.create(&Config::default(), None).unwrap();
    home.write_intent(&intent(&spec)).unwrap();
    let me = SIGNERS[0];
    let (mesh, _events, _stop) = peers::mesh(spec.id(), me, vec![]).await;
    let (_other, _others, _stop_other) = peers::mesh(spec.id(), 99, mesh.listen_addresses()).await;
    let state = testing::first(&spec);
    let (head, seen) = watch::channel(testing::head(state.clone()));
    let (driver, _inputs) = mpsc::channel(4);
    let (submissions, mut submitted) = mpsc::channel::<Submission>(4);
    let (progress, mut told) = watch::channel(None);
    let commands = CommandDesk {
        spec: Arc::clone(&spec),
        clock: Arc::new(Early),
        me: node(me),
        may_vote: true,
        head: seen.clone(),
        mesh,
        driver,
        submissions,
    };
    let enrolment = Enrolment::new(EnrolmentParts {
        spec: Arc::clone(&spec),
        clock: Arc::new(Early),
        home: home.clone(),
        me: Identity::first(node_key(me)),
        intent: intent(&spec),
        gas_address: Some(address(6)),
        pinned: Height::ZERO,
        commands: Arc::new(commands),
        head: seen,
        best_seen: watch::channel(Height::ZERO).1,
        progress,
    });
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(enrolment.unwrap().run(stop.clone()));

    let Submission { command, answer } = within(submitted.recv()).await.unwrap();
    let Action::Register(Registration { gas_address, capacity, payout_address, entry, .. }) = &command.record.action
    else {
        unreachable!("{command:?}")
    };
    assert_eq!((*payout_address, *gas_address, capacity.cores), (address(5), Some(address(6)), 3));
    assert!(matches!(entry, Entry::Pool { pool, .. } if *pool == pool_id(&spec)));
    answer.send(Err(CommandRefused::Busy)).unwrap();
    let retry = step(&mut told, EnrolmentStep::Retry).await;
    assert!(retry.problem.unwrap().contains("too many commands wait") && retry.until.is_some());

    let again = within(submitted.recv()).await.unwrap();
    assert_eq!(again.command.record, command.record, "it is the same command");
    again.answer.send(Ok(())).unwrap();
    step(&mut told, EnrolmentStep::Inclusion).await;
    assert!(home.load_intent().unwrap().is_some());

    head.send(testing::head(state.changed(|rows| {
        let mut row = state.node(&node(WORKERS[0])).unwrap().clone();
        row.membership = Some(Membership { pool: pool_id(&spec), from: Epoch::new(3), until: None });
        rows.put::<Nodes>(&node(me), row);
    })))
    .unwrap();
    let entered = step(&mut told, EnrolmentStep::Entered).await;
    assert!(entered.waits_for.contains("epoch 3") && entered.waits_for.contains("the pool pool"), "{entered:?}");
    assert_eq!(home.load_intent().unwrap(), None);
    stop.cancel();
    within(tasks.join_next()).await.unwrap().unwrap().unwrap();
}
