//! A proxy before the local TRON network: passes every request on, and, where a rule says so, holds it, withholds its answer, or
//! changes the answer. It notes all that passes, so a test waits for what happened instead of for a time, and can show that a
//! fault really happened.
//!
//! A thread for each connection: the nodes of a test keep a few each.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lucid_tron_types::abi::{self, selector};
use lucid_tron_types::block::transaction_id;
use lucid_tron_types::proto::{Transaction, TriggerSmartContract};
use lucid_types::id::TxId;
use prost::Message;
use serde_json::Value;

use crate::harness::PATIENCE;

/// Longest request or answer that is passed on.
const MAX_BODY: usize = 64 << 20;
/// What is noted; a run of a minute has a tenth of it.
const MAX_NOTES: usize = 100_000;

/// Changes an answer, or says that it leaves it as it is.
pub(crate) type Lie = Arc<dyn Fn(&Request, &mut Value) -> bool + Send + Sync>;

/// What the proxy does with a request.
#[derive(Clone)]
pub(crate) enum Deed {
    /// Passes it on, and the answer back.
    Pass,
    /// Reads it, and neither passes it on nor answers.
    Hold,
    /// Passes it on and keeps the answer.
    Withhold,
    /// Answers this text without passing the request on.
    Forge(String),
    /// Passes it on and changes the answer.
    Change(Lie),
}

/// What a vault's function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Post,
    Batch,
}

/// A transaction that is broadcast to the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) tx_id: TxId,
    pub(crate) kind: Kind,
    pub(crate) settlement: u64,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) sent: Option<Sent>,
}

impl Request {
    /// Whether a batch of payments is broadcast.
    pub(crate) fn is_batch(&self) -> bool {
        self.sent.is_some_and(|sent| sent.kind == Kind::Batch)
    }

    /// Whether it asks for the receipt of one transaction.
    pub(crate) fn is_for_receipt(&self) -> bool {
        self.path.ends_with("/gettransactioninfobyid")
    }
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It is being passed on.
    Open,
    /// Neither passed on nor answered.
    Held,
    /// The network answered this, and the client got nothing.
    Withheld(Value),
    /// The client got this.
    Answered { answer: Value, is_changed: bool },
    /// The network could not be reached.
    Lost,
}

/// A request with what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) at: Instant,
    pub(crate) request: Request,
    pub(crate) fate: Fate,
}

type Rule = Arc<dyn Fn(&Request) -> Deed + Send + Sync>;

struct State {
    upstream: Option<SocketAddr>,
    rule: Rule,
    /// Grows with each rule: what an older one holds is given up then.
    n_rules: u64,
    notes: Vec<Note>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_all();
        changed
    }

    /// Waits until a later rule than this one is in force.
    fn hold(&self, n_rules: u64) {
        let mut state = self.lock();
        while state.n_rules == n_rules {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a free port. Until it is told where the network is, nobody can be reached.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State { upstream: None, rule: Arc::new(|_| Deed::Pass), n_rules: 0, notes: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = Arc::clone(&serving);
                // A client that is killed in the middle is part of the tests.
                std::thread::spawn(move || drop(serve(stream, &serving)));
            }
        });
        Self { url, shared }
    }

    /// Passes requests on to this address.
    pub(crate) fn pass_to(&self, upstream: SocketAddr) {
        self.shared.change(|state| state.upstream = Some(upstream));
    }

    /// From now on does what `rule` says. What the last rule holds is given up: its connections are closed.
    pub(crate) fn rule(&self, rule: impl Fn(&Request) -> Deed + Send + Sync + 'static) {
        self.shared.change(|state| {
            state.rule = Arc::new(rule);
            state.n_rules += 1;
        });
    }

    /// The first that `wanted` finds among all that was noted, at once or as soon as it is there.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, wanted: impl Fn(&Note) -> Option<T>) -> T {
        first(&[self], what, |_, note| wanted(note))
    }

    /// All that was noted.
    pub(crate) fn notes(&self) -> Vec<Note> {
        self.shared.lock().notes.clone()
    }
}

impl Drop for Proxy {
    /// Whoever is held goes free; the threads end with their connections.
    fn drop(&mut self) {
        self.rule(|_| Deed::Pass);
    }
}

/// The first that `wanted` finds among all that several proxies noted. `wanted` gets the proxy's index.
#[track_caller]
pub(crate) fn first<T>(proxies: &[&Proxy], what: &str, wanted: impl Fn(usize, &Note) -> Option<T>) -> T {
    /// Between two looks at several proxies, which have no common event.
    const LOOK: Duration = Duration::from_millis(10);
    let deadline = Instant::now() + PATIENCE;
    loop {
        for (i, proxy) in proxies.iter().enumerate() {
            if let Some(found) = proxy.shared.lock().notes.iter().find_map(|note| wanted(i, note)) {
                return found;
            }
        }
        assert!(Instant::now() < deadline, "nothing came by in time: {what}");
        let state = proxies[0].shared.lock();
        drop(proxies[0].shared.changed.wait_timeout(state, LOOK));
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut client = stream;
    while let Some((head, body)) = read_message(&mut reader)? {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(&body).into_owned();
        let json = serde_json::from_str(&body).unwrap_or(Value::Null);
        let request = Request { sent: broadcast(&path, &json), path, body: json };
        let (deed, n_rules, upstream, at) = shared.change(|state| {
            let deed = (state.rule)(&request);
            let fate = if matches!(deed, Deed::Hold) { Fate::Held } else { Fate::Open };
            assert!(state.notes.len() < MAX_NOTES, "the proxy notes too much");
            state.notes.push(Note { at: Instant::now(), request: request.clone(), fate });
            (deed, state.n_rules, state.upstream, state.notes.len() - 1)
        });
        if matches!(deed, Deed::Hold) {
            shared.hold(n_rules);
            return Ok(());
        }
        let forged = if let Deed::Forge(answer) = &deed { Some(answer.clone()) } else { None };
        let answered = match &forged {
            Some(answer) => Some(("200 OK".to_owned(), answer.clone())),
            None => upstream.and_then(|upstream| ask(upstream, &request.path, &body).ok()),
        };
        let Some((status, mut text)) = answered else {
            shared.change(|state| state.notes[at].fate = Fate::Lost);
            return Ok(());
        };
        let mut answer = serde_json::from_str(&text).unwrap_or(Value::Null);
        if matches!(deed, Deed::Withhold) {
            shared.change(|state| state.notes[at].fate = Fate::Withheld(answer));
            shared.hold(n_rules);
            return Ok(());
        }
        let is_changed = match &deed {
            Deed::Change(lie) if lie(&request, &mut answer) => {
                text = answer.to_string();
                true
            }
            _ => forged.is_some(),
        };
        shared.change(|state| state.notes[at].fate = Fate::Answered { answer, is_changed });
        // One write, so that no delayed acknowledgement slows the nodes.
        let reply = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        client.write_all(reply.as_bytes())?;
    }
    Ok(())
}

/// Asks the network on a connection of its own; status and body.
fn ask(upstream: SocketAddr, path: &str, body: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(upstream)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {upstream}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let (head, body) = read_message(&mut BufReader::new(stream))?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.lines().next().and_then(|line| line.split_once(' ')).map(|(_, status)| status.to_owned());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, String::from_utf8_lossy(&body).into_owned()))
}

/// The head and the body of the next message; `None` at the end.
fn read_message(reader: &mut impl BufRead) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut head = String::new();
    loop {
        let n = reader.read_line(&mut head)?;
        match head.trim_end_matches("\r\n") {
            _ if n == 0 => return Ok(None),
            "" => head.clear(),
            _ if head.ends_with("\r\n\r\n") => break,
            _ => {}
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.unwrap_or(0);
    assert!(length <= MAX_BODY, "{length} bytes");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

/// The vault's transaction that a request broadcasts.
fn broadcast(path: &str, body: &Value) -> Option<Sent> {
    if path != "/wallet/broadcasthex" {
        return None;
    }
    let bytes = hex::decode(body["transaction"].as_str()?).ok()?;
    let transaction = Transaction::decode(bytes.as_slice()).ok()?;
    let raw = transaction.raw().ok()?;
    let call: TriggerSmartContract = raw.contract.first()?.unpack().ok()?;
    let (function, arguments) = call.data.split_first_chunk::<4>()?;
    let kind = if *function == selector("postRoot(uint64,bytes32,uint64,uint64,(address,uint64),bytes)") {
        Kind::Post
    } else if *function == selector("payRange(uint64,uint256,(bytes32,address,uint64)[],bytes32[])") {
        Kind::Batch
    } else {
        return None;
    };
    let settlement = abi::to_u64(&abi::first_word(arguments)?)?;
    Some(Sent { tx_id: TxId::from_bytes(transaction_id(&transaction.raw_data)), kind, settlement })
}
