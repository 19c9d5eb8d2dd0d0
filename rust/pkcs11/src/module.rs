//! Loading a module, and finding the one token that is meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::slot::{Slot, TokenInfo};

use crate::error::{translate, Error, Failure};
use crate::profile::GENERIC;

/// Which token is meant, and where its PIN is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The vendor's shared library.
    pub module_path: PathBuf,
    /// The file that holds the PIN.
    pub pin_file: PathBuf,
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number, for two tokens of one label.
    pub serial: Option<String>,
    /// The slot's number; SoftHSM gives random ones.
    pub slot_id: Option<u64>,
}

// The process in which each module was initialised.
static INITIALISED: Mutex<BTreeMap<PathBuf, u32>> = Mutex::new(BTreeMap::new());

/// Loads the module and initialises it for this process.
pub(crate) fn load(path: &Path) -> Result<Pkcs11, Failure> {
    if !path.is_file() {
        return Err(Failure::Is(Error::request(
            format!("there is no PKCS#11 module at {}", path.display()),
            "module-path must name the shared library that the HSM's vendor installed",
        )));
    }
    let context = Pkcs11::new(path).map_err(|why| translate(&GENERIC, why))?;
    initialise(&context, path)?;
    Ok(context)
}

fn initialise(context: &Pkcs11, path: &Path) -> Result<(), Failure> {
    let mut initialised = lock()?;
    let here = std::process::id();
    if initialised.get(path).is_some_and(|pid| *pid != here) {
        // This process was forked: the module still believes in the parent's sessions, which are not ours to use.
        // What C_Finalize answers does not matter, some modules notice the fork themselves.
        let _ = context.clone().finalize();
    }
    // Modules take this flag as leave to lock; without it SoftHSM crashes under threads.
    let outcome = context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    match outcome {
        Ok(()) | Err(Cryptoki::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
            initialised.insert(path.to_owned(), here);
            Ok(())
        }
        Err(why) => Err(translate(&GENERIC, why)),
    }
}

// In a fork's child this lock may be held by a thread that exists no more; so nobody waits for it for ever.
fn lock() -> Result<std::sync::MutexGuard<'static, BTreeMap<PathBuf, u32>>, Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match INITIALISED.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::Is(Error::Unavailable(
                    "the PKCS#11 module is still being initialised".into(),
                )))
            }
        }
    }
}

/// The slot of the one token that is meant: none or two of them is an error.
pub(crate) fn select(context: &Pkcs11, config: &Config) -> Result<(Slot, TokenInfo), Failure> {
    let slots = context
        .get_slots_with_token()
        .map_err(|why| translate(&GENERIC, why))?;
    let mut fitting = Vec::new();
    let mut present = Vec::new();
    for slot in slots {
        // A slot whose token cannot be asked is not the one, and is no reason to give up on the others.
        let Ok(info) = context.get_token_info(slot) else {
            continue;
        };
        if !info.token_initialized() {
            continue;
        }
        present.push(format!("'{}'", info.label()));
        if fits(config, slot, &info) {
            fitting.push((slot, info));
        }
    }
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        // It may be away for a moment: "not found" is never read as "gone".
        0 => Err(Failure::Is(Error::Unavailable(format!(
            "no token is {}; present: {}",
            wanted(config),
            if present.is_empty() {
                "none".to_owned()
            } else {
                present.join(", ")
            }
        )))),
        many => Err(Failure::Is(Error::refused_with(
            format!("{many} tokens are {}; exactly one must be", wanted(config)),
            "tell them apart by serial= or slot-id= in the HSM's URI",
        ))),
    }
}

fn fits(config: &Config, slot: Slot, info: &TokenInfo) -> bool {
    config
        .token
        .as_ref()
        .is_none_or(|label| label == info.label().trim_end())
        && config
            .serial
            .as_ref()
            .is_none_or(|serial| serial == info.serial_number().trim_end())
        && config.slot_id.is_none_or(|id| id == slot.id())
}

fn wanted(config: &Config) -> String {
    let label = config
        .token
        .as_ref()
        .map(|label| format!("labelled '{label}'"));
    let serial = config
        .serial
        .as_ref()
        .map(|serial| format!("numbered {serial}"));
    let slot = config.slot_id.map(|id| format!("in slot {id}"));
    [label, serial, slot]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" and ")
}
