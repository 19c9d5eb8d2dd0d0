//! The device file: encrypted, strict, and silent about what is inside.

use crate::device::Device;
use crate::device_tests::{enrolled, offered};
use crate::error::Error;
use crate::passphrase;
use crate::sample::Sample;
use crate::secret::Passphrase;
use crate::suite::SuiteId;

const WORK: u8 = 2;

fn phrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

fn device_with_everything() -> (Sample, Device) {
    let sample = Sample::deal(SuiteId::Ed448, 2, 2);
    let mut device = enrolled(&sample);
    device.prepare();
    let rotated = offered(&device, &sample, |_, _| ());
    device.accept_offer(&rotated.answer).unwrap();
    device.prepare();
    (sample, device)
}

/// The JSON inside a device's file.
fn inside(device: &Device) -> serde_json::Value {
    let file = device.to_file(&phrase("right"), WORK).unwrap();
    serde_json::from_slice(&passphrase::decrypt(&file, &phrase("right")).unwrap()).unwrap()
}

fn read_back(json: &str) -> crate::Result<Device> {
    let file = passphrase::encrypt(json.as_bytes(), &phrase("right"), WORK).unwrap();
    Device::from_file(&file, &phrase("right"))
}

#[test]
fn a_device_file_gives_back_everything() {
    let (_, device) = device_with_everything();
    let file = device.to_file(&phrase("right"), WORK).unwrap();

    let again = Device::from_file(&file, &phrase("right")).unwrap();

    assert_eq!(inside(&again), inside(&device));
    assert_eq!((again.epoch(), again.pending_epoch()), (1, Some(2)));
    assert!(again.is_requesting());
}

#[test]
fn an_empty_device_keeps_its_token() {
    let mut device = Device::new("alice").unwrap();
    device
        .take_token(&format!("{}.{}", "ab".repeat(16), "cd".repeat(32)))
        .unwrap();
    let file = device.to_file(&phrase("right"), WORK).unwrap();

    let again = Device::from_file(&file, &phrase("right")).unwrap();

    assert!(again.has_token());
    assert_eq!(again.key_id(), Some([0xab; 16]));
}

#[test]
fn a_wrong_passphrase_and_a_damaged_file_are_told_apart() {
    let (_, device) = device_with_everything();
    let file = device.to_file(&phrase("right"), WORK).unwrap();
    let wrong = Device::from_file(&file, &phrase("wrong")).err();
    assert_eq!(wrong, Some(Error::Request("wrong passphrase".into())));

    for bent in [
        &file[..file.len() - 1],
        &file[..20],
        b"",
        b"not an age file",
    ] {
        let refused = Device::from_file(bent, &phrase("right")).err();
        assert!(matches!(refused, Some(Error::Seal(_))), "{refused:?}");
    }
    let mut last = file.clone();
    *last.last_mut().unwrap() ^= 1;
    assert!(matches!(
        Device::from_file(&last, &phrase("right")),
        Err(Error::Seal(_))
    ));
}

#[test]
fn a_file_that_asks_for_too_much_work_is_refused_before_it_is_done() {
    let file = String::from_utf8_lossy(
        &Device::new("a")
            .unwrap()
            .to_file(&phrase("right"), WORK)
            .unwrap(),
    )
    .into_owned();
    let heavy = file.replacen(" 2\n", " 30\n", 1);

    assert!(Device::from_file(heavy.as_bytes(), &phrase("right")).is_err());
    assert!(Device::new("a")
        .unwrap()
        .to_file(&phrase("right"), 21)
        .is_err());
}

#[test]
fn a_device_file_is_read_strictly() {
    let (_, device) = device_with_everything();
    let json = inside(&device);
    read_back(&json.to_string()).ok().unwrap();
    let changes: [fn(&mut serde_json::Value); 14] = [
        |json| json["v"] = 2.into(),
        |json| json["more"] = 1.into(),
        |json| drop(json.as_object_mut().unwrap().remove("token")),
        |json| drop(json.as_object_mut().unwrap().remove("pending")),
        |json| drop(json["pending"].as_object_mut().unwrap().remove("proof")),
        |json| json["user"] = "bob".into(),
        |json| json["request"] = "00".into(),
        |json| json["current"]["share"] = json["pending"]["epoch"]["share"].clone(),
        |json| json["current"]["share"] = "ff".repeat(57).into(),
        |json| json["current"]["channel_key"] = "00".into(),
        |json| json["current"]["group"]["user"] = "bob".into(),
        |json| json["current"]["escrow"] = "0".into(),
        |json| {
            json["current"] = serde_json::Value::Array(
                json["current"]
                    .as_object()
                    .unwrap()
                    .values()
                    .cloned()
                    .collect(),
            )
        },
        |json| {
            *json = serde_json::Value::Array(json.as_object().unwrap().values().cloned().collect())
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut bent = json.clone();
        change(&mut bent);

        let refused = read_back(&bent.to_string()).err();
        assert!(
            matches!(refused, Some(Error::Seal(_))),
            "change {number}: {refused:?}"
        );
    }
}

#[test]
fn no_error_about_a_device_file_quotes_what_is_inside() {
    let (_, device) = device_with_everything();
    let json = inside(&device);
    let share = json["current"]["share"].as_str().unwrap().to_owned();
    for bent in [
        json.to_string()
            .replacen(&format!("\"{share}\""), &format!("[\"{share}\"]"), 1),
        json.to_string()
            .replacen("\"share\":", &format!("\"{share}\":"), 1),
        json.to_string().replacen(&share, &share.to_uppercase(), 1),
    ] {
        let refused = read_back(&bent).err().unwrap().to_string();

        assert!(!refused.to_lowercase().contains(&share), "{refused}");
    }
}
