#!/bin/sh
# Makes sure that what the drill and the tests need is there: PostgreSQL's server programs, redis-server, a linker.
# Installs what is missing on Debian and Ubuntu, after asking; elsewhere says what to install. Starts no service.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

postgres_there() {
    if have initdb && have postgres; then return 0; fi
    for folder in /usr/lib/postgresql/*/bin; do
        if [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ]; then return 0; fi
    done
    return 1
}

packages=""
postgres_there || packages="$packages postgresql"
have redis-server || packages="$packages redis-server"
have cc || packages="$packages gcc libc6-dev"
have setpriv || packages="$packages util-linux"
have make || packages="$packages make"

if ! have cargo; then
    echo "relight needs Rust (cargo), 1.95 or newer: https://rustup.rs" >&2
    exit 2
fi
if [ -z "$packages" ]; then exit 0; fi

if ! have apt-get; then
    cat >&2 <<TEXT
Missing:$packages
This script installs on Debian and Ubuntu only. Elsewhere install PostgreSQL (13 or newer, with the server programs
initdb and postgres), redis-server, util-linux's setpriv and a C linker, make sure that they are in PATH, and run make again.
TEXT
    exit 2
fi

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    have sudo || { echo "Missing:$packages. Install them as root: apt-get install$packages" >&2; exit 2; }
    as_root="sudo"
    if [ -t 0 ]; then
        printf 'Missing:%s. Install with sudo apt-get? Their services will not be started. [y/N] ' "$packages"
        read -r answer
        case "$answer" in y | Y | yes) ;; *) echo "Nothing was installed." >&2; exit 2 ;; esac
    else
        echo "Missing:$packages. There is no terminal to ask on; run: sudo apt-get install$packages" >&2
        exit 2
    fi
fi

echo "Installing:$packages"
# While this file says 101, packages do not start their services.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
    made=yes
fi
cleanup() { if [ -n "$made" ]; then $as_root rm -f "$policy"; fi; }
trap cleanup EXIT INT TERM
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
# The drill starts servers of its own; those that came with the packages stay off after a reboot too.
if [ -d /run/systemd/system ]; then
    case "$packages" in *redis-server*) $as_root systemctl disable --quiet redis-server 2>/dev/null || true ;; esac
    case "$packages" in *postgresql*) $as_root systemctl disable --quiet postgresql 2>/dev/null || true ;; esac
fi
