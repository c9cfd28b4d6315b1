//! What a seed makes of a scenario: who takes part, what goes wrong, and when.

use std::time::Duration;

use lucid_tron_bridge::pusher::PusherConfig;
use lucid_types::amount::{MicroUsdt, Sun};

use super::base::{Base, BaseKind, ENERGY_PRICE, MAX_NODES, TRX, TokenKind, USDT};
use super::provider::{Group, Topic};
use super::random::Random;
use super::scenario::{Families, Scenario};

/// How long a leader has.
pub(super) const LEADER_TIMEOUT: Duration = Duration::from_secs(20);
const SECOND: u64 = 1_000;
/// More than anybody spends.
const ROOMY_BUDGET: u64 = 5_000 * TRX;
const ROOMY_CAP: u64 = 1_000_000 * USDT;

/// A part that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// A variant of the vault, by its place in `variants.json`.
    Vault(usize),
    OwnRecords,
    NoWatermark,
    OneProvider,
}

/// How often things go wrong until faults end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// An answer is lost, or the request before it; in percent.
    pub(super) lost: u64,
    /// An answer comes twice; in percent.
    pub(super) doubled: u64,
    /// The longest delay in milliseconds.
    pub(super) delay: u64,
    /// A node dies at an effect; in 1 / 1,000.
    pub(super) crash: u64,
    /// With each block, the newest ones are replaced; in percent.
    pub(super) fork: u64,
    /// With each block, the contracts' energy has another price; in percent.
    pub(super) energy: u64,
}

/// Who is left when faults have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survivors {
    All,
    /// One node only.
    One(usize),
    /// No node: the workers claim.
    Nobody,
}

/// Something that happens once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// No block is solidified for so many milliseconds.
    Stall(u64),
    SignerPauses(usize),
    OwnerPauses,
    OwnerUnpauses,
    SignerUnpauses(usize),
    TokenPaused(bool),
    TokenFee(bool),
    Frozen(bool),
    /// The token refuses an account's recipient.
    Refused(Option<usize>),
    Fund(u64),
    EnergyFactor(u64),
    /// Sun for a unit of energy.
    EnergyPrice(u64),
    Gas {
        node: usize,
        sun: u64,
    },
    /// A worker claims.
    Claim(usize),
    /// A stranger pushes.
    Push,
    /// The villain tries something.
    Villainy,
    NodeDown {
        node: usize,
        for_ms: u64,
        loses_disk: bool,
    },
    SignerDown {
        signer: usize,
        for_ms: u64,
    },
    BackUp(usize),
    Restore(usize),
    /// A signer is told that another root is final.
    Forge(usize),
    Limits {
        cap: u64,
        push_fee: u64,
    },
    Rotate,
    Losses(u64),
    Address(usize),
    Steal,
}

/// A node of the run.
#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    pub(super) groups: Vec<Group>,
    pub(super) skew: i64,
    pub(super) is_twin: bool,
    pub(super) max_items: usize,
    pub(super) max_in_flight: usize,
    pub(super) max_per_day: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) families: Families,
    pub(super) defect: Option<Defect>,
    pub(super) base: BaseKind,
    pub(super) n_accounts: usize,
    pub(super) threshold: u64,
    /// Accounts whose recipient the vault never pays.
    pub(super) unpayable: Vec<usize>,
    pub(super) funds: u64,
    pub(super) nodes: Vec<NodePlan>,
    /// Signers who do what they like.
    pub(super) evil_signers: Vec<usize>,
    /// Who has signed a root is told at once that another one is final.
    pub(super) is_forged_after_signing: bool,
    /// Signers whose memory has a second copy.
    pub(super) careful_signers: Vec<usize>,
    pub(super) faults: Faults,
    /// Milliseconds from the beginning.
    pub(super) settlements: Vec<u64>,
    pub(super) actions: Vec<(u64, Action)>,
    /// When faults end.
    pub(super) heal_at: u64,
    pub(super) survivors: Survivors,
}

impl Plan {
    /// What happens gives a defect the occasion to do harm.
    pub(super) fn draw(scenario: Scenario, defect: Option<Defect>, random: &mut Random) -> Self {
        let families = scenario.families(random);
        let is_tight = (families.money && random.percent(40)) || families.theft;
        let (n_signers, threshold) = if random.percent(60) { (3, 2) } else { (5, 3) };
        let token = if families.money && random.percent(25) { TokenKind::Hostile } else { TokenKind::Usdt };
        let base = BaseKind {
            variant: if let Some(Defect::Vault(variant)) = defect { Some(variant) } else { None },
            token,
            n_signers,
            threshold,
            cap: match is_tight {
                true if families.theft || random.percent(50) => 60 * USDT,
                true => 15 * USDT,
                false => ROOMY_CAP,
            },
            push_fee: if random.percent(70) { USDT / 100 } else { 0 },
            period: if is_tight { 120 } else { 3_600 },
        };
        let n_accounts = if random.percent(70) { random.between(4, 12) } else { random.between(13, 30) };
        let n_accounts = usize::try_from(n_accounts).unwrap_or_default();
        let n_settlements = random.between(1, 3);
        let mut at = random.between(1, 5) * SECOND;
        let mut settlements = Vec::new();
        for _ in 0..n_settlements {
            settlements.push(at);
            at += if random.percent(20) { random.between(5, 20) } else { random.between(40, 120) } * SECOND;
        }
        let heal_at = at + random.between(0, 60) * SECOND;
        let n_unpayable = if families.money { random.below(3) } else { 0 };
        let mut plan = Self {
            families,
            defect,
            base,
            n_accounts,
            threshold: if random.percent(70) { USDT } else { 0 },
            unpayable: (0..n_unpayable).map(|_| random.index(n_accounts)).collect(),
            funds: if families.money && random.percent(50) { random.below(40) * USDT } else { 10_000 * USDT },
            nodes: Vec::new(),
            evil_signers: Vec::new(),
            is_forged_after_signing: false,
            careful_signers: Vec::new(),
            faults: faults(families, random),
            settlements,
            actions: Vec::new(),
            heal_at,
            survivors: Survivors::All,
        };
        let n_nodes = match defect {
            Some(Defect::OwnRecords | Defect::OneProvider) => 1,
            _ => random.between(1, u64::try_from(MAX_NODES).unwrap_or(1)),
        };
        plan.nodes = (0..n_nodes).map(|_| plan.node(random)).collect();
        plan.survivors = match random.below(10) {
            _ if families == Families::default() || defect.is_some() => Survivors::All,
            0 => Survivors::Nobody,
            1..=3 => Survivors::One(random.index(plan.nodes.len())),
            _ => Survivors::All,
        };
        plan.draw_signers(random);
        plan.draw_actions(random);
        plan.actions.sort_by_key(|(at, _)| *at);
        plan
    }

    fn node(&self, random: &mut Random) -> NodePlan {
        let families = self.families;
        let n_groups = if families.providers { random.between(1, 3) } else { random.between(1, 2) };
        let mut groups: Vec<_> = (0..n_groups).map(|_| group(families, random)).collect();
        if families.providers {
            // Of several groups one is honest.
            let honest = random.index(groups.len());
            if groups.len() > 1
                && let Some(group) = groups.get_mut(honest)
            {
                group.topics.clear();
            }
            let stubborn = random.index(groups.len());
            if groups.len() > 1
                && stubborn != honest
                && random.percent(50)
                && let Some(group) = groups.get_mut(stubborn)
            {
                group.is_stubborn = true;
            }
        }
        if self.defect == Some(Defect::OneProvider) {
            groups = vec![Group { is_stubborn: true, ..Group::default() }, Group::default()];
        }
        let is_poor = (families.money || families.providers) && self.n_accounts <= 12 && random.percent(25);
        let most_skew = if families == Families::default() {
            0
        } else if random.percent(10) {
            900
        } else {
            10
        } * SECOND;
        NodePlan {
            groups,
            skew: i64::try_from(random.below(2 * most_skew)).unwrap_or_default()
                - i64::try_from(most_skew).unwrap_or_default(),
            is_twin: families.races && random.percent(50),
            max_items: usize::try_from(random.between(1, 20)).unwrap_or(1),
            max_in_flight: usize::try_from(random.between(1, 8)).unwrap_or(1),
            max_per_day: if is_poor { random.between(90, 300) * TRX } else { ROOMY_BUDGET },
        }
    }

    /// So many signers are not as they should be that enough others are left.
    fn draw_signers(&mut self, random: &mut Random) {
        if !self.families.evil {
            return;
        }
        self.is_forged_after_signing = self.defect == Some(Defect::NoWatermark) || random.percent(50);
        let mut numbers: Vec<_> = (0..self.base.n_signers).collect();
        random.shuffle(&mut numbers);
        numbers.truncate(self.base.n_signers - usize::from(self.base.threshold));
        for signer in numbers {
            let is_without_watermark = self.defect == Some(Defect::NoWatermark);
            match random.below(3) {
                0 if !is_without_watermark => self.evil_signers.push(signer),
                1 if !is_without_watermark => {
                    if random.percent(50) {
                        self.careful_signers.push(signer);
                    }
                    let (backed_up, restored) = self.restoring(random);
                    self.actions.push((backed_up, Action::BackUp(signer)));
                    self.actions.push((restored, Action::Restore(signer)));
                }
                _ => {
                    for _ in 0..random.between(1, 4) {
                        let at = random.below(self.heal_at);
                        self.actions.push((at, Action::Forge(signer)));
                    }
                }
            }
        }
    }

    /// When a signer is backed up, and when it is restored: often between two settlements, so that it has signed in between and
    /// is asked again.
    fn restoring(&self, random: &mut Random) -> (u64, u64) {
        let nth = random.index(self.settlements.len());
        match self.settlements.get(nth..) {
            Some([before, next, ..]) if random.percent(70) => (random.below(*before), next - 1),
            _ => {
                let backed_up = random.below(self.heal_at);
                (backed_up, random.between(backed_up, self.heal_at))
            }
        }
    }

    fn draw_actions(&mut self, random: &mut Random) {
        let Families { crashes, forks, money, stops, races, evil, changes, theft, .. } = self.families;
        if theft {
            let first = self.settlements.first().copied().unwrap_or_default();
            self.actions.push((random.between(first, self.heal_at), Action::Steal));
        }
        type Draw = fn(&Plan, &mut Random) -> Action;
        let families: [(bool, u64, Draw); 7] = [
            (crashes, 3, Self::crash),
            (forks, 2, |_, random| Action::Stall(random.between(5, 300) * SECOND)),
            (money, 8, Self::trouble_with_money),
            (stops, 10, Self::stop),
            (races, 8, Self::race),
            (evil, 12, |_, _| Action::Villainy),
            (changes && !theft, 3, Self::change),
        ];
        for (has_family, most, draw) in families {
            let n = if has_family { random.between(1, most) } else { 0 };
            for _ in 0..n {
                let at = random.below(self.heal_at);
                let action = draw(self, random);
                self.actions.push((at, action));
            }
        }
    }

    fn crash(&self, random: &mut Random) -> Action {
        let for_ms = random.between(1, 120) * SECOND;
        if random.percent(25) {
            return Action::SignerDown { signer: random.index(self.base.n_signers), for_ms };
        }
        Action::NodeDown { node: random.index(self.nodes.len()), for_ms, loses_disk: random.percent(15) }
    }

    fn trouble_with_money(&self, random: &mut Random) -> Action {
        let node = random.index(self.nodes.len());
        match random.below(11) {
            0 => Action::TokenPaused(random.percent(60)),
            1 => Action::TokenFee(random.percent(60)),
            2 => Action::Frozen(random.percent(60)),
            3 => Action::Refused(Some(random.index(self.n_accounts)).filter(|_| random.percent(70))),
            4 | 5 => Action::Fund(random.below(60) * USDT),
            6 if random.percent(50) => {
                Action::EnergyFactor(random.pick(&[100_000, 34_000, 15_000, 10_000]).unwrap_or(10_000))
            }
            6 => Action::EnergyPrice(random.pick(&[10, 10, 3, 1]).unwrap_or(1) * ENERGY_PRICE),
            7 => Action::Gas { node, sun: random.below(40) * TRX },
            // Somebody does not care whether all of it can be paid.
            8 | 9 => Action::Push,
            _ => Action::Gas { node, sun: 10_000 * TRX },
        }
    }

    fn stop(&self, random: &mut Random) -> Action {
        match random.below(6) {
            0 => Action::OwnerPauses,
            1 | 2 => Action::SignerPauses(random.index(self.base.n_signers)),
            3 => Action::SignerUnpauses(random.index(self.base.n_signers)),
            _ => Action::OwnerUnpauses,
        }
    }

    fn race(&self, random: &mut Random) -> Action {
        if random.percent(60) { Action::Claim(random.index(self.n_accounts)) } else { Action::Push }
    }

    fn change(&self, random: &mut Random) -> Action {
        match random.below(5) {
            0 => Action::Rotate,
            1 => Action::Limits {
                // Enough for everything that is owed in some periods.
                cap: if self.base.period < 3_600 {
                    random.between(20, 100) * USDT
                } else {
                    random.between(400, 900) * USDT
                },
                push_fee: random.below(3) * USDT / 200,
            },
            2 => Action::Losses(random.below(3 * USDT) + 1),
            _ => Action::Address(random.index(self.n_accounts)),
        }
    }

    /// The same with every part as it should be.
    pub(super) fn mended(mut self) -> Self {
        self.defect = None;
        self.base.variant = None;
        self
    }

    /// Nothing goes wrong.
    pub(super) fn is_calm(&self) -> bool {
        self.families == Families::default() && self.defect.is_none()
    }

    /// Cap and period are such that payments are held up.
    pub(super) const fn is_tight(&self) -> bool {
        self.base.cap < ROOMY_CAP
    }

    /// At some moment only provider groups answered a node that say that everything was paid. The node believes it until the next
    /// settlement.
    pub(super) fn is_misled(&self) -> bool {
        let lies = |group: &Group| group.is_stubborn || group.topics.contains(&Topic::PaidMore);
        let is_misled = |node: &NodePlan| {
            node.groups.iter().any(lies) && node.groups.iter().all(|group| lies(group) || group.silent > 0)
        };
        self.nodes.iter().any(is_misled)
    }

    pub(super) fn pusher_config(&self, base: &Base, number: usize, node: &NodePlan) -> Option<PusherConfig> {
        let gas = base.keys.gas.get(number)?.address();
        let mut config = PusherConfig::new(base.domain, gas, MicroUsdt::new(self.threshold), LEADER_TIMEOUT);
        config.max_items = node.max_items;
        config.max_in_flight = node.max_in_flight;
        config.max_per_day = Sun::new(node.max_per_day);
        config.max_fee = config.max_fee.min(config.max_per_day);
        Some(config)
    }
}

fn faults(families: Families, random: &mut Random) -> Faults {
    let Families { network, crashes, forks, money, .. } = families;
    let mut rate = |has_family, most| if has_family { random.maybe(most) } else { 0 };
    Faults {
        lost: rate(network, 20),
        doubled: rate(network, 30),
        delay: rate(network, 5_000),
        crash: rate(crashes, 30),
        fork: rate(forks, 15),
        energy: rate(money, 30),
    }
}

fn group(families: Families, random: &mut Random) -> Group {
    let Families { network, providers, .. } = families;
    let mut rate = |has_family, most| if has_family { random.maybe(most) } else { 0 };
    let mut group = Group {
        silent: rate(network || providers, 30),
        stale: rate(providers, 50),
        most_behind: 4,
        drops: rate(network, 60),
        mute: rate(network, 50),
        busy: rate(network, 40),
        lies: rate(providers, 60),
        topics: Vec::new(),
        is_stubborn: false,
    };
    group.topics = Topic::ALL.into_iter().filter(|_| providers && random.percent(30)).collect();
    group
}
