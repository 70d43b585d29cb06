# Kith's few commands. Each installs what the machine lacks first. All but bench use one profile, so that RocksDB is compiled once; bench uses release.
#   make demo     three nodes, the shipped sample replayed, one leader killed, the verdict
#   make test     every test          make verify   what a change must pass; edits nothing          make fix   edits what it can
#   make sim      10,000 seeds of a simulated cluster, on all cores, at most an hour      (SEED=… SEEDS=… for others)
#   make http-fuzz   the HTTP API against its own document, for five minutes (python3; takes schemathesis from PyPI)      (SEED=… SECONDS_MAX=…)
#   make restart-clients   all nodes restarted, one after another, under 2,000 clients (CLIENTS=…)      make push-crowd   100,000 devices away from busy groups (AWAY=…)      make push-minutes   a push taken back
#   make jepsen   real clusters hurt in every way that is there, under half an hour      make jepsen-nightly      make jepsen-soak      make jepsen-mutants     (root needed)
#   make upgrade-test   nodes of the release before this one and of this one side by side, forward, back and for good (PREVIOUS=BINARY; root needed)
#   make fuzz     every parser of bytes from outside, ten minutes each      (MINUTES=… FUZZ=NAME ENGINE=libfuzzer: led by coverage)
#   make test-web   the TypeScript SDK and the web chat: built as it is checked in, tests, two browsers that chat (node, npm, chromium); pictures in target/screens
#   make bench-web  what the pages weigh, when they are first seen, how a conversation of 10,000 texts scrolls, and how long two people need from the link to a text read
#   make test-bindings   the SDK for Python against a node, its wheel, and what Swift calls (python3)      make test-kotlin   the SDK for Kotlin, on the JVM (java, npm)
#   make sdk-death   a client's process is killed at every step of its outbox, 200 schedules      (KITH_SEED=… for one)
#   make alerts   the alert rules, each with what makes it fire and what does not (promtool)
#   make package  tarball, .deb, SBOM and checksums in target/package (PROFILE=dev: quickly)      make package-check   tries them
#   make bench    every row of the table of targets, three runs each      make bench-grow      make bench-check      make bench-micro

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.PHONY: help demo test-web bench-web test-bindings test-kotlin http-fuzz sdk-death fuzz restart-clients push-crowd push-minutes test sim verify fix bootstrap jepsen jepsen-nightly jepsen-soak jepsen-mutants upgrade-test jepsen-ci jepsen-tools bench bench-grow bench-check bench-micro bench-build alerts package package-check

CARGO  ?= cargo
SAMPLE := tests/data/irc-sample.jsonl.gz
# Arguments of the demo, e.g. `make demo DEMO="--replay FILE --kill-every 20"`.
DEMO   ?= --replay $(SAMPLE) --kill leader

help:
	sed -n '2,16p' Makefile

demo: bootstrap
	stay=; if [ -t 0 ] && [ -t 1 ]; then stay=--stay; fi
	$(CARGO) build --locked -p kith
	target=$${CARGO_TARGET_DIR:-target}
	exec "$$target/debug/kith" demo $(DEMO) $$stay

test: bootstrap
	if ! $(CARGO) nextest --version >/dev/null 2>&1; then
	  echo "cargo-nextest is missing: compiling it, once" >&2
	  $(CARGO) install cargo-nextest --locked || {
	    echo "cargo-nextest could not be installed. Install it by hand (https://nexte.st), then run this again." >&2; exit 1; }
	fi
	$(CARGO) nextest run --locked --workspace --features kith-tests/failpoint
	$(MAKE) --no-print-directory jepsen-ci JEPSEN_CI="--workspace --tests --features kith-tests/failpoint"
	$(MAKE) --no-print-directory test-web WEB="--workspace --tests --features kith-tests/failpoint"
	$(MAKE) --no-print-directory test-bindings test-kotlin WEB="--workspace --tests --features kith-tests/failpoint"
	# What is built alone has fewer features than what is built with all the rest: it may not compile though all of that does.
	$(MAKE) --no-print-directory demo </dev/null
	$(KITH_FAULT)

# One run of 30 s. Where the machine lets nobody make network namespaces and mounts, it says so, and shows nothing.
# After the tests it takes what they were built as: another choice of packages has other features, and compiles nearly all of it once more.
JEPSEN_CI ?= -p kith -p kith-jepsen
jepsen-ci: jepsen-tools
	$(CARGO) build --locked $(JEPSEN_CI)
	target=$${CARGO_TARGET_DIR:-target}; out=$$(mktemp -d)
	code=0; "$$target/debug/kith-jepsen" run --workload append,retry --nemesis kill-leader --seconds 30 --seed $${SEED:-1} --out "$$out/run" || code=$$?
	if [ $$code = 2 ]; then echo "the fault run is UNKNOWN: it shows nothing; see above" >&2; elif [ $$code != 0 ]; then exit $$code; fi
	if [ $$code = 0 ]; then rm -rf "$$out"; fi

# What is built is what is checked in: no build of the node runs a tool of the web. Where there is no Node, no npm packages or no Chromium, what could not be run is named.
# After the tests it takes what they were built as, as the fault run does.
WEB ?= -p kith
test-web: bootstrap
	$(CARGO) build --locked $(WEB)
	KITH="$${CARGO_TARGET_DIR:-target}/debug/kith" SCREENS="$${CARGO_TARGET_DIR:-target}/screens" client-sdk/web/test

# Figures, not a test. Most of them are the browser's: how the program was built hardly shows.
bench-web: bootstrap
	$(CARGO) build --locked -p kith
	KITH="$${CARGO_TARGET_DIR:-target}/debug/kith" client-sdk/web/bench

# A workspace of its own, compiled into the same folder: what both are built of is built once where it is the same (TLS and SQLite are). Where there is no python3, or for
# Kotlin no Java, JNA or compiler, and none can be had, that is said.
BINDINGS = target=$$(realpath -m "$${CARGO_TARGET_DIR:-target}"); CARGO="$(CARGO)" TARGET_DIR="$$target" client-sdk/bindings/$(1) "$$target/debug/kith"
test-bindings: bootstrap
	$(CARGO) build --locked $(WEB)
	$(call BINDINGS,test)
test-kotlin: bootstrap
	$(CARGO) build --locked $(WEB)
	$(call BINDINGS,test-kotlin)

# Every route, with requests that its document allows and such that it does not: no server error, no answer that the document does not have.
# Starts a node of its own and ends it.
http-fuzz: bootstrap
	$(CARGO) build --locked -p kith
	target=$${CARGO_TARGET_DIR:-target}
	tests/schemathesis/run "$$target/debug/kith" "$$target/schemathesis"

# A few of these are among the tests.
sdk-death: bootstrap
	KITH_DEATHS=$${DEATHS:-200} $(CARGO) test --locked -p kith-client --lib -- --nocapture testing::death::a_process_that_is_killed_sends_once_what_it_stored

# One scenario each: all nodes restarted one after another under so many clients, each of whom a friend looks at; so many devices that are away from busy groups of 100; a push that
# is taken back a minute later. They end in time or fail.
MANY = timeout $(1) $(CARGO) test --locked -p kith-tests --test scenarios -- --exact --nocapture push_many::$(2)
restart-clients: bootstrap
	KITH_CLIENTS=$(or $(CLIENTS),2000) $(call MANY,1200,a_restart_of_every_node_one_after_another_shows_nobody_gone_and_pushes_to_nobody_who_is_here)
push-crowd: bootstrap
	KITH_AWAY=$(or $(AWAY),100000) $(call MANY,1800,many_who_are_away_from_busy_groups_get_no_more_pushes_than_one_a_minute)
push-minutes: bootstrap
	KITH_MINUTES=2 $(call MANY,300,what_a_device_shows_is_taken_back_after_it_was_read_on_another)

# tests/fuzz/run.sh says what else can be chosen, and where findings go.
fuzz: bootstrap
	CARGO="$(CARGO)" tests/fuzz/run.sh

# Debian has promtool in the package of Prometheus, which is unpacked and not installed: its service is not wanted here.
alerts:
	target=$${CARGO_TARGET_DIR:-target}; promtool=$$(command -v promtool || echo "$$target/promtool/usr/bin/promtool")
	if ! [ -x "$$promtool" ]; then
	  mkdir -p "$$target/promtool"; cd "$$target/promtool"
	  { apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; } >&2 && dpkg -x prometheus_*.deb . || {
	    echo "install promtool by hand (https://prometheus.io/download), then run this again" >&2; exit 1; }
	  cd - >/dev/null
	fi
	"$$promtool" check rules docs/monitoring/alerts.yml
	"$$promtool" test rules docs/monitoring/alerts_test.yml

# The release before this one is the last tag below this commit, built in a worktree of its own, or the binary that PREVIOUS names. Before there is one, this program with fail points
# is told to be it.
upgrade-test: jepsen-tools
	$(CARGO) build --locked -p kith -p kith-jepsen
	target=$$(realpath -m "$${CARGO_TARGET_DIR:-target}"); previous=$${PREVIOUS:-}
	if [ -z "$$previous" ]; then
	  if tag=$$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ 2>/dev/null); then
	    tree="$$target/previous/$$tag"
	    [ -d "$$tree" ] || git worktree add --detach "$$tree" "$$tag"
	    CARGO_TARGET_DIR="$$target/previous/build" $(CARGO) build --locked --manifest-path "$$tree/Cargo.toml" -p kith
	    previous="$$target/previous/build/debug/kith"
	  else
	    echo "no release is tagged yet: this program is told to be the one before it" >&2
	    $(KITH_FAULT)
	  fi
	fi
	if [ -n "$$previous" ]; then export KITH_PREVIOUS="$$previous"; fi
	"$$target/debug/kith-jepsen" run --workload append,retry,move --nemesis upgrade,upgrade,upgrade+kill-one --seconds 110 --seed $${SEED:-1} --out $(JEPSEN_OUT)/upgrade

JEPSEN_OUT ?= jepsen-runs
# The same program with fail points and mutants, beside kith.
KITH_FAULT := $(CARGO) build --locked -p kith --features failpoint,mutants --bin kith-fault
jepsen: jepsen-tools
	$(CARGO) build --locked -p kith -p kith-jepsen
	$(KITH_FAULT)
	"$${CARGO_TARGET_DIR:-target}/debug/kith-jepsen" matrix smoke --out $(JEPSEN_OUT)/smoke
jepsen-nightly: jepsen-tools
	$(CARGO) build --locked -p kith -p kith-jepsen
	$(KITH_FAULT)
	"$${CARGO_TARGET_DIR:-target}/debug/kith-jepsen" matrix nightly --seed $${SEED:-$$(date +%Y%m%d)} --out $(JEPSEN_OUT)/nightly-$$(date +%Y%m%d)
jepsen-soak: jepsen-tools
	$(CARGO) build --locked -p kith -p kith-jepsen
	$(KITH_FAULT)
	"$${CARGO_TARGET_DIR:-target}/debug/kith-jepsen" matrix soak --seed $${SEED:-$$(date +%Y%m%d)} --out $(JEPSEN_OUT)/soak-$$(date +%Y%m%d)

# Nodes that misbehave on purpose, each against the run that must notice: what says that a green run means something.
jepsen-mutants: jepsen-tools
	$(CARGO) build --locked -p kith -p kith-jepsen --features kith/failpoint,kith/mutants --bin kith-fault --bin kith-jepsen
	"$${CARGO_TARGET_DIR:-target}/debug/kith-jepsen" mutants --seed $${SEED:-1} --out $(JEPSEN_OUT)/mutants

# The tools that faults are made with; without them the runs are unknown.
jepsen-tools: bootstrap
	missing=
	for tool in ip:iproute2 nft:nftables mkfs.ext4:e2fsprogs strace:strace; do
	  command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool##*:}"; done
	[ -e /usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1 ] || missing="$$missing faketime"
	if [ -n "$$missing" ] && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then
	  echo "installing what is missing:$$missing" >&2; export DEBIAN_FRONTEND=noninteractive
	  apt-get install -y -q --no-install-recommends $$missing >&2 || {
	    apt-get update -q >&2 && apt-get install -y -q --no-install-recommends $$missing >&2; } || true; fi

# What Kith costs, in the profile that is shipped. Leave the machine alone meanwhile. tests/bench/README.md says what is measured.
RUNS ?= 3
bench-build: bootstrap
	$(CARGO) build --locked --release -p kith
bench: bench-build
	target=$${CARGO_TARGET_DIR:-target}
	"$$target/release/kith" bench all --runs $(RUNS) --out "$$target/bench" --stores "$$target/bench/stores"
bench-grow: bench-build
	target=$${CARGO_TARGET_DIR:-target}
	"$$target/release/kith" bench grow --out "$$target/bench" --stores "$$target/bench/stores"
# Processor time for each operation, against the figures that were accepted last.
bench-check: bench-build
	target=$${CARGO_TARGET_DIR:-target}
	"$$target/release/kith" bench check --accepted tests/bench/accepted.json --stores "$$target/bench/stores"
bench-micro: bootstrap
	$(CARGO) bench --locked -p kith-wire -p kith-machine -p kith-storage -p kith --bench frame --bench apply --bench log --bench hot

# What is shipped. KITH=PROGRAM packs one that is built already.
PROFILE ?= release
package: bootstrap
	target=$${CARGO_TARGET_DIR:-target}; kith=$${KITH:-}
	if [ -z "$$kith" ]; then
	  $(CARGO) build --locked --profile $(PROFILE) -p kith
	  folder=$(PROFILE); [ $(PROFILE) != dev ] || folder=debug
	  kith=$$target/$$folder/kith
	fi
	CARGO="$(CARGO)" packaging/make "$$kith" "$$target/package"
package-check: package
	packaging/check "$${CARGO_TARGET_DIR:-target}/package"

# A failing seed prints the command that repeats it.
sim: bootstrap
	$(CARGO) run --locked -p kith-sim -- --from $${SEED:-1} --seeds $${SEEDS:-10000} --minutes $${MINUTES:-60}

verify: bootstrap
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets --features kith-tests/failpoint -- -D warnings
	$(MAKE) --no-print-directory test
	$(CARGO) test --locked --workspace --doc
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

fix:
	$(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

bootstrap:
	if ! command -v $(firstword $(CARGO)) >/dev/null; then
	  echo "Rust is missing. Install it from https://rustup.rs, then run this again." >&2; exit 1
	fi
	missing=
	command -v g++ >/dev/null || command -v c++ >/dev/null || missing="$$missing g++"
	# A test drives two terminals through it; without it that test says that it tests nothing.
	wanted=
	command -v tmux >/dev/null || wanted=tmux
	if [ -z "$${LIBCLANG_PATH:-}" ] && [ "$$(uname)" != Darwin ]; then
	  # The bindings of RocksDB are made by libclang, which needs its own headers beside it.
	  if ! compgen -G '/usr/lib*/llvm*/lib*/libclang*.so*' >/dev/null && ! compgen -G '/usr/lib*/libclang*.so*' >/dev/null \
	     && ! compgen -G '/usr/lib/*-linux-gnu/libclang*.so*' >/dev/null; then missing="$$missing libclang-dev";
	  elif ! compgen -G '/usr/lib*/llvm*/lib*/clang/*/include/stddef.h' >/dev/null \
	     && ! compgen -G '/usr/lib*/clang/*/include/stddef.h' >/dev/null; then missing="$$missing libclang-dev"; fi
	fi
	if [ -z "$$missing$$wanted" ]; then exit 0; fi
	no_tools() {
	  if [ -z "$$missing" ]; then echo "$$1: $$wanted is missing, and one test will test nothing" >&2; exit 0; fi
	  echo "$$1. These are missing: $$missing. Install them (or what your system calls them), then run this again." >&2; exit 1
	}
	command -v apt-get >/dev/null || no_tools "this machine has no apt-get"
	sudo=
	if [ "$$(id -u)" != 0 ]; then
	  # Nobody is asked for a password for what is only wanted.
	  sudo=sudo; [ -n "$$missing" ] || sudo="sudo -n"
	  command -v sudo >/dev/null || no_tools "there is no sudo to install anything"
	fi
	echo "installing what is missing: $$missing $$wanted" >&2
	export DEBIAN_FRONTEND=noninteractive
	install() { $$sudo apt-get install -y -q --no-install-recommends $$@ >&2; }
	install $$missing $$wanted || { $$sudo apt-get update -q >&2 && { install $$missing $$wanted || install $$missing; }; } || no_tools "apt-get could not install it"
	command -v tmux >/dev/null || echo "tmux could not be installed: one test will test nothing" >&2
