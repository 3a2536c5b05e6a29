"""Takes permissions away from roles of a deployment, one at a time. Reads one JSON object a line, answers with one.

    python roles.py URL
    {"list": ROLE}                                   the statements of its inline policies: [[policy, n, action, resource], ...]
    {"remove": [ROLE, policy, n, action]}            takes one away
    {"narrow": [ROLE, policy, n, resource]}          takes a resource out of a statement
    {"restore": [ROLE, policy]}
    {"start": MACHINE, "input": {...}}               starts an execution
    {"look": EXECUTION}                              its status, and what failed in it so far
    {"stop": EXECUTION}
"""

import copy
import json
import os
import sys

import botocore.config
import botocore.exceptions
import botocore.session

session = botocore.session.Session(session_vars={"config_file": (None, None, os.devnull, None)})
session.set_config_variable("credentials_file", os.devnull)


def client(service):
    return session.create_client(
        service, region_name="us-east-1", endpoint_url=sys.argv[1], aws_access_key_id="local",
        aws_secret_access_key="localsecret", config=botocore.config.Config(proxies={}),
    )


iam, machines = client("iam"), client("stepfunctions")
whole = {}


def policies(role):
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        whole.setdefault((role, name), iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
        yield name, whole[role, name]


def many(value):
    return value if isinstance(value, list) else [value]


def put(role, name, document):
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


for line in sys.stdin:
    asked, answer = json.loads(line), None
    if "list" in asked:
        answer = [
            [name, n, action, many(statement["Resource"])]
            for name, document in policies(asked["list"])
            for n, statement in enumerate(document["Statement"])
            for action in many(statement["Action"])
        ]
    elif "remove" in asked:
        role, name, n, action = asked["remove"]
        document = copy.deepcopy(whole[role, name])
        statement = document["Statement"][n]
        statement["Action"] = [one for one in many(statement["Action"]) if one != action]
        if not statement["Action"]:
            del document["Statement"][n]
        put(role, name, document)
    elif "narrow" in asked:
        role, name, n, resource = asked["narrow"]
        document = copy.deepcopy(whole[role, name])
        statement = document["Statement"][n]
        statement["Resource"] = [one for one in many(statement["Resource"]) if one != resource]
        put(role, name, document)
    elif "restore" in asked:
        role, name = asked["restore"]
        put(role, name, whole[role, name])
    elif "start" in asked:
        answer = machines.start_execution(stateMachineArn=asked["start"], input=json.dumps(asked["input"]))["executionArn"]
    elif "look" in asked:
        events = machines.get_execution_history(executionArn=asked["look"], maxResults=1000)["events"]
        details = [value for event in events for key, value in event.items() if key.endswith("FailedEventDetails")]
        status = machines.describe_execution(executionArn=asked["look"])["status"]
        answer = {"status": status, "failed": [f"{one.get('error')}: {one.get('cause')}" for one in details]}
    elif "stop" in asked:
        try:
            machines.stop_execution(executionArn=asked["stop"])
        except botocore.exceptions.ClientError:
            pass  # it has ended
    print(json.dumps(answer), flush=True)
