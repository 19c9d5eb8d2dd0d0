//! Work on all cores, in threads of this process: those of a parent do not live on in its fork.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// A process's threads, and after them those of a child that was forked from it.
struct Threads {
    process: u32,
    pool: ThreadPool,
    of_child: OnceLock<Box<Threads>>,
}

static FIRST: OnceLock<Box<Threads>> = OnceLock::new();

/// Runs `work`, which has so many pieces, where rayon finds this process's threads; one piece needs none of them.
pub(crate) fn on_all_cores<T: Send>(pieces: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    if pieces < 2 {
        return Ok(work());
    }
    Ok(own()?.install(work))
}

fn own() -> Result<&'static ThreadPool> {
    let process = std::process::id();
    let mut at = &FIRST;
    loop {
        match at.get() {
            Some(threads) if threads.process == process => return Ok(&threads.pool),
            Some(threads) => at = &threads.of_child,
            None => {
                let pool = ThreadPoolBuilder::new()
                    .build()
                    .map_err(|_| Error::request("the operating system has no threads to give"))?;
                // Another thread may be first: whatever is there then is found above.
                let _ = at.set(Box::new(Threads {
                    process,
                    pool,
                    of_child: OnceLock::new(),
                }));
            }
        }
    }
}
