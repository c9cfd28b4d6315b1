# Everything a user or CI runs. Each target does its own set-up.
#
# No target exports compiler variables or flags: a plain `cargo build` beside them shares the same build of RocksDB.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# A cargo that rustup has just installed is found without a new login shell.
export PATH := $(PATH):$(HOME)/.cargo/bin

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# Arguments for `make testnet`: make testnet ARGS="--validators 4 --workers 6 --epochs 6"
ARGS ?=
# Arguments for `make test`, after `cargo test --workspace`: make test TEST="-p lucid-score"
TEST ?=
# Seeds of `make simulate`: make simulate SEEDS=0..500
SEEDS ?= 0..10000
# Length of `make storm`, and what chooses its victims; without a seed it takes one and prints it.
STORM_SECONDS ?= 60
SEED ?=
# Blocks of the network before nodes join it in `make join`.
JOIN_HEIGHTS ?= 200
# Seconds for which `make load` gives 200 commands a second.
LOAD_SECONDS ?= 20
# Seeds of `make damage`: how many databases are damaged.
DAMAGE_SEEDS ?= 1000
# Seconds of an epoch in `make probes`: those of the public policy. With fewer the same probes come faster.
PROBE_EPOCH_S ?= 120
# Seconds that `make fuzz` gives each target.
FUZZ_SECONDS ?= 60

.PHONY: help
help: ## Show this list.
	@echo "Lucid: make <target>"
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing to build (apt), or say how; compile RocksDB once for this machine.
	@scripts/setup.sh
	@scripts/rocksdb.sh
	@scripts/claim-build.sh

.PHONY: build
build: setup ## Build both binaries, lucid and lucid-testnet, into target/debug.
	cargo build --workspace --bins --locked

.PHONY: testnet
testnet: build ## Build, then run a local mesh that measures, agrees and pays. Ctrl-C stops it.
	@$(TARGET_DIR)/debug/lucid-testnet up $(ARGS)

.PHONY: check
check: setup ## Formatting, lints, dependency rules, licences, documentation links.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@scripts/check-deps.sh
	@scripts/check-build-plans.sh
	@scripts/check-rocksdb.sh
	@scripts/check-docs.sh

.PHONY: test
test: setup ## Build everything, then run every test; ends with one line of totals.
	@scripts/test.sh $(TEST)

.PHONY: simulate
simulate: build ## Simulate payouts with mixtures of all faults, SEEDS of them; the digests of ranges add up.
	@$(TARGET_DIR)/debug/lucid-testnet simulate --seeds $(SEEDS) --jobs $$(nproc)

.PHONY: cheats
cheats: build ## Simulate attacks on the measurements: what each earned beside honest work, as docs/src/cheating.md has it.
	@$(TARGET_DIR)/debug/lucid-testnet cheats --page docs/src/cheating.md --jobs $$(nproc)

.PHONY: storm
storm: build ## Kill nodes and the local TRON network by SEED for STORM_SECONDS: nothing may fork, and nobody be paid twice or not.
	LUCID_STORM_SECONDS=$(STORM_SECONDS) LUCID_STORM_SEED=$(SEED) \
	    cargo test --locked -p lucid-testnet --test it storm:: -- --nocapture

.PHONY: join
join: build ## Let nodes join a local network of JOIN_HEIGHTS blocks by snapshot, pin and blocks; prints how long each way takes.
	LUCID_JOIN_HEIGHTS=$(JOIN_HEIGHTS) \
	    cargo test --locked -p lucid-testnet --test it nodes_join -- --ignored --nocapture

.PHONY: load
load: build ## 200 commands a second for LOAD_SECONDS, 100,000 bad ones from attackers, 1,000 newcomers an epoch; fails beyond its bounds.
	LUCID_LOAD_SECONDS=$(LOAD_SECONDS) cargo test --locked -p lucid-testnet --test it -- \
	    --ignored --nocapture --test-threads 1 load:: attack:: newcomer_storm::

.PHONY: damage
damage: setup ## Damage a file of a chain's database, DAMAGE_SEEDS times: it must be named, and a repair must lead to a sound one.
	LUCID_DAMAGE_SEEDS=$(DAMAGE_SEEDS) $(if $(wildcard /dev/shm/.),TMPDIR=/dev/shm) \
	    cargo test --locked -p lucid-node --lib cli::db::tests::damage -- --nocapture

.PHONY: test-clients
test-clients: setup ## Run tronweb and tronpy, unchanged, against the local TRON network (needs node, npm, python3).
	@testnet/tron-devnet/clients/run.sh

.PHONY: js-peer
js-peer: build ## Let a peer on js-libp2p, written from the book alone, take part in a local network for a minute (needs node, npm).
	@testnet/clients/js/run.sh

.PHONY: follow
follow: build ## Follow a local network's chain and check its proofs in Python, written from the book alone (needs python3).
	@docs/examples/run.sh

.PHONY: guides
guides: build ## Type the book's guides into terminals word for word, from an empty folder to a pool that pays (needs python3).
	@docs/examples/guides.py target/debug

.PHONY: bench
bench: setup ## Run the benchmarks (same build profile as everything else).
	cargo bench --workspace --locked --profile dev --bench '*'

.PHONY: probes
probes: setup ## Let 4 validators measure 1,000 workers in one process for three epochs of PROBE_EPOCH_S seconds; fails beyond its bounds.
	LUCID_PROBE_EPOCH_S=$(PROBE_EPOCH_S) cargo bench --locked --profile dev -p lucid-node --bench probes

.PHONY: dist
dist: setup ## Make a tarball of release binaries for machines without a compiler, in target/dist.
	@scripts/dist.sh

.PHONY: fuzz
fuzz: setup ## Fuzz what the local TRON network takes in (installs cargo-fuzz); FUZZ_SECONDS for each target.
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz@0.13.1
	cd testnet/tron-devnet && for target in protobuf json; do \
	    RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none --dev $$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -timeout=60 -dict=fuzz/$$target.dict || exit 1; \
	done

.PHONY: fmt
fmt: ## Format the sources.
	cargo fmt --all
