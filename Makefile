# Thin: the work is in `python -m skinsyn`. `make` alone prints help.
PROFILE ?= demo
P ?=
NAME ?=
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# Set-up is fresh while the files that decide it have the same content, whatever their dates.
READY := $(VENV)/.ready-$(shell cat requirements.txt pyproject.toml | cksum | cut -d' ' -f1)
FREE_GB ?= 8
PIP_LOG := $(VENV)/pip.log
# pip's words where an index answered and none of its versions fits, as against an index that did not answer.
NO_VERSION := 'Ignored the following versions\|from versions: [0-9]\|requires a different Python\|ResolutionImpossible'
NOTEBOOKS ?= notebooks
LAB ?=
# glibc keeps freed memory: PyTorch asks for it again in the next layer (skinsyn/run/compute.py).
export MALLOC_TRIM_THRESHOLD_ := 1073741824
export MALLOC_MMAP_THRESHOLD_ := 33554432

.PHONY: help setup paper figures status params test test-slow lab docs bench declare plan lint base-model reader-study clean
help: ## Print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  PROFILE=demo|smoke|pad_ufes_20|fitzpatrick17k|ddi chooses params/PROFILE; P='key=value …' changes parameters."
	@echo "  NAME=guidance7 P='guidance_scale=7' makes the variant PROFILE-guidance7 beside it; then: python -m skinsyn compare"

setup: $(READY) ## Make .venv from requirements.txt (a prerequisite of all that follows)

$(READY): | requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
	  echo "set-up: $(PYTHON) is missing or not of version 3.11, 3.12 or 3.13. Install one, then: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); [ "$$free" -ge $(FREE_GB) ] || { \
	  echo "set-up: $$free GB are free here and the environment needs up to $(FREE_GB). Make room, then: make $(MAKECMDGOALS) (with FREE_GB=$$free it tries all the same)."; exit 1; }
	@echo "set-up: installing into $(VENV) (about 3 minutes; once)"
	@$(PYTHON) -m venv $(VENV) || { echo "set-up: no virtual environment could be made; on Debian: apt install python3-venv"; exit 1; }
	@{ $(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt 2>&1 || echo "set-up: pip stopped"; } | tee $(PIP_LOG)
	@! grep -q '^set-up: pip stopped' $(PIP_LOG) || { \
	  if grep -q $(NO_VERSION) $(PIP_LOG) && ! grep -q 'Retrying (' $(PIP_LOG); then \
	    pin=$$(sed -n 's/.*No matching distribution found for \([^ ]*\).*/\1/p' $(PIP_LOG) | head -1); \
	    python=$$($(PY) -c 'import platform; print(platform.python_version())'); \
	    echo "set-up: no version of $${pin:-a requirement} fits this Python ($$python): the pins in requirements.txt are at fault, not the download."; \
	    echo "set-up: make again does not help; remove $(VENV) and choose another of 3.11, 3.12 and 3.13 (make PYTHON=python3.12 $(MAKECMDGOALS)), and please report it."; \
	  else echo "set-up: a download failed (message above). What came is kept; make again and it goes on."; fi; exit 1; }
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e . || { echo "set-up: installing skinsyn itself failed (message above)"; exit 1; }
	@rm -f $(VENV)/.ready-*; touch $@

run = $(PY) -m skinsyn $(1) --profile $(PROFILE) $(foreach p,$(P),-p '$(p)')

paper: setup ## The whole study, from data to the typeset paper; goes on where it was
	@$(call run,run) $(if $(NAME),--name $(NAME))
figures: setup ## Draw every figure again from kept units, and list what makes which
	@$(call run,figures)
status: setup ## For each notebook: fresh, or why it is stale
	@$(call run,status)
params: setup ## Every parameter of PROFILE, with its type and meaning
	@$(call run,params)
test: lint ## lint, then the tests, in minutes: files shared out over two processes
	@$(PY) -m pytest --numprocesses 2 --dist loadfile
test-slow: setup ## Kills, browser, simulations, whole profiles: files shared out over two processes
	@$(PY) -m pytest -m slow --numprocesses 2 --dist loadfile
lab: setup ## JupyterLab on notebooks/ (LAB='--no-browser --port=8899' hands options on)
	@JUPYTER_PREFER_ENV_PATH=1 $(PY) -m jupyterlab --ServerApp.root_dir='$(abspath $(NOTEBOOKS))' \
	  --LabApp.default_url=/lab/tree/00_start_here.ipynb --LabApp.news_url=None \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(LAB)
docs: setup ## Pages of every module, from its docstrings, in docs/
	@$(PY) -m pdoc --output-directory docs skinsyn && echo "open docs/index.html"
lint: setup ## ruff (notebooks too), mypy, and the size of the code: lines, files, functions within their limits
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy
	@$(PY) -m bench.count_code skinsyn bench
base-model: setup ## Make the tiny base model's weights again and say how close they came
	@$(PY) -m skinsyn base-model
declare: setup ## Put on record what PROFILE tests and by which rules, before the first look at a test prediction
	@$(PY) -m skinsyn declare $(PROFILE)
plan: setup ## Models, images, shards, GPU-hours, disk of PROFILE, before anything is spent
	@$(call run,plan)
reader-study: setup ## A page that asks people: real or synthetic? And its key, in runs/PROFILE/reader_study
	@$(call run,reader-study)
bench: setup ## Time the work; Type I error and coverage of the primary test (09_benchmarks)
	@$(call run,run) --only 09 --force
clean: ## Say what may be deleted; deletes nothing but caches
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis; find . -name __pycache__ -not -path './$(VENV)/*' -exec rm -rf {} +
	@du -sh runs $(VENV) 2>/dev/null || true; echo "runs/ holds results and kept units, $(VENV) the environment: delete them yourself if you mean to."
