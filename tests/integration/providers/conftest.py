"""The tests of this folder run on every provider, by the adapters of the conformance suite."""

from __future__ import annotations

from conformance.hsm.conftest import adapter, pytest_configure, pytest_generate_tests

__all__ = ["adapter", "pytest_configure", "pytest_generate_tests"]
