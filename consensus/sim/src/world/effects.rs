//! What a replica asks for is done, and looked at by the monitor.

use lucid_consensus::commands::is_over;
use lucid_consensus::ledger::state::Rows;
use lucid_consensus::ledger::table::Equivocations;
use lucid_consensus::replica::{Effect, FinalizedBlock, Gossip};
use lucid_types::id::ValidatorId;
use lucid_types::sync::SyncRequest;
use lucid_types::time::Height;

use super::{Message, World};
use crate::genesis::validator_key;
use crate::monitor::{Invariant, Sent, Stored};

impl World {
    pub(super) fn carry_out(&mut self, node: usize, effect: Effect) {
        let disk = &mut self.nodes[node].disk;
        match effect {
            Effect::AppendLog { height, entry } => {
                self.monitor.logs(node, height, &entry);
                disk.unsynced.push((height, entry.encode()));
            }
            Effect::SyncLog => disk.log.append(&mut disk.unsynced),
            Effect::PersistOwn(own) => {
                let epoch = own.commitment.record.epoch;
                assert!(disk.own.insert(epoch, *own).is_none(), "a second own report for epoch {epoch}");
            }
            Effect::PersistCommand(command) => disk.commands.push(*command),
            Effect::Answer { account, nonce, outcome } => self.answers.push((account, nonce, outcome)),
            Effect::Store(stored) => self.store(node, *stored),
            Effect::Gossip(gossip) => {
                let disk = &self.nodes[node].disk;
                let sent = Sent {
                    node,
                    gossip: &gossip,
                    log: &disk.log,
                    stored: Height::new(self.height(node)),
                    is_right: self.nodes[node].ahead == 0,
                    liars: &self.liars,
                };
                self.monitor.sent(&self.spec, &sent);
                if let Gossip::Evidence(evidence) = &gossip {
                    self.accused.insert(evidence.validator());
                }
                for to in 0..self.nodes.len() {
                    if to != node && self.hear_each_other(node, to) {
                        self.send(to, Message::Gossip(node, gossip.clone()));
                    }
                }
            }
            Effect::CatchUp { to } => {
                let from = Height::new(self.height(node)).next();
                self.fetch(node, SyncRequest::Blocks { from, to, skip: 0 });
            }
            Effect::Fetch { peer, request } => {
                let named = (0..self.nodes.len()).find(|i| peer == Some(validator_key(*i).account()));
                match named {
                    Some(peer) => self.fetch_from(peer, node, request),
                    None => self.fetch(node, request),
                }
            }
            Effect::Fail(failure) => self.monitor.note(Invariant::Failed, format!("node {node}: {failure}")),
        }
    }

    fn store(&mut self, node: usize, stored: FinalizedBlock) {
        let height = stored.decided.block.header.height;
        assert_eq!(height.get(), self.height(node) + 1);
        let first = self.first_turns.get(&height);
        let is_there = |i: usize| !self.down.contains(&i) && self.nodes[i].ahead == 0;
        let is_honest = |key: &ValidatorId| !self.liars.contains(key);
        let can_propose = |key: &ValidatorId| {
            is_honest(key) && (0..self.nodes.len()).any(|i| self.nodes[i].keys.get(key).is_some() && is_there(i))
        };
        self.is_calm &= self.loss == 0;
        // A liar proposes when it likes.
        let proposer = stored.decided.block.header.proposer;
        let after = &stored.applied.state;
        let is_pending = |accused: &ValidatorId| {
            let row = after.validator_account(accused).and_then(|account| after.get::<Equivocations>(&account));
            row.is_none_or(|it| it.proved_in == height)
        };
        let look = Stored {
            block: &stored,
            now: self.now,
            is_calm: self.is_calm && first.is_some_and(can_propose),
            may_be_wanted: self.is_commanded
                || self.liars.contains(&proposer)
                || self.accused.iter().any(is_pending)
                || self.nodes.iter().any(|node| node.ahead != 0),
        };
        self.monitor.stored(&self.spec, &look);
        if let Err(what) = self.promises.watch(&self.spec, &stored) {
            self.monitor.note(Invariant::Roots, what);
        }
        let FinalizedBlock { decided, applied } = stored;
        self.first_turns.insert(height.next(), applied.state.next_proposers().of(0).keys.id);
        let disk = &mut self.nodes[node].disk;
        for (key, value) in applied.delta.0 {
            match value {
                Some(value) => disk.rows.insert(key, value),
                None => disk.rows.remove(&key),
            };
        }
        disk.commands.retain(|command| !is_over(&applied.state, &command.record));
        disk.log.retain(|(h, _)| *h > height);
        disk.unsynced.retain(|(h, _)| *h > height);
        disk.scores.extend(applied.finalised.map(|it| (it.scores.epoch, it.scores)));
        disk.blocks.insert(height, decided);
    }
}
