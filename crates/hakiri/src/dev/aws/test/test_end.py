"""That the platform ends when whoever started it has ended, whatever it is doing then. Run by ./x test."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")

#: A platform that is in a finalizer, where Python forgets exceptions, when it is told to end.
SCRIPT = """
import sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv.pop(1))
import dev

class Platform:
    ending = False
    def __init__(self, config):
        pass
    def close(self):
        dev.say("dev", event="closed")

class Finalizer:
    def __del__(self):
        dev.say("dev", event="ready")
        time.sleep(2)

def run(config, platform):
    Finalizer()
    time.sleep(600)

dev.Platform, dev.run = Platform, run
dev.main()
"""


class End(unittest.TestCase):
    def test_it_ends_with_whoever_started_it_also_in_a_finalizer(self):
        with tempfile.TemporaryDirectory() as folder:
            config = os.path.join(folder, "dev.json")
            with open(config, "w") as text:
                json.dump({"work_dir": folder}, text)
            words = [sys.executable, "-c", SCRIPT, HERE, config]
            with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as platform:
                self.addCleanup(platform.kill)
                self.assertEqual(json.loads(platform.stdout.readline())["event"], "ready")
                platform.stdin.close()
                try:
                    self.assertEqual(platform.wait(30), 0)
                finally:
                    platform.kill()
                self.assertEqual(json.loads(platform.stdout.readline())["event"], "closed")


if __name__ == "__main__":
    unittest.main()
