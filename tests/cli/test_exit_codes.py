"""Every error has its exit code, and every end its form."""

from __future__ import annotations

import inspect

import pytest

from icehouse import errors
from icehouse.cli.printer import EXIT_CODES, exit_code, explain
from icehouse.store import DataKeyFullError

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__ and not issubclass(kind, Warning)
]
WRONG = {"RequestError", "ConflictError", "StaleEpochError", "RefusedError", "MissingExtraError"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_of_error_has_a_row(kind):
    assert EXIT_CODES[kind] == (1 if kind.__name__ in WRONG else 2)


def test_a_class_made_elsewhere_has_its_parents_code():
    assert exit_code(DataKeyFullError()) == 2


def test_a_refusal_for_want_of_the_vault_is_not_the_callers_fault():
    assert exit_code(errors.RefusedError(reason="unavailable")) == 2
    assert exit_code(errors.RefusedError(reason="malformed")) == 1


def test_an_error_and_its_hint_have_a_line_each(capsys):
    code = explain(errors.RequestError("this is wrong", hint="do that"))

    assert code == 1
    assert capsys.readouterr().err == "icehouse: error: this is wrong\nicehouse: hint: do that\n"


def test_an_error_of_the_disk_names_its_file(capsys):
    code = explain(OSError(28, "No space left on device", "/some/file"))

    assert code == 2
    assert capsys.readouterr().err == "icehouse: error: No space left on device: /some/file\n"


def test_a_fault_of_icehouse_itself_is_shown_with_its_stack_and_called_so(capsys):
    code = explain(ZeroDivisionError("division by zero"))
    said = capsys.readouterr().err

    assert code == 2
    assert "ZeroDivisionError: division by zero" in said
    assert "this is a fault in icehouse itself" in said
