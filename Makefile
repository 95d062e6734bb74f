PYTHON ?= python3
EXPERIMENT ?= config.yaml
PROFILE ?=
LOCK ?= requirements.lock
BIN := .venv/bin
PIP = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint $(LOCK) --editable

.DEFAULT_GOAL := help
.PHONY: help install reproduce test browser slurm lint schemas docs links gpu-check report ui clean

help:
	@echo "make reproduce   run the default experiment end to end (EXPERIMENT=file PROFILE=folder for others)"
	@echo "make test        run the tests"
	@echo "make report      open the report page"
	@echo "make ui          browse the runs in MLflow, http://127.0.0.1:5000"
	@echo "make lint        check style, types, layers and the workflow"
	@echo "make docs        build the documentation's site: docs/_build/html/index.html"
	@echo "make gpu-check   try on this machine's GPU what has not run on one; some minutes"
	@echo "make install     only set up .venv"

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON). Python 3.11 or newer is needed."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$("$(PYTHON)" --version 2>&1) is" \
		"too old: Python 3.11 or newer is needed. Another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv: apt-get install python3-venv"; exit 1; }
	@echo "Setting up .venv with pinned packages, the first time only: 3 GB to download, 6 GB of disk, 3 to 10 minutes."
	@"$(PYTHON)" -m venv .venv
	@$(PIP) '.[pipeline]'
	@$(BIN)/python -c 'import timm' & \
		$(BIN)/python -c 'import matplotlib.pyplot, mlflow.tracking, sklearn.linear_model, snakemake.cli'; wait
	@touch $@

# What tests and style checks need beside it: 0.8 GB.
.venv/installed-dev: .venv/installed
	@$(PIP) '.[pipeline,dev]'
	@touch $@

# What the documentation's site needs beside it: 30 MB.
.venv/installed-docs: .venv/installed
	@$(PIP) '.[pipeline,docs]'
	@touch $@

# Packages are compiled when they are first imported, not all of them at installation; those that every run needs are imported
# there, else its first jobs all compile them at once. Where that may not be kept, as many a container says, each of hundreds
# of processes compiles them again, which takes longer than what it is for.
export PYTHONDONTWRITEBYTECODE :=

# Snakemake, pip and matplotlib keep things in the user's folder; where that cannot be written, they get one here.
# Some packages cannot be installed by a user who has none at all.
ifneq ($(shell [ -d "$$HOME" ] && [ -w "$$HOME" ] && echo yes),yes)
export XDG_CACHE_HOME ?= $(CURDIR)/.snakemake/cache
export HOME ?= $(CURDIR)/.snakemake
endif

# Quoted by the shell: in the environment a name is only a name, whatever is in it.
export EXPERIMENT PROFILE
RUN = $(BIN)/snakemake --configfile "$$EXPERIMENT" $${PROFILE:+--profile "$$PROFILE"} \
	$$([ -t 2 ] && echo --logger rich || echo --quiet rules)

# Before a cluster is asked, what the cells cost is counted: it decides what their jobs ask for, and which share one.
# Where an experiment searches settings, its trials run first; where its seeds come in rounds, one run follows another.
reproduce: install
	@$(BIN)/clce-bench headline --if-up-to-date --experiment "$$EXPERIMENT" || { [ $$? = 1 ] && $(NEXT_RUN); }

define NEXT_RUN
printf '%s\n' "How far it is, in another terminal: $(BIN)/clce-bench watch --experiment \"$$EXPERIMENT\"" >&2 && \
	$(if $(PROFILE),$(BIN)/clce-bench plan --experiment "$$EXPERIMENT" &&) \
	until $(BIN)/clce-bench rounds --experiment "$$EXPERIMENT"; do [ $$? = 1 ] || exit 2; $(RUN) || exit 1; done && \
	$(RUN) && $(BIN)/clce-bench headline --experiment "$$EXPERIMENT"
endef

test: .venv/installed-dev browser slurm
	$(BIN)/pytest

# The tests look at the report page in it. Without root it comes from Playwright, into the environment's own folder.
browser: .venv/installed-dev
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || $(call as_root,chromium) \
		|| PLAYWRIGHT_BROWSERS_PATH=.venv/browsers timeout 300 $(BIN)/playwright install --only-shell chromium >/dev/null 2>&1 \
		|| echo "The tests of the report page are skipped: there is no Chromium. apt-get install chromium brings it."

# The tests of clusters start one of their own, on loopback.
slurm:
	@command -v slurmctld >/dev/null || [ -x /usr/sbin/slurmctld ] || $(call as_root,slurm-wlm munge) \
		|| echo "The tests of clusters are skipped: there is no Slurm. apt-get install slurm-wlm munge brings it."

as_root = { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq --no-install-recommends $(1) >/dev/null; } 2>/dev/null

lint: .venv/installed-dev schemas
	$(BIN)/ruff format --check clce_bench tests benchmarks examples docs .ci
	$(BIN)/ruff check clce_bench tests benchmarks examples docs .ci
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/lint-imports

# The files that GitHub reads: it says nothing of a mistake in them.
SCHEMA = $(BIN)/check-jsonschema --quiet --builtin-schema
schemas: .venv/installed-dev
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) custom.github-workflows-require-timeout .github/workflows/*.yml
	$(SCHEMA) vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA) vendor.citation-file-format CITATION.cff

# A warning is an error: a link that leads nowhere, a page that no other leads to, a docstring that cannot be read.
docs: .venv/installed-docs
	$(BIN)/python -m sphinx -E -q -W --keep-going -b html docs docs/_build/html

# Whether pages elsewhere are still there, which needs a network.
links: .venv/installed-docs
	$(BIN)/python -m sphinx -E -q -b linkcheck docs docs/_build/links

# On any machine with a GPU, PyTorch and timm, whether .venv is set up or not: docs/benchmarks/gpu.md.
gpu-check:
	$$([ -x $(BIN)/python ] && echo $(BIN)/python || echo "$(PYTHON)") benchmarks/gpu_check.py

report: install
	$(BIN)/clce-bench headline --experiment "$$EXPERIMENT" --open

ui: install
	@echo "Open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
	@# Nine processes of the server are for work that is not tracking.
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --backend-store-uri sqlite:///results/mlflow/mlflow.db \
		--host 127.0.0.1 --port 5000

clean:
	rm -rf .venv .snakemake
