# The commands of this project. `make` alone lists them.
CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help demo demo-stop

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a real fleet on loopback: two releases, what members serve (ARGS=--keep: stays up)
	@sh .ci/need.sh cargo rsync cc
	@$(CARGO) build --release --bins --example demo --example model_service
	@$(TARGET)/release/examples/demo $(ARGS)

demo-stop: ## stop a fleet that ARGS=--keep left up: make demo-stop DIR=...
	@$(if $(DIR),,$(error which one? make demo-stop DIR=... as make demo ARGS=--keep printed it))
	@$(CARGO) build --quiet --release --example demo
	@$(TARGET)/release/examples/demo --stop '$(DIR)'
