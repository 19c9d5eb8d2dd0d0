//! A module's own functions, for the few calls that the `cryptoki` crate cannot make or whose answer it cannot take.
//!
//! The crate keeps its list of the functions to itself, so this is a second one of the same library. Most modules keep
//! one state for both. Where each list has a state of its own (p11-kit), this one was never initialised: the module
//! says so, and the caller does without.
#![allow(unsafe_code)]

use std::ffi::{c_ulong, CString};
use std::path::Path;
use std::ptr::{self, NonNull};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Result, Rv};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki_sys::{CKF_CLOCK_ON_TOKEN, CK_FUNCTION_LIST, CK_MECHANISM, CK_TOKEN_INFO};
use zeroize::Zeroizing;

/// Functions that fill a buffer of the caller's, once an operation was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    Encrypt,
    Decrypt,
    Sign,
}

pub(crate) struct Functions {
    list: CK_FUNCTION_LIST,
    // The pointers in the list are good for as long as the library is loaded.
    _library: cryptoki_sys::Pkcs11,
}

impl Functions {
    /// The functions of a library that this process has loaded already.
    pub fn of(path: &Path) -> Option<Self> {
        let mut list = ptr::null_mut();
        // SAFETY: the library is loaded and initialised, so loading it again runs nothing of it. `C_GetFunctionList` is
        // called as the standard says, and what it points to is read only when it said CKR_OK.
        unsafe {
            let library = cryptoki_sys::Pkcs11::new(path).ok()?;
            library.C_GetFunctionList.as_ref().ok()?;
            if library.C_GetFunctionList(&mut list) != cryptoki_sys::CKR_OK || list.is_null() {
                return None;
            }
            Some(Self {
                list: *list,
                _library: library,
            })
        }
    }

    /// What a token says of itself, but for its clock.
    pub fn token_without_clock(&self, slot: Slot) -> Option<TokenInfo> {
        let mut info = CK_TOKEN_INFO::default();
        let ask = self.list.C_GetTokenInfo?;
        // SAFETY: the module fills a structure of the type and layout that the standard gives.
        if unsafe { ask(slot.into(), &mut info) } != cryptoki_sys::CKR_OK {
            return None;
        }
        info.flags &= !CKF_CLOCK_ON_TOKEN;
        TokenInfo::try_from(info).ok()
    }

    /// Begins an operation, without asking how much room its answer needs.
    pub fn begin(
        &self,
        what: Filling,
        session: &Session,
        how: &Mechanism,
        key: ObjectHandle,
    ) -> Option<Result<()>> {
        let (call, named) = match what {
            Filling::Encrypt => (self.list.C_EncryptInit?, Function::EncryptInit),
            Filling::Decrypt => (self.list.C_DecryptInit?, Function::DecryptInit),
            Filling::Sign => (self.list.C_SignInit?, Function::SignInit),
        };
        let mut mechanism: CK_MECHANISM = how.into();
        // SAFETY: the mechanism points to parameters that `how` owns or borrows, which outlives the call; the caller keeps
        // it until the operation ended.
        let answer = unsafe { call(session.handle(), &mut mechanism, key.handle()) };
        Some(Rv::from(answer).into_result(named))
    }

    /// Goes on with an operation that was begun, with a buffer of `room` bytes for its answer.
    pub fn fill(
        &self,
        what: Filling,
        session: &Session,
        data: &[u8],
        room: usize,
    ) -> Option<Result<Vec<u8>>> {
        let (call, named) = match what {
            Filling::Encrypt => (self.list.C_Encrypt?, Function::Encrypt),
            Filling::Decrypt => (self.list.C_Decrypt?, Function::Decrypt),
            Filling::Sign => (self.list.C_Sign?, Function::Sign),
        };
        // Wiped where it does not become the answer.
        let mut filled = Zeroizing::new(vec![0u8; room]);
        let mut len = room as c_ulong;
        // SAFETY: both buffers live through the call and are as long as the module is told; the standard has it read the
        // first and not write to it.
        let answer = unsafe {
            call(
                session.handle(),
                data.as_ptr().cast_mut(),
                data.len() as c_ulong,
                filled.as_mut_ptr(),
                &mut len,
            )
        };
        Some(Rv::from(answer).into_result(named).map(|()| {
            filled.truncate(len as usize);
            std::mem::take(&mut *filled)
        }))
    }
}

/// Initialises a module, with a configuration string where it wants one.
pub(crate) fn initialise(context: &Pkcs11, configuration: Option<&CString>) -> Result<()> {
    // Modules take this flag as leave to lock; without it SoftHSM crashes under threads.
    let flags = CInitializeFlags::OS_LOCKING_OK;
    let reserved = configuration.and_then(|text| NonNull::new(text.as_ptr().cast_mut()));
    context.initialize(match reserved {
        None => CInitializeArgs::new(flags),
        // SAFETY: modules that take a configuration take it so, as a string that ends in a zero byte. It lives as long as
        // the module.
        Some(text) => unsafe { CInitializeArgs::new_with_reserved(flags, text.cast()) },
    })
}
