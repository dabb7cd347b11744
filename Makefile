# The commands of this project. `make` alone lists them.
CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)
PREFIX ?= /usr/local
BINARIES = add_dispatch_docker rsync-push dispatch service_polling autoupdate-toggle port-registry service-discovery dockerrun
WRAPPERS = add_dispatch_docker.sh rsync.sh dispatch.sh service_polling.sh dockerrun.sh
SKIPS = $(TARGET)/skips
# A relative DESTDIR is relative to here.
ROOT = $(if $(DESTDIR),$(abspath $(DESTDIR)))
# A test mostly waits: for a process, a greeting, the next second.
THREADS ?= $(shell echo $$((4 * $$(nproc))))
FUZZ_SECONDS ?= 600
FUZZ_TARGETS = announcement env_sh env_sh_as_dash service_conf service_conf_as_sed dispatchserver_sh rsyncd_conf crontab held manifest member_state port_table state service_control version

.DEFAULT_GOAL := help
.PHONY: help demo demo-stop demo-fleet test check golden defects cron crash fuzz races simulate network reliability bench bench-quick scale build install

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The binaries are built apart from the examples: beside them they would be linked with what only tests ask of the libraries (regex with all of
# Unicode), and be others than those that are installed.
demo: ## a real fleet on loopback: two releases, what members serve (ARGS=--keep: stays up)
	@sh .ci/need.sh cargo rsync cc
	@$(CARGO) build --release --bins
	@$(CARGO) build --release --example demo --example model_service
	@$(TARGET)/release/examples/demo $(ARGS)

demo-stop: ## stop a fleet that ARGS=--keep left up: make demo-stop DIR=...
	@$(if $(DIR),,$(error which one? make demo-stop DIR=... as make demo ARGS=--keep printed it))
	@$(CARGO) build --quiet --release --example demo
	@$(TARGET)/release/examples/demo --stop '$(DIR)'

demo-fleet: ## a release that cannot be loaded, with 31 members on the binaries and on the scripts; writes docs/fleet.svg (some two minutes)
	@sh .ci/need.sh cargo rsync cc
	@$(CARGO) build --release --bins
	@$(CARGO) build --release --example demo --example model_service
	@$(TARGET)/release/examples/demo --fleet --record docs $(ARGS)

test: ## every test; prints SKIP for each that lacks a real component, and how many (in CI: a failure, but for a container engine)
	@sh .ci/need.sh cargo rsync cc dash bash sed setpriv setsid mount hostname strace script cron unshare prometheus-node-exporter java /usr/share/java/zookeeper.jar
	@mkdir -p $(TARGET) && rm -f $(SKIPS)
	@sh .ci/thrift-peer.sh $(TARGET)/thrift-peer
	@TMPDIR="$$(sh .ci/fast-tmp.sh)" MODEL_ROLLOUT_SKIPS="$$(realpath $(TARGET))/skips" RUST_TEST_THREADS=$(THREADS) $(CARGO) test $(ARGS)
	@echo "skipped tests: $$(cat $(SKIPS) 2>/dev/null | wc -l)"

check: ## formatting, lints, import directions, documentation, shell scripts
	@sh .ci/need.sh cargo shellcheck
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --quiet -- -D warnings
	sh .ci/check-imports.sh
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --quiet
	shellcheck -s sh legacy-scripts/*.sh compat/*.sh .ci/run .ci/*.sh examples/demo/*.sh

golden: ## binaries against scripts, a report per scenario (LEGACY=DIR: against your own scripts)
	@$(if $(LEGACY),$(if $(wildcard $(LEGACY)/*.sh),,$(error LEGACY=$(LEGACY): there is no script in that directory)))
	@sh .ci/need.sh cargo rsync dash bash sed
	@TMPDIR="$$(sh .ci/fast-tmp.sh)" LEGACY='$(if $(LEGACY),$(realpath $(LEGACY)))' $(CARGO) test --quiet --test suite -- --ignored --exact golden::report --nocapture --test-threads=1

defects: ## the scripts' 26 defects, each shown with the script and with the binary, a table
	@sh .ci/need.sh cargo rsync dash sed strace mount
	@TMPDIR="$$(sh .ci/fast-tmp.sh)" $(CARGO) test --quiet --test suite -- --ignored --exact defects::report --nocapture --test-threads=1

cron: ## a member's job is paused and resumed under a real cron, by its clock (some four minutes, as root)
	@sh .ci/need.sh cargo cron unshare mount
	@TMPDIR="$$(sh .ci/fast-tmp.sh)" $(CARGO) test --quiet --test suite -- --ignored cron:: --nocapture

# A file system in memory: what is tried is the order of the calls, not the disk.
crash: ## the release binaries killed before every call, and every call failing (some ten minutes)
	@sh .ci/need.sh cargo rsync strace dash setsid
	@$(CARGO) build --release --bins
	@if [ -w /dev/shm ]; then TMPDIR=/dev/shm; export TMPDIR; fi; \
	MODEL_ROLLOUT_BINARIES="$$(realpath $(TARGET))/release" \
	$(CARGO) test --quiet --test suite -- --include-ignored crash:: --nocapture --test-threads=$(THREADS)

# Only nightly has the options that libFuzzer needs, unless RUSTC_BOOTSTRAP is set: so it works on stable, sanitizer included.
fuzz: ## searches for texts that break a law: FUZZ_SECONDS=600 for each format, two at a time
	@sh .ci/need.sh cargo c++ dash sed
	@$(CARGO) fuzz --version > /dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	@RUSTC_BOOTSTRAP=1 $(CARGO) fuzz build -O --debug-assertions
	@printf '%s\n' $(FUZZ_TARGETS) | CARGO='$(CARGO)' xargs -P 2 -I LAW sh .ci/fuzz.sh LAW $(FUZZ_SECONDS)

races: ## 12000 interleavings of pushes, ticks, polls and toggles (MODEL_ROLLOUT_RACES=N, MODEL_ROLLOUT_SEED=N: that one, MODEL_ROLLOUT_MIXTURE='one push': those)
	@sh .ci/need.sh cargo rsync dash sed strace
	@$(CARGO) build --release --bins
	@TMPDIR="$$(sh .ci/fast-tmp.sh)" MODEL_ROLLOUT_BINARIES="$$(realpath $(TARGET))/release" \
	$(CARGO) test --test suite -- races:: --include-ignored --nocapture --test-threads=1

# One core and no process but itself: the seeds follow each other.
simulate: ## 10^7 steps of monitor and members in one process, faults drawn at random (SIMULATE_STEPS=N; SEED=N: from that one on)
	@sh .ci/need.sh cargo
	@$(CARGO) test --profile simulate --test suite -- --ignored --exact simulate::long --nocapture

network: ## the release binaries over a line that is cut, or held, at 360 places (a few minutes)
	@sh .ci/need.sh cargo rsync
	@$(CARGO) build --release --bins
	@TMPDIR="$$(sh .ci/fast-tmp.sh)" MODEL_ROLLOUT_BINARIES="$$(realpath $(TARGET))/release" \
	$(CARGO) test --test suite -- network:: --include-ignored --nocapture --test-threads=1

# The figures are those of one run from its beginning.
reliability: ## all of the above, and docs/reliability.md with its figures (some two hours)
	@rm -rf $(TARGET)/figures && mkdir -p $(TARGET)/figures
	@MODEL_ROLLOUT_FIGURES="$$(realpath $(TARGET))/figures"; export MODEL_ROLLOUT_FIGURES; \
	$(MAKE) defects crash races network fuzz && $(MAKE) test ARGS='--test suite hostile::'
	@sh .ci/reliability.sh $(TARGET)/figures/figures.tsv docs/reliability.md

bench: ## the binaries beside what they replace; writes docs/benchmarks.md (under 15 minutes)
	@sh .ci/need.sh cargo cc dash rsync
	@[ "$$(id -u)" != 0 ] || sh .ci/need.sh ip tc || echo "so the slow line is made by rsync's --bwlimit" >&2
	@$(CARGO) build --release --bins
	@$(CARGO) build --release --example bench --example demo --example model_service
	@$(TARGET)/release/examples/bench --work $(TARGET)/bench --scripts legacy-scripts --docs docs

bench-quick: ## the same with smaller trees; writes nothing (under 2 minutes)
	@sh .ci/need.sh cargo cc dash rsync
	@[ "$$(id -u)" != 0 ] || sh .ci/need.sh ip tc || echo "so the slow line is made by rsync's --bwlimit" >&2
	@$(CARGO) build --release --bins
	@$(CARGO) build --release --example bench --example demo --example model_service
	@$(TARGET)/release/examples/bench --work $(TARGET)/bench --scripts legacy-scripts --quick

scale: ## a fleet of 10,000 members, simulated: prints the tables of docs/scale.md
	@sh .ci/need.sh cargo
	@$(CARGO) build --quiet --release --example scale
	@$(TARGET)/release/examples/scale

build: ## the release binaries, in target/release
	$(CARGO) build --release --bins

install: build ## binaries to $(PREFIX)/bin, wrappers to $(PREFIX)/share/model-rollout (DESTDIR= as usual)
	install -d '$(ROOT)$(PREFIX)/bin' '$(ROOT)$(PREFIX)/share/model-rollout'
	cd $(TARGET)/release && install $(BINARIES) '$(ROOT)$(PREFIX)/bin'
	@for wrapper in $(WRAPPERS); do \
		placed='$(ROOT)$(PREFIX)/share/model-rollout/'"$$wrapper"; \
		sed 's|:-/usr/local/bin}|:-$(PREFIX)/bin}|' "compat/$$wrapper" > "$$placed" && chmod 755 "$$placed" || exit 1; \
	done
