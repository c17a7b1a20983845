# The operator's verbs. Each is one call of scripts/db-manage.sh, which can be used directly as well; developers' targets are in tests/tests.mk.
# Variables: STACK=<folder in inventory/>   ARGS="<more for ansible-playbook, psql or redis-cli>"
STACK ?= nexanest
SHELL := /bin/bash
MANAGE = STACK='$(STACK)' ./scripts/db-manage.sh

.DEFAULT_GOAL := help
.PHONY: help db-start db-stop db-restart db-status db-access db-schema db-logs db-connect-postgres db-connect-timescale db-connect-redis db-credentials db-seed db-backup db-backups db-verify db-offsite db-schedule db-base-backup db-restore-point db-pitr db-restore db-destroy

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-22s %s\n", $$1, $$2 }'

db-start: ## make or update the whole stack, and start it (ARGS="--check --diff" shows what it would do)
	@$(MANAGE) start $(ARGS)

db-stop: ## stop the containers; nothing is removed
	@$(MANAGE) stop $(ARGS)

db-restart: ## restart the containers
	@$(MANAGE) restart $(ARGS)

db-status: ## health, version, port, uptime, size, and what to do about problems (JSON=1 for programs)
	@$(MANAGE) status $(if $(filter-out 0,$(JSON)),--json) $(ARGS)

db-access: ## log in as every role, try every door; ends with 1 where one is open that should not be
	@$(MANAGE) access $(ARGS)

db-schema: ## in what the databases differ from what their migrations make, object by object
	@$(MANAGE) schema $(ARGS)

db-logs: ## logs of all containers (SERVICE=redis for one, FOLLOW=1 to stay)
	@$(MANAGE) logs $(if $(filter-out 0,$(FOLLOW)),--follow) $(SERVICE)

db-connect-postgres: ## psql as the administrator (ARGS='-d auth -c "select 1"')
	@$(MANAGE) connect postgres $(ARGS)

db-connect-timescale: ## psql on TimescaleDB
	@$(MANAGE) connect timescale $(ARGS)

db-connect-redis: ## redis-cli as the administrator
	@$(MANAGE) connect redis $(ARGS)

db-credentials: ## print the connection string of SERVICE=auth
	@$(MANAGE) credentials '$(SERVICE)'

db-seed: ## sample data for empty databases (SIZE=small, medium, large, or a number of users)
	@$(MANAGE) seed '$(or $(SIZE),small)' $(ARGS)

db-backup: ## take a backup set over the whole stack (ARGS="--check --diff" shows what it would hold)
	@$(MANAGE) backup $(ARGS)

db-backups: ## the backup sets (VERIFY=1: every byte is read again; ID=… one alone; OFFSITE=1: those in the bucket; JSON=1 for programs)
	@$(MANAGE) backups $(if $(filter-out 0,$(VERIFY)),--verify) $(if $(filter-out 0,$(OFFSITE)),--offsite) $(if $(filter-out 0,$(JSON)),--json) $(ID)

db-verify: ## prove the newest backup set by restoring it elsewhere (ID=… another one; OFFSITE=1 out of the bucket; ARGS="--check --diff" says what that needs)
	@$(MANAGE) verify $(if $(filter-out 0,$(OFFSITE)),--offsite) $(ID) $(ARGS)

db-offsite: ## copy sets and continuous backups into the bucket that backup_offsite names (FETCH=<id> or <server>/<system identifier> brings one back)
	@$(MANAGE) offsite $(FETCH) $(ARGS)

db-base-backup: ## take a base backup of each server that is archived continuously (TYPE=full, diff, incr)
	@$(MANAGE) base-backup $(or $(TYPE),incr) $(ARGS)

# NAME of the command line alone: WSL has one in the environment, the machine's.
NAMED = $(if $(filter command,$(origin NAME)),$(NAME))
TARGETED = $(or $(TIME),$(NAMED))

db-restore-point: ## name this moment before a risky change, to come back to it (NAME=before-clean-up)
	@$(MANAGE) restore-point '$(NAMED)' $(ARGS)

db-pitr: ## recover to a moment beside the live server (TIME='2025-05-31 12:34:55+00', NAME=before-clean-up; without them the latest), STATE=promoted, undone or cleaned
	$(if $(and $(STATE),$(TARGETED)),$(error STATE=$(STATE) goes on with the recovery that is there: TIME and NAME stand in a call of their own, before it))
	@$(if $(filter environment,$(origin NAME)),echo 'NAME=$(NAME) of the environment is not meant: write it behind make db-pitr' >&2;) \
	$(MANAGE) pitr $(if $(STATE),-e state=$(STATE),$(if $(TIME),'$(TIME)') $(if $(filter command,$(origin NAME)),--name '$(NAME)')) $(ARGS)

db-restore: ## bring a set back (SET=<id or path>; ARGS="-e databases=auth", "-e @mapping.yml", "--check --diff"; STATE=undone or cleaned)
	@$(MANAGE) restore $(if $(STATE),-e state=$(STATE),'$(SET)') $(ARGS)

db-schedule: ## let this machine take backups by the clock (REMOVE=1: no longer)
	@$(MANAGE) schedule $(if $(filter-out 0,$(REMOVE)),absent,present) $(ARGS)

db-destroy: ## remove the stack with ALL DATA (CONFIRM=<stack's name>)
	@CONFIRM='$(CONFIRM)' $(MANAGE) destroy $(ARGS)

-include tests/tests.mk
