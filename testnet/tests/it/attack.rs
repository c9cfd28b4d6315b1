//! Nodes that flood a network of processes with commands of every bad kind, by gossip and by `/command/1`: memory stays bounded, honest
//! nodes join and command on, blocks are decided in round 0, who sends what no honest node sends is sent away, and every refusal
//! says why.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use lucid_consensus::ledger::command::SignedCommand;
use lucid_p2p::{Admission, Gate, Mesh, MeshConfig, PeerInfo, Protocol, PublishError, RequestError, Topic, start};
use lucid_types::attestation::Capacity;
use lucid_types::codec::{decode, encode};
use lucid_types::command::{Action, CommandReply, Entry, NodeAction};
use lucid_types::id::{NetworkId, NodeId, PoolId, PublicKey};
use lucid_types::key::NodeKey;
use lucid_types::pool::JoinPolicy;
use lucid_types::signed::{MultiSigned, Signature, Signed};
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::UnixMillis;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::harness::{Network, Place, alone, http_get, now_ms, room, until};
use crate::join::{Machine, invite};
use crate::load::network_id;
use crate::newcomers::{Follower, Times, Work, address, hand_in, key, new_pool, registration, sign, tally};

/// Messages of the small attack and of the large one, all kinds together.
const FEW: usize = 2_000;
const MANY: usize = 100_000;
/// What a validator may have resident at most, in bytes; an idle one has about 60 MB.
const MEMORY: u64 = 256 << 20;
/// What an honest command may take until a block holds it while the attack goes on: the median, and the longest.
const MEDIAN: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(10);
/// Blocks of a hundred that may need a second round, on a machine whose cores the attackers use, too.
const LATE: usize = 5;
/// What an attacker sends a second who is careful not to look like a flood.
const CAREFUL: u32 = 400;
/// What an attacker sends before it looks whether it is heard still.
const BURST: usize = 200;
/// Messages by gossip for each by `/command/1`.
const ASKS: usize = 20;

/// What attackers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Registrations of fresh keys without work; one of 256 has it by chance.
    NoStamp,
    /// With a bit less than is needed.
    FewBits,
    /// With all of it: they compete for the places of registrations.
    Stamped,
    /// Of accounts that nobody knows, or far ahead of their number.
    Gap,
    /// What waits or is in a block already: as it was, and with a signature more, so that the mesh does not know it.
    Replay,
    /// Signed for another network.
    Foreign,
    /// As large as the mesh lets pass.
    Oversized,
    /// No command.
    Malformed,
    /// Others of one account and one number.
    Others,
    /// Fresh keys with an invite for any number of nodes.
    Invited,
}

const KINDS: [Kind; 10] = [
    Kind::NoStamp,
    Kind::FewBits,
    Kind::Stamped,
    Kind::Gap,
    Kind::Replay,
    Kind::Foreign,
    Kind::Oversized,
    Kind::Malformed,
    Kind::Others,
    Kind::Invited,
];

impl Kind {
    /// Whether no honest node passes it on.
    const fn is_provable(self) -> bool {
        matches!(self, Self::NoStamp | Self::FewBits | Self::Foreign | Self::Oversized | Self::Malformed)
    }

    /// What a validator may say to it, each in part; an empty one if it may take it over.
    const fn answers(self) -> &'static [&'static str] {
        match self {
            Self::NoStamp => &["the stamp is worth", ""],
            Self::FewBits => &["the stamp is worth"],
            Self::Stamped => &["", "too many registrations", "make a stamp for the newest", "the stamp is worth"],
            Self::Gap => &["", "give that one first", "another command", "too many commands wait"],
            Self::Replay => &["", "has given its command", "has no say in it"],
            Self::Foreign => &["wrong signature"],
            Self::Oversized | Self::Malformed => &["no command"],
            Self::Others => &["", "another command", "has given its command", "used up its"],
            Self::Invited => &["", "too many nodes enter", "the most that it takes"],
        }
    }

    /// As what gates count it, any of these.
    const fn counted(self) -> &'static [&'static str] {
        match self {
            Self::NoStamp | Self::FewBits => &["stamp"],
            Self::Stamped => &["accepted"],
            Self::Gap => &["future"],
            Self::Foreign => &["signature"],
            Self::Oversized | Self::Malformed => &["malformed"],
            // Before a block holds one of them, and after.
            Self::Replay => &["duplicate", "stale"],
            Self::Others => &["rate", "stale"],
            Self::Invited => &["busy"],
        }
    }
}

/// What the messages are made of.
struct Arsenal {
    network: NetworkId,
    work: RwLock<Work>,
    /// Accounts that are registered, and give their first command never.
    known: Vec<NodeKey>,
    /// The same, and the number of its next command.
    account: (NodeKey, u64),
    invite: Signed<Invite>,
    secret: NodeKey,
    /// What has been sent with a good stamp.
    sent: Mutex<Vec<Vec<u8>>>,
}

impl Arsenal {
    fn make(&self, kind: Kind, i: usize) -> Vec<u8> {
        let (n, network) = (u64::try_from(i).unwrap(), &self.network);
        let work = *self.work.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = key(&format!("attack {kind:?}"), n);
        let bits = u32::from(work.bits);
        let register = |network: &NetworkId, nonce, worth: &dyn Fn(u32) -> bool| {
            let entry = work.entry(work.stamp(fresh.account(), worth));
            sign(network, fresh.account(), nonce, registration(&fresh, entry), &[&fresh])
        };
        let command: SignedCommand = match kind {
            Kind::NoStamp => register(network, 0, &|_| true),
            Kind::FewBits => register(network, 0, &|worth| worth + 1 == bits),
            Kind::Stamped => {
                let bytes = encode(&register(network, 0, &|worth| worth >= bits));
                self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(bytes.clone());
                return bytes;
            }
            // Every other one of an account that is known: some of those wait for what never comes.
            Kind::Gap if (i / ASKS + i).is_multiple_of(2) => register(network, 1 + n % 20, &|worth| worth >= bits),
            Kind::Gap => {
                let known = &self.known[i / 2 % self.known.len()];
                let capacity = Capacity { cores: 1 + u32::try_from(i).unwrap(), ..Capacity::default() };
                let action = Action::Node(NodeAction::Update { gas_address: None, capacity });
                let nonce = 2 + n / 2 / u64::try_from(self.known.len()).unwrap() % 10;
                sign(network, known.account(), nonce, action, &[known])
            }
            Kind::Replay => {
                let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(bytes) = sent.get(i % sent.len().max(1)) else {
                    return encode(&register(network, 0, &|worth| worth >= bits));
                };
                if (i / ASKS + i).is_multiple_of(2) {
                    return bytes.clone();
                }
                let again: SignedCommand = decode(bytes).unwrap();
                let more = fresh.sign_command(network, again.record.clone()).into_inner();
                let signatures = again.signatures.into_iter().chain([(more.signer, more.signature)]);
                MultiSigned::collect(again.record, signatures)
            }
            Kind::Foreign => register(&NetworkId::from_bytes([3; 32]), 0, &|worth| worth >= bits),
            Kind::Oversized => {
                let mut command = register(network, 0, &|worth| worth >= bits);
                let room = Topic::Commands.max_bytes() - encode(&command).len();
                let stuffing = (fresh.public_key(), Signature::from_bytes([i.to_le_bytes()[0]; 64]));
                command.signatures.extend(vec![stuffing; room / 96]);
                command
            }
            Kind::Malformed => {
                let mut bytes = encode(&register(network, 0, &|worth| worth >= bits));
                bytes.truncate(bytes.len() - 1 - i % 64);
                return bytes;
            }
            Kind::Others => {
                let capacity = Capacity { cores: 1 + u32::try_from(i).unwrap(), ..Capacity::default() };
                let action = Action::Node(NodeAction::Update { gas_address: None, capacity });
                sign(network, self.account.0.account(), self.account.1, action, &[&self.account.0])
            }
            Kind::Invited => {
                let entry = Entry::Pool { pool: self.invite.record.pool, ticket: Ticket::Invite(self.invite.clone()) };
                sign(network, fresh.account(), 0, registration(&fresh, entry), &[&fresh, &self.secret])
            }
        };
        encode(&command)
    }
}

/// Hears nothing, and blames nobody for it.
struct Deaf;

impl Gate for Deaf {
    type Item = ();
    fn admit(&self, _: PublicKey, _: Topic, _: &[u8]) -> Admission<()> {
        Admission::Ignore("deaf")
    }
}

/// A node of the attackers.
struct Attacker {
    mesh: Mesh,
    _stop: DropGuard,
    _tasks: JoinSet<()>,
}

/// Whom to attack.
#[derive(Clone)]
struct Target {
    network: NetworkId,
    bootstrap: Vec<String>,
    validators: Vec<PublicKey>,
}

impl Attacker {
    /// A node of a fresh key that all validators have let in.
    async fn enter(target: &Target, seed: &NodeKey) -> Self {
        // Nobody finds it, so that attackers do not waste their strength on each other.
        let config = MeshConfig {
            local: true,
            kad_server: false,
            bootstrap: target.bootstrap.clone(),
            ..MeshConfig::new(target.network)
        };
        let (mesh, mut events, task) = start(config, seed.seed(), Arc::new(Deaf)).unwrap();
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(task.run(stop.clone()));
        tasks.spawn(async move { while events.next().await.is_some() {} });
        let attacker = Self { mesh, _stop: stop.drop_guard(), _tasks: tasks };
        assert!(attacker.is_connected(target, target.validators.len()).await, "an attacker did not get in");
        attacker
    }

    /// Whether it comes to be connected to so many validators.
    async fn is_connected(&self, target: &Target, wanted: usize) -> bool {
        let count = |peers: &[PeerInfo]| peers.iter().filter(|peer| target.validators.contains(&peer.key)).count();
        let connected = self.mesh.wait_for_peers(|peers| count(peers) == wanted);
        tokio::time::timeout(Duration::from_secs(30), connected).await.is_ok_and(|connected| connected)
    }

    async fn publish(&self, bytes: Vec<u8>) -> bool {
        loop {
            match self.mesh.publish(Topic::Commands, bytes.clone()).await {
                Ok(_) => return true,
                Err(PublishError::QueuesFull) => tokio::time::sleep(Duration::from_millis(5)).await,
                // It has been sent before, or nobody listens any more.
                Err(_) => return false,
            }
        }
    }
}

/// What came of an attack.
#[derive(Default)]
struct Harvest {
    sent: BTreeMap<Kind, usize>,
    /// What validators answered by `/command/1`.
    answers: BTreeMap<Kind, Vec<String>>,
    /// Questions that were not answered: they were too many, or the attacker was sent away meanwhile.
    unanswered: usize,
    /// Attackers that were sent away.
    banned: usize,
}

impl Harvest {
    fn add(&mut self, kind: Kind, sent: usize, answers: Vec<Result<String, RequestError>>) {
        *self.sent.entry(kind).or_default() += sent;
        for answer in answers {
            match answer {
                Ok(reason) => self.answers.entry(kind).or_default().push(reason),
                Err(_) => self.unanswered += 1,
            }
        }
    }
}

/// Asks a validator to take a message over: the reason why not, which is empty if it does.
async fn ask(attacker: &Attacker, validator: PublicKey, bytes: Vec<u8>) -> Result<String, RequestError> {
    let answer = attacker.mesh.request(validator, Protocol::Command, bytes).await?;
    match decode(&answer).unwrap() {
        CommandReply::Accepted => Ok(String::new()),
        CommandReply::Refused(why) => {
            assert!(!why.is_empty(), "a refusal without a reason");
            Ok(why)
        }
    }
}

/// Sends so many messages of a kind, from as many nodes as it takes.
async fn attack(target: Target, arsenal: Arc<Arsenal>, kind: Kind, count: usize) -> Harvest {
    let mut harvest = Harvest::default();
    let mut done = 0;
    let mut node = 0;
    while done < count {
        node += 1;
        let attacker = Attacker::enter(&target, &key(&format!("attacker {kind:?}"), node)).await;
        // Who is sent away anyhow says all it has at once; the others go on for as long as they are heard.
        let share = if kind.is_provable() { BURST.min(count - done) } else { count - done };
        let (begun, mut sent, mut answers) = (Instant::now(), 0, Vec::new());
        for i in done..done + share {
            let bytes = arsenal.make(kind, i);
            if i % ASKS == 0 {
                let validator = target.validators[i / ASKS % target.validators.len()];
                answers.push(ask(&attacker, validator, bytes.clone()).await);
            }
            sent += usize::from(attacker.publish(bytes).await);
            if !kind.is_provable() {
                let due = begun + Duration::from_secs(1) * u32::try_from(i - done).unwrap() / CAREFUL;
                tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
            }
        }
        harvest.add(kind, sent, answers);
        if kind.is_provable() {
            assert!(attacker.is_connected(&target, 0).await, "who sends {kind:?} is heard still");
            harvest.banned += 1;
        }
        done += share;
    }
    harvest
}

/// What honest users see: when each of their commands was due and final.
struct Honest<'a> {
    network: NetworkId,
    apis: &'a [String],
    follower: &'a Follower,
    arsenal: &'a Arsenal,
}

impl Honest<'_> {
    /// Gives registrations, and commands of those that are in, until the attack is over. Returns times until they were acknowledged and
    /// final, and why any was refused.
    fn go_on(&self, over: &AtomicBool) -> (Vec<Duration>, Vec<Duration>, Vec<String>) {
        let (mut acknowledged, mut included, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let mut i = 0;
        while !over.load(Ordering::Relaxed) || i < 4 {
            let work = *self.arsenal.work.read().unwrap_or_else(PoisonError::into_inner);
            let newcomer = key("honest", i);
            let update = Action::Node(NodeAction::Update {
                gas_address: None,
                capacity: Capacity { cores: 2, ..Capacity::default() },
            });
            let first = work.register(&newcomer, 3);
            let second = sign(&self.network, newcomer.account(), 1, update, &[&newcomer]);
            let api = &self.apis[usize::try_from(i).unwrap() % self.apis.len()];
            for command in [first, second] {
                // As every user does: this validator may be a moment behind the one on which the first was seen to be final.
                let path = format!("/api/v1/accounts/{}", newcomer.account());
                until("the account's number", || {
                    let account: Value = serde_json::from_str(&http_get(api, &path, "")?).unwrap();
                    (account["nonce"].as_u64()? == command.record.nonce).then_some(())
                });
                let begun = Instant::now();
                if let Err(why) = hand_in(api, &command) {
                    refused.push(why);
                    break;
                }
                acknowledged.push(begun.elapsed());
                match self.follower.inclusion((newcomer.account(), command.record.nonce), begun + 2 * MOST) {
                    Some(at) => included.push(at.saturating_duration_since(begun)),
                    None => {
                        refused.push("acknowledged, and in no block".to_owned());
                        break;
                    }
                }
            }
            i += 1;
        }
        (acknowledged, included, refused)
    }
}

/// A number on a validator's page of metrics.
fn counted(net: &Network, reason: &str) -> u64 {
    let wanted = format!("lucid_mesh_total{{group=\"commands\",reason=\"{reason}\"}} ");
    let of = |name: &String| {
        let page = net.metrics(name);
        page.lines().find_map(|line| line.strip_prefix(&wanted)?.parse::<u64>().ok()).unwrap_or(0)
    };
    net.validators().iter().map(of).sum()
}

#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
fn withstands(place: Place, count: usize, joins: bool) {
    let mut net = Network::up_in(place, &["--workers", "1", "--epoch-length", "5s"]);
    net.ready();
    let (network, names) = (network_id(&net), net.validators());
    let apis: Vec<_> = names.iter().map(|name| net.api(name)).collect();
    let follower = Follower::of(&net, "validator-1");
    let idle = net.most_resident();

    // One of them is registered, and owns a pool into which it invites everybody.
    let work = until("work", || Work::ask(&apis[0], network, None));
    let (owner, secret) = (key("owner", 0), key("secret", 0));
    let validator: NodeId = net.node_id("validator-1").parse().unwrap();
    let create = new_pool("trap", &owner, validator, JoinPolicy::Invite);
    for command in [work.register(&owner, 3), sign(&network, owner.account(), 1, create, &[&owner])] {
        hand_in(&apis[0], &command).unwrap();
        let deadline = Instant::now() + MOST;
        assert!(follower.inclusion((owner.account(), command.record.nonce), deadline).is_some());
    }
    let known: Vec<_> = (0..u64::try_from(count / 300).unwrap()).map(|i| key("known", i)).collect();
    for (account, api) in known.iter().zip(apis.iter().cycle()) {
        hand_in(api, &work.register(account, 3)).unwrap();
    }
    let deadline = Instant::now() + MOST;
    assert!(known.iter().all(|it| follower.inclusion((it.account(), 0), deadline).is_some()));
    let pool = PoolId::derive(&network, "trap");
    let until_ms = UnixMillis::new(now_ms()).after(Duration::from_secs(3_600));
    let invite_of = Invite { pool, key: secret.public_key(), until: until_ms, uses: u32::MAX };
    let arsenal = Arc::new(Arsenal {
        network,
        work: RwLock::new(work),
        invite: owner.sign_invite(&network, invite_of).into_inner(),
        known,
        account: (owner, 2),
        secret,
        sent: Mutex::default(),
    });
    let bootstrap = invite(&net, &[]).bootstrap.addresses().to_vec();
    let keys = names.iter().map(|name| net.node_id(name).parse::<NodeId>().unwrap().first_key());
    let target = Target { network, bootstrap, validators: keys.collect() };

    let dir = TempDir::with_prefix("lucid-it-").unwrap();
    let machine = joins.then(|| {
        let string = invite(&net, &["--pool", "local"]);
        (Machine::new(&net, &dir, "joiner", 0), string, address(&key("joiner", 0)).to_string())
    });

    let before = follower.blocks().len();
    let over = AtomicBool::new(false);
    let honest = Honest { network, apis: &apis, follower: &follower, arsenal: &arsenal };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let begun = Instant::now();
    let (harvests, (acknowledged, included, refused), entered) = std::thread::scope(|scope| {
        let users = scope.spawn(|| honest.go_on(&over));
        let joiner = machine.as_ref().map(|(machine, string, paid_to)| {
            scope.spawn(move || {
                let begun = Instant::now();
                machine.join(string, &["--payout-address", paid_to]).step("entered");
                begun.elapsed()
            })
        });
        let attacks = runtime.spawn({
            let arsenal = Arc::clone(&arsenal);
            async move {
                let attack = |kind| attack(target.clone(), Arc::clone(&arsenal), kind, count / KINDS.len());
                futures::future::join_all(KINDS.map(attack)).await
            }
        });
        while !attacks.is_finished() {
            std::thread::sleep(Duration::from_millis(200));
            if let Some(work) = Work::ask(&apis[0], network, None) {
                *arsenal.work.write().unwrap_or_else(PoisonError::into_inner) = work;
            }
        }
        over.store(true, Ordering::Relaxed);
        let harvests = runtime.block_on(attacks).unwrap();
        (harvests, users.join().unwrap(), joiner.map(|joiner| joiner.join().unwrap()))
    });
    let took = begun.elapsed();

    let sent: usize = harvests.iter().flat_map(|harvest| harvest.sent.values()).sum();
    let banned: usize = harvests.iter().map(|harvest| harvest.banned).sum();
    println!(
        "{sent} messages by gossip in {took:.1?}; {banned} attackers sent away, all that sent what nobody honest does"
    );
    let unanswered: usize = harvests.iter().map(|harvest| harvest.unanswered).sum();
    let mut unexpected = Vec::new();
    for (kind, answers) in harvests.iter().flat_map(|harvest| &harvest.answers) {
        let is_expected = |answer: &&String| match answer.as_str() {
            "" => kind.answers().contains(&""),
            answer => kind.answers().iter().any(|part| !part.is_empty() && answer.contains(part)),
        };
        unexpected.extend(answers.iter().filter(|answer| !is_expected(answer)).map(|it| format!("{kind:?}: {it}")));
        let words = |answer: &String| if answer.is_empty() { "taken over".to_owned() } else { general(answer) };
        println!("by /command/1, {kind:?}:{}", tally(answers.iter().map(words)));
    }
    println!("by /command/1, not answered, too many or just sent away: {unanswered}");
    println!("honest commands refused:{}", tally(refused.clone()));
    let (acknowledged, included) = (Times::new(acknowledged), Times::new(included));
    println!("honest commands acknowledged: {acknowledged}");
    println!("honest commands final: {included}");
    if let Some(entered) = entered {
        println!("`lucid join` of a machine with nothing, until it is a member: {entered:.1?}");
    }
    let blocks = follower.blocks().split_off(before);
    let late = blocks.iter().filter(|block| block.round > 0).count();
    println!("{} blocks meanwhile, {late} not in round 0", blocks.len());
    let resident = net.most_resident();
    println!("memory of a validator: {} MB before, {} MB at most", idle >> 20, resident >> 20);
    let uncounted: Vec<_> =
        KINDS.into_iter().filter(|kind| kind.counted().iter().all(|it| counted(&net, it) == 0)).collect();
    drop(follower);
    net.command(&["down"]);
    net.end();

    assert_eq!(unexpected, Vec::<String>::new());
    assert_eq!(uncounted, [], "gates have refused none of these");
    assert_eq!(refused, Vec::<String>::new());
    assert!(included.place(50) < MEDIAN && included.place(100) < MOST, "{included}");
    assert!(late * 100 <= blocks.len() * LATE, "{late} of {} blocks", blocks.len());
    assert!(resident < MEMORY, "{resident} bytes");
    assert!(sent > count / 2, "{sent} of {count}: who was not heard has attacked nobody");
}

/// A reason without its figures.
fn general(answer: &str) -> String {
    let words = answer.split(' ').map(|word| if word.chars().any(|c| c.is_ascii_digit()) { "N" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_network_withstands_attackers() {
    withstands(room(), FEW, false);
}

#[test]
#[ignore = "takes the whole machine for a minute: make load"]
fn a_network_withstands_a_hundred_thousand_bad_commands() {
    withstands(alone(), MANY, true);
}
