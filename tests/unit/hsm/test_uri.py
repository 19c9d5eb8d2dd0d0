"""HSM URIs are parsed strictly, and no error repeats a PIN."""

from __future__ import annotations

from pathlib import Path

import pytest

from icehouse.errors import IcehouseError, RequestError
from icehouse.hsm import open_hsm
from icehouse.hsm.pkcs11.pkcs11 import Pkcs11Uri

REST = "?module-path=/lib/p11.so&pin-source=file:/run/pin"


def test_every_attribute_is_understood():
    uri = (
        "pkcs11:token=My%20token;serial=0af;manufacturer=SoftHSM%20project;model=SoftHSM%20v2;slot-id=17;object=kek-1"
        "?module-path=/usr/lib/p11%3b.so&pin-source=file:/run/a%26b"
    )

    assert Pkcs11Uri.parse(uri) == Pkcs11Uri(
        module_path=Path("/usr/lib/p11;.so"),
        pin_file=Path("/run/a&b"),
        token="My token",  # noqa: S106  a label
        serial="0af",
        manufacturer="SoftHSM project",
        model="SoftHSM v2",
        slot_id=17,
        object="kek-1",
    )


def test_an_empty_pin_and_what_a_module_is_told_at_its_start_are_understood():
    uri = Pkcs11Uri.parse(
        "pkcs11:token=t?module-path=/m&pin-source=empty:&module-init-args=dir%3D%27%2Fa%26b%27%20x%3D"
    )

    assert (uri.pin_file, uri.module_arguments) == (None, "dir='/a&b' x=")


@pytest.mark.parametrize("which", ["token=t", "serial=1", "slot-id=0"])
def test_a_token_is_named_by_its_label_serial_or_slot(which):
    Pkcs11Uri.parse(f"pkcs11:{which}{REST}")


@pytest.mark.parametrize(
    ("source", "path"), [("file:/p", "/p"), ("file:///p", "/p"), ("file:p", "p"), ("file:/ü%25", "/ü%")]
)
def test_a_pin_source_names_a_file(source, path):
    uri = Pkcs11Uri.parse(f"pkcs11:token=t?module-path=/m&pin-source={source}")

    assert uri.pin_file == Path(path)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (f"pkcs11:{REST}", "which token"),
        (f"pkcs11:model=m{REST}", "which token"),
        ("pkcs11:token=t", "full path"),
        ("pkcs11:token=t?module-path=lib.so&pin-source=file:/p", "full path"),
        ("pkcs11:token=t?module-path=/m", "where its PIN is"),
        ("pkcs11:token=t?module-path=/m&pin-source=/p", "where its PIN is"),
        ("pkcs11:token=t?module-path=/m&pin-source=file:", "where its PIN is"),
        ("pkcs11:token=t?module-path=/m&pin-source=|cat", "where its PIN is"),
        ("pkcs11:token=t?module-path=/m&pin-source=empty", "where its PIN is"),
        ("pkcs11:token=t?module-path=/m&pin-source=empty:/p", "where its PIN is"),
        ("pkcs11:token=t?module-path=/m&pin-source=file:/p&module-init-args=a%00b", "zero byte"),
        ("simulated:/t?pin-source=empty:", "where its PIN is"),
        ("pkcs11:token=t?module-path=/m&pin-source=file://host/p", "on this machine"),
        (f"pkcs11:token=t;token=u{REST}", "name token once"),
        (f"pkcs11:token=t{REST}&pin-source=file:/q", "name pin-source once"),
        (f"pkcs11:token=t;colour=red{REST}", "not 'colour'"),
        (f"pkcs11:token=t{REST}&library-version=3", "not 'library-version'"),
        (f"pkcs11:token{REST}", "name=value"),
        (f"pkcs11:token=t;{REST}", "name=value"),
        (f"pkcs11:=t{REST}", "name=value"),
        (f"pkcs11:token=%zz{REST}", "two hexadecimal digits"),
        (f"pkcs11:token=%f{REST}", "two hexadecimal digits"),
        (f"pkcs11:token=%ff{REST}", "UTF-8"),
        (f"pkcs11:token=a%00b{REST}", "zero byte"),
        (f"pkcs11:slot-id=-1{REST}", "whole number"),
        (f"pkcs11:slot-id=1.0{REST}", "whole number"),
        (f"pkcs11:slot-id=٣{REST}", "whole number"),
        (f"pkcs11:slot-id={'9' * 19}{REST}", "whole number"),
        (f"pkcs11:slot-id={'9' * 9999}{REST}", "whole number"),
        (f"pkcs11:token=t;object=Kek{REST}", "key label"),
        ("pkcs12:token=t", "must start with one of .*pkcs11:, simulated:; not pkcs12:"),
        ("token=t", "without a scheme"),
        ("", "without a scheme"),
        ("simulated:?latency=soon", "must be a number"),
        ("simulated:?latency=-1", "at least 0"),
        ("simulated:?latency=nan", "at least 0"),
        ("simulated:?rate-limit=0", "above 0"),
        ("simulated:?rate-limit=inf", "above 0"),
        ("simulated:?capacity=-1", "whole number"),
        ("simulated:?capacity=many", "whole number"),
        ("simulated:?fault=1:fire", "NUMBER:KIND"),
        ("simulated:?fault=x:refused", "whole number"),
        ("simulated:?fault=0:refused", "at least 1"),
        ("simulated:?fault=1:refused&fault=1:unavailable", "one fault only"),
        ("simulated:?colour=red", "not 'colour'"),
        ("simulated:?latency=1&latency=2", "name latency once"),
        ("simulated:?pin-source=file:/p", "in memory has no PIN"),
        ("simulated:/token", "where its PIN is"),
        ("simulated:%", "two hexadecimal digits"),
    ],
)
def test_what_is_not_understood_is_a_wrong_request(uri, words):
    with pytest.raises(RequestError, match=words):
        open_hsm(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=t?module-path=/m&pin-value=31415926",
        "pkcs11:token=t?module-path=/m&pin-source=31415926",
        "pkcs11:token=t?31415926",
        "pkcs11:31415926",
        "simulated:/t?pin-value=31415926",
        "simulated:/t?pin-source=31415926",
        "31415926",
        "pkcs11:token=t;pin-value=31415926?module-path=/m",
        "pkcs11:token=t?module-path=/m&pin-source=file:/p&pin-value=3141%35926",
    ],
)
def test_a_pin_in_a_uri_is_refused_and_never_repeated(uri):
    with pytest.raises(RequestError) as caught:
        open_hsm(uri)

    assert "31415926" not in f"{caught.value!r} {caught.value.hint}"


def test_a_library_that_is_none_is_a_wrong_request(tmp_path):
    (tmp_path / "pin").write_text("1234")
    (tmp_path / "not-a-library").write_text("text")
    for module in (tmp_path / "not-a-library", tmp_path, tmp_path / "missing", "/lib/x86_64-linux-gnu/libc.so.6"):
        with pytest.raises(RequestError, match="PKCS#11 module") as caught:
            open_hsm(f"pkcs11:token=t?module-path={module}&pin-source=file:{tmp_path}/pin")
        assert "module-path" in caught.value.hint


def test_a_pkcs11_token_is_not_made_here():
    with pytest.raises(RequestError, match="vendor's tools"):
        open_hsm(f"pkcs11:token=t{REST}", create=True)


@pytest.mark.parametrize("fault", ["unavailable", "refused", "session-loss"])
def test_a_fault_befalls_the_operation_of_its_number_only(fault):
    hsm = open_hsm(f"simulated:?fault=2:{fault}")
    outcomes = []
    for _ in range(3):
        try:
            outcomes.append(hsm.keys(""))
        except IcehouseError as exc:
            outcomes.append(type(exc).__name__)

    expected = {"unavailable": "HsmUnavailableError", "refused": "HsmRefusedError", "session-loss": []}[fault]
    assert outcomes == [[], expected, []]
