//! Loading a module, and finding the one token that is meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};
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
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The slot's number; SoftHSM gives random ones.
    pub slot_id: Option<u64>,
    /// The name of the profile; without one, the token's manufacturer decides.
    pub profile: Option<String>,
}

/// A vendor's library in this process, initialised.
pub(crate) struct Module {
    pub context: Pkcs11,
    // Held for reading while the library works, for writing while it starts anew: a new start gives the old handles'
    // numbers to other sessions and other keys.
    starts: RwLock<Starts>,
}

struct Starts {
    number: u64,
    // Whether it was initialised here. What another part of the process initialised is not ours to finalise.
    ours: bool,
    last_anew: Option<Instant>,
}

/// The right to call into a module; no new start happens meanwhile.
pub(crate) struct Entered<'m>(RwLockReadGuard<'m, Starts>);

impl Entered<'_> {
    /// Counts the starts; handles are good within one only.
    pub fn start(&self) -> u64 {
        self.0.number
    }
}

impl Module {
    fn load(path: &Path, inherited: bool) -> Result<Self, Failure> {
        let context = Pkcs11::new(path).map_err(|why| translate(&GENERIC, why))?;
        if inherited {
            // This process was forked: the module still believes in the parent's sessions, which are not ours to use.
            // What C_Finalize answers does not matter, some modules notice the fork themselves.
            let _ = context.clone().finalize();
        }
        let ours = initialise(&context)?;
        Ok(Self {
            context,
            starts: RwLock::new(Starts {
                number: 1,
                ours,
                last_anew: None,
            }),
        })
    }

    pub fn enter(&self) -> Entered<'_> {
        Entered(self.starts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finalises and initialises the module, unless that was done since `seen` or within `pause`.
    ///
    /// Some modules look for their tokens only when they are initialised: SoftHSM never notices that its directory
    /// came back, nor a token that another process made.
    pub fn start_anew(&self, seen: u64, pause: Duration) {
        let mut starts = self.starts.write().unwrap_or_else(PoisonError::into_inner);
        let recent = starts.last_anew.is_some_and(|at| at.elapsed() < pause);
        if starts.number != seen || recent {
            return;
        }
        if starts.ours {
            let _ = self.context.clone().finalize();
        }
        starts.last_anew = Some(Instant::now());
        // A module that does not start says so again at the login that follows.
        if initialise(&self.context).is_ok_and(|ours| ours) {
            starts.ours = true;
            starts.number += 1;
        }
    }
}

/// Whether it was this call that initialised the module.
fn initialise(context: &Pkcs11) -> Result<bool, Failure> {
    // Modules take this flag as leave to lock; without it SoftHSM crashes under threads.
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) => Ok(true),
        Err(Cryptoki::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(false),
        Err(why) => Err(translate(&GENERIC, why)),
    }
}

type Modules = BTreeMap<(PathBuf, u32), Arc<Module>>;

// By path and process. They stay for as long as the process: unloading a library under its own threads crashes.
static MODULES: Mutex<Modules> = Mutex::new(BTreeMap::new());

/// The module at a path, loaded and initialised once in each process.
pub(crate) fn load(path: &Path) -> Result<Arc<Module>, Failure> {
    let file = path
        .canonicalize()
        .ok()
        .filter(|file| file.is_file())
        .ok_or_else(|| {
            Error::request(
                format!("there is no PKCS#11 module at {}", path.display()),
                "module-path must name the shared library that the HSM's vendor installed",
            )
        })?;
    let here = std::process::id();
    let mut modules = lock()?;
    if let Some(module) = modules.get(&(file.clone(), here)) {
        return Ok(Arc::clone(module));
    }
    let inherited = modules.keys().any(|(other, _)| *other == file);
    let module = Arc::new(Module::load(&file, inherited)?);
    modules.insert((file, here), Arc::clone(&module));
    Ok(module)
}

// In a fork's child this lock may be held by a thread that exists no more; so nobody waits for it for ever.
fn lock() -> Result<MutexGuard<'static, Modules>, Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match MODULES.try_lock() {
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
        0 => Err(Failure::Absent(format!(
            "no token is {}; present: {}",
            wanted(config),
            if present.is_empty() {
                "none".to_owned()
            } else {
                present.join(", ")
            }
        ))),
        many => Err(Failure::Is(Error::refused_with(
            format!("{many} tokens are {}; exactly one must be", wanted(config)),
            "tell them apart by serial= or slot-id= in the HSM's URI",
        ))),
    }
}

fn fits(config: &Config, slot: Slot, info: &TokenInfo) -> bool {
    let told = [
        (&config.token, info.label()),
        (&config.serial, info.serial_number()),
        (&config.manufacturer, info.manufacturer_id()),
        (&config.model, info.model()),
    ];
    told.iter()
        .all(|(wanted, is)| wanted.as_ref().is_none_or(|wanted| wanted == is.trim_end()))
        && config.slot_id.is_none_or(|id| id == slot.id())
}

fn wanted(config: &Config) -> String {
    let quoted = |what: &str, wanted: &Option<String>| {
        wanted.as_ref().map(|wanted| format!("{what} '{wanted}'"))
    };
    [
        quoted("labelled", &config.token),
        quoted("numbered", &config.serial),
        quoted("made by", &config.manufacturer),
        quoted("of model", &config.model),
        config.slot_id.map(|id| format!("in slot {id}")),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" and ")
}
