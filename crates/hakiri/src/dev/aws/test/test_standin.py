"""The stand-in itself: what is put right in it, where no run of a pipeline shows it each time. Run by ./x test."""

import io
import json
import os
import sys
import tempfile
import threading
import time
import unittest
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.dont_write_bytecode = True

import dev  # noqa: E402

#: A function: it dies before it is ready where a file says so, and otherwise answers when another file is gone.
BOOTSTRAP = """#!/usr/bin/env python3
import os, sys, time, urllib.request
folder = os.environ["FOLDER"]
if os.path.exists(folder + "/die"):
    sys.exit(3)
at = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(at + "next") as asked:
        request = asked.headers["Lambda-Runtime-Aws-Request-Id"]
    open(folder + "/at-work", "w").close()
    while os.path.exists(folder + "/hold"):
        time.sleep(0.01)
    urllib.request.urlopen(urllib.request.Request(at + request + "/response", data=b'"done"')).close()
"""


def package():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, BOOTSTRAP)
    return file.getvalue()


class Functions(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        with open(os.path.join(self.folder.name, "template.yaml"), "w") as template:
            template.write("Resources: {}\n")
        dev.say = lambda *_, **__: None  # what it says is of no interest here
        self.platform = dev.Platform({
            "project_dir": self.folder.name, "work_dir": os.path.join(self.folder.name, "work"), "binary": "/nowhere", "region": "us-east-1",
            "database": False, "env": {},
        })
        self.addCleanup(self.platform.close)
        self.platform.start()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def invoke(self):
        # A client of its own each time: several are asked at once.
        answer = self.platform.client("lambda").invoke(FunctionName="one", Payload=b"{}")
        return json.loads(answer["Payload"].read())

    def test_one_that_dies_before_it_is_ready_takes_no_other_with_it(self):
        role = {"RoleName": "role", "AssumeRolePolicyDocument": json.dumps({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}],
        })}
        role = self.platform.client("iam").create_role(**role)["Role"]["Arn"]
        self.platform.client("lambda").create_function(
            FunctionName="one", Runtime="provided.al2023", Handler="bootstrap", Role=role, Code={"ZipFile": package()}, Timeout=60,
            Environment={"Variables": {"FOLDER": self.folder.name}},
        )
        open(self.path("hold"), "w").close()
        answers = []
        first = threading.Thread(target=lambda: answers.append(self.invoke()))
        first.start()
        while not os.path.exists(self.path("at-work")):
            self.assertTrue(first.is_alive(), answers)
            time.sleep(0.01)
        open(self.path("die"), "w").close()
        died = self.invoke()
        self.assertEqual(died["errorType"], "Runtime.ExitError", died)
        self.assertIn("exited during init with code 3", died["errorMessage"])
        os.unlink(self.path("hold"))
        first.join(30)
        self.assertEqual(answers, ["done"])
        # The next one starts anew.
        os.unlink(self.path("die"))
        self.assertEqual(self.invoke(), "done")


if __name__ == "__main__":
    unittest.main()
