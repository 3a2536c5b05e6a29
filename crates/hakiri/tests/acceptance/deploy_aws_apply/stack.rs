//! The same with the real `aws` command line, and a stand-in for AWS on loopback that this test starts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hakiri_sim::free_port;
use serde_json::{Value, json};

use super::{APPLY, DESTROY, DIR, ENV, FOUNDATION, SHOP, STACK};
use crate::support::server::wait_for;
use crate::support::{Project, Ran, text};

/// A stand-in for AWS, ended with the test.
struct Cloud {
    /// The environment in which the command line lies.
    tools: PathBuf,
    url: String,
    child: Child,
    _home: tempfile::TempDir,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cloud {
    fn start() -> Self {
        let tools = std::env::var_os("HAKIRI_TEST_AWS_TOOLS");
        let tools = PathBuf::from(tools.expect("HAKIRI_TEST_AWS_TOOLS is not set: run the tests with ./x test"));
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let below = |name: &str| home.path().join(name);
        let child = Command::new(tools.join("bin/python"))
            .arg(tools.join("bin/ministack"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            // It listens on all addresses, and for more than HTTP, unless it is told otherwise.
            .envs([
                ("BIND_HOST", "127.0.0.1"),
                ("IOT_MTLS_ENABLED", "0"),
                ("SFTP_ENABLED", "0"),
                ("LOG_LEVEL", "WARNING"),
            ])
            .envs([("AWS_ACCESS_KEY_ID", "hakiri-test"), ("AWS_SECRET_ACCESS_KEY", "hakiri-test-secret")])
            .env("GATEWAY_PORT", port.to_string())
            .envs([
                ("HOME", below("home")),
                ("TMPDIR", below("tmp")),
                ("STATE_DIR", below("state")),
                ("S3_DATA_DIR", below("s3")),
            ])
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for dir in ["home", "tmp"] {
            std::fs::create_dir(below(dir)).unwrap();
        }
        wait_for("the stand-in for AWS", Duration::from_secs(60), || is_healthy(port).then_some(()));
        Self { tools, url: format!("http://127.0.0.1:{port}"), child, _home: home }
    }

    fn prepare(&self, command: &mut Command) {
        command
            .env("PATH", format!("{}:/usr/bin:/bin", self.tools.join("bin").display()))
            .envs([("AWS_ACCESS_KEY_ID", "hakiri-test"), ("AWS_SECRET_ACCESS_KEY", "hakiri-test-secret")])
            .envs([("AWS_ENDPOINT_URL", self.url.as_str()), ("AWS_DEFAULT_REGION", "eu-central-1"), ("AWS_PAGER", "")])
            .env("HOME", self._home.path());
    }

    fn hakiri(&self, project: &Project, args: &[&str]) -> Ran {
        let mut command = project.command(args);
        self.prepare(&mut command);
        command.envs(ENV).output().unwrap().into()
    }

    /// A command of the command line, whose answer is JSON, or nothing. It is told where to, since not every one of them
    /// heeds the variable (G9).
    fn ask(&self, args: &[&str]) -> Value {
        let mut command = Command::new(self.tools.join("bin/aws"));
        self.prepare(command.args(args).args(["--output", "json", "--endpoint-url", &self.url]));
        let ran: Ran = command.output().unwrap().into();
        let ran = ran.expect(0);
        if ran.stdout.trim().is_empty() { Value::Null } else { ran.json() }
    }

    fn output(&self, name: &str) -> String {
        let outputs = self.ask(&["cloudformation", "describe-stacks", "--stack-name", STACK]);
        let all = outputs["Stacks"][0]["Outputs"].as_array().unwrap().clone();
        let found = all.iter().find(|output| output["OutputKey"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {all:#?}"))["OutputValue"].as_str().unwrap().to_owned()
    }

    /// What there is of everything that the template has, asked for at once: each start of the command line takes a second.
    fn there(&self) -> Value {
        let mut command = Command::new(self.tools.join("bin/python"));
        self.prepare(command.arg("-c").arg(include_str!("there.py")).arg(&self.url));
        let ran: Ran = command.output().unwrap().into();
        ran.expect(0).json()
    }
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /_ministack/health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut head = [0; 15];
        stream.read_exact(&mut head)?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    };
    ask().is_ok_and(|head| head.contains(" 200"))
}

/// Starts the first apply, and kills it while the second stack is being created.
fn killed(cloud: &Cloud, project: &Project) {
    let mut command = project.command(&APPLY);
    cloud.prepare(&mut command);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    let at = said.lines().map_while(Result::ok).find(|line| line.starts_with("[5/6] everything else"));
    at.expect("it never came to the second stack");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn real_commands_go_on_where_they_were_cut_off_put_to_sleep_wake_and_take_away() {
    let (cloud, project) = (Cloud::start(), Project::new(SHOP));
    let nothing = cloud.there();
    killed(&cloud, &project);
    let done = cloud.hakiri(&project, &APPLY).expect(0);
    done.says("the foundation: done before").says("the code, packed: done before").says("deployed");
    let awake = cloud.there();
    assert_eq!(
        (&awake["functions"], &awake["machines"], &awake["schedules"], &awake["secrets"]),
        (&json!([STACK]), &json!([STACK]), &json!(["api"]), &json!([STACK]))
    );
    assert_eq!((&awake["alarms"], &awake["buckets"], &awake["tables"]), (&json!(4), &json!(2), &json!(1)));
    let secret = cloud.ask(&["secretsmanager", "get-secret-value", "--secret-id", STACK, "--query", "SecretString"]);
    let secret: Value = serde_json::from_str(secret.as_str().unwrap()).unwrap();
    assert_eq!((&secret["API_TOKEN"], &secret["HOOK"]), (&json!(ENV[0].1), &json!(ENV[1].1)));

    // Once more: nothing is to be done, above all no code is taken for new.
    let again = cloud.hakiri(&project, &APPLY).expect(0);
    for stack in [STACK, FOUNDATION] {
        again.says(&format!("No changes to deploy. Stack {stack} is up to date"));
    }
    again.says("nothing here that is not there");
    assert_eq!(cloud.there(), awake);

    // Asleep, nothing runs and the data is where it was; awake again, it is found there.
    let (bucket, table) = (cloud.output("Bucket"), cloud.output("Table"));
    project.write("part", "rows");
    let part = project.path().join("part").to_string_lossy().into_owned();
    let object = format!("s3://{bucket}/test/part");
    cloud.ask(&["s3", "cp", "--only-show-errors", &part, &object]);
    let item = r#"{"pk":{"S":"p"},"sk":{"S":"s"}}"#;
    cloud.ask(&["dynamodb", "put-item", "--table-name", &table, "--item", item]);
    cloud.hakiri(&project, &DESTROY).expect(0).says("destroyed");
    let asleep = cloud.there();
    for (what, left) in [
        ("functions", json!([])),
        ("machines", json!([])),
        ("schedules", json!([])),
        ("alarms", json!(0)),
        ("roles", nothing["roles"].clone()),
    ] {
        assert_eq!(asleep[what], left, "{what}");
    }
    cloud.hakiri(&project, &APPLY).expect(0).says("deployed");
    assert_eq!((cloud.output("Bucket"), cloud.output("Table"), cloud.there()), (bucket.clone(), table.clone(), awake));
    let found = cloud.ask(&["dynamodb", "get-item", "--table-name", &table, "--key", item]);
    assert_eq!(found["Item"]["pk"]["S"], "p");

    // With the data: only when a person has emptied the bucket, also of what was overwritten or deleted.
    let with_data = [&DESTROY[..], &["--with-data"]].concat();
    let versions =
        ["s3api", "put-bucket-versioning", "--bucket", &bucket, "--versioning-configuration", "Status=Enabled"];
    cloud.ask(&versions);
    cloud
        .hakiri(&project, &with_data)
        .expect(1)
        .says("HK1207")
        .says("| test/part")
        .says(&format!("empty the bucket {bucket}"));
    cloud.ask(&["s3", "rm", "--only-show-errors", &object]);
    cloud.hakiri(&project, &with_data).expect(1).says("HK1207").says("| test/part");
    assert_eq!(cloud.there()["tables"], json!(1), "the catalog went before the data");
    let list = ["s3api", "list-object-versions", "--bucket", &bucket, "--query"];
    let all = cloud
        .ask(&[&list[..], &["{Objects: [Versions, DeleteMarkers][][].{Key: Key, VersionId: VersionId}}"]].concat());
    cloud.ask(&["s3api", "delete-objects", "--bucket", &bucket, "--delete", &all.to_string()]);
    cloud.hakiri(&project, &with_data).expect(0).says("destroyed");
    assert_eq!(cloud.there(), nothing);
    assert!(!text(&project, &format!("{DIR}/.hakiri-deploy.progress")).contains(STACK));

    by_hand(&cloud, &project);
    assert_eq!(cloud.there()["functions"], json!([STACK]));
}

/// The commands of the folder's README, as a person types them, and then those that look at what there is.
fn by_hand(cloud: &Cloud, project: &Project) {
    let readme = text(project, &format!("{DIR}/README.md"));
    let mut blocks = readme.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
    let (steps, looking) = (blocks.next().unwrap(), blocks.next().unwrap());
    project.write(&format!("{DIR}/secrets.json"), text(project, &format!("{DIR}/secrets.example.json")));
    // SQS is asked at an address of AWS whatever the variable says (G9), and no wake has a body here.
    let looking: Vec<&str> =
        looking.lines().filter(|line| !line.starts_with("aws sqs ") && !line.contains(" start-execution ")).collect();
    assert!(looking.len() > 4, "{looking:#?}");
    let mut shell = Command::new("bash");
    let script =
        format!("set -eux -o pipefail\n{}{}", steps.replace("command -v hakiri", "echo $HAKIRI"), looking.join("\n"));
    shell.args(["-c", &script]).current_dir(project.path().join(DIR)).env("HAKIRI", crate::support::binary());
    cloud.prepare(&mut shell);
    let ran: Ran = shell.output().unwrap().into();
    ran.expect(0);
    let secret = cloud.ask(&["secretsmanager", "get-secret-value", "--secret-id", STACK, "--query", "SecretString"]);
    assert!(secret.as_str().unwrap().contains("<a secret of the pipeline api>"), "{secret}");
}
