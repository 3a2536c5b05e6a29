"""`hakiri dev aws`: the generated project on this machine, without an account, Docker or network.

    python dev.py CONFIG.json

Prints one JSON object a line: {part, at, text?, event?, ...}.

  part   function, task:PIPELINE, machine, schedule, page, dev
  event  ready {url, outputs, roles}, standin {pid}, started {pid, name}, exited {pid, name, code, signal}, tick {time, started},
         settled {time, failed, executions}, page {address}, done

CONFIG, which is removed once it is read, since it holds secrets:
  {project_dir, work_dir, binary, name, region, ticks, from, every_ms, buckets, database, secrets, env, clock, page}
  name     of the stack; the one of what it needs beforehand is NAME-foundation
  ticks    step so many, at `from`, from + every_ms ...; each waits until no execution runs. 0: none, and stay, for whoever
           wants to look or to fill a bucket
  clock    step at each minute of the clock, until told to end
  buckets  that are somebody else's, and have to be there
  database  whether the catalog is somebody else's database, which a PostgreSQL of this machine stands in for
  page     null, or {listen, args}: where the status page is, and what chooses the project on the binary's command line
"""

import contextlib
import errno
import fcntl
import json
import os
import queue
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

import botocore.config
import botocore.exceptions
import botocore.session

import postgres
import schedule
import stack
from engine import Engine

#: So long a tick may take before this gives up, in seconds.
STUCK = 600
#: What the Scheduler puts in the place of is: the time that it should have fired at.
SCHEDULED = "<aws.scheduler.scheduled-time>"

speaking = threading.Lock()


def say(part, **more):
    with speaking:
        try:
            sys.stdout.write(json.dumps({"part": part, "at": int(time.time() * 1000), **more}) + "\n")
            sys.stdout.flush()
        except OSError:
            pass  # nobody reads any more: whoever started this has ended, and so does this, in order


def iso(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))


def free_port():
    """A server on a port that the system gives to no connection by itself: one could have it between two local runs."""
    while True:
        try:
            return socket.create_server(("127.0.0.1", random.randrange(10_000, 30_000)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def end_with_us(group):
    """Ends a group of processes when this process ends, however it does: a shell waits at a pipe that only we hold open."""
    watch = ["sh", "-c", f"read -r _; kill -9 -{group} 2>/dev/null"]
    return subprocess.Popen(watch, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


class Platform:
    """The stand-ins, and the deployment on them."""

    def __init__(self, config):
        self.config, self.work = config, config["work_dir"]
        self.ending, self.page, self.standin, self.watches = False, None, None, []
        self.saved, self.changing = threading.Event(), threading.Lock()
        os.makedirs(self.path("home"), exist_ok=True)
        self.alone()
        ports = self.ports()
        self.url = f"http://127.0.0.1:{ports['gateway']}"
        self.ports_of = ports
        self.template = stack.load(os.path.join(config["project_dir"], "template.yaml"))
        databases = [r["Properties"] for r in self.template["Resources"].values() if r["Type"] == "AWS::RDS::DBInstance"]
        self.database, asked = None, databases[0] if databases else {}
        if databases or config["database"]:
            self.database = postgres.Postgres(self.path("postgres"), ports["postgres"], asked.get("MasterUsername", "postgres"), asked.get("DBName", "hakiri"))
        region = {"AWS_REGION": config["region"], "AWS_DEFAULT_REGION": config["region"], "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}
        self.engine = Engine(
            socket=self.path("engine.sock"), image=config["project_dir"], project=os.path.join(config["project_dir"], "code/project"),
            binary=config["binary"], work=self.path("tasks"), env={**region, **config["env"]}, catalog=self.catalog() if config["database"] else None, say=lambda pipeline, **more: say(f"task:{pipeline}", **more),
        )

    def path(self, name):
        return os.path.join(self.work, name)

    def alone(self):
        """One local run at a time: the one before may still be ending."""
        self.lock = open(self.path("lock"), "w")
        until = time.monotonic() + 30
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise RuntimeError("another local run of this project is under way: end it first") from None
                time.sleep(0.1)

    def ports(self):
        """Of an earlier run, if they are free: what was deployed knows them."""
        try:
            with open(self.path("ports.json")) as text:
                ports = json.load(text)
            for port in ports.values():
                socket.create_server(("127.0.0.1", port)).close()
            return ports
        except FileNotFoundError:
            pass
        except OSError as error:
            raise RuntimeError(f"another process has a port of this project's earlier local run ({error}): end it, or start over with --fresh") from None
        held = {name: free_port() for name in ("gateway", "postgres")}
        ports = {name: server.getsockname()[1] for name, server in held.items()}
        for server in held.values():
            server.close()
        with open(self.path("ports.json"), "w") as text:
            json.dump(ports, text)
        return ports

    def client(self, service):
        settings = botocore.config.Config(
            retries={"max_attempts": 0}, connect_timeout=5, read_timeout=60, parameter_validation=False,
            s3={"addressing_style": "path"}, proxies={},
        )
        return self.session.create_client(
            service, region_name=self.config["region"], endpoint_url=self.url, config=settings,
            aws_access_key_id="local", aws_secret_access_key="localsecret",
        )

    # ---- processes

    @contextlib.contextmanager
    def starting(self):
        """What is started in it is there when everything is ended, or is not started any more."""
        with self.changing:
            if self.ending:
                raise RuntimeError("this is ending")
            yield

    def start(self):
        if self.database:
            with self.starting():
                self.database.start()
                self.watch(self.database.process)
        self.start_standin()
        self.session = botocore.session.Session(session_vars={"config_file": (None, None, os.devnull, None)})
        self.session.set_config_variable("credentials_file", os.devnull)

    def watch(self, process):
        self.watches.append(end_with_us(process.pid))

    def start_standin(self):
        config = self.config
        env = {
            "PATH": os.environ["PATH"], "HOME": self.path("home"), "TMPDIR": self.path("home"), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
            "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.ports_of["gateway"]), "MINISTACK_REGION": config["region"],
            "STATE_DIR": self.path("state"), "PERSIST_STATE": "1", "S3_PERSIST": "1", "S3_DATA_DIR": self.path("buckets"),
            "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "LOG_LEVEL": "WARNING", "AUTH": "true",
            "DOCKER_HOST": f"unix://{self.path('engine.sock')}",
            "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "localsecret", "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true", **config["env"],
        }
        if self.database:
            env["HAKIRI_DEV_POSTGRES"] = f"127.0.0.1:{self.ports_of['postgres']}"
        with self.starting(), open(self.path("standin.log"), "ab") as log:
            self.standin = subprocess.Popen(
                [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "standin.py")],
                cwd=self.work, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
                umask=0o077,  # what it keeps has the values of secrets
            )
            self.watch(self.standin)
        say("dev", event="standin", pid=self.standin.pid)
        threading.Thread(target=self.hear, args=(self.standin.stdout,), daemon=True).start()
        until = time.monotonic() + 60
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.ports_of["gateway"]), 1) as link:
                    link.sendall(b"GET /_ministack/health HTTP/1.0\r\n\r\n")
                    if b" 200 " in link.recv(64):
                        return
            except OSError:
                pass
            if self.standin.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the stand-in for AWS does not start: see {log.name}")
            time.sleep(0.05)

    def hear(self, stream):
        for line in stream:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # the last words of one that was killed
            if said.get("event") == "saved":
                self.saved.set()
            elif not self.ending:
                say(**said)

    def save(self):
        """What is deployed outlives the stand-in."""
        self.saved.clear()
        self.standin.send_signal(signal.SIGUSR1)
        if not self.saved.wait(20):
            raise RuntimeError("the stand-in does not write down what it holds")

    def mend(self, error):
        """The stand-in has died: it is started again, with what it had."""
        if self.ending:
            raise error
        if self.standin.poll() is None:
            say("dev", text=f"asking again: {error}", level="warn")
            time.sleep(0.2)
            return
        say("dev", text="the stand-in for AWS has died and is started again", level="warn")
        self.start_standin()

    def close(self):
        self.ending = True
        with self.changing:
            pass  # what was being started is there
        if self.page:
            self.page.kill()
        self.engine.close()
        if self.standin and self.standin.poll() is None:
            try:
                self.save()
            except (RuntimeError, OSError) as error:
                print(error, file=sys.stderr)
        if self.standin:
            try:
                os.killpg(self.standin.pid, signal.SIGKILL)
            except OSError:
                pass
            self.standin.wait()
        if self.database:
            self.database.close()

    # ---- the deployment

    def deploy(self):
        config, stacks = self.config, stack.Stacks(self.client)
        for bucket in config["buckets"]:
            self.make(bucket)
        folder, name = config["project_dir"], config["name"]
        before = stacks.deploy(f"{name}-foundation", stack.load(os.path.join(folder, "foundation.yaml")), {})
        archive = stack.code(os.path.join(folder, "code"), config["binary"], sys.executable)
        template = stacks.package(folder, self.template, before["CodeBucket"], archive)
        self.outputs = stacks.deploy(name, template, {"ImageUri": "hakiri:local"}, before["CodeBucket"])
        if "Secret" in self.outputs:
            self.client("secretsmanager").put_secret_value(SecretId=self.outputs["Secret"], SecretString=json.dumps(config["secrets"]))
        self.save()

    def make(self, bucket):
        """A bucket that is there already, where it is deployed for good."""
        region = self.config["region"]
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self.client("s3").create_bucket(Bucket=bucket, **where)
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def roles(self):
        """The names of the deployment's roles, by those of the template."""
        found = self.client("cloudformation").describe_stack_resources(StackName=self.config["name"])["StackResources"]
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found if one["ResourceType"] == "AWS::IAM::Role"}

    def schedules(self):
        """Those that start this deployment's machine."""
        scheduler = self.client("scheduler")
        listed = scheduler.list_schedules()["Schedules"]
        read = [scheduler.get_schedule(GroupName=one["GroupName"], Name=one["Name"]) for one in listed]
        return [one for one in read if one["State"] == "ENABLED" and one["Target"]["Arn"] == self.outputs["Machine"]]

    def catalog(self):
        """The database, for whoever signs in without a token."""
        return f"postgres://{self.database.user}@127.0.0.1:{self.database.port}/{self.database.database}"

    def place(self):
        """Of catalog and store: as the deployment gives them to its processes."""
        if "Table" in self.outputs:
            function = self.client("lambda").get_function_configuration(FunctionName=self.outputs["Function"])
            given = function["Environment"]["Variables"]
            return given["HAKIRI_CATALOG"], given["HAKIRI_STORE"]
        tasks = self.client("ecs").describe_task_definition(taskDefinition=self.config["name"])["taskDefinition"]
        words = tasks["containerDefinitions"][0]["entryPoint"]
        return self.catalog(), words[words.index("--store") + 1]

    def show(self):
        """The binary as a worker that nobody asks for anything, on the catalog and the store as anybody would see them."""
        page = self.config["page"]
        env = {**os.environ, **self.config["env"], "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "local",
               "AWS_SECRET_ACCESS_KEY": "localsecret", "AWS_REGION": self.config["region"]}
        env.pop("HAKIRI_TOKEN", None)  # it would close the page
        catalog, store = self.place()
        words = [self.config["binary"], *page["args"], "worker", "--listen", page["listen"], "--catalog", catalog, "--store", store]
        with self.starting():
            self.page = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
            self.watch(self.page)
        threading.Thread(target=self.hear_page, daemon=True).start()

    def hear_page(self):
        for line in self.page.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            address = re.search(r"working on http://([^/\s]+)", text)
            if address:
                say("page", event="page", address=address[1], text=f"the status page is on http://{address[1]}/")
            else:
                say("page", text=text)
        if not self.ending:
            say("page", text=f"the status page has ended: {self.page.wait()}", level="error")


class Stepper:
    """Steps time: does what the Scheduler would at a minute."""

    def __init__(self, platform):
        self.platform, self.client = platform, platform.client("stepfunctions")
        self.schedules = platform.schedules()
        self.machine = platform.outputs["Machine"]

    def due(self, ms):
        found = []
        for one in self.schedules:
            if schedule.due(one["ScheduleExpression"], one.get("ScheduleExpressionTimezone"), ms // 1000):
                found.append((one["Name"], one["Target"].get("Input", "{}").replace(SCHEDULED, iso(ms))))
        return found

    def trouble(self, error):
        """Whether something was asked of a stand-in that is not there."""
        kinds = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)
        return isinstance(error, kinds) or self.platform.standin.poll() is not None

    def go_on(self):
        if self.platform.ending:
            raise RuntimeError("this is ending")

    def tick(self, ms):
        begun, wanted, running, failed, told = time.monotonic(), self.due(ms), {}, {}, False
        self.seen = set()
        left = dict(wanted)
        while True:
            self.go_on()
            try:
                for name in [name for name in left if name not in running]:
                    running[name] = self.client.start_execution(stateMachineArn=self.machine, input=left[name])["executionArn"]
                    self.seen.add(running[name])
                if not told:
                    names = [name for name, _ in wanted]
                    text = f"started {', '.join(names)}" if names else "nothing is due"
                    say("schedule", event="tick", time=ms, started=names, text=text)
                    told = True
                for name in list(left):
                    if self.ended(name, running, failed):
                        del left[name]
                if not left and not self.at_work():
                    break
            except Exception as error:
                if not self.trouble(error):
                    raise
                self.platform.mend(error)
            if time.monotonic() - begun > STUCK:
                raise RuntimeError(f"the tick of {iso(ms)} did not settle")
            time.sleep(0.05)
        say("dev", event="settled", time=ms, failed=failed, executions=len(self.seen), took_ms=int((time.monotonic() - begun) * 1000))

    def at_work(self):
        """Whether an execution runs: also one that another one started."""
        found = self.client.list_executions(stateMachineArn=self.machine, statusFilter="RUNNING")["executions"]
        self.seen.update(one["executionArn"] for one in found)
        return bool(found)

    def ended(self, name, running, failed):
        """Whether an execution has; one that died with the stand-in is started once more, since AWS loses none."""
        try:
            told = self.client.describe_execution(executionArn=running[name])
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            del running[name]
            return False
        if told["status"] == "RUNNING":
            return False
        if told["status"] != "SUCCEEDED":
            failed[name] = told.get("error") or told["status"]
            say("machine", text=f"{name}: {told['status']} {told.get('error')}: {told.get('cause')}", level="error")
        return True

    def clock(self):
        """The clock's minutes. A minute is not kept waiting by the work of the one before, as it is not in the cloud."""
        last = 0
        while True:
            self.go_on()
            minute = int(time.time()) // 60 * 60_000
            try:
                if minute > last:
                    names = []
                    for name, text in self.due(minute):
                        self.client.start_execution(stateMachineArn=self.machine, input=text)
                        names.append(name)
                    last = minute
                    if names:
                        say("schedule", event="tick", time=minute, started=names, text=f"started {', '.join(names)}")
            except Exception as error:
                if not self.trouble(error):
                    raise
                self.platform.mend(error)
            if self.platform.standin.poll() is not None:
                self.platform.mend(RuntimeError("it has ended"))
            time.sleep(0.2)


def run(config, platform):
    platform.start()
    platform.deploy()
    say("dev", event="ready", url=platform.url, outputs=platform.outputs, roles=platform.roles())
    if config["page"]:
        platform.show()
    stepper, every = Stepper(platform), config["every_ms"]
    first = config["from"]
    if first is None:
        first = int(time.time() * 1000) // every * every - (max(config["ticks"] or 1, 1) - 1) * every
    for n in range(config["ticks"] or 0):
        stepper.tick(first + n * every)
    if config["clock"]:
        stepper.clock()
    while config["ticks"] == 0:
        time.sleep(60)
    say("dev", event="done")


def main():
    with open(sys.argv[1]) as text:
        config = json.load(text)
    os.unlink(sys.argv[1])
    os.makedirs(config["work_dir"], exist_ok=True)

    # Whoever is first says how it ended. A queue, and no exception out of a signal's handler: that is lost where Python
    # happens to be in a finalizer, and then nothing would end here any more.
    ended = queue.SimpleQueue()
    for what in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(what, lambda *_: ended.put(0))

    def parent():
        sys.stdin.read()  # ends when whoever started this has ended, in whatever way
        ended.put(0)

    threading.Thread(target=parent, daemon=True).start()
    platform = []

    def work():
        try:
            platform.append(Platform(config))
            run(config, platform[0])
            ended.put(0)
        except Exception as error:
            if platform and platform[0].ending:
                return  # it was taken away under it
            if not isinstance(error, postgres.Missing):
                traceback.print_exc()
            text = str(error) if isinstance(error, postgres.Missing) else f"{type(error).__name__}: {error}"
            say("dev", text=text, level="error")
            ended.put(1)

    threading.Thread(target=work, daemon=True).start()
    code = ended.get()
    for one in platform:
        one.close()
    os._exit(code)


if __name__ == "__main__":
    main()
