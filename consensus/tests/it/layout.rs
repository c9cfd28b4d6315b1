//! The book's page of layouts, made from the types themselves, so that neither can change without the other.

mod tracer;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::ledger::duties::{Duty, PoolValidations};
use lucid_consensus::ledger::entry::{Close, InviteUse, Request};
use lucid_consensus::ledger::pool::{Account, Member, PoolState};
use lucid_consensus::ledger::proof::RowProof;
use lucid_consensus::ledger::proposals::ProposedChange;
use lucid_consensus::ledger::registry::{Node, Nonce};
use lucid_consensus::ledger::state::{EpochScores, Equivocation, Head, PendingEpoch};
use lucid_consensus::ledger::validators::UsedKey;
use lucid_consensus::replica::OwnReport;
use lucid_score::draw::EpochDraw;
use lucid_score::storage::StorageTerm;
use lucid_score::worker_stats::{ScoreRow, WorkerStats};
use lucid_types::attestation::ResourceAttestation;
use lucid_types::block::{Block, Header, Item};
use lucid_types::certificate::Certificate;
use lucid_types::codec::Wire;
use lucid_types::command::{Command, CommandReply};
use lucid_types::evidence::Evidence;
use lucid_types::genesis::Genesis;
use lucid_types::message::{CompactProposal, ConsensusMessage};
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot};
use lucid_types::policy::Policy;
use lucid_types::proof::KeyProof;
use lucid_types::report::{ProbeReply, ProbeRequest, ReportCommitment, Reveal, ScoreReport};
use lucid_types::signed::{MultiSigned, Signed, SignedRecord};
use lucid_types::storage::{StorageReply, StorageRequest};
use lucid_types::sync::{CertifiedBlock, CertifiedHeader, Presence, Rebroadcast, SyncRequest, SyncResponse};
use lucid_types::ticket::Invite;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_key::KeyClaim;
use lucid_types::validator_sets::SetChange;
use lucid_types::vote::{Proposal, Vote, Wake};

use self::tracer::{Fields, Layout, Shape, Tracer};
use crate::harness::writing;

const PAGE: &str = include_str!("../../../docs/src/layout.md");

const INTRODUCTION: &str = "\
# Layouts

How each type that is sent, hashed, signed or stored becomes bytes under [the codec](wire.md#the-codec): the fields of a structure
follow each other in the order given, an enum is its variant's number as `u32` and that variant's fields. What the fields mean stands in
[the wire](wire.md) and [the specification](specification.md).

This page is made from the types. A test compares it with them, and writes it anew by

    LUCID_GOLDEN=write cargo test -p lucid-consensus --test it layout

In the column of bytes, *n* is the number of items of a list, or of bytes of a text; `>=` stands before the least length where items differ
in length.
";

const LIMITS: &str = "
## Limits

Longer encodings are refused unread. A type without a line here is bounded by what it is part of.

| type | bytes at most |
|---|---|
";

const SIGNED: &str = "
## Signed records

`T` is the record that is signed, `S` the kind of id by which its signer is named. What a signature covers:
[the wire](wire.md#identity-and-signatures).

";

const LEAVES: &str = "
## Ids, keys and quantities

| type | bytes | as |
|---|---|---|
";

/// The page under way.
#[derive(Default)]
struct Page {
    tracer: Tracer,
    limits: String,
    tags: String,
    signed: BTreeSet<String>,
    generic: String,
    /// Types that have a section.
    shown: BTreeSet<String>,
    sections: String,
}

#[test]
fn the_layout_page_is_that_of_the_types() {
    let page = render();
    if writing() {
        write(&page);
        return;
    }
    let line = PAGE.lines().zip(page.lines()).take_while(|(old, new)| old == new).count() + 1;
    assert!(
        PAGE == page,
        "docs/src/layout.md differs from the types from line {line} on: a change of the protocol or the store. If it is meant, run \
         the test again with LUCID_GOLDEN=write, look at the difference, and say so in the changelog"
    );
}

fn render() -> String {
    let mut page = Page::default();
    page.signed::<Proposal>();
    page.signed::<Vote>();
    page.signed::<Wake>();
    page.signed::<Presence>();
    page.signed::<Rebroadcast>();
    page.signed::<ReportCommitment>();
    page.signed::<Reveal>();
    page.signed::<ResourceAttestation>();
    page.signed::<ProbeReply>();
    page.signed::<CosignRequest>();
    page.signed::<Command>();
    page.multi_signed::<Command>();
    page.signed::<Invite>();
    page.signed::<KeyClaim>();

    page.group("The genesis");
    page.wire::<Genesis>();
    page.wire::<KeyClaim>();
    page.group("Commands");
    page.wire::<Command>();
    page.wire::<CommandReply>();
    page.group("Blocks");
    page.wire::<Block>();
    page.wire::<Header>();
    page.wire::<Item>();
    page.wire::<Evidence>();
    page.wire::<SettlementRoot>();
    page.wire::<Certificate>();
    page.wire::<CertifiedBlock>();
    page.group("Agreement");
    page.wire::<ConsensusMessage>();
    page.wire::<CompactProposal>();
    page.wire::<Rebroadcast>();
    page.group("Sync");
    page.wire::<SyncRequest>();
    page.wire::<SyncResponse>();
    page.wire::<SetChange>();
    page.wire::<Presence>();
    page.group("Measurements");
    page.wire::<Reveal>();
    page.wire::<ReportCommitment>();
    page.wire::<ResourceAttestation>();
    page.wire::<ProbeRequest>();
    page.wire::<ProbeReply>();
    page.wire::<StorageRequest>();
    page.wire::<StorageReply>();
    page.group("Payouts");
    page.wire::<CosignRequest>();
    page.wire::<CosignReply>();
    page.group("The state");
    page.wire::<Head>();
    page.wire::<WorkerStats>();
    page.wire::<PoolState>();
    page.wire::<Account>();
    page.wire::<Member>();
    page.wire::<EpochDraw>();
    page.wire::<PendingEpoch>();
    page.wire::<ScoreReport>();
    page.wire::<ScoreRow>();
    page.wire::<Equivocation>();
    page.wire::<Node>();
    page.wire::<Nonce>();
    page.wire::<Close>();
    page.wire::<Request>();
    page.wire::<InviteUse>();
    page.wire::<ValidatorSet>();
    page.wire::<ProposedChange>();
    page.wire::<UsedKey>();
    page.wire::<StorageTerm>();
    page.wire::<Policy>();
    page.wire::<Duty>();
    page.wire::<PoolValidations>();
    page.group("Proofs");
    page.wire::<CertifiedHeader>();
    page.wire::<KeyProof>();
    page.wire::<RowProof>();
    page.group("What a node keeps");
    page.wire::<EpochScores>();
    page.wire::<OwnReport>();
    page.wire::<WalEntry>();
    page.finish()
}

impl Page {
    fn limit<T: Wire>(&mut self, shape: &Shape) {
        writeln!(self.limits, "| `{}` | {} |", name(shape), grouped(T::MAX_BYTES)).unwrap();
    }

    /// A type that travels or is stored by itself, with those inside it.
    fn wire<T: Wire>(&mut self) {
        let shape = self.tracer.trace::<T>();
        self.limit::<T>(&shape);
        self.section(&shape);
    }

    fn signed<T: SignedRecord>(&mut self) {
        let (record, shape) = (self.tracer.trace::<T>(), self.tracer.trace::<Signed<T>>());
        let (record, signer) = (name(&record), name(&self.tracer.trace::<T::Signer>()));
        writeln!(self.tags, "| `{}` | `{record}` | `{signer}` | {} |", T::TAG, grouped(T::MAX_BYTES)).unwrap();
        self.generic(&shape, &record);
        self.limit::<Signed<T>>(&shape);
    }

    fn multi_signed<T: SignedRecord>(&mut self) {
        let (record, shape) = (self.tracer.trace::<T>(), self.tracer.trace::<MultiSigned<T>>());
        self.generic(&shape, &name(&record));
        self.limit::<MultiSigned<T>>(&shape);
    }

    /// Signed records differ in nothing but their record and the kind of their signer, so one table shows them all.
    fn generic(&mut self, shape: &Shape, record: &str) {
        let full = name(shape);
        let Some(Layout::Struct(fields)) = self.tracer.layout(&full) else { panic!("{full} is no struct") };
        let of = |(field, shape): &(String, Shape)| {
            let (it, bytes) = match field.as_str() {
                "record" => ("T".to_owned(), String::new()),
                "signer" => ("S".to_owned(), self.bytes(shape)),
                _ => (name(shape), self.bytes(shape)),
            };
            format!("| `{field}` | `{it}` | {bytes} |\n")
        };
        let table: String = fields.iter().map(of).collect();
        let table = format!("| `{}` | | |\n|---|---|---|\n{table}\n", full.replace(record, "T"));
        self.signed.insert(full);
        if !self.generic.contains(&table) {
            self.generic.push_str(&table);
        }
    }

    fn group(&mut self, title: &str) {
        writeln!(self.sections, "\n## {title}").unwrap();
    }

    /// The section of a type, and of those inside it that have none yet.
    fn section(&mut self, shape: &Shape) {
        let name = match shape {
            Shape::Named(name) => name.clone(),
            Shape::Option(item) | Shape::List(item) => return self.section(item),
            Shape::Map(key, value) => {
                self.section(key);
                return self.section(value);
            }
            Shape::Tuple(items) => return items.iter().for_each(|item| self.section(item)),
            Shape::Int(_) | Shape::Bool | Shape::Text => return,
        };
        let Some(layout) = self.tracer.layout(&name).cloned() else { panic!("{name} was not traced") };
        if matches!(layout, Layout::Newtype(_)) || !self.shown.insert(name.clone()) {
            return;
        }
        if name.contains('<') {
            assert!(self.signed.contains(&name), "{name} is not among the signed records of this page");
        } else {
            let table = self.table(shape, &layout);
            write!(self.sections, "\n### {name}\n\n{table}").unwrap();
        }
        let fields: Vec<Fields> = match layout {
            Layout::Newtype(_) => Vec::new(),
            Layout::Struct(fields) => vec![fields],
            Layout::Enum(variants) => variants.into_values().map(|(_, fields)| fields).collect(),
        };
        fields.iter().flatten().for_each(|(_, shape)| self.section(shape));
    }

    fn table(&self, shape: &Shape, layout: &Layout) -> String {
        let row =
            |(field, shape): &(String, Shape)| format!("`{field}` | {} | {}", self.link(shape), self.bytes(shape));
        match layout {
            Layout::Newtype(_) => String::new(),
            Layout::Struct(fields) => {
                let rows: String = fields.iter().map(|field| format!("| {} |\n", row(field))).collect();
                format!("| field | type | bytes |\n|---|---|---|\n{rows}| | | **{}** |\n", self.bytes(shape))
            }
            Layout::Enum(variants) => {
                let mut rows = String::new();
                for (number, (variant, fields)) in variants {
                    let mut head = format!("{number} | `{variant}`");
                    if fields.is_empty() {
                        writeln!(rows, "| {head} | | | |").unwrap();
                    }
                    for field in fields {
                        writeln!(rows, "| {head} | {} |", row(field)).unwrap();
                        head = "|".to_owned();
                    }
                }
                let total = self.bytes(shape);
                format!(
                    "| number | variant | field | type | bytes |\n|---|---|---|---|---|\n{rows}| | | | | **{total}** |\n"
                )
            }
        }
    }

    /// The length that every value has, if there is one.
    fn fixed(&self, shape: &Shape) -> Option<usize> {
        let sum = |fields: &Fields| fields.iter().map(|(_, shape)| self.fixed(shape)).sum::<Option<usize>>();
        match shape {
            Shape::Int(bytes) => Some(*bytes),
            Shape::Bool => Some(1),
            Shape::Text | Shape::Option(_) | Shape::List(_) | Shape::Map(..) => None,
            Shape::Tuple(items) => items.iter().map(|item| self.fixed(item)).sum(),
            Shape::Named(name) => match self.tracer.layout(name)? {
                Layout::Newtype(inner) => self.fixed(inner),
                Layout::Struct(fields) => sum(fields),
                Layout::Enum(variants) => {
                    let mut lengths = variants.values().map(|(_, fields)| sum(fields));
                    let first = lengths.next()??;
                    lengths.all(|length| length == Some(first)).then_some(4 + first)
                }
            },
        }
    }

    fn least(&self, shape: &Shape) -> usize {
        let sum = |fields: &Fields| fields.iter().map(|(_, shape)| self.least(shape)).sum::<usize>();
        match shape {
            Shape::Int(bytes) => *bytes,
            Shape::Bool | Shape::Option(_) => 1,
            Shape::Text | Shape::List(_) | Shape::Map(..) => 8,
            Shape::Tuple(items) => items.iter().map(|item| self.least(item)).sum(),
            Shape::Named(name) => match self.tracer.layout(name) {
                Some(Layout::Newtype(inner)) => self.least(inner),
                Some(Layout::Struct(fields)) => sum(fields),
                Some(Layout::Enum(variants)) => 4 + variants.values().map(|(_, fields)| sum(fields)).min().unwrap(),
                None => panic!("{name} was not traced"),
            },
        }
    }

    fn bytes(&self, shape: &Shape) -> String {
        let item = |item: &Shape| match self.fixed(item) {
            Some(1) => "8 + *n*".to_owned(),
            Some(bytes) => format!("8 + {bytes} *n*"),
            None => ">= 8".to_owned(),
        };
        match shape {
            Shape::Text => "8 + *n*".to_owned(),
            Shape::List(of) => item(of),
            Shape::Map(key, value) => item(&Shape::Tuple(vec![(**key).clone(), (**value).clone()])),
            Shape::Option(of) => match self.fixed(of) {
                Some(bytes) => format!("1 or {}", 1 + bytes),
                None => ">= 1".to_owned(),
            },
            _ => self.fixed(shape).map_or_else(|| format!(">= {}", self.least(shape)), |bytes| bytes.to_string()),
        }
    }

    /// The type's name, leading to its section if it has one.
    fn link(&self, shape: &Shape) -> String {
        let text = format!("`{}`", name(shape));
        match self.target(shape) {
            Some(target) => format!("[{text}](#{target})"),
            None => text,
        }
    }

    fn target(&self, shape: &Shape) -> Option<String> {
        match shape {
            Shape::Int(_) | Shape::Bool | Shape::Text => None,
            Shape::Option(item) | Shape::List(item) => self.target(item),
            Shape::Map(key, value) => self.target(value).or_else(|| self.target(key)),
            Shape::Tuple(items) => items.iter().find_map(|item| self.target(item)),
            Shape::Named(name) if name.contains('<') => Some("signed-records".to_owned()),
            Shape::Named(name) => match self.tracer.layout(name) {
                Some(Layout::Newtype(_)) | None => None,
                Some(_) => Some(name.to_lowercase()),
            },
        }
    }

    fn leaves(&self) -> String {
        let mut rows = String::new();
        for name in self.tracer.names() {
            let Some(Layout::Newtype(inner)) = self.tracer.layout(name) else { continue };
            let bytes = self.fixed(inner).unwrap();
            let kind = if matches!(inner, Shape::Int(_)) { format!("`u{}`", 8 * bytes) } else { "bytes".to_owned() };
            writeln!(rows, "| `{name}` | {bytes} | {kind} |").unwrap();
        }
        rows
    }

    fn finish(self) -> String {
        let leaves = self.leaves();
        let Self { limits, tags, generic, sections, .. } = self;
        let tags = format!("| tag | record | signer | bytes at most |\n|---|---|---|---|\n{tags}");
        [INTRODUCTION, LIMITS, &limits, SIGNED, &generic, &tags, LEAVES, &leaves, &sections].concat()
    }
}

fn name(shape: &Shape) -> String {
    match shape {
        Shape::Int(bytes) => format!("u{}", 8 * bytes),
        Shape::Bool => "bool".to_owned(),
        Shape::Text => "String".to_owned(),
        Shape::Option(item) => format!("Option<{}>", name(item)),
        Shape::List(item) => format!("Vec<{}>", name(item)),
        Shape::Map(key, value) => format!("Map<{}, {}>", name(key), name(value)),
        Shape::Tuple(items) => match items.first() {
            Some(first) if items.len() > 2 && items.iter().all(|item| item == first) => {
                format!("[{}; {}]", name(first), items.len())
            }
            _ => format!("({})", items.iter().map(name).collect::<Vec<_>>().join(", ")),
        },
        Shape::Named(name) => name.clone(),
    }
}

/// With a comma at each thousand.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}

#[expect(clippy::disallowed_methods, reason = "only when the page is written anew on purpose")]
fn write(page: &str) {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/layout.md"), page).unwrap();
}
