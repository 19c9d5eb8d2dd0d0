//! Loading a module, and starting it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, TryLockError,
};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Cryptoki, RvError};

use crate::error::{translate, Error, Failure};
use crate::functions::{self, Functions};
use crate::pin::{PinSource, RefusedPin};
use crate::profile::GENERIC;

/// Which token is meant, and where its PIN is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The vendor's shared library.
    pub module_path: PathBuf,
    /// What its C_Initialize is told, where it wants a configuration.
    pub module_arguments: Option<String>,
    /// Where the PIN is.
    pub pin: PinSource,
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
    /// PINs that its tokens refused.
    pub refused: Mutex<Vec<RefusedPin>>,
    file: PathBuf,
    configuration: Option<CString>,
    functions: OnceLock<Option<Functions>>,
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
    fn load(path: &Path, configuration: Option<CString>, inherited: bool) -> Result<Self, Failure> {
        let context = Pkcs11::new(path).map_err(|why| translate(&GENERIC, why))?;
        if inherited {
            // This process was forked: the module still believes in the parent's sessions, which are not ours to use.
            // What C_Finalize answers does not matter, some modules notice the fork themselves.
            let _ = context.clone().finalize();
        }
        let ours = initialise(&context, configuration.as_ref())?;
        Ok(Self {
            context,
            refused: Mutex::default(),
            file: path.to_owned(),
            configuration,
            functions: OnceLock::new(),
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

    /// Its functions themselves, where the library over them does not do.
    pub fn functions(&self) -> Option<&Functions> {
        self.functions
            .get_or_init(|| Functions::of(&self.file))
            .as_ref()
    }

    /// Whether it was initialised here, and so as its configuration says.
    pub fn is_ours(&self) -> bool {
        // Also asked while the module is entered; a second reader could wait for a writer that waits for the first.
        self.starts.try_read().is_ok_and(|starts| starts.ours)
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
        let configuration = self.configuration.as_ref();
        if initialise(&self.context, configuration).is_ok_and(|ours| ours) {
            starts.ours = true;
            starts.number += 1;
        }
    }
}

/// Whether it was this call that initialised the module.
fn initialise(context: &Pkcs11, configuration: Option<&CString>) -> Result<bool, Failure> {
    match functions::initialise(context, configuration) {
        Ok(()) => Ok(true),
        Err(Cryptoki::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(false),
        Err(Cryptoki::Pkcs11(RvError::ArgumentsBad, _)) => {
            Err(Failure::Is(wants_arguments(configuration.is_some())))
        }
        Err(why) => Err(translate(&GENERIC, why)),
    }
}

fn wants_arguments(given: bool) -> Error {
    let (text, hint) = if given {
        (
            "the PKCS#11 module does not take these module-init-args (C_Initialize answered ArgumentsBad)",
            "its vendor says how they read; most modules want none",
        )
    } else {
        (
            "the PKCS#11 module wants to be told how to start (C_Initialize answered ArgumentsBad)",
            "say it by module-init-args= in the HSM's URI; NSS: configdir='sql:/DIRECTORY' certPrefix='' keyPrefix='' \
             secmod='secmod.db' flags=, percent-encoded",
        )
    };
    Error::request(text, hint)
}

type Modules = BTreeMap<(PathBuf, u32), Arc<Module>>;

// By path and process. They stay for as long as the process: unloading a library under its own threads crashes.
static MODULES: Mutex<Modules> = Mutex::new(BTreeMap::new());

/// The module at a path, loaded and initialised once in each process.
pub(crate) fn load(path: &Path, arguments: Option<&str>) -> Result<Arc<Module>, Failure> {
    let configuration = arguments.map(CString::new).transpose().map_err(|_| {
        Error::request("module-init-args must not hold a zero byte", "leave it out")
    })?;
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
        if module.configuration != configuration {
            return Err(Failure::Is(Error::request(
                "this process has started the PKCS#11 module with other module-init-args",
                "a module starts once in a process: name the same module-init-args in every URI of it",
            )));
        }
        return Ok(Arc::clone(module));
    }
    let inherited = modules.keys().any(|(other, _)| *other == file);
    let module = Arc::new(Module::load(&file, configuration, inherited)?);
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
