# The two commands: `make demo` shows the program, `make test` runs every check. Both set up what they need.
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo test bench pictures constraints clean

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

venv: $(VENV)/.installed  ## make the environment in .venv/ (and install Qt's system libraries where allowed)

# Made anew when the list of dependencies changes; otherwise this costs nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	@.ci/environment $(VENV) $(PYTHON)
	@touch $@

demo: venv  ## open a sample slide with a trained model working (SLIDE=path for your own); screenshots without a display
	@$(VENV)/bin/mtlpath demo $(SLIDE)

test: venv  ## run every check: pytest on every core, ruff, mypy, import contracts, manifest (PYTEST_ARGS="-k words" for some)
	@.ci/checks $(VENV)

bench: venv  ## measure against peers and limits; writes JSON below build/bench/ (BENCH="reading display" for some)
	@.ci/display $(VENV)/bin/python -m benchmarks $(BENCH)

pictures: venv  ## make the pictures in docs/images/ anew
	@mkdir -p docs/images
	@MTLPATH_WRITE_PICTURES=1 .ci/display $(VENV)/bin/python -m pytest -q tests/journeys

constraints: venv  ## write constraints.txt from the versions in .venv/: run it after testing an upgrade, then commit
	@{ echo "# Versions that were tested together. Made by 'make constraints'."; \
	  PATH="$(VENV)/bin:$$PATH" uv pip freeze --quiet --python $(VENV)/bin/python --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' | grep -v -E '^(pip|uv)=='; } > constraints.txt.partial
	@mv constraints.txt.partial constraints.txt

clean:  ## remove the environment and everything built
	@rm -rf $(VENV) build dist
