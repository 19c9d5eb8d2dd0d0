//! A bounded pool of sessions, and the one anchor session that keeps the login alive.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::session::{Session, SessionState};
use cryptoki::slot::Slot;

use crate::error::{translate, Error, Failure};
use crate::facts::Facts;
use crate::handle::Handle;
use crate::login::{log_in, Login};
use crate::module::{self, Config, Entered, Module};
use crate::patience::patiently;
use crate::profile::Profile;

const PATIENCE: Duration = Duration::from_secs(30);
// A new start of the module disturbs every token of it. So it is not done for each operation that finds none.
const BETWEEN_STARTS: Duration = Duration::from_secs(1);

/// A session on loan, with the number of the login that it belongs to.
pub(crate) struct Lent<'p> {
    pub session: Session,
    pub slot: Slot,
    pub login: u64,
    _entered: Entered<'p>,
}

#[derive(Default)]
struct State {
    login: Option<Login>,
    number: u64,
    // The token itself closed the sessions of this login and all before it. Their handles may name others by now, and
    // are never closed.
    dead: u64,
    idle: Vec<Session>,
    lent: usize,
    handles: HashMap<String, Handle>,
    closed: bool,
}

pub(crate) struct Pool {
    config: Config,
    module: Arc<Module>,
    state: Mutex<State>,
    returned: Condvar,
}

impl Pool {
    pub fn new(config: Config) -> Result<Self, Failure> {
        Ok(Self {
            module: module::load(&config.module_path, config.module_arguments.as_deref())?,
            config,
            state: Mutex::default(),
            returned: Condvar::new(),
        })
    }

    pub fn module(&self) -> &Module {
        &self.module
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs in for the first time, and says what that told of the token.
    pub fn open(&self) -> Result<Facts, Failure> {
        // A new token may be one that the module has not seen yet.
        let lent = self
            .borrow_after(Duration::ZERO)
            .map_err(|(_, failure)| failure)?;
        let facts = self.state().login.as_ref().map(|it| it.facts.clone());
        self.give_back(lent);
        facts.ok_or_else(|| Error::Unavailable("not logged in".into()).into())
    }

    /// A session for one operation. It comes back by `give_back` or `discard`. A failure comes with the number of the
    /// login that failed.
    pub fn borrow(&self) -> Result<Lent<'_>, (u64, Failure)> {
        self.borrow_after(BETWEEN_STARTS)
    }

    fn borrow_after(&self, pause: Duration) -> Result<Lent<'_>, (u64, Failure)> {
        let entered = self.module.enter();
        let seen = entered.start();
        match self.wait(entered) {
            Err((_, Failure::Absent(_))) => {
                self.module.start_anew(seen, pause);
                self.wait(self.module.enter())
            }
            other => other,
        }
    }

    /// A session, as soon as there is one.
    fn wait<'p>(&'p self, entered: Entered<'p>) -> Result<Lent<'p>, (u64, Failure)> {
        let mut state = self.state();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lend(&mut state, entered.start()) {
                Ok(Some((slot, session))) => {
                    return Ok(Lent {
                        session,
                        slot,
                        login: state.number,
                        _entered: entered,
                    })
                }
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
    fn lend(&self, state: &mut State, start: u64) -> Result<Option<(Slot, Session)>, Failure> {
        let login = self.logged_in(state, start)?;
        let (slot, profile) = (login.slot, login.facts.profile);
        if state.lent >= profile.max_sessions - 1 {
            return Ok(None);
        }
        let session = match state.idle.pop() {
            Some(session) => session,
            // CloudHSM refuses read-only sessions.
            None => {
                let context = &self.module.context;
                patiently(profile, || context.open_rw_session_no_drop(slot))
                    .map_err(|why| translate(profile, why))?
            }
        };
        state.lent += 1;
        Ok(Some((slot, session)))
    }

    /// Takes a session back whose operation is complete.
    pub fn give_back(&self, lent: Lent) {
        let mut state = self.state();
        self.settle(&mut state, lent.login);
        if state.login.is_some() && state.number == lent.login {
            state.idle.push(lent.session);
            return;
        }
        let alive = lent.login > state.dead;
        drop(state);
        if alive {
            let _ = lent.session.close();
        }
    }

    /// Drops a session that failed. `alive` says whether its handle may still be ours to close.
    pub fn discard(&self, lent: Lent, alive: bool) {
        let mut state = self.state();
        self.settle(&mut state, lent.login);
        let alive = alive && lent.login > state.dead;
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
        let entered = self.module.enter();
        let mut state = self.state();
        if state.number == login {
            release(&mut state, sessions_alive, entered.start());
            self.returned.notify_all();
        }
    }

    /// Closes every session; nothing can be borrowed afterwards.
    pub fn close(&self) {
        let entered = self.module.enter();
        let mut state = self.state();
        release(&mut state, true, entered.start());
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

    /// Has every key found again, in the same login.
    pub fn forget_handles(&self) {
        self.state().handles.clear();
    }

    /// What a session showed is all there is only if its login lasted until now: keys vanish with it, one by one.
    pub fn still_logged_in(&self, lent: &Lent, profile: &Profile) -> Result<(), Failure> {
        let told = patiently(profile, || lent.session.get_session_info());
        let info = told.map_err(|why| translate(profile, why))?;
        // The module first: a login that replaced ours counts once it is made.
        let state = self.state();
        let ours = state.login.as_ref().filter(|_| state.number == lent.login);
        let shows_all = |login: &Login| match info.session_state() {
            SessionState::RwUser => true,
            // A token without a PIN knows no login: NSS's sessions then stay public, and show every key.
            SessionState::RwPublic => !login.facts.info.login_required(),
            _ => false,
        };
        if ours.is_some_and(shows_all) {
            return Ok(());
        }
        Err(Failure::Lost {
            why: "the login ended meanwhile".into(),
            sessions_alive: true,
        })
    }

    fn logged_in<'s>(&self, state: &'s mut State, start: u64) -> Result<&'s Login, Failure> {
        if state.closed {
            return Err(Failure::Is(Error::refused("this HSM was closed")));
        }
        if state.login.as_ref().is_some_and(|it| it.start != start) {
            release(state, false, start);
        }
        if state.login.is_none() {
            state.login = Some(log_in(&self.config, &self.module, start)?);
            state.number += 1;
        }
        state
            .login
            .as_ref()
            .ok_or_else(|| Error::Unavailable("not logged in".into()).into())
    }
}

fn release(state: &mut State, sessions_alive: bool, start: u64) {
    let Some(login) = state.login.take() else {
        return;
    };
    let alive = sessions_alive && login.start == start;
    for session in state.idle.drain(..).chain([login.anchor]) {
        if alive {
            let _ = session.close();
        }
    }
    if !alive {
        state.dead = state.number;
    }
    state.handles.clear();
    state.lent = 0;
}
