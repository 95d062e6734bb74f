PYTHON ?= python3
EXPERIMENT ?= config.yaml
PROFILE ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install reproduce test browser slurm lint report ui clean

help:
	@echo "make reproduce   run the default experiment end to end (EXPERIMENT=file PROFILE=folder for others)"
	@echo "make test        run the tests"
	@echo "make report      open the report page"
	@echo "make ui          browse the runs in MLflow, http://127.0.0.1:5000"
	@echo "make lint        check style, types, layers and the workflow"
	@echo "make install     only set up .venv"

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	@echo "Setting up .venv with pinned packages: about 6 GB and a few minutes the first time."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[pipeline,dev]'
	@touch $@

RUN = $(BIN)/snakemake --configfile $(EXPERIMENT) $(if $(PROFILE),--profile $(PROFILE)) \
	$$([ -t 2 ] && echo --logger rich || echo --quiet rules)

# Before a cluster is asked, what the cells cost is counted: it decides what their jobs ask for, and which share one.
# Where an experiment searches settings, its trials run first.
reproduce: install
	@$(if $(PROFILE),$(BIN)/clce-bench plan --experiment $(EXPERIMENT))
	@$(BIN)/clce-bench tune --check --experiment $(EXPERIMENT) 2>/dev/null || $(RUN)
	@$(RUN)
	@$(BIN)/clce-bench headline --experiment $(EXPERIMENT)

test: install browser slurm
	$(BIN)/pytest

# The tests look at the report page in it.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq \
		&& apt-get install -qq --no-install-recommends chromium >/dev/null; } \
		|| echo "The tests of the report page need Chromium: apt-get install chromium"

# The tests of clusters start one of their own, on loopback; without it they are skipped.
slurm:
	@command -v slurmctld >/dev/null || [ -x /usr/sbin/slurmctld ] || { [ "$$(id -u)" = 0 ] && apt-get update -qq \
		&& apt-get install -qq --no-install-recommends slurm-wlm munge >/dev/null; } \
		|| echo "The tests of clusters need Slurm: apt-get install slurm-wlm munge"

lint: install
	$(BIN)/ruff format --check clce_bench tests benchmarks examples .ci
	$(BIN)/ruff check clce_bench tests benchmarks examples .ci
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/lint-imports

report: install
	$(BIN)/clce-bench headline --experiment $(EXPERIMENT) --open

ui: install
	@echo "Open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow server --backend-store-uri sqlite:///results/mlflow/mlflow.db \
		--host 127.0.0.1 --port 5000

clean:
	rm -rf .venv .snakemake
