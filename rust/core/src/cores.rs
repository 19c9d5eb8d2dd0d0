//! Work on all cores, in threads of this process: those of a parent do not live on in its fork.

use std::sync::OnceLock;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// A process's threads, and after them those of a child that was forked from it.
struct Threads {
    process: u32,
    pool: ThreadPool,
    of_child: OnceLock<Box<Threads>>,
}

static FIRST: OnceLock<Box<Threads>> = OnceLock::new();

/// Items a thread works on before it asks for more.
const CHUNK: usize = 64;

/// What `work` makes of the items, a chunk at a time, in order: on all cores, or here where there is one chunk only.
pub(crate) fn in_chunks<I: Sync, T: Send>(
    items: &[I],
    work: impl Fn(&[I]) -> Result<Vec<T>> + Send + Sync,
) -> Result<Vec<T>> {
    if items.len() <= CHUNK {
        return work(items);
    }
    let done = own()?.install(|| {
        items
            .par_chunks(CHUNK)
            .map(work)
            .collect::<Result<Vec<Vec<T>>>>()
    })?;
    Ok(done.into_iter().flatten().collect())
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
