#!/usr/bin/env python3
"""How long the function of a deployment takes from its start to its first `GET …/invocation/next`, on a local Runtime API:
lambda-init.py BINARY [STARTS]. Catalog, store and secrets are named, none is there: nothing of them is needed to start.

With strace on the search path one more start is traced, and what it spent its time on is printed: the system calls, and
where no call was made for longest."""

import http.server
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MANIFEST = """[project]
name = "bench"
[notify]
webhook = "${HOOK}"
[[pipeline]]
id = "api"
schedule = "every 5m"
secrets = ["TOKEN"]
[pipeline.source]
connector = "http"
[pipeline.source.config]
base_url = "https://api.example.com"
auth = { bearer = "${TOKEN}" }
[pipeline.source.config.resources.orders]
path = "/orders"
records = "data"
primary_key = ["id"]
[pipeline.table.orders]
transform = "select id, cast(total as double) as total from input where total > 0"
[[pipeline]]
id = "shop"
schedule = "0 2 * * *"
secrets = ["DATABASE_URL"]
source = { connector = "postgres", config = { url = "${DATABASE_URL}" } }
"""


def main():
    binary, starts = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    asked, let_go = threading.Event(), threading.Event()

    class Api(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            Api.at = time.perf_counter()
            asked.set()
            let_go.wait(30)

        def do_POST(self):
            print(self.path, self.rfile.read(int(self.headers["content-length"])).decode(), file=sys.stderr)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)
        (root / "project").mkdir()
        (root / "project/hakiri.toml").write_text(MANIFEST)
        os.symlink(binary, root / "bootstrap")
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
            "LAMBDA_TASK_ROOT": str(root),
            "TMPDIR": str(root),
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "HAKIRI_CATALOG": "dynamodb://bench",
            "HAKIRI_STORE": "s3://bench",
            "HAKIRI_SECRETS": "arn:aws:secretsmanager:eu-central-1:000000000000:secret:bench-Ab12Cd",
            "HAKIRI_MEMORY": "512MiB",
        }

        def start(command):
            asked.clear()
            let_go.clear()
            begun = time.perf_counter()
            child = subprocess.Popen(command, env=environment, cwd=root)
            in_time = asked.wait(30)
            child.kill()
            child.wait()
            let_go.set()
            assert in_time, "it never asked for an invocation"
            return (Api.at - begun) * 1000

        cold = start([root / "bootstrap"])
        times = sorted(start([root / "bootstrap"]) for _ in range(starts))
        print(f"first {cold:.1f} ms; then {starts} starts: median {statistics.median(times):.1f} ms, "
              f"min {times[0]:.1f}, max {times[-1]:.1f} ms; {binary.stat().st_size / 1e6:.1f} MB")
        if shutil.which("strace"):
            trace = root / "trace"
            start(["strace", "-f", "-ttt", "-T", "-o", trace, root / "bootstrap"])
            report(trace.read_text().splitlines())
        if max(times) >= 100:
            sys.exit("a start took 100 ms or longer")


def report(lines):
    """The gaps between one system call and the next of the main thread: what it computed or waited for."""
    main_thread = lines[0].split()[0]
    steps, before = [], None
    for line in lines:
        pid, at, call = line.split(None, 2)
        if pid != main_thread:
            continue
        if before is not None:
            steps.append((float(at) - before[0], before[1][:70], call[:70]))
        before = (float(at), call)
        if "invocation/next" in call:
            break
    names = {}
    for line in lines:
        name = re.match(r"\S+ \S+ (\w+)\(", line)
        if name:
            names[name[1]] = names.get(name[1], 0) + 1
    most = sorted(names.items(), key=lambda n: -n[1])[:8]
    print("traced (slower for it): system calls " + ", ".join(f"{name} {count}" for name, count in most))
    for took, of, to in sorted(steps, reverse=True)[:6]:
        print(f"  {took * 1000:6.1f} ms from {of}\n            to {to}")


main()
