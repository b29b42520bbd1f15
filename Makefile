# The two commands are `make test` and `make demo`; each does all its set-up.
#
# Paths are relative, and programs of an environment are run as `python -m`, because make takes a
# space in a path for the end of a name and so does the first line of a script.

# The first Python that is new enough and can make environments; `make PYTHON=… test` overrules.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
PIP = -m pip -qq --disable-pip-version-check
TOX = .venv/bin/python -m tox

.PHONY: help test demo lint types docs pictures faults messages format dist audit benchmarks properties mutants clean

help: ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

test: .venv/ready ## Run everything that CI runs, on each Python there is
	@rm -rf .tox/results
	@$(TOX) run-parallel -q --parallel auto --parallel-no-spinner \
		$(if $(filter true,$(CI)),--skip-missing-interpreters=false); \
	status=$$?; .venv/bin/python .ci/summary.py .tox/results; exit $$status

demo: .venv-demo/ready ## Serve the example site on http://localhost:3000, or on PORT=…
	.venv-demo/bin/python example_project/manage.py demo $(if $(PORT),--port $(PORT))

lint types docs format messages dist audit benchmarks properties mutants: .venv/ready
lint: ## Check style and spelling
types: ## Check types
docs: ## Build the documentation
format: ## Repair style
messages: ## Collect the texts for translators, and compile the translations
dist: ## Build what is published, the same bytes each time, and its SBOM, in dist/
audit: ## Ask for known weaknesses of what comes with the package
benchmarks: ## Measure beside other ways to do the same, in ten minutes; needs PostgreSQL
properties: ## Try the properties of tests/properties with many random examples
mutants: ## Change the code in thousands of ways, and see that tests notice
lint types docs format messages dist audit benchmarks properties mutants:
	$(TOX) run -e $@

# Absolute, as the tests run in a folder of tox's; in quotes, for a space in it.
pictures: .venv/ready ## Take the pictures of the documentation anew
	DOCS_PICTURES="$(CURDIR)/docs/images" $(TOX) run -e browser

faults: .venv/ready ## Break everything, and write the tables of the documentation anew
	FAULTS_TABLES="$(CURDIR)/docs/explanation" $(TOX) run -e faults

clean: ## Remove everything that the other targets made
	rm -rf .venv .venv-demo .tox .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist \
		*.egg-info example_project/local
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is touched last: an environment that was interrupted half-way is made anew.
.venv/ready: Makefile
	$(call make_environment,.venv)
	.venv/bin/python $(PIP) install tox
	@touch $@

# Editable, so that the demo shows the working tree.
.venv-demo/ready: Makefile setup.cfg pyproject.toml
	$(call make_environment,.venv-demo)
	.venv-demo/bin/python $(PIP) install --editable .
	@touch $@

define make_environment
@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv found"; exit 1; }
$(PYTHON) -m venv --clear $(1)
$(1)/bin/python $(PIP) install --upgrade pip
endef
