//! Samples the machine once a second, on a thread of its own: a kernel that answers slowly delays nobody else.

use std::convert::Infallible;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::rings::Rings;
use super::{Sample, SampleError, Sampler};
use crate::clock::Clock;

/// From one sample to the next.
pub const PERIOD: Duration = Duration::from_secs(1);
/// The thread's name, as the system shows it.
pub const NAME: &str = "sampler";

/// The newest sample; `None` before the first, and while the machine cannot be read.
pub type Newest = watch::Receiver<Option<Arc<Sample>>>;

/// What the samples add up to, shared with the thread that takes them.
#[derive(Clone, Debug, Default)]
pub struct SharedRings(Arc<Mutex<Rings>>);

impl SharedRings {
    /// Holds these.
    pub fn new(rings: Rings) -> Self {
        Self(Arc::new(Mutex::new(rings)))
    }

    /// For a moment: the sampler waits.
    pub fn lock(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that samples until this is dropped.
pub struct SamplerHandle {
    newest: Newest,
    rings: SharedRings,
    _alive: SyncSender<Infallible>,
}

impl SamplerHandle {
    /// The newest sample.
    pub fn newest(&self) -> Newest {
        self.newest.clone()
    }

    /// What the samples add up to.
    pub fn rings(&self) -> SharedRings {
        self.rings.clone()
    }

    /// Waits until the thread has ended, which it only does by a defect while there is a handle.
    pub async fn ended(&mut self) {
        while self.newest.changed().await.is_ok() {}
    }
}

/// Starts a thread that samples the machine and the file system of `home`, the first time after [`Sampler::min_interval`] and then every
/// [`PERIOD`]. `rings` are what was sampled before.
///
/// # Errors
/// When the operating system does not tell, or no thread can be started.
pub fn spawn(home: &Path, clock: Arc<dyn Clock>, rings: Rings) -> Result<SamplerHandle, SampleError> {
    let sampler = Sampler::new(home)?;
    let (alive, until) = mpsc::sync_channel(0);
    let (sender, newest) = watch::channel(None);
    let rings = SharedRings::new(rings);
    let thread = Thread { sampler, clock, newest: sender, rings: rings.clone(), is_failing: false };
    let start = std::thread::Builder::new().name(NAME.to_owned()).spawn(move || thread.run(&until));
    start.map_err(SampleError::Thread)?;
    Ok(SamplerHandle { newest, rings, _alive: alive })
}

struct Thread {
    sampler: Sampler,
    clock: Arc<dyn Clock>,
    newest: watch::Sender<Option<Arc<Sample>>>,
    rings: SharedRings,
    is_failing: bool,
}

impl Thread {
    /// Until the other end of `until` is dropped.
    fn run(mut self, until: &mpsc::Receiver<Infallible>) {
        let mut due = Instant::now() + Sampler::min_interval();
        while until.recv_timeout(due.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout) {
            self.sample();
            // After a pause of the machine it goes on from now.
            due = (due + PERIOD).max(Instant::now() + Sampler::min_interval());
        }
    }

    fn sample(&mut self) {
        let sample = match self.sampler.sample(self.clock.now()) {
            Ok(sample) => Arc::new(sample),
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the machine cannot be sampled");
                }
                self.newest.send_replace(None);
                return;
            }
        };
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("the machine can be sampled again");
        }
        self.rings.lock().add(&sample);
        self.newest.send_replace(Some(sample));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::sampler::rings::Granularity;

    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
    }

    #[tokio::test]
    async fn it_samples_every_second_until_its_handle_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let handle = spawn(folder.path(), Arc::<SystemClock>::clone(&clock), Rings::default()).unwrap();
        let (mut newest, rings) = (handle.newest(), handle.rings());
        let begun = clock.now();
        let mut times = Vec::new();
        for _ in 0..3 {
            within(newest.changed()).await.unwrap();
            times.push(newest.borrow_and_update().as_ref().unwrap().time);
        }
        assert!(times[0].until(times[2]) >= PERIOD, "{times:?}");
        assert!(begun <= times[0] && times[2] <= clock.now());
        let hours = rings.lock().between(Granularity::Hour, (begun.before(Granularity::Hour.length()), clock.now()));
        assert!(hours.iter().map(|hour| hour.figures.cpu.samples()).sum::<u32>() >= 3, "{hours:?}");

        drop(handle);
        // What is left of it is the watch's other end, which the thread drops when it ends.
        within(async { while newest.changed().await.is_ok() {} }).await;
        let hours = rings.lock().between(Granularity::Hour, (begun.before(Granularity::Hour.length()), clock.now()));
        assert!(!hours.is_empty(), "the rings outlive the thread");
    }

    #[tokio::test]
    async fn a_machine_that_cannot_be_read_has_no_newest_sample() {
        let folder = tempfile::tempdir().unwrap();
        let handle = spawn(folder.path(), Arc::new(SystemClock), Rings::default()).unwrap();
        let mut newest = handle.newest();
        within(newest.wait_for(Option::is_some)).await.unwrap();
        // Its file system cannot be asked any more.
        let path = folder.path().to_path_buf();
        drop(folder);
        within(newest.wait_for(Option::is_none)).await.unwrap();
        std::fs::create_dir(&path).unwrap();
        within(newest.wait_for(Option::is_some)).await.unwrap();
        drop(handle);
        within(async { while newest.changed().await.is_ok() {} }).await;
        std::fs::remove_dir(&path).unwrap();
    }

    #[tokio::test]
    async fn a_thread_that_has_ended_is_noticed() {
        let (newest, (alive, _)) = (watch::channel(None).1, mpsc::sync_channel(0));
        let mut handle = SamplerHandle { newest, rings: SharedRings::default(), _alive: alive };
        within(handle.ended()).await;
    }
}
