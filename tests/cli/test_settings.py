"""Settings written are settings read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executable import Shell, refused
from icehouse.errors import RequestError
from icehouse.store.engine import Database
from icehouse.vault.settings import TABLE, Settings, absolute, dump, load, rewrite
from icehouse.vault.settings import read as written

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(TEXT, TEXT, st.integers(min_value=0, max_value=10**9))
def test_whatever_is_written_is_read_again(tmp_path_factory, store, hsm, burst):
    file = tmp_path_factory.mktemp("settings") / "vault.toml"
    settings = Settings(f"postgresql:{store}", f"gcpkms:{hsm}", limit_burst=burst)
    file.write_text(dump(settings), encoding="utf-8", newline="")

    assert load(file, {}) == settings


@given(TEXT, st.sampled_from(["", "simulated:old", "pkcs11:token=old"]), st.integers(min_value=0, max_value=10**9))
def test_whatever_is_rewritten_is_read_again(tmp_path_factory, hsm, former, burst):
    file = tmp_path_factory.mktemp("settings") / "vault.toml"
    before = Settings("sqlite:///vault.db", "simulated:one", hsm_former_uri="simulated:two", limit_burst=7)
    after = Settings("sqlite:///vault.db", f"gcpkms:{hsm}", hsm_former_uri=former, limit_burst=burst)
    file.write_text(dump(before), encoding="utf-8")
    rewrite(file, after, before)

    assert written(file) == after


def test_an_operators_comments_and_order_outlive_a_rewrite(tmp_path):
    file = tmp_path / "vault.toml"
    file.write_text(
        "# vault of the shop\n\n[cache]\nseconds = 60.0 # as agreed\n\n# the token in rack 2\n[hsm]\n"
        "uri = 'simulated:one' # since May\n\n[store]\nurl = 'sqlite:///vault.db'\n",
        encoding="utf-8",
    )
    before = written(file)
    rewrite(file, replace(before, hsm_uri="simulated:two", hsm_former_uri="simulated:one"), before)
    text = file.read_text(encoding="utf-8")

    for comment in ("# vault of the shop\n", "# as agreed\n", "# the token in rack 2\n", "# since May\n"):
        assert comment in text
    assert text.index("[cache]") < text.index("[hsm]") < text.index("[store]")
    assert written(file) == replace(before, hsm_uri="simulated:two", hsm_former_uri="simulated:one")


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


NUMBERS = [setting for setting in TABLE.values() if setting.bounds]


@pytest.fixture
def read(tmp_path):
    """Reads settings: lines of sections, which have small letters, and variables, which have capitals."""

    def reads(**given: str) -> Settings:
        sections = {"store": 'url = "sqlite://"\n', "hsm": 'uri = "simulated:"\n'}
        for section, lines in given.items():
            if section.islower():
                sections[section] = sections.get(section, "") + lines
        (tmp_path / "vault.toml").write_text("".join(f"[{name}]\n{lines}" for name, lines in sections.items()))
        return load(tmp_path, {name: value for name, value in given.items() if not name.islower()})

    return reads


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_every_number_is_of_its_type_and_between_its_bounds_in_file_variable_and_python(read, setting):
    section, _, name = setting.name.partition(".")
    least, most = setting.bounds
    for value in ("nan", "inf", "-inf", "true", "'5'", "[5]", str(least - 1), str(most + 1)):
        with pytest.raises(RequestError, match=setting.name):
            read(**{section: f"{name} = {value}\n"})
    for value in ("nan", "inf", "", "five", " 5", "1_0", "0x10", "\u0665", str(least - 1), str(most + 1)):
        with pytest.raises(RequestError, match=f"{setting.variable}|{setting.name}"):
            read(**{setting.variable: value})
    for value in (float("nan"), float("inf"), True, "5", None, least - 1, most + 1):
        with pytest.raises(RequestError, match=setting.name):
            Settings("sqlite://", "simulated:", **{setting.attribute: value})
    for value in setting.bounds:
        assert getattr(read(**{setting.variable: str(value)}), setting.attribute) == value


@pytest.mark.parametrize("setting", [each for each in NUMBERS if each.kind is int], ids=lambda setting: setting.name)
def test_a_whole_number_has_no_fraction(read, setting):
    for value in ("1.7", "2.0", "1e1"):
        with pytest.raises(RequestError, match="must be a whole number"):
            read(**{setting.variable: value})
    with pytest.raises(RequestError, match=r"must be a whole number, not 1\.7"):
        Settings("sqlite://", "simulated:", **{setting.attribute: 1.7})


def test_text_is_text_and_is_not_repeated_by_what_refuses_it(read):
    for value in ("5", "true", "1.5"):
        with pytest.raises(RequestError, match=r"fallback\.uri must be text"):
            read(fallback=f"uri = {value}\n")
    with pytest.raises(RequestError, match="at most 65,536 characters") as caught:
        read(ICEHOUSE_STORE__URL="postgresql://user:hunter2@host/" + "x" * 65_536)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(RequestError, match=r"lacks hsm\.uri"):
        read(ICEHOUSE_HSM__URI="")


def test_a_variable_of_our_prefix_that_nobody_reads_is_refused_and_the_nearest_named(read):
    for name, meant in (
        ("ICEHOUSE_CACHE_SECONDS", "ICEHOUSE_CACHE__SECONDS"),
        ("ICEHOUSE_CACHE__SECOND", "ICEHOUSE_CACHE__SECONDS"),
        ("ICEHOUSE_HSM__PORT", "ICEHOUSE_HSM__URI"),
        ("ICEHOUSE_PASPHRASE", "ICEHOUSE_PASSPHRASE"),
    ):
        with pytest.raises(RequestError, match=f"no setting or variable {name}") as caught:
            read(**{name: "hunter2"})
        assert meant in caught.value.hint
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "name",
    [
        *(setting.variable for setting in TABLE.values() if setting.kind is str),
        "ICEHOUSE_VAULT", "ICEHOUSE_PASSPHRASE", "ICEHOUSE_TOKEN", "ICEHOUSE_CLOUDHSM_STATE",
        "ICEHOUSE_TEST_EVERY_KILL", "ICEHOUSE_PORT", "ICEHOUSE_SERVICE_HOST", "ICEHOUSE_SERVICE_PORT_HTTPS",
        "ICEHOUSE_PORT_8443_TCP_ADDR", "ICEHOUSE_DB_PORT_5432_TCP", "ICEHOUSES", "_ICEHOUSE_COMPLETE",
    ],
)  # fmt: skip
def test_variables_that_somebody_reads_or_that_a_platform_sets_are_no_mistake(read, name):
    value = "0" * 32 if name == "ICEHOUSE_VAULT__ID" else "simulated:"

    assert read(**{name: value}).hsm_uri == "simulated:"


def test_a_misspelt_variable_stops_commands_that_need_no_vault(tmp_path):
    shell = Shell(tmp_path, {"ICEHOUSE_PASPHRASE": "hunter2"})
    said = refused(shell, "verify", "--public-key", "00", "--signature", "00", "--text", "x")

    assert "there is no setting or variable ICEHOUSE_PASPHRASE" in said
    assert "was ICEHOUSE_PASSPHRASE meant?" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("digits", ["9" * 5000, "0x" + "f" * 5000])
def test_a_number_of_thousands_of_digits_is_refused_like_any_other(tmp_path, digits):
    file = tmp_path / "vault.toml"
    text = f"[store]\nurl = 'sqlite:///vault.db'\n[hsm]\nuri = 'simulated:'\n[limit]\nburst = {digits}\n"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(RequestError, match=r"is not TOML|limit.burst must be between"):
        load(file, {})


def test_a_sqlite_store_names_no_driver(tmp_path):
    with pytest.raises(RequestError, match="names no driver, not pysqlite"):
        Database(f"sqlite+pysqlite:///{tmp_path}/vault.db")
