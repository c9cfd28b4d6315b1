//! Connections that end with the network: after it was told to stop, a client that sends or reads nothing more is cut off,
//! so that nobody can hold up the end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A listener of such connections.
#[derive(Debug)]
pub(crate) struct StoppingListener {
    inner: TcpListener,
    stop: CancellationToken,
}

impl StoppingListener {
    pub(crate) fn new(inner: TcpListener, stop: CancellationToken) -> Self {
        Self { inner, stop }
    }
}

impl Listener for StoppingListener {
    type Io = StoppingStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (StoppingStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.inner).await;
        // Answers are small and written at once; without the option they are merely later.
        drop(stream.set_nodelay(true));
        (StoppingStream { stream, stopped: Box::pin(self.stop.clone().cancelled_owned()) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Whatever would have to wait after the stop ends instead: reading as if the client had closed, writing as an error.
#[derive(Debug)]
pub(crate) struct StoppingStream {
    stream: TcpStream,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl StoppingStream {
    fn or_stopped<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
        end: impl FnOnce() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            return poll;
        }
        self.stopped.as_mut().poll(context).map(|()| end())
    }
}

fn cut_off<T>() -> io::Result<T> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

impl AsyncRead for StoppingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.or_stopped(context, poll, || Ok(()))
    }
}

impl AsyncWrite for StoppingStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.or_stopped(context, poll, cut_off)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.or_stopped(context, poll, cut_off)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.or_stopped(context, poll, cut_off)
    }
}
