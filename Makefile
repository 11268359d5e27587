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

chaos: setup
	rm -f $(CHAOS_TABLE)
	RELIGHT_CHAOS=1 RELIGHT_CHAOS_TABLE=$(abspath $(CHAOS_TABLE)) $(CARGO) $(TEST) --test crash --test faults --test guarded --test database --locked
	RELIGHT_CHAOS=1 RELIGHT_CHAOS_TABLE=$(abspath $(CHAOS_TABLE)) $(CARGO) $(TEST) --lib --locked nothing_breaks_the_screen
	@printf 'what\ttried\tsurvived\n' | cat - $(CHAOS_TABLE) | column -t -s '	'

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items --locked

bench: setup
	$(CARGO) build --release --locked
	$(CARGO) build --locked --example long_journal
	benches/cockpit.sh target/release/relight
	python3 -B benches/durability.py target/release/relight target/debug/examples/long_journal
	python3 -B benches/restore.py target/release/relight

build: setup
	$(CARGO) build --locked

install: setup
	$(CARGO) install --path . --locked

setup:
	@scripts/setup.sh
