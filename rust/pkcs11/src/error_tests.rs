//! What each answer of a module means, by the decision that follows from it.

use super::*;
use crate::profile::{choose, for_manufacturer, CLOUDHSM, GENERIC, NSS, PROFILES, SOFTHSM};

#[derive(Debug, PartialEq)]
enum Decision {
    LogInAgain { closing_sessions: bool },
    FindAgain,
    Unavailable,
    Refused,
    WrongPin,
    WrongTag,
}

fn decision(profile: &Profile, code: RvError) -> Decision {
    match translate(profile, Cryptoki::Pkcs11(code, Function::Decrypt)) {
        Failure::Lost { sessions_alive, .. } => Decision::LogInAgain {
            closing_sessions: sessions_alive,
        },
        Failure::WrongTag => Decision::WrongTag,
        Failure::WrongPin(_) => Decision::WrongPin,
        Failure::Unsettled(_) => Decision::FindAgain,
        Failure::Is(Error::Unavailable(_)) => Decision::Unavailable,
        Failure::Is(Error::Refused { .. }) => Decision::Refused,
        other => panic!("{code:?} became {other:?}"),
    }
}

#[test]
fn what_ends_sessions_is_mended_by_a_login_and_closes_none_of_them() {
    for code in [
        RvError::SessionHandleInvalid,
        RvError::SessionClosed,
        RvError::CryptokiNotInitialized,
        RvError::DeviceRemoved,
        RvError::TokenNotPresent,
        RvError::TokenNotRecognized,
        RvError::SlotIdInvalid,
    ] {
        let expected = Decision::LogInAgain {
            closing_sessions: false,
        };
        assert_eq!(decision(&GENERIC, code), expected, "{code:?}");
    }
}

#[test]
fn what_leaves_sessions_open_is_mended_by_a_login_and_closes_them() {
    for code in [
        RvError::DeviceError,
        RvError::UserNotLoggedIn,
        RvError::ObjectHandleInvalid,
        RvError::KeyHandleInvalid,
        RvError::OperationActive,
        RvError::GeneralError,
        RvError::FunctionFailed,
    ] {
        let expected = Decision::LogInAgain {
            closing_sessions: true,
        };
        assert_eq!(decision(&GENERIC, code), expected, "{code:?}");
    }
}

#[test]
fn what_passes_by_itself_is_unavailable() {
    for code in [
        RvError::SessionCount,
        RvError::HostMemory,
        RvError::DeviceMemory,
        RvError::FunctionCanceled,
        RvError::FunctionRejected,
        RvError::CantLock,
    ] {
        assert_eq!(decision(&GENERIC, code), Decision::Unavailable, "{code:?}");
    }
}

#[test]
fn what_stays_as_it_is_is_refused() {
    for code in [
        RvError::PinLocked,
        RvError::PinExpired,
        RvError::MechanismInvalid,
        RvError::MechanismParamInvalid,
        RvError::KeyFunctionNotPermitted,
        RvError::KeyTypeInconsistent,
        RvError::TemplateInconsistent,
        RvError::AttributeTypeInvalid,
        RvError::TokenWriteProtected,
        RvError::SessionReadOnly,
        RvError::ArgumentsBad,
        RvError::VendorDefined(0x8000_0123),
    ] {
        assert_eq!(decision(&GENERIC, code), Decision::Refused, "{code:?}");
    }
}

#[test]
fn a_wrong_pin_is_kept_in_mind_by_whoever_logs_in() {
    for code in [
        RvError::PinIncorrect,
        RvError::PinInvalid,
        RvError::PinLenRange,
    ] {
        assert_eq!(decision(&GENERIC, code), Decision::WrongPin, "{code:?}");
    }
}

#[test]
fn a_wrong_tag_is_told_by_the_standards_codes() {
    for code in [
        RvError::EncryptedDataInvalid,
        RvError::EncryptedDataLenRange,
    ] {
        assert_eq!(decision(&GENERIC, code), Decision::WrongTag, "{code:?}");
        assert_eq!(decision(&SOFTHSM, code), Decision::WrongTag, "{code:?}");
    }
}

#[test]
fn a_vendors_busy_code_is_unavailable_for_that_vendor_only() {
    let busy = Profile {
        busy_codes: &[0x8000_0001],
        ..GENERIC
    };
    let code = RvError::VendorDefined(0x8000_0001);
    assert_eq!(decision(&busy, code), Decision::Unavailable);
    assert_eq!(decision(&GENERIC, code), Decision::Refused);
}

#[test]
fn an_error_names_the_function_and_the_answer() {
    let failure = translate(
        &GENERIC,
        Cryptoki::Pkcs11(RvError::PinLocked, Function::Login),
    );
    let Failure::Is(Error::Refused { text, hint }) = failure else {
        panic!("a locked PIN is refused");
    };
    assert_eq!(
        text,
        "the PIN is locked after too many wrong tries (C_Login answered PinLocked)"
    );
    assert!(hint.is_some_and(|hint| hint.contains("security officer")));
}

#[test]
fn a_library_of_another_kind_is_a_wrong_request() {
    let failure = translate(&GENERIC, Cryptoki::MissingSymbol("C_GetFunctionList"));
    assert!(matches!(failure, Failure::Is(Error::Request { .. })));
}

#[test]
fn a_profile_is_chosen_by_the_tokens_manufacturer() {
    assert_eq!(for_manufacturer("SoftHSM project").name, "softhsm");
    for other in ["", "Yubico (www.yubico.com)", "My SoftHSM", "softhsm"] {
        assert_eq!(for_manufacturer(other).name, "generic", "{other}");
    }
}

#[test]
fn a_handle_that_a_cluster_does_not_know_yet_is_found_again() {
    for code in [RvError::ObjectHandleInvalid, RvError::KeyHandleInvalid] {
        assert_eq!(decision(&CLOUDHSM, code), Decision::FindAgain, "{code:?}");
    }
}

#[test]
fn a_profile_that_was_asked_for_must_fit_the_token_or_its_library() {
    let chosen = |token, library, vouched| choose(Some("cloudhsm"), token, library, vouched);
    for (token, library) in [
        ("Marvell", ""),
        ("", "Amazon Web Services"),
        ("CAVIUM", "any"),
    ] {
        assert_eq!(
            chosen(token, library, false).map(|it| it.name),
            Ok("cloudhsm")
        );
    }
    for (token, library) in [("SoftHSM project", "SoftHSM"), ("", ""), ("My AWS", "any")] {
        assert!(matches!(
            chosen(token, library, false),
            Err(Error::Request { .. })
        ));
    }
    assert_eq!(
        chosen("Renamed", "", true).map(|it| it.name),
        Ok("cloudhsm")
    );
}

#[test]
fn a_profile_that_does_not_exist_is_a_wrong_request() {
    assert!(matches!(
        choose(Some("any"), "", "", true),
        Err(Error::Request { .. })
    ));
}

#[test]
fn without_a_profile_the_tokens_manufacturer_decides() {
    let name = |token| choose(None, token, "Amazon", false).map(|it| it.name);
    assert_eq!(name("SoftHSM project"), Ok("softhsm"));
    assert_eq!(name("AWS"), Ok("cloudhsm"));
    assert_eq!(name("Yubico"), Ok("generic"));
}

#[test]
fn a_profile_that_gives_up_a_check_is_used_only_where_it_is_asked_for() {
    assert_eq!(for_manufacturer("Mozilla Foundation").name, "generic");
    let asked = |token| choose(Some("nss"), token, "", false).map(|it| it.name);
    assert_eq!(asked("Mozilla Foundation"), Ok("nss"));
    assert!(asked("SoftHSM project").is_err());
    let relaxed: Vec<_> = PROFILES
        .iter()
        .filter(|profile| profile.local_unknown)
        .map(|profile| profile.name)
        .collect();
    assert_eq!(relaxed, [NSS.name]);
}

#[test]
fn every_profile_leaves_a_session_beside_the_anchor() {
    for profile in PROFILES {
        assert!(profile.max_sessions > 1, "{}", profile.name);
    }
}
