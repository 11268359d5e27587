# make drill   opens the cockpit on a real, damaged database
# make test    runs every test
# make chaos   runs the long sweeps of crashes and faults, and prints what was tried and survived
# Both install what is missing first (scripts/setup.sh).

CARGO ?= cargo
# nextest runs tests in processes of their own; without it cargo's own runner does.
TEST := $(shell command -v cargo-nextest >/dev/null 2>&1 && echo "nextest run --no-fail-fast" || echo "test --no-fail-fast")

.PHONY: drill drill-auto test chaos lint bench setup build install

drill: build
	target/debug/relight drill

drill-auto: build
	target/debug/relight drill --auto

test: setup
	$(CARGO) $(TEST) --all-targets --locked

CHAOS_TABLE := target/chaos.tsv

CHAOS := RELIGHT_CHAOS=1 RELIGHT_CHAOS_TABLE=$(abspath $(CHAOS_TABLE)) $(CARGO) $(TEST) --locked

# Cargo's own runner says `--profile` for what nextest says `--cargo-profile` for.
CARGO_CHAOS := $(CHAOS) $(if $(findstring nextest,$(TEST)),--cargo-profile,--profile) chaos

# A million random turns draw a million frames: optimised, that is minutes and not hours. The table is printed whatever failed.
chaos: setup
	rm -f $(CHAOS_TABLE)
	@ok=0; \
	$(CHAOS) --test crash --test faults --test guarded --test database --test cockpit || ok=1; \
	$(CARGO_CHAOS) --lib nothing_breaks_the_screen || ok=1; \
	printf 'what\ttried\tsurvived\n' | cat - $(CHAOS_TABLE) | column -t -s '	'; \
	exit $$ok

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items --locked

bench: setup
	$(CARGO) build --release --locked
	$(CARGO) build --locked --example long_journal --example walk
	$(CARGO) run --profile chaos --locked --example many_snapshots 100000
	benches/cockpit.sh target/release/relight
	python3 -B benches/durability.py target/release/relight target/debug/examples/long_journal
	python3 -B benches/restore.py target/release/relight target/debug/examples/walk

build: setup
	$(CARGO) build --locked

install: setup
	$(CARGO) install --path . --locked

setup:
	@scripts/setup.sh
