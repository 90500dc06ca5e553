# Two commands: `make demo` and `make test`. The rest is for those who change the code.
PYTHON ?= python3
BIN := .venv/bin
# Half of the tests' time is waiting. By file, in their order: the long ones do not come last.
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-postgresql faults lint bench clean

help:
	@echo "make demo   three nights of training in .demo/, everything real but the date"
	@echo "make test   the whole test suite"
	@echo "make test-postgresql  the same of maejobs, with every run database in PostgreSQL"
	@echo "make faults the whole table of faults: 200 kills, a full disk at every write, ..."
	@echo "make lint   format check, lint, types and layer rules"
	@echo "make bench  measurements, side by side"
	@echo "make clean  removes .venv and .demo"

demo: .venv/.installed
	@$(BIN)/maejobs demo .demo

test: .venv/.installed-dev
	@tests/install-system-packages
	@$(BIN)/python -m pytest $(IN_TWO)

# mae has no run database.
test-postgresql: .venv/.installed-dev
	@tests/install-system-packages
	@$(BIN)/python -m pytest $(IN_TWO) --database postgresql --ignore tests/mae

faults: .venv/.installed-dev
	@tests/install-system-packages
	@$(BIN)/python -m pytest -n 2 --dist worksteal tests/faults --faults 200

lint: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.created pyproject.toml
	@echo "Installing maejobs and what it needs (PyTorch is large: a minute or more) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.installed-dev: .venv/.created pyproject.toml
	@echo "Installing maejobs and what its tests need (PyTorch is large: a minute or more) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/.installed

clean:
	rm -rf .venv .demo
