# Every target works on a fresh Debian machine: it installs what is missing first.
.DEFAULT_GOAL := help
.PHONY: help demo test test-peer dev lint unit bench clean
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: dev ## pull nginx, run it on port 8080, fetch its page, clean up (KEEP=1 leaves it running)
	@scripts/demo

test: dev .cache/clients/.stamp .cache/peers/.stamp ## every test (root, real kernel, real clients)
	$(PYTEST) tests

test-peer: dev .cache/clients/.stamp .cache/peers/.stamp ## the client tests against dockerd: what judges us must pass there first
	$(PYTEST) tests/clients --peer

dev: $(VENV)/.stamp ## the virtual environment and Debian's packages that development needs
	@scripts/install-packages

lint: $(VENV)/.stamp ## ruff, mypy --strict, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.stamp ## the tests that need neither root nor a network
	$(PYTEST) tests/unit

bench: dev .cache/clients/.stamp .cache/peers/.stamp ## measure beside dockerd in alternating pairs; prints the ratios
	$(BIN)/python -m bench $(BENCH)

clean: ## forget the environment and every cache
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.stamp: requirements.lock pyproject.toml
	scripts/make-venv $(VENV)
	@touch $@

.cache/clients/.stamp: scripts/real-clients
	scripts/real-clients .cache/clients

.cache/peers/.stamp: scripts/real-clients
	scripts/install-packages --peers
	scripts/real-clients --peers .cache/peers
