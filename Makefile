# Two commands: make demo (a real vertebra through the whole chain) and make test. Needs make and Python >= 3.11.
#
# Both install the package into VENV, and again when a source has changed. `make develop` makes that
# installation editable instead; from then on nothing has to be installed again.

PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/demo
BIN := $(VENV)/bin

ROOMS := src fem meshes materials experiments views
METADATA := pyproject.toml setup.py README.md LICENSE NOTICE
ifeq ($(wildcard $(VENV)/.editable),)
SOURCES := $(METADATA) $(shell find $(ROOMS) -name __pycache__ -prune -o -type f -print)
else
SOURCES := pyproject.toml setup.py
EDITABLE := --editable
endif
INSTALL = rm -rf build/lib build/bdist.* && $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test validation develop clean

demo: $(VENV)/.installed
	$(BIN)/kyphos run kyphoplasty-pmma --out $(OUT) $(if $(wildcard $(OUT)/manifest.json),--resume)
	@echo "Report: $(abspath $(OUT))/report.html"

test: $(VENV)/.installed-for-tests
	$(BIN)/pytest $(PYTEST_ARGS)

validation: $(VENV)/.installed-for-tests
	$(BIN)/pytest -m validation $(PYTEST_ARGS)

develop: $(BIN)/python
	touch $(VENV)/.editable
	$(INSTALL) --editable '.[test]'
	touch $(VENV)/.installed $(VENV)/.installed-for-tests

clean:
	rm -rf build dist kyphos.egg-info $(VENV)/.installed $(VENV)/.installed-for-tests

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(INSTALL) $(EDITABLE) .
	touch $@

$(VENV)/.installed-for-tests: $(SOURCES) | $(BIN)/python
	$(INSTALL) $(EDITABLE) '.[test]'
	touch $@ $(VENV)/.installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Kyphos needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
