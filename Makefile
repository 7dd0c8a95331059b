# Every target sets itself up: a .venv with pinned CPU packages, then its own job. Needs make, Python >= 3.11 and a package index.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PY := $(BIN)/python
EXTRAS := torch,triton,jax,trl,cli,plot,bench,docs,test,lint

.PRECIOUS: build/trainers/%/.ready
.PHONY: help setup test trainers audit check lint types kernels package demo verify bench mutants docs docs-test format clean

help: ## list the targets
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "poz needs Python 3.11 or newer (so do the pinned JAX, transformers and TRL); give one with make PYTHON=..." or 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch numpy
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt --no-deps liger-kernel cut-cross-entropy
	@touch $@

setup: $(READY) ## make .venv with everything in it

test: $(READY) ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal --durations=15

# Over the packages of .venv, so that torch is there already; tests/trainers/NAME.txt, or tests/peers/NAME.txt, pins the rest,
# for the Python of .venv whatever a package asks for.
define environment
	$(PY) -m venv $(@D)
	@echo "import site; site.addsitedir('$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
		> $$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/poz.pth
	$(@D)/bin/pip install -q --disable-pip-version-check --no-deps --ignore-requires-python -r $<
	@touch $@
endef

build/trainers/%/.ready: tests/trainers/%.txt $(READY)
	$(environment)

build/trainers/%/.ready: tests/peers/%.txt $(READY)
	$(environment)

# What the laws measured goes to tests/trainers/results.
trainers-%: build/trainers/%/.ready ## the tests beside one trainer library, such as verl, in an environment of its own
	POZ_RECORD=$* OMP_NUM_THREADS=1 build/trainers/$*/bin/python -m pytest -q tests/trainers/test_$*.py

# All of them, whatever one of them does; then the table of docs/trainers.md, and the names of those that cannot be run here.
trainers: $(READY) ## the tests beside every trainer library
	@failed=; for file in tests/trainers/*.txt; do name=$$(basename $$file .txt); \
		$(MAKE) --no-print-directory trainers-$$name || failed="$$failed $$name"; done; \
		$(PY) tests/trainers/page.py; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

# The libraries that an environment is named after, at its versions.
audit-%: build/trainers/%/.ready ## the losses of one library, such as verl, beside the references, in an environment of its own
	@mkdir -p build/audit
	OMP_NUM_THREADS=1 build/trainers/$*/bin/python -P -m poz audit $$($(PY) tests/peers/environments.py $*) --json build/audit/$*.json > /dev/null

# What is installed in .venv, and what is in CHECKOUTS='NAME=PATH "NAME OF TWO WORDS=PATH"'.
audit-base: $(READY)
	@mkdir -p build/audit
	@set --; for one in $(CHECKOUTS); do set -- "$$@" --checkout "$$one"; done; \
		OMP_NUM_THREADS=1 $(PY) -P -m poz audit "$$@" --json build/audit/base.json > /dev/null

audit-check: audit-base ## whether the losses of what is installed in .venv are what docs/peers.md says
	$(PY) tests/peers/check.py build/audit/base.json

# audit-base and every environment that brings another version, two at a time, whatever one of them does; then what was found goes to
# poz/peers/results.json, docs/peers.md and docs/reports.
audit: $(READY) ## what every library's loss really is
	@rm -rf build/audit
	@$(MAKE) --no-print-directory -k -j2 audit-base $$($(PY) tests/peers/environments.py | sed s/^/audit-/); failed=$$?; \
		$(PY) tests/peers/page.py build/audit/*.json && exit $$failed

check: lint types kernels package ## lint, types, every Triton kernel compiled ahead of time and interpreted, and what is packaged

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not see editable installs, so it checks a plain copy.
types: $(READY)
	@rm -rf build/types build/lib
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --target build/types .
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p poz
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml ../../tests/typed.py
	$(BIN)/pyright
	$(PY) tests/completed.py build/types

kernels: $(READY)
	$(PY) bench/gpu.py --check-only

# From the sdist a wheel, from the wheel every public name, away from the checkout.
package: $(READY)
	@rm -rf build/package build/lib
	$(PY) -c "from setuptools import build_meta; build_meta.build_sdist('build/package')" > /dev/null
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation --target build/package/site build/package/*.tar.gz
	$(PY) -P -W ignore tests/public_names.py build/package/site

demo: $(READY) ## train a tiny language model with SimPO through TRL, on two cores in minutes
	$(BIN)/poz demo --objective simpo

verify: $(READY) ## every objective on every backend against its float64 reference
	$(BIN)/poz verify

bench: $(READY) ## the CPU benchmarks
	$(BIN)/poz bench --quick

mutants: $(READY) ## change one place at a time, in every formula and in 120 of the plumbing's: how many does a test see?
	$(PY) tests/mutants
	$(PY) tests/mutants --plumbing --sample 120

docs: $(READY) ## the site, into build/site
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(PY) -P -m mkdocs build

# Selenium drives Debian's Chromium.
docs-test: docs ## every page of the site in a real browser
	@command -v chromium > /dev/null && command -v chromedriver > /dev/null || \
		{ command -v apt-get > /dev/null && [ $$(id -u) = 0 ] && apt-get update -qq && apt-get install -y -qq chromium chromium-driver > /dev/null; } || \
		{ echo "make docs-test needs chromium and chromedriver on the PATH: install Debian's chromium and chromium-driver."; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/pytest -q tests/site --durations=5

format: $(READY)
	$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .mutants
