//! Collects the signatures over one root.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot, TreasurySignature};
use lucid_types::time::UnixMillis;
use lucid_types::vault::SignerSet;

use super::config::{Timing, backoff};
use crate::signature::recover;
use crate::vault::{VaultDomain, root_digest};

/// When a signer is asked again that has not finalized the root yet, at first: it seldom lacks more than a moment.
const NOT_FINAL_RETRY: Duration = Duration::from_millis(125);

/// Most characters of a signer's words that are shown.
const MAX_WORDS: usize = 300;

#[derive(Debug)]
pub(super) struct Signing {
    pub(super) request: CosignRequest,
    digest: [u8; 32],
    needed: usize,
    members: BTreeMap<NodeId, Member>,
}

#[derive(Debug)]
struct Member {
    key_address: PayoutAddress,
    signature: Option<TreasurySignature>,
    ask_at: UnixMillis,
    n_asked: u32,
    /// Answers in a row that it has not finalized the root.
    n_not_final: u32,
    problem: String,
}

/// What an answer was worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing changed.
    Ignored,
    /// One more signature, or another state of a signer.
    Changed,
    /// The signer refuses or is broken: somebody should look at it.
    Wrong(String),
}

impl Signing {
    pub(super) fn new(domain: &VaultDomain, root: &SettlementRoot, signers: &SignerSet, now: UnixMillis) -> Self {
        let member = |key_address| Member {
            key_address,
            signature: None,
            ask_at: now,
            n_asked: 0,
            n_not_final: 0,
            problem: "has not answered".into(),
        };
        Self {
            request: CosignRequest::Root { pool: root.pool, settlement: root.settlement },
            digest: root_digest(domain, root),
            needed: signers.needed(),
            members: signers.members.iter().map(|signer| (signer.node, member(signer.key_address))).collect(),
        }
    }

    /// Whom to ask now: everybody who has not signed, each with a back-off of its own.
    pub(super) fn ask(&mut self, now: UnixMillis, timing: &Timing) -> Vec<NodeId> {
        if self.is_complete() {
            return Vec::new();
        }
        let mut ask = Vec::new();
        for (node, member) in &mut self.members {
            if member.signature.is_none() && now >= member.ask_at {
                member.ask_at = now.after(backoff(timing.retry, timing.slow, member.n_asked));
                member.n_asked = member.n_asked.saturating_add(1);
                ask.push(*node);
            }
        }
        ask
    }

    pub(super) fn answer(
        &mut self,
        now: UnixMillis,
        timing: &Timing,
        signer: &NodeId,
        reply: Option<CosignReply>,
    ) -> Answer {
        let digest = self.digest;
        let Some(member) = self.members.get_mut(signer).filter(|member| member.signature.is_none()) else {
            return Answer::Ignored;
        };
        let (problem, is_wrong) = match reply {
            Some(CosignReply::Signed(signature)) => match recover(&signature, &digest) {
                Ok(address) if address == member.key_address => {
                    member.signature = Some(signature);
                    member.problem.clear();
                    return Answer::Changed;
                }
                _ => ("sent a signature that is not its own over this root".to_owned(), true),
            },
            Some(CosignReply::NotFinal) => {
                // It signs as soon as it has the block.
                let wait = backoff(NOT_FINAL_RETRY, timing.retry, member.n_not_final);
                member.ask_at = member.ask_at.min(now.after(wait));
                member.n_asked = 0;
                member.n_not_final = member.n_not_final.saturating_add(1);
                ("has not finalized the root yet".to_owned(), false)
            }
            Some(CosignReply::Refused(why)) => (format!("refuses: {}", readable(&why)), true),
            None => ("could not be reached".to_owned(), false),
        };
        if member.problem == problem {
            return Answer::Ignored;
        }
        member.problem.clone_from(&problem);
        if is_wrong { Answer::Wrong(problem) } else { Answer::Changed }
    }

    pub(super) fn have(&self) -> usize {
        self.members.values().filter(|member| member.signature.is_some()).count()
    }

    pub(super) const fn needed(&self) -> usize {
        self.needed
    }

    pub(super) fn problems(&self) -> BTreeMap<NodeId, String> {
        let open = self.members.iter().filter(|(_, member)| member.signature.is_none());
        open.map(|(node, member)| (*node, member.problem.clone())).collect()
    }

    fn is_complete(&self) -> bool {
        self.have() >= self.needed
    }

    /// Exactly as many signatures as the vault wants, once there are enough.
    pub(super) fn signatures(&self) -> Option<BTreeMap<PayoutAddress, TreasurySignature>> {
        let all = self.members.values().filter_map(|member| Some((member.key_address, member.signature?)));
        let some: BTreeMap<_, _> = all.take(self.needed).collect();
        (some.len() == self.needed).then_some(some)
    }

    pub(super) fn next_wake(&self) -> Option<UnixMillis> {
        if self.is_complete() {
            return None;
        }
        self.members.values().filter(|member| member.signature.is_none()).map(|member| member.ask_at).min()
    }
}

/// A stranger's words on one line.
fn readable(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}
