# Everything is installed into .venv once, and again when the requirements change.
# `make` without a target explains itself.

SHELL := /bin/bash
PYTHON := .venv/bin/python
CODE := manage.py platform activity registry training tests benchmarks

# Stamps carry a checksum of what was installed, and of where: .venv knows this folder's path.
key = $(shell (pwd; cat $(1)) | cksum | cut -d' ' -f1)
RUNTIME := .venv/.runtime-$(call key,requirements.txt)
DEV := .venv/.dev-$(call key,requirements.txt requirements-reporting.txt requirements-dev.txt)

# The tests bring their own database and home.
TESTS := env -u DATABASE_URL -u REDIS_URL -u CELERY_BROKER_URL $(PYTHON) -m

LANES := test-survival test-pages test-trainer test-units test-postgresql

.DEFAULT_GOAL := help
.PHONY: help demo run test $(LANES) test-sqlite lint format types contracts schema migrations bench screenshots ci clean browser

help:  ## This list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(RUNTIME)  ## Fine-tune a small model through the API, and say what it has learned
	@$(PYTHON) manage.py demo

run: $(RUNTIME)  ## Start the platform on 127.0.0.1:$PORT (default 5000) until Ctrl-C
	@$(PYTHON) manage.py run

# Those that start the platform, or a browser, and mostly wait for them; in two halves.
PAGES := tests/e2e tests/trainyard/running
SURVIVAL := tests/survival tests/hub

# Four at a time: those that mostly wait come first when they have something to do, and those that
# compute take what is left of the cores. The last begins when the first has ended.
test: $(DEV) browser  ## All tests on SQLite, and those with a database on PostgreSQL too
	@$(MAKE) --no-print-directory --output-sync --keep-going --jobs=4 $(LANES)

test-pages: $(DEV)
	$(TESTS) pytest $(PAGES)

test-survival: $(DEV)
	$(TESTS) pytest $(SURVIVAL)

test-trainer: $(DEV)
	nice -n 5 $(TESTS) pytest tests/training/trainer

test-units: $(DEV)
	nice -n 5 $(TESTS) pytest $(addprefix --ignore ,tests/training/trainer $(PAGES) $(SURVIVAL))

test-sqlite: $(DEV) browser
	$(TESTS) pytest

# Of what does not depend on the database, once is enough: who may do what by which route (half a
# thousand tests), what the wizard asks, and those that take long over files and networks.
SAME_ANYWHERE := tests/training/trainer tests/training/wizard tests/e2e tests/api/test_every_route.py \
	tests/hub/test_buckets.py tests/hub/test_web.py tests/registry/test_large_archives.py \
	tests/registry/test_repair.py tests/training/test_dataset_rows.py

test-postgresql: $(DEV)
	nice -n 5 $(TESTS) tests.postgresql $(PYTHON) -m pytest -p tests.database_only \
		$(addprefix --ignore ,$(SAME_ANYWHERE))

lint: $(DEV)  ## ruff: rules and format
	$(PYTHON) -m ruff check $(CODE)
	$(PYTHON) -m ruff format --check $(CODE)

format: $(DEV)  ## Write the code as ruff would
	$(PYTHON) -m ruff check --fix $(CODE)
	$(PYTHON) -m ruff format $(CODE)

types: $(DEV)  ## mypy, strict
	$(PYTHON) -m mypy $(CODE)

contracts: $(DEV)  ## Which way imports may go
	.venv/bin/lint-imports --cache-dir .venv/.import_linter_cache

schema: $(DEV)  ## Write docs/openapi.yaml
	env -u DATABASE_URL $(PYTHON) manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

migrations: $(DEV)  ## Is a migration missing?
	$(PYTHON) manage.py makemigrations --check --dry-run

bench: $(DEV)  ## The measurements that the documentation quotes
	@for script in benchmarks/*.py; do echo "== $$script"; $(PYTHON) $$script || exit 1; done

screenshots: $(DEV) browser  ## Pictures of every page, for docs/images/pages
	env -u DATABASE_URL -u REDIS_URL -u CELERY_BROKER_URL $(PYTHON) -m benchmarks.screenshots

ci:  ## What the build server runs
	.ci/run

clean:  ## Remove .venv; the next target installs it again. TRAINYARD_HOME stays
	rm -rf .venv

# -- What the targets need -------------------------------------------------------------------------

.venv/bin/python:
	@for python in python3.11 python3; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making .venv with $$($$python --version) …"; \
			$$python -m venv .venv || { rm -rf .venv; exit 1; }; \
			exit 0; \
		fi; \
	done; \
	echo "Trainyard needs Python 3.11 or newer, as python3.11 or python3 on the PATH." >&2; exit 1

# Bytecode is made for all packages at once, on every core; pip would make it on one. Of what hardly
# anybody imports, a quarter of all files, it is made when somebody does. What a package holds for
# other Pythons does not compile, which is nobody's mistake.
INSTALL := $(PYTHON) -m pip install --quiet --no-compile
COMPILE := $(PYTHON) -m compileall -q -j 0 -x '/tests?/|/transformers/models/' .venv/lib >/dev/null 2>&1 || true

# torch comes alone and first. TORCH_INDEX chooses another build of it, such as the one without CUDA:
# make run TORCH_INDEX=https://download.pytorch.org/whl/cpu
$(RUNTIME): | .venv/bin/python
	@echo "Installing requirements.txt into .venv (once) …"
	@$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $$(grep '^torch==' requirements.txt)
	@$(INSTALL) -r requirements.txt
	@$(COMPILE)
	@# Celery, the web server and the trainer find the code wherever they are started.
	@printf '%s\n' '$(CURDIR)' '$(CURDIR)/platform' \
		> "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/trainyard.pth"
	@rm -f .venv/.runtime-*; touch $@

$(DEV): $(RUNTIME)
	@echo "Installing requirements-dev.txt into .venv (once) …"
	@$(INSTALL) -r requirements-dev.txt
	@$(COMPILE)
	@rm -f .venv/.dev-*; touch $@

# The browser tests drive Debian's chromium; without one they are skipped, and fail under CI=true.
browser:
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "Installing chromium for the browser tests …"; \
		{ apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null </dev/null; \
	fi
