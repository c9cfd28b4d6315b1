//! Bandwidth and energy from stakes: what TRX is staked for, and what a stake yields.
//!
//! A day's bandwidth and energy of the whole network are divided among all stakes by their size (java-tron's
//! `calculateGlobalNetLimitV2` and `calculateGlobalEnergyLimitV2`, doubles included). The stakes of an account are its own
//! and those that others delegate to it.

use lucid_tron_types::proto;

use super::params::Params;
use super::state::{State, Total};
use super::usage::{Usage, whole};

/// Sun of one TRX.
pub(crate) const TRX: u64 = 1_000_000;

/// What TRX can be staked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Bytes of transactions.
    Bandwidth,
    /// Energy of contracts.
    Energy,
}

impl Resource {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Bandwidth, Self::Energy];

    /// From the protocol's number.
    pub fn from_wire(number: i32) -> Option<Self> {
        match proto::Resource::try_from(number) {
            Ok(proto::Resource::Bandwidth) => Some(Self::Bandwidth),
            Ok(proto::Resource::Energy) => Some(Self::Energy),
            _ => None,
        }
    }

    /// As the protocol has it.
    pub const fn to_wire(self) -> proto::Resource {
        match self {
            Self::Bandwidth => proto::Resource::Bandwidth,
            Self::Energy => proto::Resource::Energy,
        }
    }

    /// The protocol's name.
    pub const fn name(self) -> &'static str {
        self.to_wire().name()
    }

    /// The sum of all stakes for it.
    pub(crate) const fn weight(self) -> Total {
        match self {
            Self::Bandwidth => Total::NetWeight,
            Self::Energy => Total::EnergyWeight,
        }
    }
}

/// An account's stakes for one resource, and its use of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stake {
    /// Sun that it has staked and uses itself.
    pub own: u64,
    /// Sun that it has staked, whose yield others use.
    pub delegated: u64,
    /// Sun that others have staked, whose yield it uses.
    pub acquired: u64,
    /// What is in use.
    pub usage: Usage,
}

impl Stake {
    /// Whole TRX that it adds to the network's weight.
    pub(crate) fn weight(&self) -> u64 {
        self.own.saturating_add(self.delegated) / TRX
    }

    /// Sun whose yield it uses.
    pub(crate) fn in_force(&self) -> u64 {
        self.own.saturating_add(self.acquired)
    }
}

/// What a resource's stakes divide among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Bytes or energy a day, of the whole network.
    pub limit: u64,
    /// Whole TRX that are staked for it.
    pub weight: u64,
}

impl Pool {
    pub(crate) fn new(resource: Resource, params: &Params, weight: u64) -> Self {
        let limit = match resource {
            Resource::Bandwidth => params.total_net_limit,
            Resource::Energy => params.total_energy_limit,
        };
        Self { limit, weight }
    }

    pub(crate) fn of(state: &State, params: &Params, resource: Resource) -> Self {
        Self::new(resource, params, state.total(resource.weight()))
    }

    /// What `sun` yield a day.
    pub fn yield_of(&self, sun: u64) -> u64 {
        if self.weight == 0 {
            return 0;
        }
        whole(sun as f64 / TRX as f64 * (self.limit as f64 / self.weight as f64))
    }

    /// Sun whose yield of a day is `amount`.
    pub(crate) fn stake_of(&self, amount: u64) -> u64 {
        if self.limit == 0 {
            return 0;
        }
        whole(amount.saturating_mul(TRX) as f64 * (self.weight as f64 / self.limit as f64))
    }

    /// What an account has left of its yield at slot `now`.
    pub(crate) fn left(&self, stake: &Stake, now: u64) -> u64 {
        self.yield_of(stake.in_force()).saturating_sub(stake.usage.at(now))
    }

    /// Sun of its own that an account could delegate at slot `now`, if it used `more` first: what is in use stays, as far as
    /// acquired stakes do not cover it.
    pub(crate) fn delegatable(&self, stake: &Stake, more: u64, now: u64) -> u64 {
        let mut usage = stake.usage;
        usage.refresh(now);
        let in_use = self.stake_of(usage.amount.saturating_add(more)).saturating_sub(stake.acquired);
        stake.own.saturating_sub(in_use)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stake_yields_its_part() {
        let pool = Pool::new(Resource::Bandwidth, &Params::default(), 27_000_000_000);
        assert_eq!(pool.yield_of(1_000 * TRX), 1_600);
        assert_eq!(pool.stake_of(1_600), 1_000 * TRX);
        let half = Pool { weight: 0, ..pool };
        assert_eq!(half.yield_of(1_000 * TRX), 0);
    }

    #[test]
    fn what_is_in_use_cannot_be_lent() {
        let pool = Pool { limit: 1_000_000, weight: 1_000 };
        let mut stake = Stake { own: 100 * TRX, ..Stake::default() };
        assert_eq!(pool.delegatable(&stake, 0, 0), 100 * TRX);
        stake.usage.add(30_000, 0);
        assert_eq!(pool.delegatable(&stake, 0, 0), 70 * TRX);
        assert_eq!(pool.delegatable(&stake, 10_000, 0), 60 * TRX);
        stake.acquired = 25 * TRX;
        assert_eq!(pool.delegatable(&stake, 0, 0), 95 * TRX);
        stake.acquired = 50 * TRX;
        assert_eq!(pool.delegatable(&stake, 0, 0), 100 * TRX);
    }
}
