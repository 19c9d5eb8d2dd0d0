//! age v1 files with a passphrase recipient: <https://age-encryption.org/v1>.

use std::io::{Read, Write};
use std::iter;

use age::secrecy::SecretString;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::secret::Passphrase;

/// The highest scrypt work factor (log2 N) that a file may ask of whoever opens it: 1 GiB.
const MAX_WORK_FACTOR: u8 = 20;

/// Encrypts under a passphrase; `work_factor` is log2 of scrypt's N.
pub fn encrypt(plain: &[u8], passphrase: &Passphrase, work_factor: u8) -> Result<Vec<u8>> {
    if !(1..=MAX_WORK_FACTOR).contains(&work_factor) {
        return Err(Error::request(format!(
            "the work factor must be between 1 and {MAX_WORK_FACTOR}, not {work_factor}"
        )));
    }
    let failed = |error: std::io::Error| Error::request(format!("cannot encrypt: {error}"));
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.expose()));
    recipient.set_work_factor(work_factor);
    let encryptor = age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
        .map_err(|error| Error::request(format!("cannot encrypt: {error}")))?;
    let mut file = Vec::new();
    let mut writer = encryptor.wrap_output(&mut file).map_err(failed)?;
    writer.write_all(plain).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(file)
}

/// Decrypts, or says whether the passphrase is wrong or the file is not one.
pub fn decrypt(file: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>> {
    let foreign = || Error::seal("the file is damaged, or not an age file under a passphrase");
    let decryptor = age::Decryptor::new(file).map_err(|_| foreign())?;
    if !decryptor.is_scrypt() {
        return Err(foreign());
    }
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.expose()));
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let mut reader = decryptor
        .decrypt(iter::once(&identity as &dyn age::Identity))
        .map_err(|error| match error {
            age::DecryptError::DecryptionFailed
            | age::DecryptError::KeyDecryptionFailed
            | age::DecryptError::NoMatchingKeys => Error::request("wrong passphrase"),
            age::DecryptError::ExcessiveWork { .. } => {
                Error::request("the file asks for more scrypt work than 2^20")
            }
            _ => foreign(),
        })?;
    // Room for everything at once: a growing vector would leave copies behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(file.len()));
    reader.read_to_end(&mut plain).map_err(|_| foreign())?;
    Ok(plain)
}
