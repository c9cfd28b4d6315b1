//! Following the validators by what peers show, over real meshes on loopback.

use std::sync::Mutex;

use lucid_types::certificate::Certificate;
use lucid_types::sync::CertifiedHeader;

use super::*;
use crate::chain::fixture::Turnover;
use crate::chain::fixture::peers::{Peer, mesh, node, within};

/// Five changes: nobody of the genesis is left.
const BLOCKS: u64 = 22;

/// What a peer answers to the question for changes above a height.
type Shows = fn(&Turnover, Height) -> Option<SyncResponse>;

fn honest(chain: &Turnover, above: Height) -> Option<SyncResponse> {
    chain.answer(&SyncRequest::SetChanges { above })
}

fn known_of(chain: &Turnover) -> KnownSets {
    let first = chain.chain.spec.first_sets();
    KnownSets::new(*chain.chain.spec.id(), move || first.clone())
}

fn is_proved(network: &NetworkId, certificate: &Certificate, sets: &ValidatorSets) -> Result<(), ()> {
    let set = sets.at(certificate.height).ok_or(())?;
    certificate.clone().verify(network, set).map(drop).map_err(drop)
}

/// What comes of the tip's certificate with peers that show this, in turn, and how often each was asked.
async fn judged(shows: &[Shows]) -> (KnownSets, Vec<Result<(), Refused<()>>>, Vec<usize>) {
    let chain = Arc::new(Turnover::new(BLOCKS));
    let network = *chain.chain.spec.id();
    let (own, _events, _stop) = mesh(&network, 200, Vec::new()).await;
    let (known, tip) = (known_of(&chain), chain.blocks.last().unwrap().certificate.clone());
    let (mut outcomes, mut asked) = (Vec::new(), Vec::new());
    for (seed, shows) in (50..).zip(shows) {
        let (chain, shows, count) = (Arc::clone(&chain), *shows, Arc::new(Mutex::new(0)));
        let counted = Arc::clone(&count);
        let answer = Box::new(move |request| {
            let SyncRequest::SetChanges { above } = request else { return None };
            *counted.lock().unwrap() += 1;
            shows(&chain, above).map(|response| encode(&response))
        });
        let _peer = Peer::of(&own, &network, seed, answer).await;
        let judge = |sets: &ValidatorSets| is_proved(&network, &tip, sets);
        outcomes.push(within(known.judge(&own, node(seed), judge)).await);
        asked.push(*count.lock().unwrap());
    }
    (known, outcomes, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_while_all_validators_changed_follows_them() {
    let (known, outcomes, asked) = judged(&[honest, honest]).await;
    assert_eq!((outcomes, asked), (vec![Ok(()), Ok(())], vec![1, 0]), "what is known is not asked for again");
    let known = known.known();
    assert_eq!(known.sets().newest(), (Height::new(22), &Arc::new(Turnover::set(5))));
    assert_eq!(known.changes.len(), 5);
    assert_eq!(known.changes_through(Height::new(12)).len(), 3);
    assert_eq!(known.changes_through(Height::new(11)).len(), 2);
}

/// A peer that lies is told, and what it shows is never mixed with what another shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liars_are_told_and_spoil_nothing() {
    fn edited(chain: &Turnover, above: Height, edit: fn(&mut Vec<SetChange>)) -> Option<SyncResponse> {
        let Some(SyncResponse::SetChanges(mut changes)) = honest(chain, above) else { return None };
        edit(&mut changes);
        Some(SyncResponse::SetChanges(changes))
    }
    let does_not_follow = Refused::NotShown(NotShown::Lie("a change of the validators that does not follow"));
    let cases: [(Shows, Refused<()>); 7] = [
        (|chain, above| edited(chain, above, |it| drop(it.remove(1))), does_not_follow.clone()),
        (|chain, above| edited(chain, above, |it| it.swap(0, 1)), does_not_follow.clone()),
        (|chain, above| edited(chain, above, |it| it[2].set = it[1].set.clone()), does_not_follow.clone()),
        (
            |chain, above| edited(chain, above, |it| it[0].block.certificate.signatures.truncate(2)),
            does_not_follow.clone(),
        ),
        (|chain, above| edited(chain, above, |it| it.insert(1, it[0].clone())), does_not_follow),
        (|chain, above| edited(chain, above, |it| it.truncate(2)), Refused::Judged(())),
        (|_, _| Some(SyncResponse::Blocks(vec![1])), Refused::NotShown(NotShown::Lie("an answer to another question"))),
    ];
    let mut shows: Vec<Shows> = cases.iter().map(|(shows, _)| *shows).collect();
    shows.push(honest);
    let (known, outcomes, asked) = judged(&shows).await;
    let expected: Vec<_> = cases.into_iter().map(|(_, refused)| Err(refused)).chain([Ok(())]).collect();
    assert_eq!(outcomes, expected);
    assert_eq!(asked, vec![1; 8], "one page that is not full is the last one");
    assert_eq!(known.known().changes.len(), 5);
}

/// The block that the validators of this height certify, with another set after it.
fn change(chain: &Turnover, height: u64, voters: &[u8], set: ValidatorSet) -> SetChange {
    let mut header = chain.blocks[0].block.header.clone();
    (header.height, header.next_set) = (Height::new(height), set.hash());
    SetChange { block: chain.chain.certified(header, voters), set }
}

/// A change that is left out is noticed where the state is there that remembers it; what others show comes in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_withheld_is_found_by_the_state() {
    let chain = Arc::new(Turnover::new(0));
    let network = *chain.chain.spec.id();
    let (own, _events, _stop) = mesh(&network, 200, Vec::new()).await;
    let set = |seeds: &[u8]| {
        ValidatorSet::new(seeds.iter().map(|seed| crate::payout::testing::validator(*seed)).collect()).unwrap()
    };
    let chain = Turnover { blocks: Turnover::new(1).blocks, ..Turnover::new(0) };
    // Those who certify the second change were validators before the first.
    let first = change(&chain, 4, &[1, 2, 3], set(&[1, 2, 3, 5]));
    let second = change(&chain, 8, &[1, 2, 3], set(&[1, 2, 3, 6]));
    let tip: CertifiedHeader = change(&chain, 12, &[2, 3, 6], set(&[1])).block;
    let known = known_of(&chain);
    let judge = |sets: &ValidatorSets| is_proved(&network, &tip.certificate, sets);
    for (seed, changes) in [(50, vec![second.clone()]), (51, vec![first.clone(), second.clone()])] {
        let answer = encode(&SyncResponse::SetChanges(changes));
        let _peer = Peer::of(&own, &network, seed, Box::new(move |_| Some(answer.clone()))).await;
        within(known.judge(&own, node(seed), judge)).await.unwrap();
        let mut of_state = chain.chain.spec.first_sets();
        of_state.push(Height::new(6), Arc::new(first.set.clone()));
        of_state.push(Height::new(10), Arc::new(second.set.clone()));
        assert!(!agree(known.known().sets(), &of_state), "the first has left a change out");
        let agrees = |sets: &ValidatorSets| agree(sets, &of_state).then_some(()).ok_or(());
        let outcome = within(known.judge(&own, node(seed), agrees)).await;
        assert_eq!(outcome, if seed == 51 { Ok(()) } else { Err(Refused::Judged(())) });
    }
}

/// Whoever has certified another history does not keep it in force against the node's own state.
#[test]
fn the_state_comes_before_what_was_shown() {
    let chain = Turnover::new(BLOCKS);
    let own = Arc::new(Mutex::new(chain.chain.spec.first_sets()));
    let of_state = Arc::clone(&own);
    let known = KnownSets::new(*chain.chain.spec.id(), move || of_state.lock().unwrap().clone());
    let mut shown = Known::of(chain.chain.spec.first_sets());
    for change in &chain.changes {
        shown.sets.follow(chain.chain.spec.id(), change.clone()).unwrap();
        shown.changes.push(Arc::new(change.clone()));
    }
    *known.shown.lock().unwrap() = Arc::new(shown);
    assert_eq!(known.known().changes.len(), 5);
    // The state has come to the second change.
    for change in &chain.changes[..2] {
        own.lock().unwrap().push(in_force(change), Arc::new(change.set.clone()));
    }
    assert_eq!(known.known().changes.len(), 3);
    assert_eq!(known.known().sets().newest().0, Height::new(22));
    own.lock().unwrap().push(Height::new(13), Arc::new(Turnover::set(9)));
    let known = known.known();
    assert_eq!((known.changes.len(), known.sets().newest().0), (0, Height::new(13)));
}
