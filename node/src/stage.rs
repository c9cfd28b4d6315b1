//! Tasks in stages: supervised together, and stopped stage by stage.
//!
//! A task that ends by itself stops the node: a node that only half works would look healthy.

use std::time::Duration;

use anyhow::anyhow;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// All of stopping together takes at most this long.
const GOODBYE: Duration = Duration::from_secs(10);

/// The parts that stop together.
pub(crate) struct Stage {
    name: &'static str,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    /// Cancelled when the stage is to stop.
    pub(crate) stop: CancellationToken,
}

impl Stage {
    /// A stage without tasks.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// Runs a task that may fail.
    pub(crate) fn spawn<E: Into<anyhow::Error>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await.map_err(Into::into)) });
    }

    /// Runs a task that cannot fail.
    pub(crate) fn spawn_plain(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn(name, async move {
            task.await;
            anyhow::Ok(())
        });
    }

    /// The next task that ends: its name, or why it failed. `None` without tasks.
    async fn next_end(&mut self) -> Option<anyhow::Result<&'static str>> {
        Some(match self.tasks.join_next().await? {
            Ok((name, Ok(()))) => Ok(name),
            Ok((name, Err(error))) => Err(error.context(format!("the {name} has failed"))),
            Err(panic) => Err(anyhow!(panic).context(format!("a task of {} has panicked", self.name))),
        })
    }

    /// Stops the tasks and waits for them; the first failure.
    async fn stop(mut self) -> Option<anyhow::Error> {
        self.stop.cancel();
        let mut failure = None;
        while let Some(ended) = self.next_end().await {
            if let Err(error) = ended {
                tracing::error!("{error:#}");
                failure.get_or_insert(error);
            }
        }
        failure
    }
}

/// How the parts of a node have stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// All of them.
    Wholly,
    /// Some did not in time.
    InPart,
}

/// Waits for `stop` or until a task ends, and stops the stages in order.
///
/// # Errors
/// Why a task failed. Tasks that live by one that failed end by themselves, often before it: of all ends the first
/// failure is told, and only without any the first end.
pub(crate) async fn supervise(stages: Vec<Stage>, stop: CancellationToken) -> anyhow::Result<Stopped> {
    supervise_for(stages, stop, GOODBYE).await
}

async fn supervise_for(mut stages: Vec<Stage>, stop: CancellationToken, limit: Duration) -> anyhow::Result<Stopped> {
    let ended = {
        let mut all: Vec<_> = stages.iter_mut().map(|stage| Box::pin(first_end(stage))).collect();
        tokio::select! {
            () = stop.cancelled() => None,
            (ended, _, _) = futures::future::select_all(all.iter_mut()) => Some(ended),
        }
    };
    match &ended {
        None => {}
        Some(Ok(name)) => tracing::error!("stopping: the {name} has ended"),
        Some(Err(error)) => tracing::error!("stopping: {error:#}"),
    }
    let mut failure = None;
    let goodbye = async {
        for stage in stages {
            let failed = stage.stop().await;
            failure = failure.take().or(failed);
        }
    };
    let stopped = match tokio::time::timeout(limit, goodbye).await {
        Ok(()) => Stopped::Wholly,
        Err(_) => {
            tracing::warn!("some parts did not stop in time");
            Stopped::InPart
        }
    };
    tracing::info!("stopped");
    match ended {
        // A node that starts its stages again must not go on after a failure of one.
        None => failure.map_or(Ok(stopped), Err),
        Some(Ok(name)) => Err(failure.unwrap_or_else(|| anyhow!("the {name} has ended"))),
        Some(Err(error)) => Err(error),
    }
}

async fn first_end(stage: &mut Stage) -> anyhow::Result<&'static str> {
    match stage.next_end().await {
        Some(ended) => ended,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::oneshot;

    use super::*;

    /// A stage with a task that notes when it was stopped.
    fn noting(name: &'static str, stopped: &Arc<Mutex<Vec<&'static str>>>) -> Stage {
        let mut stage = Stage::new(name);
        let (stop, stopped) = (stage.stop.clone(), Arc::clone(stopped));
        stage.spawn_plain(name, async move {
            stop.cancelled().await;
            stopped.lock().unwrap().push(name);
        });
        stage
    }

    #[tokio::test]
    async fn stages_stop_in_order_and_an_ordered_end_is_no_error() {
        let stopped = Arc::default();
        let stages = vec![noting("front", &stopped), Stage::new("empty"), noting("back", &stopped)];
        let stop = CancellationToken::new();
        stop.cancel();
        supervise(stages, stop).await.unwrap();
        assert_eq!(*stopped.lock().unwrap(), ["front", "back"]);
    }

    #[tokio::test]
    async fn a_failure_on_the_way_out_is_told() {
        let stopped = Arc::default();
        let (front, mut back) = (noting("front", &stopped), Stage::new("back"));
        let (stopping, stop) = (back.stop.clone(), CancellationToken::new());
        back.spawn("chain", async move {
            stopping.cancelled().await;
            Err::<(), _>(anyhow!("the disk is full"))
        });
        stop.cancel();
        let error = supervise(vec![front, back], stop).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "the chain has failed: the disk is full");
    }

    #[tokio::test]
    async fn the_failure_is_told_and_not_what_ended_because_of_it() {
        let stopped = Arc::default();
        let (front, mut back) = (noting("front", &stopped), Stage::new("back"));
        let (gone, waits) = oneshot::channel::<()>();
        // Lives by the other, which lets go of it before it says why.
        back.spawn_plain("publisher", async move { drop(waits.await) });
        let stop = back.stop.clone();
        back.spawn("chain", async move {
            drop(gone);
            stop.cancelled().await;
            Err::<(), _>(anyhow!("the disk is full"))
        });
        let error = supervise(vec![front, back], CancellationToken::new()).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "the chain has failed: the disk is full");
        assert_eq!(*stopped.lock().unwrap(), ["front"]);
    }

    #[tokio::test]
    async fn an_end_or_a_panic_without_a_reason_stops_the_node_too() {
        let mut stage = Stage::new("parts");
        stage.spawn_plain("sampler", async {});
        let error = supervise(vec![stage], CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "the sampler has ended");
        let mut stage = Stage::new("parts");
        stage.spawn_plain("sampler", async { panic!("a defect") });
        let error = supervise(vec![stage], CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "a task of parts has panicked");
    }

    #[tokio::test]
    async fn what_does_not_stop_is_not_waited_for() {
        let mut stage = Stage::new("deaf");
        let (held, dropped) = oneshot::channel::<()>();
        stage.spawn_plain("deaf task", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let stop = CancellationToken::new();
        stop.cancel();
        supervise_for(vec![stage], stop, Duration::from_millis(10)).await.unwrap();
        assert!(dropped.await.is_err(), "its task is ended all the same");
    }
}
