"""Prints what there is at an endpoint of AWS, by the kinds of things that the template has."""

import json
import sys

from botocore.session import get_session


def ask(service, operation, **args):
    client = get_session().create_client(service, region_name="eu-central-1", endpoint_url=sys.argv[1])
    return getattr(client, operation)(**args)


def names(found, list_, name):
    return sorted(item[name] for item in found.get(list_, []))


print(json.dumps({
    "functions": names(ask("lambda", "list_functions"), "Functions", "FunctionName"),
    "machines": names(ask("stepfunctions", "list_state_machines"), "stateMachines", "name"),
    "schedules": names(ask("scheduler", "list_schedules"), "Schedules", "Name"),
    "alarms": len(ask("cloudwatch", "describe_alarms")["MetricAlarms"]),
    "queues": len(ask("sqs", "list_queues").get("QueueUrls", [])),
    "roles": len(ask("iam", "list_roles")["Roles"]),
    "groups": len(ask("logs", "describe_log_groups")["logGroups"]),
    "buckets": len(ask("s3", "list_buckets")["Buckets"]),
    "tables": len(ask("dynamodb", "list_tables")["TableNames"]),
    "secrets": names(ask("secretsmanager", "list_secrets"), "SecretList", "Name"),
}))
