//! Finding the one token that is meant among those that a module shows.

use cryptoki::error::Error as Cryptoki;
use cryptoki::slot::{Slot, TokenInfo};

use crate::error::{answer, translate, Error, Failure};
use crate::module::{Config, Module};
use crate::profile::GENERIC;

/// A string of fixed length without its padding: spaces by the standard, NULs by some modules.
pub(crate) fn trimmed(padded: &str) -> &str {
    padded.trim_end_matches([' ', '\0'])
}

/// The slot of the one token that is meant: none or two of them is an error.
pub(crate) fn select(module: &Module, config: &Config) -> Result<(Slot, TokenInfo), Failure> {
    let slots = module
        .context
        .get_slots_with_token()
        .map_err(|why| translate(&GENERIC, why))?;
    let mut fitting = Vec::new();
    let mut present = Vec::new();
    for slot in slots {
        let info = match told(module, slot) {
            Ok(info) => info,
            // A slot whose token cannot be asked is not the one, and is no reason to give up on the others.
            Err(why) => {
                let said = match why {
                    Cryptoki::Pkcs11(code, function) => answer(function, code),
                    why => why.to_string(),
                };
                present.push(format!(
                    "one in slot {} that does not tell ({said})",
                    slot.id()
                ));
                continue;
            }
        };
        if !info.token_initialized() {
            continue;
        }
        present.push(format!("'{}'", trimmed(info.label())));
        if fits(config, slot, &info) {
            fitting.push((slot, info));
        }
    }
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        // It may be away for a moment: "not found" is never read as "gone".
        0 => Err(Failure::Absent(absence(module, config, &present))),
        many => Err(Failure::Is(Error::refused_with(
            format!("{many} tokens are {}; exactly one must be", wanted(config)),
            "tell them apart by serial= or slot-id= in the HSM's URI",
        ))),
    }
}

/// What a token says of itself. A clock that nobody can read is no reason to overlook the token.
pub(crate) fn told(module: &Module, slot: Slot) -> Result<TokenInfo, Cryptoki> {
    match module.context.get_token_info(slot) {
        Err(why @ Cryptoki::Pkcs11(..)) => Err(why),
        Err(why) => module
            .functions()
            .and_then(|functions| functions.token_without_clock(slot))
            .ok_or(why),
        told => told,
    }
}

fn absence(module: &Module, config: &Config, present: &[String]) -> String {
    let present = if present.is_empty() {
        "none".to_owned()
    } else {
        present.join(", ")
    };
    let unheard = if config.module_arguments.is_some() && !module.is_ours() {
        "; module-init-args was not used: another part of this process had initialised the module"
    } else {
        ""
    };
    format!(
        "no token is {}; present: {present}{unheard}",
        wanted(config)
    )
}

fn fits(config: &Config, slot: Slot, info: &TokenInfo) -> bool {
    let told = [
        (&config.token, info.label()),
        (&config.serial, info.serial_number()),
        (&config.manufacturer, info.manufacturer_id()),
        (&config.model, info.model()),
    ];
    told.iter()
        .all(|(wanted, is)| wanted.as_ref().is_none_or(|wanted| wanted == trimmed(is)))
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
