//! Keys on a token: how they are made, found, and checked before they are trusted.

use std::collections::BTreeMap;

use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::error::{answer, translate, Error, Failure};
use crate::handle::Handle;
use crate::mechanisms::{AES_KEY, EC_KEYS, HMAC_KEY};
use crate::patience::{patiently, pause};
use crate::profile::Profile;
use crate::talk::Talk;
use crate::Kind;

/// The CKA_ID of one key's objects: drawn for it, so that no other object has it by chance.
pub(crate) type Mark = [u8; 16];

// The curve P-256 by its object identifier, 1.2.840.10045.3.1.7.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// How often a list is looked at again that shows two objects of a label, or none where one should be.
pub(crate) const LOOKS: u32 = 4;

/// What must hold of a key before it protects anything: it was made inside and cannot leave.
const RULES: [(AttributeType, &str, bool); 9] = [
    (AttributeType::Token, "CKA_TOKEN", true),
    (AttributeType::Private, "CKA_PRIVATE", true),
    (AttributeType::Sensitive, "CKA_SENSITIVE", true),
    (AttributeType::Extractable, "CKA_EXTRACTABLE", false),
    (
        AttributeType::NeverExtractable,
        "CKA_NEVER_EXTRACTABLE",
        true,
    ),
    (AttributeType::Local, "CKA_LOCAL", true),
    // A key that wraps and decrypts gives any other key away in two calls.
    (AttributeType::Wrap, "CKA_WRAP", false),
    (AttributeType::Unwrap, "CKA_UNWRAP", false),
    // Deriving gives away functions of the key, down to its bytes.
    (AttributeType::Derive, "CKA_DERIVE", false),
];
// Not every module tells every attribute; these it must.
const INDISPENSABLE: [&str; 3] = ["CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_LOCAL"];

/// Makes a key. `mark` is the CKA_ID by which its objects are known again.
pub(crate) fn generate(
    talk: &Talk,
    label: &str,
    kind: Kind,
    mark: &Mark,
) -> Result<Vec<ObjectHandle>, Failure> {
    let (session, profile) = (talk.session, talk.profile());
    let failed = |name: &str, why| match why {
        // The module has no room, or is too busy for now; the call does not say which.
        Cryptoki::Pkcs11(code @ RvError::DeviceMemory, function) => {
            Failure::NoMemory(answer(function, code))
        }
        why => talk.meaning(name, label, why),
    };
    // A vendor's keys of this kind may lack an attribute that is false by default.
    let fitting = |mut template: Vec<Attribute>| {
        let left_out = |of: AttributeType| profile.left_out.contains(&(kind, of));
        template.retain(|attribute| !left_out(attribute.attribute_type()));
        template
    };
    match kind {
        Kind::Aes => {
            let mut template = secret_key(label, KeyType::AES, 32, mark);
            template.extend([Attribute::Encrypt(true), Attribute::Decrypt(true)]);
            let key = session
                .generate_key(&Mechanism::AesKeyGen, &fitting(template))
                .map_err(|why| failed(AES_KEY.1, why))?;
            Ok(vec![key])
        }
        Kind::Hmac => {
            let mut template = secret_key(label, profile.hmac_key_type, 64, mark);
            template.extend([Attribute::Sign(true), Attribute::Verify(true)]);
            let mechanism = Mechanism::GenericSecretKeyGen;
            Ok(vec![session
                .generate_key(&mechanism, &fitting(template))
                .map_err(|why| failed(HMAC_KEY.1, why))?])
        }
        Kind::Ecdsa => {
            let mut public = named(ObjectClass::PUBLIC_KEY, KeyType::EC, label, mark);
            public.extend([Attribute::EcParams(P256.to_vec()), Attribute::Verify(true)]);
            let mut private = named(ObjectClass::PRIVATE_KEY, KeyType::EC, label, mark);
            private.extend(kept_inside());
            private.extend([
                Attribute::Sign(true),
                Attribute::Unwrap(false),
                Attribute::Derive(false),
            ]);
            let (public, private) = session
                .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &fitting(private))
                .map_err(|why| failed(EC_KEYS.1, why))?;
            Ok(vec![private, public])
        }
    }
}

fn named(class: ObjectClass, key_type: KeyType, label: &str, mark: &Mark) -> Vec<Attribute> {
    vec![
        Attribute::Class(class),
        Attribute::KeyType(key_type),
        Attribute::Token(true),
        Attribute::Label(label.into()),
        Attribute::Id(mark.to_vec()),
    ]
}

fn kept_inside() -> [Attribute; 3] {
    [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
    ]
}

fn secret_key(label: &str, key_type: KeyType, len: u64, mark: &Mark) -> Vec<Attribute> {
    let mut template = named(ObjectClass::SECRET_KEY, key_type, label, mark);
    template.extend(kept_inside());
    template.extend([
        Attribute::ValueLen(len.into()),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]);
    template
}

/// How many of these objects tell another CKA_ID than `mark`, the one that ours were given. A module may list one object
/// twice, with two handles.
pub(crate) fn of_others(
    session: &Session,
    profile: &Profile,
    listed: &[Handle],
    mark: &Mark,
) -> Result<usize, Failure> {
    let mut others = 0;
    for handle in listed {
        match told(session, profile, handle.object, &[AttributeType::Id]) {
            Ok(values) => {
                let is_other =
                    matches!(values.first(), Some(Attribute::Id(id)) if id[..] != mark[..]);
                others += usize::from(is_other);
            }
            // Somebody destroyed it since it was listed.
            Err(Cryptoki::Pkcs11(RvError::ObjectHandleInvalid, _)) => {}
            Err(why) => return Err(translate(profile, why)),
        }
    }
    Ok(others)
}

/// Every key on the token with this label.
pub(crate) fn labelled(
    session: &Session,
    profile: &Profile,
    label: &str,
) -> Result<Vec<Handle>, Failure> {
    let template = [Attribute::Token(true), Attribute::Label(label.into())];
    let objects = found(session, profile, &template)?;
    let mut found = Vec::new();
    for object in objects {
        if let Some((_, kind)) = described(session, profile, object)? {
            found.push(Handle { object, kind });
        }
    }
    Ok(found)
}

/// Every key of a kind known here, with its label.
pub(crate) fn all(session: &Session, profile: &Profile) -> Result<Vec<(String, Kind)>, Failure> {
    let mut found = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        let template = [Attribute::Token(true), Attribute::Class(class)];
        for object in self::found(session, profile, &template)? {
            found.extend(described(session, profile, object)?);
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The label and kind of an object; none if it is no secret or private key of a kind known here.
fn described(
    session: &Session,
    profile: &Profile,
    object: ObjectHandle,
) -> Result<Option<(String, Kind)>, Failure> {
    let wanted = [
        AttributeType::Class,
        AttributeType::KeyType,
        AttributeType::Label,
    ];
    let attributes = match told(session, profile, object, &wanted) {
        Ok(attributes) => attributes,
        // Somebody destroyed it since it was found.
        Err(Cryptoki::Pkcs11(RvError::ObjectHandleInvalid, _)) => return Ok(None),
        Err(why @ Cryptoki::Pkcs11(..)) => return Err(translate(profile, why)),
        // An object of a vendor's own type, that the library has no name for, is none of ours.
        Err(_) => return Ok(None),
    };
    let (mut class, mut key_type, mut label) = (None, None, None);
    for attribute in attributes {
        match attribute {
            Attribute::Class(value) => class = Some(value),
            Attribute::KeyType(value) => key_type = Some(value),
            Attribute::Label(value) => label = String::from_utf8(value).ok(),
            _ => {}
        }
    }
    let kind = match (class, key_type) {
        (Some(ObjectClass::SECRET_KEY), Some(KeyType::AES)) => Kind::Aes,
        (Some(ObjectClass::SECRET_KEY), Some(KeyType::GENERIC_SECRET | KeyType::SHA512_HMAC)) => {
            Kind::Hmac
        }
        (Some(ObjectClass::PRIVATE_KEY), Some(KeyType::EC)) => Kind::Ecdsa,
        _ => return Ok(None),
    };
    Ok(label.map(|label| (label, kind)))
}

/// The attributes that the rules speak of, as the token tells them.
pub(crate) fn attributes(
    session: &Session,
    profile: &Profile,
    object: ObjectHandle,
) -> Result<BTreeMap<&'static str, bool>, Failure> {
    let wanted = RULES.map(|(kind, ..)| kind);
    let values = told(session, profile, object, &wanted).map_err(|why| translate(profile, why))?;
    let mut named = BTreeMap::new();
    for value in values {
        let rule = RULES
            .iter()
            .find(|(kind, ..)| *kind == value.attribute_type());
        if let (Some((_, name, _)), Some(is)) = (rule, truth(&value)) {
            named.insert(*name, is);
        }
    }
    Ok(named)
}

fn truth(attribute: &Attribute) -> Option<bool> {
    match attribute {
        Attribute::Token(value)
        | Attribute::Private(value)
        | Attribute::Sensitive(value)
        | Attribute::Extractable(value)
        | Attribute::NeverExtractable(value)
        | Attribute::Local(value)
        | Attribute::Wrap(value)
        | Attribute::Unwrap(value)
        | Attribute::Derive(value) => Some(*value),
        _ => None,
    }
}

/// Refuses a key that could leave the token, was not made in it, or is shorter than its kind says.
pub(crate) fn check(
    session: &Session,
    profile: &Profile,
    label: &str,
    key: Handle,
) -> Result<(), Failure> {
    let told = attributes(session, profile, key.object)?;
    for (_, name, must) in RULES {
        if name == "CKA_LOCAL" && profile.local_unknown {
            continue;
        }
        // Without the one, the other is all that tells a key that was brought in.
        let needed = name == "CKA_NEVER_EXTRACTABLE" && profile.local_unknown
            || INDISPENSABLE.contains(&name);
        match told.get(name) {
            Some(is) if *is != must => return Err(unfit(label, name, &is.to_string()).into()),
            None if needed => return Err(unfit(label, name, "not told by the module").into()),
            _ => {}
        }
    }
    check_length(session, profile, label, key)
}

fn check_length(
    session: &Session,
    profile: &Profile,
    label: &str,
    key: Handle,
) -> Result<(), Failure> {
    let expected = match key.kind {
        Kind::Aes => 32,
        Kind::Hmac => 64,
        Kind::Ecdsa => return Ok(()),
    };
    let values = told(session, profile, key.object, &[AttributeType::ValueLen])
        .map_err(|why| translate(profile, why))?;
    match values.first() {
        Some(Attribute::ValueLen(len)) if **len != expected => {
            Err(unfit(label, "CKA_VALUE_LEN", &len.to_string()).into())
        }
        _ => Ok(()),
    }
}

fn unfit(label: &str, attribute: &str, is: &str) -> Error {
    Error::refused_with(
        format!("the key '{label}' must not be trusted: its {attribute} is {is}"),
        "let icehouse make its own keys inside the HSM",
    )
}

/// The point of a key pair's public half, uncompressed.
pub(crate) fn public_point(
    session: &Session,
    profile: &Profile,
    label: &str,
) -> Result<Vec<u8>, Failure> {
    let object = match public_halves(session, profile, label)?[..] {
        [object] => object,
        [] => return Err(Error::refused(format!("the key '{label}' has no public half")).into()),
        _ => return Err(Error::refused(format!("two public keys are labelled '{label}'")).into()),
    };
    let values = told(session, profile, object, &[AttributeType::EcPoint])
        .map_err(|why| translate(profile, why))?;
    match values.first() {
        // A DER octet string by the standard; some modules leave its two bytes of wrapping out.
        Some(Attribute::EcPoint(der)) if der.len() == 67 && der[..3] == [4, 65, 4] => {
            Ok(der[2..].to_vec())
        }
        Some(Attribute::EcPoint(raw)) if raw.len() == 65 && raw[0] == 4 => Ok(raw.clone()),
        _ => Err(Error::refused(format!(
            "the public half of '{label}' is not a point of P-256"
        ))
        .into()),
    }
}

/// The public objects of a label: other than one is believed only when it is seen again and again.
fn public_halves(
    session: &Session,
    profile: &Profile,
    label: &str,
) -> Result<Vec<ObjectHandle>, Failure> {
    let mut found = public_objects(session, profile, label)?;
    for turn in 0..LOOKS {
        if found.len() == 1 {
            break;
        }
        pause(turn);
        found = public_objects(session, profile, label)?;
    }
    Ok(found)
}

pub(crate) fn public_objects(
    session: &Session,
    profile: &Profile,
    label: &str,
) -> Result<Vec<ObjectHandle>, Failure> {
    let template = [
        Attribute::Token(true),
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::Label(label.into()),
    ];
    found(session, profile, &template)
}

fn found(
    session: &Session,
    profile: &Profile,
    template: &[Attribute],
) -> Result<Vec<ObjectHandle>, Failure> {
    patiently(profile, || session.find_objects(template)).map_err(|why| translate(profile, why))
}

fn told(
    session: &Session,
    profile: &Profile,
    object: ObjectHandle,
    wanted: &[AttributeType],
) -> cryptoki::error::Result<Vec<Attribute>> {
    patiently(profile, || session.get_attributes(object, wanted))
}
