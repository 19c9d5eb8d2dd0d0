//! Logging in to a token, and never twice with a PIN that it refused.

use std::sync::{MutexGuard, PoisonError};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};

use crate::error::{translate, Error, Failure};
use crate::facts::Facts;
use crate::mechanisms::Missing;
use crate::module::{Config, Module};
use crate::patience::{passes, patiently, pause};
use crate::pin::{self, PinState, RefusedPin};
use crate::profile;
use crate::self_test;
use crate::slots::{self, trimmed};
use crate::talk::Talk;

pub(crate) struct Login {
    // The start of the module in which its handles are good.
    pub start: u64,
    pub slot: Slot,
    // Never used for work: as long as it is open, the token stays logged in.
    pub anchor: Session,
    pub facts: Facts,
}

/// Logs in. Whatever breaks on the way means that the token is not there.
pub(crate) fn log_in(config: &Config, module: &Module, start: u64) -> Result<Login, Failure> {
    attempt(config, module, start).map_err(|failure| match failure {
        Failure::Lost { why, .. } => Failure::Absent(why),
        other => other,
    })
}

fn attempt(config: &Config, module: &Module, start: u64) -> Result<Login, Failure> {
    let (slot, info) = slots::select(module, config)?;
    let pin = config.pin.state();
    check_not_refused(module, &info, pin)?;
    let facts = facts(config, module, slot, info)?;
    let profile = facts.profile;
    let anchor = patiently(profile, || module.context.open_rw_session_no_drop(slot))
        .map_err(|why| translate(profile, why))?;
    let talk = Talk {
        session: &anchor,
        module,
        facts: &facts,
    };
    let entered = enter(&talk, slot, config).map_err(|failure| noted(&talk, slot, pin, failure));
    if let Err(failure) = entered.and_then(|()| self_test::of_token(&talk)) {
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

fn facts(config: &Config, module: &Module, slot: Slot, info: TokenInfo) -> Result<Facts, Failure> {
    let context = &module.context;
    let library = maker(context);
    let profile = profile::choose(
        config.profile.as_deref(),
        trimmed(info.manufacturer_id()),
        &library,
        // The token was selected by its manufacturer, where one was named.
        config.manufacturer.is_some(),
    )?;
    let hardware = !profile.software
        && context
            .get_slot_info(slot)
            .is_ok_and(|slot_info| slot_info.hardware_slot());
    Ok(Facts {
        profile,
        info,
        hardware,
        missing: Missing::of(context, slot, profile),
        library,
    })
}

fn maker(context: &Pkcs11) -> String {
    context
        .get_library_info()
        .map(|library| trimmed(library.manufacturer_id()).to_owned())
        .unwrap_or_default()
}

fn refused(module: &Module) -> MutexGuard<'_, Vec<RefusedPin>> {
    module
        .refused
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn check_not_refused(
    module: &Module,
    info: &TokenInfo,
    pin: Option<PinState>,
) -> Result<(), Failure> {
    let Some(pin) = pin else { return Ok(()) };
    match refused(module).iter().find_map(|it| it.why_not(info, pin)) {
        Some(why) => Err(why.clone().into()),
        None => Ok(()),
    }
}

/// Keeps in mind which PIN the token refused, and adds to the error how many tries it says are left.
fn noted(talk: &Talk, slot: Slot, pin: Option<PinState>, failure: Failure) -> Failure {
    let Failure::WrongPin(text) = failure else {
        return failure;
    };
    let left = slots::told(talk.module, slot).map_or("", |now| pin::tries_left(&now));
    let why = Error::refused_with(format!("{text}{left}"), pin::CHECK_PIN);
    if let Some(pin) = pin {
        let info = &talk.facts.info;
        let mut known = refused(talk.module);
        known.retain(|it| !it.is_of(info));
        known.push(RefusedPin::new(info, pin, why.clone()));
    }
    why.into()
}

/// Logs in where no other session of this process did: the login belongs to the token.
fn enter(talk: &Talk, slot: Slot, config: &Config) -> Result<(), Failure> {
    let (anchor, profile) = (talk.session, talk.profile());
    let told = anchor.get_session_info();
    let entered = told.is_ok_and(|it| matches!(it.session_state(), SessionState::RwUser));
    let pin = config.pin.read(profile)?;
    if entered {
        return Ok(());
    }
    let mut turn = 0;
    loop {
        // Each repetition is a try of its own.
        let info = slots::told(talk.module, slot).map_err(|why| translate(profile, why))?;
        pin::check_tries(&info)?;
        match anchor.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Cryptoki::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => return Ok(()),
            Err(Cryptoki::Pkcs11(code, _)) if turn < profile.repeats && passes(profile, code) => {
                pause(turn);
                turn += 1;
            }
            Err(why) => return Err(translate(profile, why)),
        }
    }
}
