"""A PostgreSQL of this machine's own programs, in the place of a database instance."""

import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time


class Missing(Exception):
    """There is none on this machine."""


def programs():
    """The folder of the newest one's programs."""
    version = lambda path: [int(part) for part in path.split("/")[-3].split(".") if part.isdigit()]
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=version)
    path = found[-1] if found else shutil.which("initdb")
    if path is None:
        raise Missing("the catalog's database is a PostgreSQL, and this machine has none: install one (Debian: postgresql)")
    return os.path.dirname(os.path.realpath(path))


class Postgres:
    """One server with one folder, which outlives it."""

    def __init__(self, folder, port, user, database):
        self.bin, self.folder, self.port, self.user, self.database = programs(), folder, port, user, database
        # It refuses root, whose folders its own user may not look into: there the data is elsewhere while it runs.
        self.is_root = os.geteuid() == 0
        self.data = os.path.join(folder, "data")
        self.note = os.path.join(folder, "elsewhere")
        self.process = None

    def run(self, *words, **more):
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if self.is_root else []
        return subprocess.Popen(as_user + [os.path.join(self.bin, words[0]), *words[1:]], cwd="/", stdin=subprocess.DEVNULL, **more)

    def place(self):
        if not self.is_root:
            return self.data
        if os.path.exists(self.note):
            with open(self.note) as text:
                return json.load(text)
        parent = tempfile.mkdtemp(prefix="hakiri-dev-pg.", dir="/tmp")
        place = os.path.join(parent, "data")
        with open(self.note, "w") as text:
            json.dump(place, text)
        if os.path.isdir(self.data):
            shutil.move(self.data, place)
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            raise Missing("PostgreSQL refuses root, and there is no user `postgres` it could run as") from None
        os.chown(parent, owner.pw_uid, owner.pw_gid)
        return place

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        place = self.elsewhere = self.place()
        log = open(os.path.join(self.folder, "log"), "ab")
        new = not os.path.isdir(place)
        if new:
            made = self.run("initdb", "-D", place, "-U", self.user, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", stdout=log, stderr=log)
            if made.wait() != 0:
                raise RuntimeError(f"initdb failed: see {log.name}")
        self.process = self.run(
            "postgres", "-D", place, "-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-k", os.path.dirname(place),
            "-c", "max_connections=200", stdout=log, stderr=log, start_new_session=True,
        )
        until = time.monotonic() + 30
        while self.ask("postgres", "select 1") != 0:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL does not start: see {log.name}")
            time.sleep(0.05)
        if new:
            if self.ask("postgres", f'create database "{self.database}"') or self.ask("postgres", "create role rds_iam"):
                raise RuntimeError(f"the database could not be made: see {log.name}")

    def ask(self, database, sql):
        words = ["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-d", f"dbname={database} connect_timeout=5", "-c", sql]
        return self.run(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait()

    def close(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.is_root:
            if os.path.isdir(self.folder):
                shutil.move(self.elsewhere, self.data)
                os.unlink(self.note)
            # Also when whoever ran this has removed the project meanwhile: nobody could find it any more.
            shutil.rmtree(os.path.dirname(self.elsewhere), ignore_errors=True)
