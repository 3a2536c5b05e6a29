"""The stand-in for AWS: MiniStack, with what Hakiri needs of AWS put right where MiniStack does otherwise.

It is a process of its own, so that it can die and be started again as a machine of AWS can. What it says to the one that
started it is one JSON object a line on its standard output: {part, at, event?, text?, ...}; its own log is on standard error.

What is put right:
  - what DynamoDB holds is as durable as its answer: every write is in a journal before it is carried out (MiniStack writes
    at an orderly end only, and S3 at once);
  - a function's process that dies before it is ready ends alone (MiniStack ends all of that function);
  - `ecs:runTask.sync` answers with the one task, in Step Functions' spelling, and fails when a container does;
  - what is larger than Step Functions takes is refused, and a map obeys the path of its concurrency;
  - a task has the credentials of its role, as a function has;
  - a database instance of a template is the PostgreSQL of $HAKIRI_DEV_POSTGRES (MiniStack makes a record of it alone);
  - schedules do not fire by themselves: whoever started this steps time;
  - requests count as made over TLS, which nothing on this machine needs and policies ask for.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time

# Nothing but lines of ours goes to the standard output.
lines = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
speaking = threading.Lock()


def say(part, **more):
    with speaking:
        lines.write(json.dumps({"part": part, "at": int(time.time() * 1000), **more}) + "\n")


from ministack import app  # noqa: E402 (after the standard output is safe)
from ministack.core import lambda_runtime, persistence  # noqa: E402
from ministack.core.responses import get_account_id, get_region, request_scope  # noqa: E402
from ministack.services import dynamodb, ecs, imds, lambda_svc, rds, scheduler, stepfunctions  # noqa: E402
from ministack.services.cloudformation import provisioners  # noqa: E402

REGION = os.environ["MINISTACK_REGION"]
#: What a state of Step Functions may be given or give, in bytes.
PAYLOAD = 262_144

# ---- time, transport

scheduler.start_scheduler = lambda: None
_pin_origin = app.pin_request_origin
app.pin_request_origin = lambda address, _: _pin_origin(address, True)

# ---- functions: named as they come and go, and heard while they run


class Heard:
    """A function's output on its way to its log."""

    def __init__(self, stream):
        self.stream = stream

    def readline(self):
        line = self.stream.readline()
        if line:
            say("function", text=line.decode("utf-8", "replace").rstrip("\r\n"))
        return line

    def close(self):
        self.stream.close()


_pump = lambda_runtime.ProvidedWorker._pump_output


def pump(self, stream, queue):
    process = self._proc
    say("function", event="started", name=self.func_name, pid=process.pid)
    _pump(self, Heard(stream), queue)
    code = process.wait()
    killed = signal.Signals(-code).name if code < 0 else None
    say("function", event="exited", name=self.func_name, pid=process.pid, code=None if killed else code, signal=killed)


lambda_runtime.ProvidedWorker._pump_output = pump
_invoke = lambda_runtime.ProvidedWorker.invoke


def invoke(self, *given, **more):
    """One that dies before it is ready is named as AWS names it, and takes no other one of its function with it."""
    try:
        return _invoke(self, *given, **more)
    except RuntimeError as error:
        late = isinstance(error, lambda_runtime.ProvidedInitTimeout)
        kind = getattr(error, "error_type", "Sandbox.Timedout" if late else "Runtime.ExitError")
        return {"status": "error", "error": str(error), "error_payload": {"errorMessage": str(error), "errorType": kind}}


lambda_runtime.ProvidedWorker.invoke = invoke

# ---- tasks


def spelled(value):
    """As Step Functions spells what ECS answers."""
    if isinstance(value, list):
        return [spelled(one) for one in value]
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: spelled(one) for key, one in value.items() if not key.startswith("_")}
    return value


def failed(error, cause):
    return stepfunctions._ExecutionError(error, cause if isinstance(cause, str) else json.dumps(cause, default=str))


def run_task(resource, data):
    asked = stepfunctions._pascal_to_camel(data)
    status, _, body = ecs._run_task(asked)
    answer = json.loads(body or "{}")
    if status >= 400:
        raise failed(f"ECS.{answer.get('__type', 'EcsException').split('#')[-1]}", answer.get("message", ""))
    if answer.get("failures") or not answer.get("tasks"):
        raise failed("AmazonECS.Unknown", answer.get("failures") or "no task")
    if not resource.rstrip("/").endswith(".sync"):
        return spelled(answer)
    wanted = {"cluster": asked.get("cluster", "default"), "tasks": [answer["tasks"][0]["taskArn"]]}
    while True:
        _, _, body = ecs._describe_tasks(wanted)
        tasks = json.loads(body or "{}").get("tasks") or []
        if not tasks:
            raise failed("States.TaskFailed", "the task is not known any more")
        if tasks[0].get("lastStatus") == "STOPPED":
            break
        time.sleep(0.1)
    task = spelled(tasks[0])
    if any(container.get("ExitCode") != 0 for container in task.get("Containers", [])):
        raise failed("States.TaskFailed", task)
    return task


_call = stepfunctions._call_lambda


def call(function, event):
    """What is too large for Step Functions is too large here."""
    answer = None
    for what in ("input", "output"):
        size = len(json.dumps(event if what == "input" else answer).encode())
        if size > PAYLOAD:
            raise failed("States.DataLimitExceeded", f"the {what} of the function has {size} bytes")
        if what == "input":
            answer = _call(function, event)
    return answer


stepfunctions._call_lambda = call

for table in [value for value in vars(stepfunctions).values() if isinstance(value, dict)]:
    for key in [key for key, value in table.items() if value is stepfunctions._invoke_ecs_run_task]:
        table[key] = run_task

_map = stepfunctions._run_map_items


def mapped(state, given, execution, context):
    """MaxConcurrencyPath, which would be left out."""
    if "MaxConcurrencyPath" in state:
        effective = stepfunctions._apply_input_path(state, given, context)
        limit = stepfunctions._resolve_path_or_ctx(state["MaxConcurrencyPath"], effective, context)
        state = {**state, "MaxConcurrency": int(limit)}
    return _map(state, given, execution, context)


stepfunctions._run_map_items = mapped

roles = {}  # of tasks, by the path where their credentials are
_register = ecs._register_metadata


def register(task_arn, cluster_arn, definition, container, launch_type, env, *rest):
    token = _register(task_arn, cluster_arn, definition, container, launch_type, env, *rest)
    path = "/v2/credentials/" + env["AWS_CONTAINER_CREDENTIALS_FULL_URI"].rsplit("/", 1)[-1]
    roles[path] = definition.get("taskRoleArn", "")
    return token


def of_role(role):
    """Its credentials, as a function with this role would have them: always the same, and known from now on."""
    arn = f"arn:aws:lambda:{REGION}:{role.split(':')[4]}:function:task"
    return lambda_runtime.execution_credentials({"Role": role, "FunctionName": "task", "FunctionArn": arn})


ecs._register_metadata = register
_container = ecs._build_run_kwargs


def container(definition, *rest):
    asked = _container(definition, *rest)
    asked["entrypoint"] = definition.get("entryPoint")
    return asked


ecs._build_run_kwargs = container
_metadata = imds.handle_request


async def metadata(method, path, headers, body, query):
    role = roles.get(path.rstrip("/"))
    if not role:
        return await _metadata(method, path, headers, body, query)
    own = of_role(role)
    answer = {
        "AccessKeyId": own["AWS_ACCESS_KEY_ID"], "SecretAccessKey": own["AWS_SECRET_ACCESS_KEY"],
        "Token": own["AWS_SESSION_TOKEN"] or "local", "RoleArn": role,
        "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)),
    }
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


imds.handle_request = metadata

# ---- databases

rds._get_docker = lambda: None  # it has none of its own
address = os.environ.pop("HAKIRI_DEV_POSTGRES", "")
_create_database = provisioners._RESOURCE_HANDLERS["AWS::RDS::DBInstance"]["create"]


def create_database(logical_id, properties, *rest, **more):
    made = _create_database(logical_id, properties, *rest, **more)
    if address:
        host, port = address.rsplit(":", 1)
        rds._instances[made[0]]["Endpoint"].update(Address=host, Port=int(port))
        made = (made[0], provisioners._rds_db_instance_attrs(rds._instances[made[0]]), *made[2:])
    return made


provisioners._RESOURCE_HANDLERS["AWS::RDS::DBInstance"]["create"] = create_database

# ---- what is written outlives a SIGKILL

JOURNAL = os.path.join(persistence.STATE_DIR, "dynamodb.journal")
WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}
_answer = dynamodb.handle_request
journal = None


async def answer(method, path, headers, body, query):
    target = headers.get("x-amz-target", "")
    if target.rsplit(".", 1)[-1] in WRITES:
        # First said, then done: whoever saw a write, even one that was never answered, sees it after a death. What is
        # carried out again comes to the same, since nothing but what is stored decides it.
        scope = [get_account_id(), get_region()]
        journal.write(json.dumps([target, scope, body.decode()]) + "\n")
        journal.flush()
    return await _answer(method, path, headers, body, query)


dynamodb.handle_request = answer


async def restore():
    """Carries out what was written since the last time everything was saved."""
    global journal
    os.makedirs(persistence.STATE_DIR, exist_ok=True)
    again = 0
    if os.path.exists(JOURNAL):
        with open(JOURNAL) as written:
            for line in written:
                try:
                    target, (account, region), body = json.loads(line)
                except ValueError:
                    break  # the last line, cut off: it was never carried out
                with request_scope(account, region):
                    await _answer("POST", "/", {"x-amz-target": target}, body.encode(), {})
                again += 1
    journal = open(JOURNAL, "a")
    # Who is still at work from before is known again, as sessions at AWS outlive whatever dies.
    for store in (lambda_svc._functions, ecs._task_defs):
        for value in list(store._data.values()):
            config = value.get("config", value)
            if config.get("taskRoleArn"):
                of_role(config["taskRoleArn"])
            elif config.get("FunctionArn"):
                lambda_runtime.execution_credentials(config)
    if again:
        say("dev", text=f"restored {again} writes")


_lifespan = app._handle_lifespan


async def lifespan(scope, receive, send):
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, save)

    async def sent(message):
        if message["type"] == "lifespan.startup.complete":
            await restore()  # before anybody is answered
        await send(message)

    await _lifespan(scope, receive, sent)


def save():
    """Writes down everything. Asked for when nothing is under way."""
    app.save_all(app._build_persistence_save_dict())
    journal.truncate(0)
    say("dev", event="saved")


app._handle_lifespan = lifespan

app.main()
