# Two commands set everything up: `make demo` and `make test`. The others are for those who change the project.
PYTHON ?= python3
PORT ?= 1908
DATA ?= ./twinstack-demo
LOG ?= embedded
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-all lint faults bench lock clean
.DEFAULT_GOAL := demo

demo: .venv/platform.stamp ## start server, demo programs and streams at http://localhost:$(PORT)
	@exec $(BIN)/twinstack demo --port $(PORT) --data $(DATA) --log $(LOG) $(if $(RESET),--reset) $(if $(STRICT),--strict)

test: .venv/test.stamp ## run every test; installs what they need
	@exec $(BIN)/python scripts/run_tests.py $(ARGS)

test-all: .venv/test.stamp ## also the slow tests
	@exec $(BIN)/python scripts/run_tests.py --slow $(ARGS)

lint: .venv/test.stamp ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

faults: .venv/test.stamp ## kill -9 everywhere, 50 times on each log: SEED= KILLS=
	@exec $(BIN)/python -m tests.faults --seed $(or $(SEED),1) --kills $(or $(KILLS),50)

bench: .venv/test.stamp ## measure against peers and raw limits
	$(BIN)/python -m bench.log --json $(ARGS)
	$(BIN)/python -m bench.client --json $(ARGS)
	$(BIN)/python -m bench.filter --json $(ARGS)
	$(BIN)/python -m bench.join_operator --json $(ARGS)
	$(BIN)/python -m bench.window_operator --json $(ARGS)
	$(BIN)/python -m bench.streams --json $(ARGS)
	$(BIN)/python -m bench.sensorthings --store sqlite --json $(ARGS)
	$(BIN)/python -m bench.sensorthings --store postgresql --json $(ARGS)

lock: ## write requirements/*.lock anew (needs uv)
	scripts/lock

clean:
	rm -rf .venv

# The virtual environment follows the lock files: each stamp is older than its lock when the lock has changed.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/platform.stamp: requirements/platform.lock pyproject.toml | .venv/bin/python
	@echo "Installing twinstack into .venv ..." >&2
	$(PIP) install --require-hashes -r requirements/platform.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/test.stamp: requirements/test.lock pyproject.toml .venv/platform.stamp
	@echo "Installing what the tests need into .venv ..." >&2
	$(PIP) install --require-hashes -r requirements/test.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
