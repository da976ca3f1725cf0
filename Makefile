# Each target sets up by itself: .venv is made from the hash-locked envs/ when they have changed, else left alone.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test learn twelve presets plans fuzz faults cluster check audit parity format lock docs clean

# Tools are called as modules: the first line of a console script cannot hold a path with a space.
RUN := .venv/bin/python -m
UV := .venv/bin/uv
# The name carries the folder's checksum: a moved or copied .venv names files of its old folder and is made anew.
HERE := $(shell pwd | cksum | cut -d ' ' -f 1)
READY := .venv/ready-$(HERE)
PARITY := .venv-parity/ready-$(HERE)

IS_311 := -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'
PYTHON ?= $(shell for name in python3.11 python3 python; do \
	$$name $(IS_311) 2>/dev/null && echo $$name && break; done)

# As in workflow/rules/common.smk; the others would let foreign packages in or slow every start.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 1000
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile

setup: $(READY) ## make or update .venv (Python 3.11 needed; another one than the first on PATH: PYTHON=...)

# Written last, so that an interrupted set-up leaves none and starts over: half a package looks whole to an installer.
$(READY): envs/bootstrap.txt envs/requirements.txt pyproject.toml
	@test -e $@ || "$(PYTHON)" $(IS_311) 2>/dev/null || { \
		echo 'braid needs Python 3.11: install it, or name one with `make PYTHON=/path/to/python3.11 ...`.' >&2; exit 1; }
	@test -e $@ || "$(PYTHON)" -m venv --clear .venv
	@rm -f .venv/ready-*
	@$(RUN) pip install --quiet --disable-pip-version-check --require-hashes -r envs/bootstrap.txt
	@$(UV) pip sync --quiet --python .venv/bin/python --require-hashes --no-build-isolation --compile-bytecode envs/requirements.txt
	@$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## run the demo on all cores; its report is results/demo/report.html
	$(RUN) snakemake --cores all
	@echo 'The report: results/demo/report.html'

test: $(READY) ## run every test
	@sh .ci/chromium
	$(RUN) pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

learn: $(READY) ## train backbones from scratch on clips whose answer is known, and print what they learnt
	$(RUN) pytest -s tests/workflow/learn.py

twelve: $(READY) ## run twelve extractors twice on the clips of a folder, BRAID_CLIPS=..., else on some of the demo
	$(RUN) pytest tests/workflow/twelve.py

plans: $(READY) ## plan each preset on the official layout of its data at full size, without media
	$(RUN) pytest -s tests/workflow/plans.py

fuzz: $(READY) ## decode thousands of mutated media files, of BRAID_CLIPS=... too: none may stop a shard or hang
	$(RUN) pytest -s tests/media/fuzz.py

faults: $(READY) ## kill a run at fifty random moments, fill its disk, start it twice: its results are those of one undisturbed
	$(RUN) pytest -s tests/workflow/faults.py

cluster: $(READY) ## run the workflow on a real SLURM of two nodes on this machine, and disturb it (Debian or Ubuntu, root)
	@sh .ci/slurm
	$(RUN) pytest -s --durations=0 tests/cluster/on_slurm.py

presets: $(READY) ## run each preset of a published system on a small data set of its layout, with small networks
	$(RUN) pytest -s tests/workflow/presets.py

check: $(READY) ## formatting, lint and types, as pre-commit and CI do
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) pyright
	@sh .ci/lint

# --strict: a package that could not be looked up is a failure, not a silent gap.
audit: $(READY) ## compare the locked packages with the weaknesses that PyPI's advisories know (needs the network)
	$(UV) tool run pip-audit==2.10.1 --strict --disable-pip --require-hashes -r envs/requirements.txt -r envs/bootstrap.txt

parity: $(PARITY) ## compare every network with its reference, into benchmarks/results/parity.json
	.venv-parity/bin/python -m pytest tests/parity/compare.py

$(PARITY): envs/requirements-parity.txt envs/bootstrap.txt | $(READY)
	@$(RUN) venv --clear --without-pip .venv-parity
	@$(UV) pip install --quiet --python .venv-parity/bin/python --require-hashes -r envs/bootstrap.txt
	@$(UV) pip sync --quiet --python .venv-parity/bin/python --require-hashes --no-build-isolation envs/requirements-parity.txt
	@$(UV) pip install --quiet --python .venv-parity/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

format: $(READY) ## put Python and Snakemake files in form
	$(RUN) ruff check --fix
	$(RUN) ruff format
	$(RUN) snakefmt Snakefile workflow

LOCK := $(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --no-header
lock: $(READY) ## write envs/*.txt from pyproject.toml, keeping every version that still fits
	$(LOCK) pyproject.toml --group dev -o envs/requirements.txt
	$(LOCK) --group bootstrap --constraints envs/requirements.txt -o envs/bootstrap.txt
	$(LOCK) pyproject.toml --group parity --constraints envs/requirements.txt --override envs/parity-overrides.txt \
		-o envs/requirements-parity.txt

# The order of the edges follows the hash seed: fixed here, so that equal graphs are equal text.
docs: $(READY) ## write docs/config.md from the schemas, and the graph of the rules into README.md
	$(RUN) braid.reference > docs/config.md
	@mkdir -p .snakemake
	@{ echo '```mermaid'; PYTHONHASHSEED=0 $(RUN) snakemake --quiet all --rulegraph mermaid-js && echo '```'; } > .snakemake/rulegraph.md
	@sed -e '/^<!-- rule graph -->$$/,/^<!-- end of rule graph -->$$/{//!d;}' \
		-e '/^<!-- rule graph -->$$/r .snakemake/rulegraph.md' README.md > .snakemake/README.md
	@mv .snakemake/README.md README.md

clean: ## remove .venv and caches; results/ and .snakemake/, which are dear, stay
	rm -rf .venv .venv-parity .pytest_cache .ruff_cache .hypothesis src/*.egg-info
