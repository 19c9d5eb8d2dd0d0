//! Logging in to a token, and never twice with a PIN that it refused.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use crate::error::{translate, Error, Failure};
use crate::module::{self, Config};
use crate::patience::patiently;
use crate::profile::{self, Profile};
use crate::self_test;

/// What a login told about the token.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub profile: &'static Profile,
    pub info: TokenInfo,
    pub hardware: bool,
}

pub(crate) struct Login {
    // The start of the module in which its handles are good.
    pub start: u64,
    pub slot: Slot,
    // Never used for work: as long as it is open, the token stays logged in.
    pub anchor: Session,
    pub facts: Facts,
}

/// A PIN that the token refused. Tokens lock after a few wrong tries, so the same file is not tried again.
pub(crate) struct RefusedPin {
    file: PinFile,
    why: Error,
}

/// A PIN file as it was once: its inode, its length and when it was written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PinFile(u64, u64, i64, i64);

impl PinFile {
    fn now(path: &Path) -> Option<Self> {
        let seen = fs::metadata(path).ok()?;
        Some(Self(
            seen.ino(),
            seen.len(),
            seen.mtime(),
            seen.mtime_nsec(),
        ))
    }
}

/// Logs in. Whatever breaks on the way means that the token is not there.
pub(crate) fn log_in(
    config: &Config,
    context: &Pkcs11,
    start: u64,
    refused: &mut Option<RefusedPin>,
) -> Result<Login, Failure> {
    attempt(config, context, start, refused).map_err(|failure| match failure {
        Failure::Lost { why, .. } => Failure::Absent(why),
        other => other,
    })
}

fn attempt(
    config: &Config,
    context: &Pkcs11,
    start: u64,
    refused: &mut Option<RefusedPin>,
) -> Result<Login, Failure> {
    let pin_file = PinFile::now(&config.pin_file);
    if let Some(before) = refused.as_ref().filter(|it| Some(it.file) == pin_file) {
        return Err(before.why.clone().into());
    }
    let (slot, info) = module::select(context, config)?;
    let profile = chosen(config, context, &info)?;
    let hardware = !profile.software
        && context
            .get_slot_info(slot)
            .is_ok_and(|slot_info| slot_info.hardware_slot());
    let facts = Facts {
        profile,
        info,
        hardware,
    };
    let anchor = patiently(profile, || context.open_rw_session_no_drop(slot))
        .map_err(|why| translate(profile, why))?;
    let entered = enter(&anchor, profile, config);
    if let (Err(Failure::Is(why @ Error::Refused { .. })), Some(file)) = (&entered, pin_file) {
        let why = why.clone();
        *refused = Some(RefusedPin { file, why });
    }
    if let Err(failure) = entered.and_then(|()| self_test::of_token(&anchor, profile)) {
        let _ = anchor.close();
        return Err(failure);
    }
    Ok(Login {
        start,
        slot,
        anchor,
        facts,
    })
}

fn chosen(
    config: &Config,
    context: &Pkcs11,
    info: &TokenInfo,
) -> Result<&'static Profile, Failure> {
    let library = context
        .get_library_info()
        .map(|library| library.manufacturer_id().trim_end().to_owned())
        .unwrap_or_default();
    let token = info.manufacturer_id().trim_end();
    // The token was selected by its manufacturer, where one was named.
    let vouched = config.manufacturer.is_some();
    Ok(profile::choose(
        config.profile.as_deref(),
        token,
        &library,
        vouched,
    )?)
}

fn enter(anchor: &Session, profile: &Profile, config: &Config) -> Result<(), Failure> {
    let pin = icehouse_core::pin::read(&config.pin_file).map_err(Error::from)?;
    if profile.pin_names_user && !names_user(pin.expose()) {
        return Err(Error::refused_with(
            "wrong PIN: CloudHSM's reads USER:PASSWORD, of a crypto user",
            "write both into the file named by pin-source, with a colon between them",
        )
        .into());
    }
    let pin = AuthPin::from(pin.expose().to_owned());
    match patiently(profile, || anchor.login(UserType::User, Some(&pin))) {
        // The login belongs to the token: another session of this process may have made it.
        Ok(()) | Err(Cryptoki::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(why) => Err(translate(profile, why)),
    }
}

fn names_user(pin: &str) -> bool {
    pin.split_once(':')
        .is_some_and(|(user, password)| !user.is_empty() && !password.is_empty())
}
