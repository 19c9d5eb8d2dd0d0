//! PINs come from files and are read here, so that no other language ever holds one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::secret::Passphrase;

const MAX_PIN: usize = 1024;

/// Reads the PIN in a file; one trailing line end does not belong to it.
pub fn read(path: &Path) -> Result<Passphrase> {
    let unreadable = |why: std::io::Error| {
        Error::request(format!(
            "the PIN file {} cannot be read: {why}",
            path.display()
        ))
    };
    // One buffer of full size from the start: a growing one would leave copies of the PIN behind.
    let mut buffer = Zeroizing::new(vec![0u8; MAX_PIN + 1]);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]).map_err(unreadable)? {
            0 => break,
            more => filled += more,
        }
    }
    if filled > MAX_PIN {
        return Err(Error::request(format!(
            "the PIN file {} is longer than {MAX_PIN} bytes",
            path.display()
        )));
    }
    let text = std::str::from_utf8(&buffer[..filled])
        .map_err(|_| Error::request(format!("the PIN file {} is not UTF-8", path.display())))?;
    let pin = text.strip_suffix('\n').unwrap_or(text);
    let pin = pin.strip_suffix('\r').unwrap_or(pin);
    if pin.is_empty() {
        return Err(Error::request(format!(
            "the PIN file {} is empty",
            path.display()
        )));
    }
    Ok(Passphrase::new(pin.to_owned()))
}
