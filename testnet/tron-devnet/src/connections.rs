//! The API's connections: from which addresses they come, how many there are, how long one may say nothing, how they end.
//!
//! Each takes a descriptor, and a process that has none left can neither answer nor open a file. So there are at most
//! [`Limits::connections`], and when that many are open, a new one takes the place of the one that has been idle longest. A
//! connection is busy only while a request that has arrived in full is carried out: who holds connections with nothing, or
//! with half a request, locks nobody out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::select_all;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at once, if there are descriptors for them.
const MAX_CONNECTIONS: u64 = 1_024;
/// Descriptors that are left for everything else: listeners, files, the runtime.
const OTHER_DESCRIPTORS: u64 = 64;
/// So many even if there are hardly any descriptors.
const MIN_CONNECTIONS: u64 = 8;
/// See [`Limits::idle`].
const IDLE: Duration = Duration::from_secs(60);
/// How long an answer may still be under way when its connection has to end.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// Connections that may take that time beside those that are open.
const LINGERING: usize = 16;
/// Pause after a connection could not be taken.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// How often a port is looked for that is free at every address.
const TRIES: usize = 16;

/// The connection that a request came by.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    peer: IpAddr,
    seat: Arc<Seat>,
}

impl Connection {
    /// Whether the client is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.peer.is_loopback()
    }

    /// The request has arrived in full: the connection is busy until it is answered.
    pub(crate) fn has_asked(&self) {
        self.seat.work();
    }
}

/// Listens at `port` of every address; 0 takes one that is free at all of them. Addresses that this machine does not have
/// are left out, if it has another one of them.
pub(crate) async fn listen(hosts: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut tries = TRIES;
    loop {
        match bind(hosts, port).await {
            Err((_, error)) if port == 0 && error.kind() == io::ErrorKind::AddrInUse && tries > 1 => {
                tries = tries.saturating_sub(1);
            }
            done => return done,
        }
    }
}

async fn bind(hosts: &[IpAddr], mut port: u16) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut listeners = Vec::new();
    let mut absent = None;
    for host in hosts {
        let address = SocketAddr::from((*host, port));
        match TcpListener::bind(address).await {
            Ok(listener) => {
                port = listener.local_addr().map_err(|e| (address, e))?.port();
                listeners.push(listener);
            }
            Err(error) if is_absent(&error) => {
                tracing::debug!(%address, %error, "devnet.not_listening");
                absent = Some((address, error));
            }
            Err(error) => return Err((address, error)),
        }
    }
    match absent {
        Some(absent) if listeners.is_empty() => Err(absent),
        _ => Ok(listeners),
    }
}

/// Whether the machine does not have the address, or its family.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
}

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) connections: usize,
    /// How long a client may take over a request's header, and may leave a connection without a request.
    pub(crate) idle: Duration,
}

impl Limits {
    /// As many connections as the process' limit of descriptors allows.
    pub(crate) fn of_this_process() -> Self {
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        let descriptors = limit.map_or(MAX_CONNECTIONS, |(soft, _)| soft);
        let connections = descriptors.saturating_sub(OTHER_DESCRIPTORS).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS);
        Self { connections: usize::try_from(connections).unwrap_or(usize::MAX), idle: IDLE }
    }
}

/// Answers with `router` until `stop`, and then ends every connection.
pub(crate) async fn serve(listeners: Vec<TcpListener>, limits: Limits, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let lingering = Arc::new(Semaphore::new(LINGERING));
    let idle = Arc::new(Idle::default());
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = accept(&listeners) => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "devnet.accept");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        let slot = tokio::select! {
            () = stop.cancelled() => break,
            slot = idle.make_room(&slots) => slot,
        };
        // Answers are small and written at once; without the option they are merely later.
        drop(stream.set_nodelay(true));
        let seat = Seat { idle: Arc::clone(&idle), since: Mutex::new(None), ended: CancellationToken::new() };
        let lingering = Arc::clone(&lingering);
        tasks.spawn(answer(stream, peer, router.clone(), seat, limits.idle, stop.clone(), slot, lingering));
    }
    while tasks.join_next().await.is_some() {}
}

async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    select_all(listeners.iter().map(|listener| Box::pin(listener.accept()))).await.0
}

#[expect(clippy::too_many_arguments, reason = "all that a connection's task owns, from one caller")]
async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    seat: Seat,
    idle: Duration,
    stop: CancellationToken,
    slot: Option<OwnedSemaphorePermit>,
    lingering: Arc<Semaphore>,
) {
    let seat = Arc::new(seat);
    seat.rest();
    let connection = Connection { peer: peer.ip().to_canonical(), seat: Arc::clone(&seat) };
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        let answered = router.call(request);
        let seat = Arc::clone(&connection.seat);
        async move {
            let answered = answered.await;
            seat.rest();
            answered
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let is_evicted = tokio::select! {
        // Whatever ended it, there is nobody to tell.
        _ = served.as_mut() => return,
        () = stop.cancelled() => false,
        () = seat.ended.cancelled() => true,
    };
    served.as_mut().graceful_shutdown();
    if is_evicted && seat.is_working() {
        // Its request arrived in the very moment.
        drop(served.await);
    } else if let Ok(_place) = lingering.try_acquire() {
        drop(slot);
        drop(tokio::time::timeout(LAST_WORDS, served).await);
    }
}

/// Connections without a whole request under way, in the order in which they became so.
#[derive(Debug, Default)]
struct Idle {
    seats: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    ends: BTreeMap<u64, CancellationToken>,
}

impl Idle {
    /// A slot; if none is free, after the connection that has been idle longest was ended.
    async fn make_room(&self, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
                return Some(slot);
            }
            let oldest = self.seats.lock().ends.pop_first();
            let has_ended_one = oldest.map(|(_, end)| end.cancel()).is_some();
            tokio::select! {
                slot = Arc::clone(slots).acquire_owned() => return slot.ok(),
                () = self.more.notified(), if !has_ended_one => {}
            }
        }
    }
}

/// One connection's place among the idle ones.
#[derive(Debug)]
struct Seat {
    idle: Arc<Idle>,
    since: Mutex<Option<u64>>,
    ended: CancellationToken,
}

impl Seat {
    fn rest(&self) {
        let mut since = self.since.lock();
        let mut seats = self.idle.seats.lock();
        if let Some(number) = since.take() {
            seats.ends.remove(&number);
        }
        let number = seats.next;
        seats.next = seats.next.saturating_add(1);
        seats.ends.insert(number, self.ended.clone());
        *since = Some(number);
        self.idle.more.notify_one();
    }

    fn work(&self) {
        let mut since = self.since.lock();
        if let Some(number) = since.take() {
            self.idle.seats.lock().ends.remove(&number);
        }
    }

    fn is_working(&self) -> bool {
        self.since.lock().is_none()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.work();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::server::LOOPBACK;
    use axum::extract::Request;
    use axum::routing::any;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: Duration = Duration::from_secs(3_600);
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    struct Served {
        at: SocketAddr,
        stop: CancellationToken,
        serving: JoinSet<()>,
        /// Lets requests of `/slow` be answered.
        go: Arc<Semaphore>,
    }

    impl Served {
        async fn end(mut self) {
            self.stop.cancel();
            self.serving.join_next().await.unwrap().unwrap();
        }
    }

    async fn served(connections: usize, idle: Duration) -> Served {
        let listeners = listen(&LOOPBACK[..1], 0).await.unwrap();
        let at = listeners[0].local_addr().unwrap();
        let stop = CancellationToken::new();
        let go = Arc::new(Semaphore::new(0));
        let waiting = Arc::clone(&go);
        // As the API does: first all of the request, then the work.
        let here = async |request: Request| {
            let connection = request.extensions().get::<Connection>().unwrap().clone();
            axum::body::to_bytes(request.into_body(), 100).await.unwrap_or_default();
            connection.has_asked();
            "here"
        };
        let slow = async move |request: Request| {
            request.extensions().get::<Connection>().unwrap().has_asked();
            drop(waiting.acquire().await);
        };
        let router = Router::new().route("/", any(here)).route("/slow", any(slow));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listeners, Limits { connections, idle }, router, stop.clone()));
        Served { at, stop, serving, go }
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(ASK).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn idle_connections_give_way_and_busy_ones_do_not() {
        let served = served(4, LONG).await;
        let mut busy = TcpStream::connect(served.at).await.unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(TcpStream::connect(served.at).await.unwrap());
            let mut asking = TcpStream::connect(served.at).await.unwrap();
            assert_eq!(ask(&mut asking).await, "HTTP/1.1 200");
        }
        let mut end = Vec::new();
        assert_eq!(silent[0].read_to_end(&mut end).await.unwrap(), 0, "the oldest one was closed");
        served.go.add_permits(1);
        busy.read_to_end(&mut end).await.unwrap();
        assert!(end.starts_with(b"HTTP/1.1 200"));
        served.end().await;
    }

    /// Those that say nothing, those in the middle of a header, in the middle of a body, and after an answer in the middle of
    /// the next header.
    #[tokio::test]
    async fn whoever_asks_in_full_is_answered_at_once_among_those_who_do_not() {
        const BODY: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{";
        const EXPECTS: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
        let again = [ASK, &ASK[..9]].concat();
        for half in [&b""[..], &ASK[..9], BODY, EXPECTS, &again] {
            let served = served(4, LONG).await;
            let mut halves = Vec::new();
            for _ in 0..60 {
                let mut stream = TcpStream::connect(served.at).await.unwrap();
                stream.write_all(half).await.unwrap();
                halves.push(stream);
            }
            let mut asking = TcpStream::connect(served.at).await.unwrap();
            let answer = tokio::time::timeout(Duration::from_secs(5), ask(&mut asking)).await;
            assert_eq!(answer.as_deref(), Ok("HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(half));
            served.end().await;
        }
    }

    #[tokio::test]
    async fn when_all_are_busy_the_next_one_waits_for_the_first_that_is_not() {
        let served = served(1, LONG).await;
        let mut busy = TcpStream::connect(served.at).await.unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut next = TcpStream::connect(served.at).await.unwrap();
        {
            let asking = ask(&mut next);
            tokio::pin!(asking);
            assert!(tokio::time::timeout(Duration::from_millis(100), asking.as_mut()).await.is_err());
            served.go.add_permits(1);
            assert_eq!(asking.await, "HTTP/1.1 200");
        }
        served.end().await;
    }

    #[tokio::test]
    async fn a_connection_without_a_request_ends_whether_new_half_asked_or_used() {
        let served = served(8, Duration::from_millis(200)).await;
        let silent = TcpStream::connect(served.at).await.unwrap();
        let mut half = TcpStream::connect(served.at).await.unwrap();
        half.write_all(&ASK[..9]).await.unwrap();
        let mut used = TcpStream::connect(served.at).await.unwrap();
        assert_eq!(ask(&mut used).await, "HTTP/1.1 200");
        for (name, mut stream) in [("silent", silent), ("half", half), ("used", used)] {
            let mut rest = Vec::new();
            let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
            end.unwrap_or_else(|_| panic!("{name} is still open")).unwrap();
        }
        served.end().await;
    }

    #[tokio::test]
    async fn nobody_holds_up_the_end() {
        let served = served(8, LONG).await;
        let _silent = TcpStream::connect(served.at).await.unwrap();
        let mut busy = TcpStream::connect(served.at).await.unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut asking = TcpStream::connect(served.at).await.unwrap();
        assert_eq!(ask(&mut asking).await, "HTTP/1.1 200");
        let start = Instant::now();
        served.end().await;
        assert!(start.elapsed() < 20 * LAST_WORDS, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn every_address_has_the_same_port_and_absent_ones_are_left_out() {
        let listeners = listen(&LOOPBACK, 0).await.unwrap();
        let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        // An address for documentation, which no machine has.
        let absent = IpAddr::from([192, 0, 2, 1]);
        let listeners = listen(&[LOOPBACK[0], absent], 0).await.unwrap();
        assert_eq!(listeners.len(), 1);
        let (address, _) = listen(&[absent], 0).await.unwrap_err();
        assert_eq!(address.ip(), absent);
        let taken = listeners[0].local_addr().unwrap();
        let (address, error) = listen(&LOOPBACK[..1], taken.port()).await.unwrap_err();
        assert_eq!((address, error.kind()), (taken, io::ErrorKind::AddrInUse));
    }
}
