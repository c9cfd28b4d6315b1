//! Which faults a run has.

use clap::ValueEnum;

use super::base::variant;
use super::plan::Defect;
use super::random::Random;

/// A family of faults, or all of them; or a part that is broken on purpose, which the checks must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Each seed its own mixture of everything below down to `changes`, and sometimes of `theft`.
    All,
    /// No fault: everything is paid at once.
    Calm,
    /// Answers are late, lost, doubled; transactions are lost, or taken without an answer.
    Network,
    /// Nodes die before and after every step, and start again, sometimes without their disk.
    Crashes,
    /// Providers lag and lie.
    Providers,
    /// TRON's newest blocks are replaced, and blocks are not solidified.
    Forks,
    /// Too little in the vault, under the cap or in the gas account; dear energy; a token with a fee, paused or frozen.
    Money,
    /// Signers and owner pause the vault.
    Stops,
    /// Several nodes that believe to lead, strangers that push, workers that claim.
    Races,
    /// A leader that calls the vault with anything, and signers that sign anything, or are restored from a backup.
    Evil,
    /// Other signers, other limits, losses, other addresses.
    Changes,
    /// Thieves with enough keys to post a root of their own; then everybody is made whole.
    Theft,
    /// Broken: the vault forgets what it paid.
    ForgetfulVault,
    /// Broken: pushers believe their own records instead of the chain.
    OwnRecords,
    /// Broken: signers have no watermark.
    NoWatermark,
    /// Broken: one provider is believed although another contradicts it.
    OneProvider,
}

/// Which families a run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families {
    pub(super) network: bool,
    pub(super) crashes: bool,
    pub(super) providers: bool,
    pub(super) forks: bool,
    pub(super) money: bool,
    pub(super) stops: bool,
    pub(super) races: bool,
    pub(super) evil: bool,
    pub(super) changes: bool,
    pub(super) theft: bool,
}

impl Scenario {
    /// Those without a broken part.
    pub const SOUND: [Self; 12] = [
        Self::All,
        Self::Calm,
        Self::Network,
        Self::Crashes,
        Self::Providers,
        Self::Forks,
        Self::Money,
        Self::Stops,
        Self::Races,
        Self::Evil,
        Self::Changes,
        Self::Theft,
    ];

    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What is broken on purpose.
    pub(super) fn defect(self) -> Option<Defect> {
        match self {
            Self::ForgetfulVault => variant("forgets what it paid").map(Defect::Vault),
            Self::OwnRecords => Some(Defect::OwnRecords),
            Self::NoWatermark => Some(Defect::NoWatermark),
            Self::OneProvider => Some(Defect::OneProvider),
            _ => None,
        }
    }

    pub(super) fn families(self, random: &mut Random) -> Families {
        let none = Families::default();
        match self {
            Self::All => {
                let mut some = || random.percent(40);
                Families {
                    network: some(),
                    crashes: some(),
                    providers: some(),
                    forks: some(),
                    money: some(),
                    stops: some(),
                    races: some(),
                    evil: some(),
                    changes: some(),
                    theft: random.percent(5),
                }
            }
            Self::Calm => none,
            Self::Network | Self::OwnRecords => Families { network: true, ..none },
            Self::Crashes => Families { crashes: true, ..none },
            Self::Providers | Self::OneProvider => Families { providers: true, ..none },
            Self::Forks => Families { forks: true, ..none },
            Self::Money => Families { money: true, ..none },
            Self::Stops => Families { stops: true, ..none },
            Self::Races | Self::ForgetfulVault => Families { races: true, ..none },
            Self::Evil | Self::NoWatermark => Families { evil: true, ..none },
            Self::Changes => Families { changes: true, ..none },
            Self::Theft => Families { theft: true, ..none },
        }
    }
}
