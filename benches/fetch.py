"""Downloads from a server of its own on this host, into a file that is synced, for SECONDS; says how much once a second."""

import os
import socket
import sys
import tempfile
import threading
import time

CHUNK = b"x" * (1 << 16)
# A good line: a restore from S3 by several requests.
RATE = 100e6


def serve(listener):
    connection, _ = listener.accept()
    began, sent = time.perf_counter(), 0
    try:
        while True:
            if sent > (time.perf_counter() - began) * RATE:
                time.sleep(0.002)
                continue
            connection.sendall(CHUNK)
            sent += len(CHUNK)
    except OSError:
        return


seconds = float(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
source = socket.create_connection(listener.getsockname())
began = told = time.perf_counter()
done = 0
with tempfile.TemporaryFile() as file:
    while (now := time.perf_counter()) - began < seconds:
        data = source.recv(1 << 20)
        file.write(data)
        done += len(data)
        # Only the newest of it stays on the disk.
        if file.tell() > 64 << 20:
            file.flush()
            os.fdatasync(file.fileno())
            file.seek(0)
        if now - told > 1:
            told = now
            print(f"downloaded {done >> 20} MiB", flush=True)
