"""A generated folder's templates, put into effect through CloudFormation as `aws cloudformation package` and `deploy` do."""

import hashlib
import io
import json
import os
import time
import zipfile

import yaml
from botocore.exceptions import ClientError

#: The longest template that a request may hold, in bytes.
LONGEST = 51_200


class Loader(yaml.SafeLoader):
    """Short forms of functions become long ones, and dates stay texts."""


def function(loader, tag, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


Loader.add_multi_constructor("!", function)
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(path):
    with open(path) as text:
        return yaml.load(text, Loader)


def code(folder, binary, python):
    """The function's code: the folder. Unless somebody put a binary there, as `--apply` does, the one that runs this is
    started where it lies: to pack it and to unpack it would take longer than everything else."""
    files = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            files[os.path.relpath(path, folder)] = path
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        def add(name, mode, content):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            archive.writestr(entry, content, compresslevel=1)
        for name, path in sorted(files.items()):
            with open(path, "rb") as content:
                add(name, 0o755 if name == "bootstrap" else 0o644, content.read())
        if "bootstrap" not in files:
            info = os.stat(binary)
            starts = f"#!{python} -IS\nimport os\nos.execv({binary!r}, ['bootstrap'])\n# {info.st_size} {info.st_mtime_ns}\n"
            add("bootstrap", 0o755, starts)
    return out.getvalue()


class Stacks:
    """What is deployed to the stand-in."""

    def __init__(self, client):
        self.cloudformation, self.s3 = client("cloudformation"), client("s3")

    def deploy(self, name, template, parameters, bucket=None):
        """Makes a stack, or brings it up to date; its outputs. What is too long for a request goes by way of a bucket."""
        text = json.dumps(template)
        known = template.get("Parameters", {})
        if bucket is not None and len(text) > LONGEST:
            key = f"{hashlib.sha256(text.encode()).hexdigest()}.template"
            self.s3.put_object(Bucket=bucket, Key=key, Body=text.encode())
            where = {"TemplateURL": f"{self.s3.meta.endpoint_url}/{bucket}/{key}"}
        else:
            where = {"TemplateBody": text}
        asked = {
            "StackName": name, **where,
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items() if key in known],
        }
        try:
            stack = self.describe(name)
            if stack is None:
                self.cloudformation.create_stack(**asked)
            else:
                self.cloudformation.update_stack(**asked)
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
        while True:
            stack = self.describe(name)
            if stack is None or not stack["StackStatus"].endswith("_IN_PROGRESS"):
                break
            time.sleep(0.05)
        if stack is None or stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise RuntimeError(f"the stack {name} is {stack and stack['StackStatus']}: {self.reasons(name)}")
        return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}

    def describe(self, name):
        try:
            return self.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def reasons(self, name):
        events = self.cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        failed = [event for event in events if "FAILED" in event["ResourceStatus"]]
        return "; ".join(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in reversed(failed))

    def package(self, folder, template, bucket, archive):
        """Puts what a template names by its path into a bucket, under the hash of the bytes, and names it there."""
        def put(content):
            key = hashlib.sha256(content).hexdigest()
            self.s3.put_object(Bucket=bucket, Key=key, Body=content)
            return key
        for resource in template["Resources"].values():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::Lambda::Function" and isinstance(properties.get("Code"), str):
                properties["Code"] = {"S3Bucket": bucket, "S3Key": put(archive)}
            if resource["Type"] == "AWS::StepFunctions::StateMachine":
                for key in ("DefinitionUri", "DefinitionS3Location"):
                    if isinstance(properties.get(key), str):
                        with open(os.path.join(folder, properties.pop(key)), "rb") as text:
                            properties["DefinitionS3Location"] = {"Bucket": bucket, "Key": put(text.read())}
        return template
