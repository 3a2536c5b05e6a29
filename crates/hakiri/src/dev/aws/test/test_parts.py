"""Parts of `hakiri dev aws` that need no stand-in. Run by ./x test."""

import datetime
import io
import os
import sys
import tempfile
import unittest
import unittest.mock
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.dont_write_bytecode = True

import engine  # noqa: E402
import postgres  # noqa: E402
import schedule  # noqa: E402
import stack  # noqa: E402


def at(text):
    return int(datetime.datetime.fromisoformat(text).timestamp())


class Schedules(unittest.TestCase):
    def test_fields_mean_what_they_mean_at_the_scheduler(self):
        for expression, zone, time, due in [
            ("cron(* * * * ? *)", "UTC", "2026-11-27T10:31:00+00:00", True),
            ("cron(0/15 * * * ? *)", "UTC", "2026-11-27T10:45:00+00:00", True),
            ("cron(0/15 * * * ? *)", "UTC", "2026-11-27T10:46:00+00:00", False),
            ("cron(7/20 * * * ? *)", "UTC", "2026-11-27T10:47:00+00:00", True),
            ("cron(7/20 * * * ? *)", "UTC", "2026-11-27T10:05:00+00:00", False),
            ("cron(0 6 ? * MON-FRI *)", "UTC", "2026-11-27T06:00:00+00:00", True),  # a Friday
            ("cron(0 6 ? * 1,7 *)", "UTC", "2026-11-27T06:00:00+00:00", False),
            ("cron(0 6 ? * 1,7 *)", "UTC", "2026-11-29T06:00:00+00:00", True),  # 1 is Sunday
            ("cron(30 2 1 JAN-MAR ? *)", "UTC", "2026-02-01T02:30:00+00:00", True),
            ("cron(30 2 1 JAN-MAR ? *)", "UTC", "2026-04-01T02:30:00+00:00", False),
            ("cron(0 6 * * ? *)", "Europe/Berlin", "2026-07-01T04:00:00+00:00", True),
            ("cron(0 6 * * ? *)", "Europe/Berlin", "2026-12-01T04:00:00+00:00", False),
            ("cron(0 6 * * ? 2027)", "UTC", "2026-12-01T06:00:00+00:00", False),
            ("rate(2 minutes)", "UTC", "2026-11-27T10:32:00+00:00", True),
            ("rate(2 minutes)", "UTC", "2026-11-27T10:31:00+00:00", False),
            ("rate(1 hour)", "UTC", "2026-11-27T10:00:00+00:00", True),
        ]:
            self.assertEqual(schedule.due(expression, zone, at(time)), due, (expression, time))

    def test_what_is_not_known_is_no_schedule_that_never_fires(self):
        for expression in ["at(2026-11-27T10:31:00)", "cron(0 6 L * ? *)", "cron(* * * *)"]:
            with self.assertRaises(ValueError):
                schedule.due(expression, "UTC", at("2026-11-27T06:00:00+00:00"))


class Containers(unittest.TestCase):
    def test_a_container_starts_with_what_its_image_says(self):
        text = 'FROM scratch\nENV A=1 B="two words"\nENTRYPOINT ["/x"]\nENTRYPOINT [ \\\n  "/hakiri" ]\n'
        self.assertEqual(engine.dockerfile(text), (["/hakiri"], {"A": "1", "B": "two words"}))
        with self.assertRaises(ValueError):
            engine.dockerfile("FROM scratch\n")

    def test_a_command_is_that_of_this_machine(self):
        words = ["/hakiri", "-C", "/project", "/project/x", "/projects", "--catalog", "postgres://u@h:1/d?auth=rds-iam&admin=arn:a&sslrootcert=/rds-ca.pem"]
        self.assertEqual(
            engine.command(words, "/bin/h", "/tmp/p"),
            ["/bin/h", "-C", "/tmp/p", "/tmp/p/x", "/projects", "--catalog", "postgres://u@h:1/d?auth=rds-iam&admin=arn:a"],
        )
        self.assertEqual(engine.command(["rds-secret:arn:x"], "b", "p", "postgres://l"), ["postgres://l"])


class Databases(unittest.TestCase):
    def test_a_machine_without_one_is_told(self):
        with unittest.mock.patch("glob.glob", return_value=[]), unittest.mock.patch("shutil.which", return_value=None):
            with self.assertRaisesRegex(postgres.Missing, "install one"):
                postgres.programs()

    def test_the_newest_is_taken(self):
        found = [f"/usr/lib/postgresql/{version}/bin/initdb" for version in ("9.6", "15", "17")]
        with unittest.mock.patch("glob.glob", return_value=found):
            self.assertEqual(postgres.programs(), "/usr/lib/postgresql/17/bin")


class Templates(unittest.TestCase):
    def test_short_forms_are_the_long_ones(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write('V: 2012-10-17\nA: !Ref B\nC: !GetAtt D.Arn\nE: !Sub "x${F}"\nG: !Select [0, !GetAZs ""]\n')
            file.flush()
            self.assertEqual(stack.load(file.name), {
                "V": "2012-10-17", "A": {"Ref": "B"}, "C": {"Fn::GetAtt": ["D", "Arn"]}, "E": {"Fn::Sub": "x${F}"},
                "G": {"Fn::Select": [0, {"Fn::GetAZs": ""}]},
            })

    def test_code_is_the_folder_with_a_way_to_the_binary_unless_there_is_one(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "project"))
            for name in ["project/hakiri.toml", "binary"]:
                with open(os.path.join(folder, name), "w") as file:
                    file.write(name)
            binary = os.path.join(folder, "binary")
            first = stack.code(folder, binary, "/python")
            self.assertEqual(first, stack.code(folder, binary, "/python"), "the same folder gives the same bytes")
            archive = zipfile.ZipFile(io.BytesIO(first))
            self.assertIn(repr(binary), archive.read("bootstrap").decode())
            self.assertEqual(archive.getinfo("bootstrap").external_attr >> 16, 0o755)
            os.rename(binary, os.path.join(folder, "bootstrap"))
            archive = zipfile.ZipFile(io.BytesIO(stack.code(folder, "/gone", "/python")))
            self.assertEqual(archive.read("bootstrap"), b"binary")


if __name__ == "__main__":
    unittest.main()
