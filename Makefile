# Every target works on a fresh Debian machine: it installs what is missing first.
.DEFAULT_GOAL := help
.PHONY: help demo test fuzz test-peer test-cgroup2 dev lint unit bench clean
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
# What touches cgroups most, in about five minutes: under emulation everything takes 10 to 20 times as long.
VM_TIMEOUT := 1500
TESTS := tests/system/kernel tests/system/runtime/test_shim.py tests/system/runtime/test_run.py \
	tests/system/engine/test_limits.py tests/system/engine/test_life.py -k "not slow_client and not never_reads"

help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: dev ## pull nginx, run it on port 8080, fetch its page; build an app and run it; clean up (KEEP=1 leaves it running)
	@scripts/demo

test: dev .cache/clients/.stamp .cache/peers/.stamp images ## every test (root, real kernel, real clients)
	scripts/run-tests tests

test-peer: dev .cache/clients/.stamp .cache/peers/.stamp images ## the client tests against dockerd: what judges us must pass there first
	$(PYTEST) tests/clients --peer

test-cgroup2: dev .cache/vm/.stamp ## kernel, shims, limits and lives of containers in a virtual machine with cgroup v2 only; not all: that is TESTS=tests/system, an hour
	scripts/install-packages --vm
	@$(BIN)/python -m compileall -q src tests
	scripts/cgroup2-vm --timeout $(VM_TIMEOUT) $(PYTEST) -q --timeout 300 $(TESTS)

fuzz: dev .cache/clients/.stamp ## schemathesis talks to a real knarrd for SECONDS (600): no bug, no hang, nothing left behind
	scripts/fuzz-api $(or $(SECONDS),600)

dev: $(VENV)/.stamp ## the virtual environment and Debian's packages that development needs
	@scripts/install-packages

lint: $(VENV)/.stamp ## ruff, mypy --strict, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.stamp ## the tests that need neither root nor a network
	$(PYTEST) tests/unit

.PHONY: images
images: dev # of Debian's packages, for tests of a real project; nothing to do while their recipes stay the same
	@$(BIN)/python -m tests.support.stack >/dev/null

bench: dev .cache/clients/.stamp .cache/peers/.stamp ## measure beside dockerd in alternating pairs; prints the ratios
	$(BIN)/python -m bench $(BENCH)

clean: ## forget the environment and every cache
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.stamp: requirements.lock pyproject.toml
	scripts/make-venv $(VENV)
	@touch $@

.cache/clients/.stamp: scripts/real-clients
	scripts/real-clients .cache/clients

.cache/vm/.stamp: scripts/vm-kernel scripts/unpack-debian
	scripts/install-packages --vm
	scripts/vm-kernel .cache/vm

.cache/peers/.stamp: scripts/real-clients
	scripts/install-packages --peers
	scripts/real-clients --peers .cache/peers
