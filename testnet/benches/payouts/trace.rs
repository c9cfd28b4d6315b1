//! What the pusher logs, as events with their times: the bench sees what an operator sees.

use std::fmt::{Debug, Write as _};
use std::sync::OnceLock;
use std::time::Instant;

use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// More than a payday logs.
const MAX_STEPS: usize = 4_096;
const PUSHER: &str = "lucid_node::payout::push";

static STEPS: OnceLock<broadcast::Sender<(Instant, Step)>> = OnceLock::new();

/// Something that the pusher got done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The root has enough signatures.
    Signed,
    /// A provider took the transaction that posts it.
    PostSent,
    PostIncluded,
    /// A batch that pays so many accounts.
    BatchIncluded(usize),
    Failed(String),
    /// Everything due is paid on the solid view.
    Finished,
}

/// Steps in their order.
pub(crate) struct Steps(broadcast::Receiver<(Instant, Step)>);

impl Steps {
    pub(crate) async fn next(&mut self) -> Option<(Instant, Step)> {
        self.0.recv().await.ok()
    }

    /// Forgets what was before.
    pub(crate) fn clear(&mut self) {
        self.0 = self.0.resubscribe();
    }
}

/// Logs to standard error as `RUST_LOG` says, and listens to the pusher.
pub(crate) fn start() {
    STEPS.get_or_init(|| broadcast::Sender::new(MAX_STEPS));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    let listen = Listen.with_filter(Targets::new().with_target(PUSHER, Level::DEBUG));
    tracing_subscriber::registry().with(log).with(listen).init();
}

pub(crate) fn steps() -> Steps {
    Steps(STEPS.get().unwrap().subscribe())
}

struct Listen;

#[derive(Default)]
struct Fields {
    message: String,
    work: String,
    status: String,
    have: u64,
    needed: u64,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "have" => self.have = value,
            "needed" => self.needed = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "work" => &mut self.work,
            "status" => &mut self.status,
            _ => return,
        };
        let _ = write!(text, "{value:?}");
    }
}

impl Fields {
    fn step(&self) -> Option<Step> {
        let is_post = self.work.starts_with("Post");
        match self.message.as_str() {
            "signatures of a payout root" if self.have >= self.needed => Some(Step::Signed),
            "everything due is paid" => Some(Step::Finished),
            "transaction" => match self.status.split([' ', '{']).next()? {
                "Sent" if is_post => Some(Step::PostSent),
                "Included" if is_post => Some(Step::PostIncluded),
                "Included" => {
                    let accounts = self.work.split_once("accounts: [")?.1.split_once(']')?.0;
                    Some(Step::BatchIncluded(accounts.split(", ").count()))
                }
                "Failed" | "Expired" => Some(Step::Failed(self.status.clone())),
                _ => None,
            },
            _ => None,
        }
    }
}

impl<S: Subscriber> Layer<S> for Listen {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let (Some(step), Some(sender)) = (fields.step(), STEPS.get()) {
            let _ = sender.send((Instant::now(), step));
        }
    }
}
