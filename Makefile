# `make demo` shows the main job, `make test` proves it; `make check` reads the code, `make bench` measures it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUST_SOURCES := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock

.PHONY: demo test check bench soak lock clean
.DEFAULT_GOAL := demo

$(VENV)/.run: requirements/run.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	touch $@

$(VENV)/.built: $(VENV)/.run $(RUST_SOURCES) pyproject.toml
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --locked --quiet
	touch $@

demo: $(VENV)/.built
	$(BIN)/icehouse demo

test: $(VENV)/.dev $(VENV)/.built
	tests/install-packages
	cargo test --quiet --release --locked --package icehouse-core --package icehouse-pkcs11
	$(BIN)/pytest --numprocesses 2 --dist loadfile

check: $(VENV)/.dev $(VENV)/.built
	cargo fmt --all --check
	cargo clippy --quiet --release --locked --all-targets -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev $(VENV)/.built
	$(BIN)/python -m bench

# A minute of eight threads on each HSM provider whose sessions are lost every second; 500 histories of trial clusters.
soak: $(VENV)/.dev $(VENV)/.built
	PYTHONPATH=tests $(BIN)/python -m integration.providers.soak 60
	HISTORIES=500 $(BIN)/pytest tests/cloudhsm/test_histories.py --numprocesses 2

# Pins every package with its hashes; run it after a change of dependencies.
lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --strip-extras --allow-unsafe --generate-hashes --upgrade --output-file requirements/run.lock requirements/run.in pyproject.toml
	$(BIN)/pip-compile --quiet --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --strip-extras --allow-unsafe --generate-hashes --upgrade --output-file requirements/dev.lock requirements/dev.in

clean:
	rm -rf $(VENV) target build dist
