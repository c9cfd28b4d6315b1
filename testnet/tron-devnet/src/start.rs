//! Bringing a network up: a new one, or the one that a folder holds.

use std::path::Path;

use revm::primitives::Address;

use crate::chain::{Chain, Code, Genesis, Refusal};
use crate::server::{DevnetConfig, DevnetError};
use crate::store::{Beginning, Folder, Found, Log};
use crate::token;
use crate::wallet::{self, Validity, Wallet};

/// Sun that the token's deployment may burn for energy.
const FEE_LIMIT: u64 = 1_000_000_000;

/// A chain ready to run.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) chain: Chain,
    pub(crate) log: Option<Log>,
    pub(crate) usdt: Option<Address>,
}

/// Opens or begins the network that `config` describes. A new one begins two seconds before `now`, so that its first
/// block, one second after the beginning, is not in the future.
pub(crate) fn start(config: &DevnetConfig, now: u64) -> Result<Started, DevnetError> {
    let fresh = Beginning {
        version: crate::store::VERSION,
        seed: config.seed.clone(),
        accounts: config.accounts,
        balance: config.balance,
        timestamp: now.saturating_sub(2_000),
        deploy_usdt: config.deploy_usdt,
    };
    let Some(folder) = &config.dir else {
        let (chain, usdt) = begin(&fresh, config.solid_lag, false)?;
        return Ok(Started { chain, log: None, usdt });
    };
    let locked = Folder::lock(folder).map_err(DevnetError::Store)?;
    let Some(Found { mut log, beginning, changes }) = Log::open(&locked).map_err(DevnetError::Store)? else {
        let (mut chain, usdt) = begin(&fresh, config.solid_lag, true)?;
        let mut log = Log::begin(&locked, &fresh).map_err(DevnetError::Store)?;
        log.write(&chain.take_changes()).map_err(DevnetError::Store)?;
        return Ok(Started { chain, log: Some(log), usdt });
    };
    check_same(folder, &beginning, &fresh)?;
    let mut chain = Chain::new(genesis(&beginning, config.solid_lag));
    chain.replay(changes).map_err(|e| DevnetError::Store(log.damage(e.to_string())))?;
    // A kill may have come between the beginning and the first block.
    if chain.head().number() == 0 {
        chain.keep_changes();
        make_first_block(&mut chain, &beginning)?;
        log.write(&chain.take_changes()).map_err(DevnetError::Store)?;
    }
    let usdt = if beginning.deploy_usdt { Some(deployment(&chain, &beginning)?.1) } else { None };
    Ok(Started { chain, log: Some(log), usdt })
}

fn genesis(beginning: &Beginning, solid_lag: u64) -> Genesis {
    Genesis::seeded(&beginning.seed, beginning.accounts, beginning.balance, beginning.timestamp, solid_lag)
}

fn begin(beginning: &Beginning, solid_lag: u64, keep: bool) -> Result<(Chain, Option<Address>), DevnetError> {
    let mut chain = Chain::new(genesis(beginning, solid_lag));
    if keep {
        chain.keep_changes();
    }
    let usdt = make_first_block(&mut chain, beginning)?;
    Ok((chain, usdt))
}

/// The folder's network must be the one that is asked for.
fn check_same(folder: &Path, found: &Beginning, wanted: &Beginning) -> Result<(), DevnetError> {
    let differs = |what: &'static str, found: String, wanted: String| DevnetError::OtherNetwork {
        folder: folder.to_owned(),
        what,
        found,
        wanted,
    };
    if found.seed != wanted.seed {
        return Err(differs("seed", found.seed.clone(), wanted.seed.clone()));
    }
    if found.accounts != wanted.accounts {
        return Err(differs("number of accounts", found.accounts.to_string(), wanted.accounts.to_string()));
    }
    if found.balance != wanted.balance {
        return Err(differs("balance of the accounts", found.balance.to_string(), wanted.balance.to_string()));
    }
    if found.deploy_usdt != wanted.deploy_usdt {
        return Err(differs("test USDT", found.deploy_usdt.to_string(), wanted.deploy_usdt.to_string()));
    }
    Ok(())
}

/// The token's deployment, which depends on nothing but the beginning: encoded transaction and address.
fn deployment(chain: &Chain, beginning: &Beginning) -> Result<(Vec<u8>, Address), DevnetError> {
    if beginning.accounts == 0 {
        return Err(DevnetError::NoAccount);
    }
    let deployer = Wallet::derive(&beginning.seed, 0);
    let message = wallet::create(
        deployer.address(),
        token::NAME,
        token::creation_code(token::INITIAL_SUPPLY),
        Some(token::abi()),
        0,
    );
    let validity = Validity::after(chain.genesis_id().0, beginning.timestamp, 60_000);
    let (bytes, id) = wallet::signed(&deployer, &message, FEE_LIMIT, validity);
    Ok((bytes, wallet::contract_address(&id, deployer.address())))
}

/// Makes block 1, which deploys the token if there is to be one. Without a block after the genesis block, whose number is not
/// printed because it is 0, clients such as tronweb cannot build a transaction.
fn make_first_block(chain: &mut Chain, beginning: &Beginning) -> Result<Option<Address>, DevnetError> {
    let usdt = if beginning.deploy_usdt {
        let (bytes, address) = deployment(chain, beginning)?;
        chain.submit(&bytes).map_err(|refusal| why_not(beginning, refusal))?;
        Some(address)
    } else {
        None
    };
    chain.produce_block(beginning.timestamp.saturating_add(1_000));
    match usdt {
        Some(address) if chain.head().contract(address).is_none() => {
            let message = "its constructor failed".to_owned();
            Err(why_not(beginning, Refusal { code: Code::ContractExeError, message }))
        }
        usdt => Ok(usdt),
    }
}

/// Why the token is not there: usually because account 0 has too little.
fn why_not(beginning: &Beginning, refusal: Refusal) -> DevnetError {
    match deployment_fee(beginning) {
        Some(fee) if fee > beginning.balance => DevnetError::DeployUsdt { balance: beginning.balance, fee },
        _ => DevnetError::NoUsdt(refusal),
    }
}

/// Sun that the token's deployment burns, whatever the balance: what it burns where there is enough.
fn deployment_fee(beginning: &Beginning) -> Option<u64> {
    let rich = Beginning { balance: 2 * FEE_LIMIT, accounts: 1, ..beginning.clone() };
    let mut chain = Chain::new(genesis(&rich, 0));
    let (bytes, _) = deployment(&chain, &rich).ok()?;
    let id = chain.submit(&bytes).ok()?;
    chain.produce_block(rich.timestamp.saturating_add(1_000));
    chain.head().transaction_info(&id).map(|info| info.fee)
}
