"""Settings written are settings read."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from icehouse.settings import Settings, absolute, dump, load

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(TEXT, TEXT, st.integers(min_value=0, max_value=2**40))
def test_whatever_is_written_is_read_again(tmp_path_factory, store, hsm, burst):
    file = tmp_path_factory.mktemp("settings") / "vault.toml"
    settings = Settings(f"postgresql:{store}", f"gcpkms:{hsm}", limit_burst=burst)
    file.write_text(dump(settings), encoding="utf-8", newline="")

    assert load(file, {}) == settings


def test_relative_paths_of_pins_are_made_absolute_for_every_provider():
    given_uri = "pkcs11:token=x?module-path=/lib/m.so&pin-source=file:pin"
    settings = absolute(Settings("sqlite:///x.db", given_uri, "simulated:t?pin-source=file:p"), Path("/a b"))

    assert settings.hsm_uri == "pkcs11:token=x?module-path=/lib/m.so&pin-source=file:/a%20b/pin"
    assert settings.hsm_claim_uri == "simulated:/a%20b/t?pin-source=file:/a%20b/p"
    assert settings.store_url == "sqlite:////a b/x.db"
    former = "openbao://h/m?role-id=r&secret-id-source=file:s&ca=c.pem"
    settings = absolute(Settings("sqlite:///x.db", "openbao://h/m?token-source=file:t", former), Path("/a"))
    assert settings.hsm_uri == "openbao://h/m?token-source=file:/a/t"
    assert settings.hsm_claim_uri == "openbao://h/m?role-id=r&secret-id-source=file:/a/s&ca=/a/c.pem"


def test_a_module_in_memory_stays_one():
    assert absolute(Settings("sqlite://", "simulated:"), Path("/a")).hsm_uri == "simulated:"
