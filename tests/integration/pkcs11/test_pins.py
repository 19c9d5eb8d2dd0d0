"""A token that counts wrong PINs is never locked by icehouse: its flags are looked at before each try."""

from __future__ import annotations

import pytest

from executable import Shell
from icehouse.errors import HsmRefusedError
from icehouse.hsm import KeyKind


def write(odd, pin: str) -> None:
    odd.token.pin_file.write_text(f"{pin}\n")


@pytest.fixture
def pin(odd):
    """The right PIN of a token that three wrong ones lock."""
    odd.habits.counted = 1
    return odd.token.pin_file.read_text().strip()


def wrong_tries(odd, opened, pins) -> list[str]:
    """What is said of each of these PINs."""
    said = []
    for wrong in pins:
        write(odd, wrong)
        with pytest.raises(HsmRefusedError) as caught:
            opened(odd.uri())
        said.append(str(caught.value))
    return said


@pytest.mark.usefixtures("pin")
def test_however_many_wrong_pins_are_written_none_locks_the_token(odd, opened):
    said = wrong_tries(odd, opened, ["111111", "222222", "333333", "444444"])

    assert (odd.habits.wrong, odd.habits.logins) == (2, 2)
    assert "PinIncorrect" in said[0]
    assert said[1].endswith("the token says that one more wrong PIN locks it")
    assert said[2] == said[3] == "the token says that one more wrong PIN locks it; none is tried"


def test_the_right_pin_is_not_tried_either_until_the_count_began_anew(odd, opened, pin):
    wrong_tries(odd, opened, ["111111", "222222"])
    write(odd, pin)
    with pytest.raises(HsmRefusedError, match="none is tried") as caught:
        opened(odd.uri())
    assert "pkcs11-tool" in caught.value.hint

    odd.habits.wrong = 0  # as a login with the vendor's tool has it
    opened(odd.uri()).create_key("key", KeyKind.AES)


def test_a_locked_token_is_not_asked_for_a_login(odd, opened, pin):
    odd.habits.wrong = 3
    write(odd, pin)

    with pytest.raises(HsmRefusedError, match="locked after too many wrong tries"):
        opened(odd.uri())
    assert odd.habits.logins == 0


@pytest.mark.usefixtures("pin")
def test_a_refused_pin_is_not_tried_again_by_whoever_opens_the_token_in_this_process(odd, opened):
    write(odd, "111111")
    for _ in range(3):
        with pytest.raises(HsmRefusedError, match="wrong PIN"):
            opened(odd.uri())

    assert (odd.habits.wrong, odd.habits.logins) == (1, 1)


@pytest.mark.usefixtures("pin")
def test_one_token_still_opens_after_another_one_of_the_module_refused_its_pin(odd, opened, softhsm):
    other = softhsm.new_token("other-of-the-odd", pin="975310")
    opened(odd.uri())
    uri = odd.uri().replace(f"token={odd.token.label}", f"token={other.label}")
    with pytest.raises(HsmRefusedError, match="wrong PIN"):
        opened(uri)
    odd.habits.wrong = 0

    assert opened(odd.uri()).keys("") == []
    assert opened(uri.replace(str(odd.token.pin_file), str(other.pin_file))).keys("") == []


@pytest.mark.usefixtures("pin")
def test_doctor_run_again_and_again_with_a_wrong_pin_does_not_lock_the_token(odd, tmp_path):
    write(odd, "111111")
    told = [Shell(tmp_path).run("doctor", "--hsm", odd.uri()) for _ in range(4)]

    assert [done.code for done in told] == [2, 2, 2, 2]
    assert odd.habits.wrong == 2
    assert "one more wrong PIN locks it" in told[3].err
