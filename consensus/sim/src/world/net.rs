//! What nodes send each other, what is lost, and what each admits.

use lucid_consensus::admission::{self, Refusal, View};
use lucid_consensus::ledger::state::Rows;
use lucid_consensus::replica::{Gossip, Input};
use lucid_types::block::Item;
use lucid_types::message::ConsensusMessage;
use lucid_types::sync::SyncRequest;

use super::{Event, Message, World};
use crate::genesis::validator_key;
use crate::monitor::Invariant;

impl World {
    pub(super) fn hear_each_other(&self, a: usize, b: usize) -> bool {
        self.cut.is_none_or(|cut| (a < cut) == (b < cut))
    }

    pub(super) fn send(&mut self, to: usize, message: Message) {
        if self.down.contains(&to) || self.random(100) < self.loss {
            return;
        }
        let (least, spread) = self.delay;
        let late = self.late.get(&to).copied().unwrap_or(0);
        let (life, delay) = (self.nodes[to].life, least + self.random(spread.max(1)) + late);
        self.at(delay, Event::Deliver(to, life, message));
    }

    /// Asks some other node.
    pub(super) fn fetch(&mut self, node: usize, request: SyncRequest) {
        let count = self.nodes.len();
        let step = 1 + usize::try_from(self.random(u64::try_from(count - 1).unwrap())).unwrap();
        self.fetch_from((node + step) % count, node, request);
    }

    /// Asks a node and delivers its answer, if it lives.
    pub(super) fn fetch_from(&mut self, peer: usize, node: usize, request: SyncRequest) {
        if !self.hear_each_other(peer, node) {
            return;
        }
        let it = &self.nodes[peer];
        let Some(replica) = &it.replica else { return };
        let mut answers = Vec::new();
        match request {
            SyncRequest::Presence(_)
            | SyncRequest::Header(_)
            | SyncRequest::Snapshots
            | SyncRequest::SnapshotRows { .. }
            | SyncRequest::Genesis
            | SyncRequest::SetChanges { .. } => {}
            SyncRequest::Head => {
                let newest = it.disk.blocks.values().next_back().map(|decided| decided.certificate.clone());
                answers.extend(newest.map(|certificate| Message::Gossip(peer, Gossip::Certificate(certificate))));
            }
            SyncRequest::Blocks { from, to, .. } => {
                let blocks = it.disk.blocks.range(from..=to).map(|(_, decided)| decided.clone());
                answers.extend(blocks.map(|decided| Message::Decided(Box::new(decided))));
            }
            SyncRequest::Proposal { round, block } => {
                let found = replica.offers().proposal(round, &block);
                answers.extend(found.map(|proposal| Message::Proposal(peer, Box::new(proposal))));
            }
            SyncRequest::Items(ids) => answers.push(Message::Items(replica.offers().items(&ids, usize::MAX))),
            SyncRequest::Reports { epoch, have_commitments, have_reveals } => {
                let reports = replica.offers().reports(epoch, &have_commitments, &have_reveals, usize::MAX);
                answers.extend(reports.into_iter().map(|item| match item {
                    Item::Commitment(commitment) => Message::Gossip(peer, Gossip::Commitment(commitment)),
                    Item::Reveal(reveal) => Message::Gossip(peer, Gossip::Reveal(reveal)),
                    Item::Command(command) => Message::Command(command),
                    Item::Evidence(evidence) => Message::Gossip(peer, Gossip::Evidence(evidence)),
                }));
            }
        }
        for answer in answers {
            self.send(node, answer);
        }
    }

    /// What the gate and the fetcher do: only what is admitted reaches the replica.
    pub(super) fn deliver(&mut self, node: usize, message: Message) {
        let Some(replica) = &self.nodes[node].replica else { return };
        let view = View { spec: &self.spec, state: replica.state() };
        let arrived = self.clock(node);
        let from = |i: usize| validator_key(i).account();
        let input = match message {
            Message::Gossip(_, Gossip::Commitment(commitment)) => view.commitment(commitment).map(Input::Commitment),
            Message::Gossip(_, Gossip::Reveal(reveal)) => view.reveal(reveal).map(Input::Reveal),
            Message::Gossip(_, Gossip::Consensus(ConsensusMessage::Vote(vote))) => view.vote(vote).map(Input::Vote),
            Message::Gossip(_, Gossip::Consensus(ConsensusMessage::Wake(wake))) => view.wake(wake).map(Input::Wake),
            Message::Gossip(peer, Gossip::Consensus(ConsensusMessage::Proposal(proposal)))
            | Message::Proposal(peer, proposal) => {
                self.monitor.arrived(node, &proposal, self.now);
                let proposal = view.proposal(*proposal);
                proposal.map(|proposal| Input::Proposal { proposal, from: from(peer), arrived })
            }
            Message::Gossip(_, Gossip::Rebroadcast(message)) => view.rebroadcast(message),
            Message::Gossip(_, Gossip::Certificate(certificate)) => {
                view.certificate(view.state.sets(), certificate).map(Input::Certificate)
            }
            Message::Decided(decided) => {
                let height = decided.block.header.height;
                // A node learns of the validators of heights that are far ahead before it judges their blocks.
                let sets = view.state.validators(height).map(|_| view.state.sets());
                let decided = |sets| admission::decided(self.spec.id(), sets, height, *decided);
                sets.ok_or(Refusal::Ignore("unknown-set")).and_then(decided).map(Input::Decided)
            }
            Message::Items(items) => {
                let verified = items.into_iter().map(|item| item.verify(self.spec.id()).unwrap());
                Ok(Input::Items { items: verified.collect(), broken: Vec::new() })
            }
            Message::Command(command) | Message::Gossip(_, Gossip::Command(command)) => {
                view.command(command, arrived).map(Input::Command)
            }
            Message::Gossip(_, Gossip::Evidence(evidence)) => view.evidence(evidence).map(Input::Evidence),
        };
        match input {
            Ok(input) => self.input(node, input),
            Err(Refusal::Ignore(_)) => {}
            Err(Refusal::Reject(reason)) => self.monitor.note(Invariant::Rejected, format!("by {node}: {reason}")),
        }
    }
}
