//! Nodes that are no validators hand commands to those who are, over real meshes on loopback.

use lucid_p2p::Event;
use lucid_types::command::{Action, NodeAction};
use lucid_types::key::NodeKey;
use lucid_types::pool::PoolAction;
use lucid_types::signed::MultiSigned;
use tokio::task::JoinHandle;

use super::*;
use crate::chain::fixture::peers::{self, node, within};
use crate::clock::SystemClock;
use crate::payout::testing;
use crate::payout::testing::node_key;
use crate::signer::fixture::start;

/// Owns the pool, and is no validator.
const FOLLOWER: u8 = 77;
/// Owns the pool of the fixture, as one of its four validators.
const OWNER: u8 = 4;

fn spec() -> Arc<ChainSpec> {
    Arc::new(ChainSpec::new(start().genesis).unwrap())
}

struct Bench {
    desk: CommandDesk,
    driver: mpsc::Receiver<Box<Input>>,
    submissions: mpsc::Receiver<Submission>,
    _head: watch::Sender<Head>,
    _stop: tokio_util::sync::DropGuard,
}

/// The desk of a node that votes if it is one of the validators and may.
async fn bench(seed: u8, may_vote: bool) -> Bench {
    let spec = spec();
    let (mesh, _events, stop) = peers::mesh(spec.id(), seed, vec![]).await;
    let (head, seen) = watch::channel(testing::head(start().state(&spec)));
    let ((driver, inputs), (sender, submissions)) = (mpsc::channel(4), mpsc::channel(4));
    let desk = CommandDesk {
        spec,
        clock: Arc::new(SystemClock),
        me: NodeKey::from_seed(&[seed; 32]).account(),
        may_vote,
        head: seen,
        mesh,
        driver,
        submissions: sender,
    };
    Bench { desk, driver: inputs, submissions, _head: head, _stop: stop }
}

/// A validator that answers commands so, or not at all.
struct Validator {
    answers: JoinHandle<()>,
    _stop: tokio_util::sync::DropGuard,
}

impl Validator {
    async fn of(bench: &Bench, seed: u8, reply: Option<CommandReply>) -> Self {
        let mesh = &bench.desk.mesh;
        let (own, mut events, stop) = peers::mesh(bench.desk.spec.id(), seed, mesh.listen_addresses()).await;
        #[expect(clippy::disallowed_methods, reason = "aborted by its owner")]
        let answers = tokio::spawn(async move {
            let _own = own;
            while let Some(event) = events.next().await {
                let Event::Request { protocol: Protocol::Command, bytes, reply: responder, .. } = event else {
                    continue;
                };
                decode::<SignedCommand>(&bytes).unwrap();
                match &reply {
                    Some(reply) => responder.respond(encode(reply)),
                    None => responder.refuse(),
                }
            }
        });
        assert!(within(mesh.wait_for_peers(|peers| peers.iter().any(|peer| peer.key == node(seed)))).await);
        Self { answers, _stop: stop }
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

fn signed(key: &NodeKey, action: Action) -> SignedCommand {
    let until = SystemClock.now().after(Duration::from_secs(60));
    let signed = key.sign_command(spec().id(), Command { account: key.account(), nonce: 0, until, action });
    let (signer, signature) = (signed.signer, signed.signature);
    MultiSigned::collect(signed.into_inner().record, [(signer, signature)])
}

fn suspend() -> SignedCommand {
    let pool = testing::pool_id(&spec());
    signed(&node_key(OWNER), Action::Pool { pool, action: PoolAction::Suspend(true) })
}

fn refused(why: &str) -> Option<CommandReply> {
    Some(CommandReply::Refused(why.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_asks_one_validator_after_the_other_and_names_who_takes_it() {
    let mut bench = bench(FOLLOWER, true).await;
    let _first = Validator::of(&bench, 1, refused("busy")).await;
    let _second = Validator::of(&bench, 2, None).await;
    // One that is no validator is not asked, whatever it says.
    let _stranger = Validator::of(&bench, 50, Some(CommandReply::Accepted)).await;
    let error = within(bench.desk.hand_in(suspend())).await.unwrap_err();
    assert_eq!(error, NotTaken::Refused(format!("validator {}: busy", node(1))));
    assert!(bench.driver.try_recv().is_err(), "what validators refuse is not spread");

    let _third = Validator::of(&bench, 3, Some(CommandReply::Accepted)).await;
    assert_eq!(within(bench.desk.hand_in(suspend())).await, Ok(NodeKey::from_seed(&[3; 32]).account()));
    let kept = bench.driver.try_recv().unwrap();
    assert!(matches!(*kept, Input::Command(command) if *command == suspend_like(&command)));
    assert!(bench.submissions.try_recv().is_err(), "it takes nothing over itself");
}

/// The same command, whenever it was made.
fn suspend_like(command: &SignedCommand) -> SignedCommand {
    let again = suspend();
    assert_eq!(again.record.action, command.record.action);
    command.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_validator_that_answers_nothing_is_promised_and_the_command_is_spread() {
    let mut alone = bench(FOLLOWER, true).await;
    let error = within(alone.desk.hand_in(suspend())).await.unwrap_err();
    assert!(matches!(&error, NotTaken::Unavailable(why) if why.contains("connected to no validator")), "{error}");
    assert!(matches!(*alone.driver.try_recv().unwrap(), Input::Command(_)));
    let _silent = Validator::of(&alone, 1, None).await;
    let error = within(alone.desk.hand_in(suspend())).await.unwrap_err();
    assert!(matches!(&error, NotTaken::Unavailable(why) if why.contains("none of the 1 validators")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_apply_is_refused_in_the_ledgers_words_before_anybody_is_asked() {
    let mut bench = bench(FOLLOWER, true).await;
    let stranger = NodeKey::from_seed(&[60; 32]);
    let refusal = async |command: SignedCommand| match within(bench.desk.hand_in(command)).await {
        Err(NotTaken::Refused(why)) => why,
        other => format!("{other:?}"),
    };
    let why = refusal(signed(&stranger, Action::Node(NodeAction::Leave))).await;
    assert!(why.contains("is not registered"), "{why}");
    let mut forged = suspend();
    forged.record.until = forged.record.until.after(Duration::from_millis(1));
    let why = refusal(forged).await;
    assert!(why.contains("wrong signature"), "{why}");
    assert!(bench.driver.try_recv().is_err());

    // The same without signatures, which nobody could hand in.
    let leave = signed(&stranger, Action::Node(NodeAction::Leave)).record;
    assert!(matches!(bench.desk.check(&leave), Err(NotTaken::Refused(why)) if why.contains("is not registered")));
    assert_eq!(bench.desk.check(&suspend().record), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_node_that_votes_takes_commands_over_and_only_what_is_durable_is_accepted() {
    for (seed, may_vote, is_validator) in [(1, true, true), (1, false, false), (FOLLOWER, true, false)] {
        let mut bench = bench(seed, may_vote).await;
        let bytes = encode(&suspend());
        if !is_validator {
            let answer = within(bench.desk.answer(&bytes)).await;
            assert_eq!(Some(answer), refused("this node is no validator"));
            continue;
        }
        let answer = within(bench.desk.answer(b"no command")).await;
        assert!(matches!(&answer, CommandReply::Refused(why) if why.contains("no command")), "{answer:?}");
        for (outcome, reply) in [
            (Ok(()), Some(CommandReply::Accepted)),
            (Err(CommandRefused::Busy), refused(&CommandRefused::Busy.to_string())),
        ] {
            let driver = async {
                let submission = bench.submissions.recv().await.unwrap();
                submission.answer.send(outcome).unwrap();
            };
            let (answer, ()) = within(async { tokio::join!(bench.desk.answer(&bytes), driver) }).await;
            assert_eq!(Some(answer), reply);
        }
        // A driver that ends has accepted nothing.
        let driver = async { drop(bench.submissions.recv().await.unwrap()) };
        let (answer, ()) = within(async { tokio::join!(bench.desk.answer(&bytes), driver) }).await;
        assert_eq!(Some(answer), refused("the node is stopping"));
    }
}

#[test]
fn long_reasons_fit_their_message() {
    let long = shortened("ä".repeat(4_000));
    assert!(
        encode(&CommandReply::Refused(long.clone())).len() <= CommandReply::MAX_BYTES && long.len() >= MAX_REASON - 1
    );
    assert_eq!(shortened("short".to_owned()), "short");
}
