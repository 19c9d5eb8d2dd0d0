//! A bounded pool of sessions, and the one anchor session that keeps the login alive.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use crate::error::{translate, Error, Failure};
use crate::module::{self, Config};
use crate::profile::{self, Profile};

const PATIENCE: Duration = Duration::from_secs(30);

/// A key's handle, good for one login only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handle {
    pub object: ObjectHandle,
    pub kind: crate::Kind,
}

/// What a login told about the token.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub profile: &'static Profile,
    pub info: TokenInfo,
    pub hardware: bool,
}

/// A session on loan, with the number of the login that it belongs to.
pub(crate) struct Lent {
    pub session: Session,
    pub login: u64,
}

struct Login {
    context: Pkcs11,
    slot: Slot,
    // Never used for work: as long as it is open, the token stays logged in.
    anchor: Session,
    facts: Facts,
}

#[derive(Default)]
struct State {
    login: Option<Login>,
    number: u64,
    idle: Vec<Session>,
    lent: usize,
    handles: HashMap<String, Handle>,
    closed: bool,
}

pub(crate) struct Pool {
    config: Config,
    state: Mutex<State>,
    returned: Condvar,
}

impl Pool {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the token; logs in if need be.
    pub fn facts(&self) -> Result<Facts, Failure> {
        let mut state = self.state();
        self.logged_in(&mut state).map(|login| login.facts.clone())
    }

    /// A session for one operation. It comes back by `give_back` or `discard`. A failure comes with the number of the
    /// login that failed.
    pub fn borrow(&self) -> Result<Lent, (u64, Failure)> {
        let mut state = self.state();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tried = self.lend(&mut state);
            match tried {
                Ok(Some(lent)) => return Ok(lent),
                Err(failure) => return Err((state.number, failure)),
                Ok(None) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let busy = format!("all sessions have been busy for {} s", PATIENCE.as_secs());
                return Err((state.number, Error::Unavailable(busy).into()));
            }
            state = self
                .returned
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// A session, unless all that may be open are lent.
    fn lend(&self, state: &mut State) -> Result<Option<Lent>, Failure> {
        let limit = self.logged_in(state)?.facts.profile.max_sessions - 1;
        if state.lent >= limit {
            return Ok(None);
        }
        let session = match state.idle.pop() {
            Some(session) => session,
            None => {
                let login = self.logged_in(state)?;
                // CloudHSM refuses read-only sessions.
                let opened = login.context.open_rw_session_no_drop(login.slot);
                opened.map_err(|why| translate(login.facts.profile, why))?
            }
        };
        state.lent += 1;
        Ok(Some(Lent {
            session,
            login: state.number,
        }))
    }

    /// Takes a session back whose operation is complete.
    pub fn give_back(&self, lent: Lent) {
        let mut state = self.state();
        self.settle(&mut state, lent.login);
        if state.login.is_some() && state.number == lent.login {
            state.idle.push(lent.session);
        } else if state.closed {
            let _ = lent.session.close();
        }
    }

    /// Drops a session that failed. `alive` says whether its handle may still be ours to close.
    pub fn discard(&self, lent: Lent, alive: bool) {
        let mut state = self.state();
        self.settle(&mut state, lent.login);
        drop(state);
        if alive {
            let _ = lent.session.close();
        }
    }

    fn settle(&self, state: &mut State, login: u64) {
        // Loans of an earlier login were written off when it was forgotten.
        if state.number == login {
            state.lent = state.lent.saturating_sub(1);
            self.returned.notify_one();
        }
    }

    /// Drops the login, its sessions and its handles, unless someone did so already.
    pub fn forget(&self, login: u64, sessions_alive: bool) {
        let mut state = self.state();
        if state.number == login {
            release(&mut state, sessions_alive);
            self.returned.notify_all();
        }
    }

    /// Closes every session; nothing can be borrowed afterwards.
    pub fn close(&self) {
        let mut state = self.state();
        release(&mut state, true);
        state.closed = true;
        self.returned.notify_all();
    }

    pub fn handle(&self, label: &str, login: u64) -> Option<Handle> {
        let state = self.state();
        (state.number == login)
            .then(|| state.handles.get(label).copied())
            .flatten()
    }

    pub fn remember(&self, label: &str, login: u64, handle: Handle) {
        let mut state = self.state();
        if state.number == login {
            state.handles.insert(label.to_owned(), handle);
        }
    }

    pub fn forget_handle(&self, label: &str) {
        self.state().handles.remove(label);
    }

    fn logged_in<'s>(&self, state: &'s mut State) -> Result<&'s Login, Failure> {
        if state.closed {
            return Err(Failure::Is(Error::refused("this HSM was closed")));
        }
        if state.login.is_none() {
            state.login = Some(log_in(&self.config)?);
            state.number += 1;
        }
        state
            .login
            .as_ref()
            .ok_or_else(|| Error::Unavailable("not logged in".into()).into())
    }
}

fn release(state: &mut State, sessions_alive: bool) {
    let sessions = state
        .idle
        .drain(..)
        .chain(state.login.take().map(|login| login.anchor));
    for session in sessions {
        if sessions_alive {
            let _ = session.close();
        }
    }
    state.handles.clear();
    state.lent = 0;
}

fn log_in(config: &Config) -> Result<Login, Failure> {
    let context = module::load(&config.module_path)?;
    let (slot, info) = module::select(&context, config)?;
    let profile = profile::for_manufacturer(info.manufacturer_id());
    let hardware = !profile.software
        && context
            .get_slot_info(slot)
            .is_ok_and(|slot_info| slot_info.hardware_slot());
    let anchor = context
        .open_rw_session_no_drop(slot)
        .map_err(|why| translate(profile, why))?;
    let pin = icehouse_core::pin::read(&config.pin_file).map_err(Error::from)?;
    let pin = AuthPin::from(pin.expose().to_owned());
    match anchor.login(UserType::User, Some(&pin)) {
        // The login belongs to the token: another session of this process may have made it.
        Ok(()) | Err(Cryptoki::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(Login {
            context,
            slot,
            anchor,
            facts: Facts {
                profile,
                info,
                hardware,
            },
        }),
        Err(why) => {
            let _ = anchor.close();
            Err(translate(profile, why))
        }
    }
}
