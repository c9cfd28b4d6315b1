//! Rules that a vault must meet beside those that its code enforces.

use anyhow::Context as _;
use lucid_tron_bridge::client::Client;
use lucid_types::id::PayoutAddress;
use lucid_types::policy::FixedPolicy;
use lucid_types::vault::SignerSet;

/// Seconds in a day.
const DAY: u64 = 86_400;

/// Length of a settlement, rounded up to whole seconds.
pub(super) const fn settlement_s(policy: &FixedPolicy) -> u64 {
    policy.epoch_ms.saturating_mul(policy.settle_every).div_ceil(1_000)
}

/// The least notice of the owner's acts: two settlements, and a day where money is real.
pub(super) fn least_delay(settlement_s: u64, is_local: bool) -> u64 {
    let settlements = settlement_s.saturating_mul(2).max(1);
    if is_local { settlements } else { settlements.saturating_add(DAY) }
}

/// A vault that fewer signers than it needs could stop for good: its owner pauses, and those who want to end that are too few.
pub(super) fn pause_warning(signers: &SignerSet) -> Option<String> {
    let (k, n) = (usize::from(signers.threshold), signers.members.len());
    let best = k.saturating_mul(2).saturating_sub(1);
    let others = n.saturating_sub(k.saturating_sub(1));
    (n < best).then(|| {
        format!(
            "with {k} of {n} signers, the owner and {} of them can pause the vault for ever: {others} others are too few to \
             end a pause. Take {best} signers",
            k.saturating_sub(1)
        )
    })
}

/// Those of the signers that are contracts. A contract has no key, so it never signs.
pub(super) async fn contracts(client: &Client, signers: &SignerSet) -> anyhow::Result<Vec<PayoutAddress>> {
    let mut found = Vec::new();
    for address in signers.members.iter().map(|signer| signer.key_address) {
        let code = client.code_hash(&address).await;
        if code.with_context(|| format!("cannot see whether the signer {address} is a contract"))?.is_some() {
            found.push(address);
        }
    }
    Ok(found)
}

/// What to say of signers that are contracts.
pub(super) fn can_never_sign(contracts: &[PayoutAddress]) -> String {
    let list = contracts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "--signer {list}: a contract is there, which has no key and can never sign. Give the address of the signer's own key, as \
         `lucid signer init` or `lucid tron key show` prints it"
    )
}

#[cfg(test)]
mod tests {
    use lucid_types::id::{NodeId, PayoutAddress};
    use lucid_types::policy::Policy;
    use lucid_types::vault::TreasurySigner;

    use super::*;

    #[test]
    fn the_notice_is_two_settlements_and_a_day_on_public_networks() {
        let policy = Policy::default().fixed();
        assert_eq!(settlement_s(&policy), DAY);
        assert_eq!(least_delay(settlement_s(&policy), false), 3 * DAY);
        assert_eq!(least_delay(settlement_s(&FixedPolicy { epoch_ms: 2_250, settle_every: 1, ..policy }), true), 6);
        assert_eq!(least_delay(0, true), 1);
        assert_eq!(least_delay(u64::MAX, false), u64::MAX);
    }

    #[test]
    fn too_many_needed_signers_are_warned_of() {
        let warned = |k, n: u8| {
            let signer = |byte| TreasurySigner {
                node: NodeId::from_bytes([byte; 32]),
                key_address: PayoutAddress::from_hash20([byte; 20]),
            };
            pause_warning(&SignerSet { era: 1, threshold: k, members: (1..=n).map(signer).collect() })
        };
        for (k, n) in [(1, 1), (2, 3), (3, 5), (8, 15)] {
            assert_eq!(warned(k, n), None, "{k} of {n}");
        }
        for (k, n) in [(2, 2), (3, 4), (5, 5), (9, 16)] {
            assert!(warned(k, n).is_some_and(|text| text.contains("for ever")), "{k} of {n}");
        }
    }
}
