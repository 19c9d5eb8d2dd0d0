//! What is said to a module in one session: the calls that use a key, whatever the module's habits.

use cryptoki::error::{Error as Cryptoki, Result, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use crate::error::{translate, Failure};
use crate::facts::Facts;
use crate::functions::Filling;
use crate::mechanisms;
use crate::module::Module;
use crate::patience::patiently;
use crate::profile::Profile;

// How much more room than its question a module's answer gets that did not fit into the room it asked for: a signature, a
// MAC, or a tag and a nonce.
const MORE: usize = 128;

/// One session of one module, and what is known of its token.
#[derive(Clone, Copy)]
pub(crate) struct Talk<'t> {
    pub session: &'t Session,
    pub module: &'t Module,
    pub facts: &'t Facts,
}

impl Talk<'_> {
    pub fn profile(&self) -> &'static Profile {
        self.facts.profile
    }

    pub fn encrypt(&self, how: &Mechanism, key: ObjectHandle, plain: &[u8]) -> Result<Vec<u8>> {
        let done = self.session.encrypt(how, key, plain);
        self.with_room(done, Filling::Encrypt, (how, key), plain)
    }

    pub fn decrypt(&self, how: &Mechanism, key: ObjectHandle, sealed: &[u8]) -> Result<Vec<u8>> {
        let done = self.session.decrypt(how, key, sealed);
        self.with_room(done, Filling::Decrypt, (how, key), sealed)
    }

    /// HMAC or ECDSA.
    pub fn sign(&self, how: &Mechanism, key: ObjectHandle, what: &[u8]) -> Result<Vec<u8>> {
        patiently(self.profile(), || {
            let done = self.session.sign(how, key, what);
            self.with_room(done, Filling::Sign, (how, key), what)
        })
    }

    /// The library asks how much room an answer needs and gives just that. A module that told too little (NSS leaves out
    /// the tag of AES-GCM) is asked again, with room enough.
    fn with_room(
        &self,
        done: Result<Vec<u8>>,
        what: Filling,
        (how, key): (&Mechanism, ObjectHandle),
        data: &[u8],
    ) -> Result<Vec<u8>> {
        let Err(Cryptoki::Pkcs11(RvError::BufferTooSmall, _)) = done else {
            return done;
        };
        let Some(functions) = self.module.functions() else {
            return done;
        };
        let fill = || functions.fill(what, self.session, data, data.len() + MORE);
        match fill() {
            // By the standard the operation goes on. NSS ends it, so it is begun anew.
            Some(Err(Cryptoki::Pkcs11(RvError::OperationNotInitialized, _))) => {
                match functions.begin(what, self.session, how, key) {
                    Some(Ok(())) => fill().unwrap_or(done),
                    Some(Err(why)) => Err(why),
                    None => done,
                }
            }
            Some(other) => other,
            None => done,
        }
    }

    /// What a failure means that met the key of this label; a mechanism that is missing is named.
    pub fn meaning(&self, name: &str, label: &str, why: Cryptoki) -> Failure {
        match why {
            Cryptoki::Pkcs11(RvError::MechanismInvalid, _) => {
                mechanisms::absent(name, label, &self.facts.library).into()
            }
            why => translate(self.profile(), why),
        }
    }
}
