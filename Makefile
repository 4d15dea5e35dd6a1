# treering: `make demo` and `make test` need Python 3.11+ and make, and install the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Most tests wait for processes and disks: a worker for each core.
PARALLEL := -n auto --dist worksteal
DEBIAN := git rsync strace attr acl e2fsprogs less fio xfsprogs stress-ng fuse3 postgresql

SECONDS  ?= 60
DECODERS ?= $(shell sed -n 's/^    "\([a-z_]*\)": .*/\1/p' tests/fuzz/decoders.py)

.PHONY: help demo docs test test-long fuzz lint bench bench-quick bench-driver bench-instant bench-history bench-scale clean venv typecheck-links debian

help:
	@echo 'make demo       install into .venv, then version and replicate real files'
	@echo 'make test       install into .venv, then run all but the long tests'
	@echo 'make test-long  the crash, fuzz and scale runs'
	@echo 'make fuzz       fuzz the decoders: SECONDS=60 each, DECODERS="node pack" or all'
	@echo 'make docs       write docs/cli.md from the commands'
	@echo 'make lint       ruff, mypy --strict, import-linter'
	@echo 'make bench      measure against restic, borg, bup and rsync, and write docs/performance.md'
	@echo 'make bench-quick  the same with less data in three minutes; prints only'
	@echo 'make bench-driver   measure an attached tree beside bindfs, passthrough_ll and the file system below'
	@echo 'make bench-instant  measure commits of an attached tree'
	@echo 'make bench-history  measure looking through long histories'
	@echo 'make bench-scale    measure how cost grows with size (see docs/scaling.md)'

# A bare Debian has python3 without venv; install it when we may, else say what is missing.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'treering needs Python 3.11 or newer (set PYTHON=...)' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } || \
	  { echo 'the venv module is missing: install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@

venv: $(VENV)/.installed

# What the tests drive beside treering itself. Installed when we may.
debian:
	@missing=''; for p in git rsync strace setfattr setfacl mkfs.ext4 less fio xfs_io stress-ng fusermount3 pg_lsclusters; do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    apt-get update -qq && apt-get install -y -qq $(DEBIAN) >/dev/null; } || \
	  { echo "the tests need:$$missing (Debian: apt-get install $(DEBIAN))" >&2; exit 1; }; fi

demo: $(VENV)/.installed
	@$(BIN)/python docs/demo.py $(BIN)/treering

docs: $(VENV)/.installed
	$(BIN)/python docs/make_cli.py docs/cli.md

test: $(VENV)/.installed debian
	$(BIN)/pytest $(PARALLEL)

test-long: $(VENV)/.installed debian
	TREERING_LONG=1 $(BIN)/pytest $(PARALLEL) -m 'long or not long' --timeout 7200

# One after the other, so that the figures of each are its own.
fuzz: $(VENV)/.installed
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@failed=0; for name in $(DECODERS); do \
	  $(BIN)/python tests/fuzz/run_decoder.py $$name $(SECONDS) || failed=1; done; exit $$failed

# Measured is what users have: a wheel, not the editable install, and nothing beside it. What
# measures it lives elsewhere: with numpy at hand, sqlite_utils takes a tenth of a second longer.
WHEEL := $(VENV)/wheel
BENCH := $(VENV)/bench
MEASURE := TREERING=$(abspath $(WHEEL))/bin/treering $(BENCH)/bin/python tests/benchmarks
$(BENCH)/.installed: $(BIN)/python pyproject.toml constraints.txt $(wildcard cli/*.py cli/*/*.py store/*.py store/*/*.py tracker/*.py tracker/*/*.py)
	rm -rf build
	$(PYTHON) -m venv $(WHEEL)
	$(PYTHON) -m venv $(BENCH)
	$(WHEEL)/bin/pip install -q --disable-pip-version-check -c constraints.txt .
	$(BENCH)/bin/pip install -q --disable-pip-version-check -c constraints.txt '.[bench]'
	@touch $@

bench: $(BENCH)/.installed
	$(MEASURE)/run.py --write docs/performance.md

bench-quick: $(BENCH)/.installed
	$(MEASURE)/run.py --quick --tools treering,restic,borg,rsync

bench-driver: $(BENCH)/.installed
	$(MEASURE)/driver.py --write docs/performance.md

bench-instant: $(BENCH)/.installed
	$(MEASURE)/instant.py --write docs/performance.md

bench-history: $(BENCH)/.installed
	$(MEASURE)/history.py

bench-scale: $(BENCH)/.installed
	$(MEASURE)/scale.py

typecheck-links:
	@mkdir -p .typecheck/treering
	@for p in cli store tracker; do ln -sfn ../../$$p .typecheck/treering/$$p; done

lint: $(VENV)/.installed typecheck-links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf $(VENV) .typecheck build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
