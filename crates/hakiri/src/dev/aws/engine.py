"""A stand-in for the container engine, as far as MiniStack's ECS asks for one: "containers" are processes of this machine.

The image is the generated folder: its Dockerfile says what a container starts with, /hakiri is the binary under test, and
/project is the folder's. A container's environment is what it is given and nothing else; the host of a container is
loopback here.
"""

import http.server
import json
import os
import re
import secrets
import shutil
import signal
import socketserver
import subprocess
import threading
import time
import urllib.parse

NEVER = "0001-01-01T00:00:00Z"


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def dockerfile(text):
    """What a container of it starts with: the last ENTRYPOINT, and the environment."""
    lines = re.sub(r"\\\r?\n", " ", text).splitlines()
    of = lambda word: [line.split(None, 1)[1].strip() for line in lines if line.startswith(f"{word} ")]
    entrypoints = of("ENTRYPOINT")
    if not entrypoints or not entrypoints[-1].startswith("["):
        raise ValueError('the Dockerfile has no ENTRYPOINT of the form ["..."]')
    env = {}
    for line in of("ENV"):
        for key, quoted, plain in re.findall(r'([A-Za-z_]\w*)=(?:"([^"]*)"|(\S*))', line):
            env[key] = quoted or plain
    return json.loads(entrypoints[-1]), env


def command(words, binary, project, catalog=None):
    """A container's command on this machine, where the certificates of the image's databases are not: loopback needs none."""
    def word(text):
        if text == "/hakiri":
            return binary
        if text == "/project" or text.startswith("/project/"):
            return project + text[len("/project"):]
        if text.startswith("rds-secret:") and catalog:
            return catalog
        return re.sub(r"([?&])sslrootcert=/[^&]*&?", r"\1", text).rstrip("?&") if "://" in text else text
    return [word(text) for text in words]


class Container:
    """One of them: created, started once, ended."""

    def __init__(self, name, asked):
        self.id, self.name, self.asked = secrets.token_hex(32), name, asked
        self.created, self.started, self.finished = now(), NEVER, NEVER
        self.process, self.code, self.folder = None, None, None
        self.ended = threading.Event()

    @property
    def status(self):
        return "exited" if self.code is not None else "created" if self.process is None else "running"

    def signal(self, what):
        if self.status == "running":
            self.process.send_signal(what)

    def inspect(self):
        asked = self.asked
        return {
            "Id": self.id, "Name": f"/{self.name}", "Image": asked.get("Image"), "Created": self.created,
            "Config": {**{key: asked.get(key) for key in ("Image", "Env", "Cmd")}, "Labels": asked.get("Labels") or {}},
            "HostConfig": asked.get("HostConfig") or {},
            "State": {
                "Status": self.status, "Running": self.status == "running", "ExitCode": self.code or 0, "Error": "",
                "Pid": self.process.pid if self.status == "running" else 0, "OOMKilled": False,
                "StartedAt": self.started, "FinishedAt": self.finished,
            },
            "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "127.0.0.1"}}, "Ports": {}, "IPAddress": "127.0.0.1"},
        }

    def listed(self):
        labels = self.asked.get("Labels") or {}
        return {"Id": self.id, "Names": [f"/{self.name}"], "Image": self.asked.get("Image"), "Labels": labels, "State": self.status}


class Engine:
    """Serves at a unix socket until closed. `say(pipeline, ...)` hears of containers by their pipeline; `catalog` takes
    the place of a catalog that only a secret of somebody else tells."""

    def __init__(self, socket, image, project, binary, work, env, say, catalog=None):
        self.image, self.project, self.binary, self.work, self.env, self.say = image, project, binary, work, env, say
        self.catalog = catalog
        self.containers, self.lock, self.closed = {}, threading.Lock(), False
        shutil.rmtree(work, ignore_errors=True)  # disks of one that was killed
        if os.path.exists(socket):
            os.unlink(socket)
        self.server = Server(socket, type("Asked", (Request,), {"engine": self}))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def find(self, key):
        with self.lock:
            known = list(self.containers.values())
        return next((c for c in known if c.id == key or c.name == key or (len(key) > 11 and c.id.startswith(key))), None)

    def create(self, name, asked):
        container = Container(name or secrets.token_hex(6), asked)
        with self.lock:
            if any(one.name == container.name for one in self.containers.values()):
                return None
            self.containers[container.id] = container
        return container

    def start(self, container):
        entrypoint, env = dockerfile(open(os.path.join(self.image, "Dockerfile")).read())
        container.folder = os.path.join(self.work, container.id[:12])
        tmp = os.path.join(container.folder, "tmp")
        os.makedirs(tmp)
        env.update(pair.split("=", 1) for pair in container.asked.get("Env") or [])
        env = {key: value.replace("host.docker.internal", "127.0.0.1") for key, value in env.items()}
        # The role's credentials are asked for at the stand-in, with a token from a file; the address that ECS itself gives
        # is one of the link and cannot be had here.
        if token := env.pop("AWS_CONTAINER_AUTHORIZATION_TOKEN", None):
            env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = os.path.join(container.folder, "token")
            with open(env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"], "w") as file:
                file.write(token)
        words = (container.asked.get("Entrypoint") or entrypoint) + (container.asked.get("Cmd") or [])
        with self.lock:
            if self.closed or container.process is not None:
                return
            container.process = subprocess.Popen(
                command(words, self.binary, self.project, self.catalog), cwd=container.folder, env={"TMPDIR": tmp, **env, **self.env},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )
        container.started = now()
        name = words[-1]
        self.say(name, event="started", name=name, pid=container.process.pid)
        threading.Thread(target=self.follow, args=(container, name), daemon=True).start()

    def follow(self, container, name):
        for line in container.process.stdout:
            self.say(name, text=line.decode("utf-8", "replace").rstrip("\r\n"))
        code = container.process.wait()
        killed = signal.Signals(-code).name if code < 0 else None
        shutil.rmtree(container.folder, ignore_errors=True)
        self.say(name, event="exited", name=name, pid=container.process.pid, code=None if killed else code, signal=killed)
        container.finished, container.code = now(), 128 - code if code < 0 else code
        container.ended.set()

    def remove(self, container):
        with self.lock:
            self.containers.pop(container.id, None)
        container.signal(signal.SIGKILL)

    def stop(self, container, grace):
        container.signal(signal.SIGTERM)
        if container.process is not None and not container.ended.wait(grace):
            container.signal(signal.SIGKILL)

    def close(self, grace=5.0):
        """Ends every container, at first politely."""
        with self.lock:
            self.closed = True
            running = [one for one in self.containers.values() if one.status == "running"]
        for one in running:
            one.signal(signal.SIGTERM)
        until = time.monotonic() + grace
        for one in running:
            if not one.ended.wait(max(0, until - time.monotonic())):
                one.signal(signal.SIGKILL)
        for one in running:
            one.ended.wait(2)
        self.server.shutdown()
        self.server.server_close()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        request, _ = super().get_request()
        return request, ("unix", 0)


class Request(http.server.BaseHTTPRequestHandler):
    """What is asked of the engine."""

    protocol_version = "HTTP/1.1"
    engine = None

    def log_message(self, *_):
        pass

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        path = re.sub(r"^/v[\d.]+", "", url.path)
        try:
            status, value = self.carry_out(path, query, body)
        except Exception as error:  # as a daemon answers
            status, value = 500, {"message": f"{type(error).__name__}: {error}"}
        data = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Api-Version", "1.44")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = answer

    def carry_out(self, path, query, body):
        engine = self.engine
        if path == "/_ping":
            return 200, b"OK"
        if path == "/version":
            return 200, {"ApiVersion": "1.44", "MinAPIVersion": "1.24", "Version": "27.0"}
        if path == "/info":
            return 200, {"ServerVersion": "27.0", "OSType": "linux", "Architecture": "x86_64"}
        if path == "/networks":
            return 200, [{"Name": "bridge", "Id": "bridge"}]
        if path == "/volumes":
            return 200, {"Volumes": []}
        if path == "/images/create":
            return 200, b'{"status":"ok"}\r\n'
        if path.startswith("/images/"):
            name = path[len("/images/"):].removesuffix("/json")
            return 200, {"Id": "sha256:" + "0" * 64, "RepoTags": [name], "RepoDigests": [], "Config": {}, "Architecture": "amd64", "Os": "linux"}
        if path == "/containers/create":
            made = engine.create(query.get("name"), json.loads(body))
            return (201, {"Id": made.id, "Warnings": []}) if made else (409, {"message": "the name is in use"})
        if path == "/containers/json":
            wanted = json.loads(query.get("filters", "{}")).get("label") or []
            def has(one):
                labels = one.asked.get("Labels") or {}
                return all(labels.get(label.split("=")[0]) == label.split("=", 1)[-1] or ("=" not in label and label in labels) for label in wanted)
            with engine.lock:
                known = list(engine.containers.values())
            return 200, [one.listed() for one in known if has(one)]
        found = re.fullmatch(r"/containers/([^/]+)(?:/(\w+))?", path)
        container = found and engine.find(urllib.parse.unquote(found[1]))
        if not container:
            return 404, {"message": f"no such container: {path}"}
        what = found[2]
        if what == "json":
            return 200, container.inspect()
        if what == "start":
            engine.start(container)
            return 204, None
        if what == "wait":
            container.ended.wait()
            return 200, {"StatusCode": container.code}
        if what == "stop":
            engine.stop(container, float(query.get("t", 10)))
            return 204, None
        if what == "kill":
            container.signal(getattr(signal, query.get("signal", "SIGKILL"), signal.SIGKILL))
            return 204, None
        if what == "logs":
            return 200, b""
        if self.command == "DELETE":
            engine.remove(container)
            return 204, None
        return 404, {"message": f"no {path} here"}
