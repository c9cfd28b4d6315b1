//! How the registry has this node, and what its roles wait for: told when the node starts, and whenever it changes.

use std::path::PathBuf;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::registry::Membership;
use lucid_consensus::ledger::state::State;
use lucid_types::id::{NodeId, PayoutAddress, PoolId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::config::Role;
use crate::home::Identity;
use crate::node::rotation::alerts;
use crate::payout::cosign::pools_of_signer;

/// This node, as it is configured.
#[derive(Clone, Debug)]
pub(super) struct Me {
    pub(super) identity: Identity,
    pub(super) spec: Arc<ChainSpec>,
    pub(super) keys: watch::Receiver<Arc<Keyring>>,
    /// Where its validator keys are.
    pub(super) keys_dir: PathBuf,
    pub(super) roles: Vec<Role>,
    /// The address of its treasury key, if it has one that is known.
    pub(super) signer: Option<PayoutAddress>,
}

/// Tells at once, and then until `stop`.
pub(super) fn tell(me: Me, mut head: watch::Receiver<Head>, stop: CancellationToken) -> impl Future<Output = ()> {
    let (mut told, mut missed, mut alerted) = (Vec::new(), None, Vec::new());
    let mut keys = me.keys.clone();
    let mut say = move |state: &State| {
        let standing = standing(state, &me);
        let missing = missing_key(state, &me).filter(|_| has_role(&me, Role::Validator));
        if let Some(missing) = missing.as_ref().filter(|missing| Some(*missing) != missed.as_ref()) {
            tracing::error!("{missing}");
        }
        missed = missing;
        let alerts = alerts(&me.spec, state, &me.identity, &me.keys.borrow());
        for alert in alerts.iter().filter(|alert| !alerted.contains(*alert)) {
            tracing::warn!("{alert}");
        }
        alerted = alerts;
        for line in standing.iter().filter(|line| !told.contains(*line)) {
            tracing::info!("{line}");
        }
        told = standing;
    };
    let state = head.borrow_and_update().state.clone();
    say(&state);
    async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = head.changed() => if changed.is_err() {
                    // The chain has ended, and says why.
                    return stop.cancelled().await;
                },
                Ok(()) = keys.changed() => {}
            }
            let state = head.borrow_and_update().state.clone();
            say(&state);
        }
    }
}

/// One line for each role.
fn standing(state: &State, me: &Me) -> Vec<String> {
    let mut lines = Vec::new();
    let (has, node) = (|role| has_role(me, role), me.identity.account);
    let is_validator = state.next_validators().of(&node).is_some();
    let has_key = missing_key(state, me).is_none();
    lines.extend(validator(has(Role::Validator), is_validator).filter(|_| has_key).map(str::to_owned));
    lines.extend(worker(has(Role::Worker), state, &node));
    lines.extend(me.signer.map(|address| signer(state, &node, &address)));
    lines
}

fn has_role(me: &Me, role: Role) -> bool {
    me.roles.contains(&role)
}

/// What is told of a validator whose key is not in its home.
fn missing_key(state: &State, me: &Me) -> Option<String> {
    let id = me.keys.borrow().missing(state.next_validators())?;
    Some(format!(
        "this node is the validator {}, which signs with the key {id}, and its file {}.key is not in {}: it signs nothing, and follows the \
         chain. If no other machine runs with that key, put the file there: the node finds it without a restart",
        me.identity.account,
        id.short(),
        me.keys_dir.display()
    ))
}

const fn validator(has_role: bool, is_listed: bool) -> Option<&'static str> {
    match (has_role, is_listed) {
        (true, true) => Some("this node is a validator: it votes once it has heard of no other machine with its key"),
        (true, false) => Some(
            "this node is no validator: it follows the chain without a vote, and votes without a restart once the validators have added it",
        ),
        (false, true) => Some("this node is a validator, but `roles` does not name validator: it does not vote"),
        _ => None,
    }
}

fn worker(has_role: bool, state: &State, node: &NodeId) -> Option<String> {
    let name = |pool: &PoolId| state.pool(pool).map_or_else(|| pool.short(), |row| row.name.clone());
    if let Some((pool, since)) = state.inactive_in(node).filter(|_| has_role) {
        let pool = name(&pool);
        return Some(format!(
            "this worker is inactive in the pool {pool} from epoch {since} on, as validators have not reached it for long: `lucid pool \
             join {pool}` brings it back"
        ));
    }
    Some(match (has_role, state.node(node)) {
        (false, None) => return None,
        (false, Some(_)) => {
            "this node is registered, but `roles` does not name worker: it answers no probes and earns nothing"
                .to_owned()
        }
        (true, None) => {
            "this node is not registered: it follows the chain, and works once it is registered and in a pool"
                .to_owned()
        }
        (true, Some(row)) => match row.membership.filter(|_| state.pool_of(node).is_some()) {
            None => "this worker is registered and in no pool: it is measured once it is a member of one".to_owned(),
            Some(Membership { pool, until: Some(until), .. }) => {
                format!("this worker leaves the pool {}: it is measured for it before epoch {until}", name(&pool))
            }
            Some(Membership { pool, from, .. }) => {
                format!("this worker is a member of the pool {}: it is measured from epoch {from} on", name(&pool))
            }
        },
    })
}

fn signer(state: &State, node: &NodeId, address: &PayoutAddress) -> String {
    let pools = pools_of_signer(state, node, address);
    if pools.is_empty() {
        return format!(
            "no pool has the treasury signer {node} with the key of the address {address}: it signs nothing until the owner of a pool \
             enters it"
        );
    }
    let names = pools.iter().filter_map(|pool| Some(state.pool(pool)?.name.as_str()));
    format!("the treasury key of the address {address} signs for: {}", names.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::pool::Standing;
    use lucid_consensus::ledger::table::{Members, Nodes, Pools};
    use lucid_types::time::Epoch;

    use super::*;
    use crate::payout::testing::{self, SIGNERS, WORKERS, node, node_key, signer_set, tron_key};

    fn me(seed: u8, roles: &[Role]) -> Me {
        let signer = roles.contains(&Role::Treasury).then(|| tron_key(seed).address());
        let (identity, spec) = (Identity::first(node_key(seed)), testing::network());
        let ring = Arc::new(Keyring::new(identity.account, [testing::signing_key(seed)]));
        let (keys, keys_dir) = (watch::channel(ring).1, PathBuf::from("validator-keys"));
        Me { identity, spec, keys, keys_dir, roles: roles.to_vec(), signer }
    }

    #[test]
    fn a_worker_hears_what_it_waits_for() {
        let spec = testing::network();
        let (state, pool) = (testing::first(&spec), testing::pool_id(&spec));
        let told = |state: &State, seed| standing(state, &me(seed, &[Role::Worker])).join("; ");
        assert!(told(&state, WORKERS[0]).contains("a member of the pool pool: it is measured from epoch 1 on"));
        assert!(told(&state, WORKERS[1]).contains("in no pool"));
        assert!(told(&state, 99).contains("not registered"));
        let with = |until| {
            state.changed(|rows| {
                rows.head.closed = Epoch::new(4);
                let row = rows.get_mut::<Nodes>(&node(WORKERS[0])).unwrap();
                row.membership = Some(Membership { pool, from: Epoch::new(1), until: Some(Epoch::new(until)) });
            })
        };
        assert!(told(&with(7), WORKERS[0]).contains("before epoch 7"));
        assert!(told(&with(5), WORKERS[0]).contains("in no pool"));
        let inactive = with(5).changed(|rows| {
            rows.get_mut::<Members>(&(pool, node(WORKERS[0]))).unwrap().standing = Standing::Inactive(Epoch::new(5));
        });
        assert!(told(&inactive, WORKERS[0]).contains("`lucid pool join pool` brings it back"));
        let gone = state.changed(|rows| rows.remove::<Nodes>(&node(WORKERS[0])));
        assert!(told(&gone, WORKERS[0]).contains("not registered"));
        // Without the role there is nothing to wait for, and something to wonder about.
        let idle = |seed| standing(&state, &me(seed, &[Role::Observer]));
        assert!(idle(WORKERS[0])[0].contains("`roles` does not name worker") && idle(99).is_empty());
    }

    #[test]
    fn validators_and_signers_hear_whether_they_are_listed() {
        let spec = testing::network();
        let (state, pool) = (testing::first(&spec), testing::pool_id(&spec));
        let told = |state: &State, seed, role| standing(state, &me(seed, &[role]));
        assert!(told(&state, SIGNERS[0], Role::Validator)[0].contains("is a validator"));
        assert!(told(&state, SIGNERS[1], Role::Validator)[0].contains("no validator"));
        assert!(told(&state, SIGNERS[0], Role::Observer)[0].contains("does not vote"));
        // A home from which the key was copied away.
        let bare = Me {
            keys: watch::channel(Arc::new(Keyring::new(node(SIGNERS[0]), []))).1,
            ..me(SIGNERS[0], &[Role::Validator])
        };
        let file = format!("{}.key", testing::signing_key(SIGNERS[0]).id().short());
        assert!(missing_key(&state, &bare).unwrap().contains(&file));
        assert!(standing(&state, &bare).is_empty(), "and does not hear that it votes");
        assert_eq!(missing_key(&state, &me(SIGNERS[0], &[Role::Validator])), None);
        let is_entered = |state: &State| told(state, 4, Role::Treasury)[0].contains("signs for: pool");
        assert!(!is_entered(&state));
        let entered = |rows: &mut lucid_consensus::ledger::state::Overlay<'_>| {
            rows.get_mut::<Pools>(&pool).unwrap().vault.signers = signer_set(2, [4, 5, 6]);
        };
        assert!(is_entered(&state.changed(entered)));
    }
}
