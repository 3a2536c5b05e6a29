//! The tokens are those of AWS's own client, byte by byte.

use std::process::Command;

use hakiri_aws::{Credentials, rds};
use hakiri_core::time::Instant;
use object_store::aws::AwsCredential;

/// Prints a token for each line of arguments, with the clock stopped.
const CLIENT: &str = r#"
import datetime, sys
import botocore.auth, botocore.session
at = datetime.datetime.fromtimestamp(int(sys.argv[1]), datetime.timezone.utc)
class Stopped(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return at if tz else at.replace(tzinfo=None)
    @classmethod
    def utcnow(cls): return at.replace(tzinfo=None)
for name in ("get_current_datetime", "datetime"):
    if hasattr(botocore.auth, name):
        stop = (lambda remove_tzinfo=True: at.replace(tzinfo=None) if remove_tzinfo else at)
        setattr(botocore.auth, name, stop if name == "get_current_datetime" else type("d", (), {"datetime": Stopped}))
key, secret, token, region, host, port, user = sys.argv[2:]
session = botocore.session.Session()
session.set_credentials(key, secret, token or None)
client = session.create_client("rds", region_name=region)
print(client.generate_db_auth_token(DBHostname=host, Port=int(port), DBUsername=user), end="")
"#;

#[tokio::test]
async fn tokens_are_those_of_the_official_client() {
    let at = 1_800_000_000;
    for (token, region, host, port, user) in [
        ("", "eu-central-1", "shop.c0ffee.eu-central-1.rds.amazonaws.com", 5432, "hakiri"),
        ("IQoJb3JpZ2luX2Vj//session+token==", "us-east-1", "db.internal", 6432, "shop-user_1"),
        ("", "cn-north-1", "x.rds.amazonaws.com.cn", 5432, "straße /?&=%~"),
        ("", "eu-west-1", "127.0.0.1", 443, "hakiri"),
    ] {
        let output = Command::new(hakiri_sim::aws::python())
            .args(["-c", CLIENT, &at.to_string(), "AKIDEXAMPLE", "sekrit/+0123456789", token, region, host])
            .args([&port.to_string(), user])
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let credentials = Credentials::fixed(AwsCredential {
            key_id: "AKIDEXAMPLE".to_owned(),
            secret_key: "sekrit/+0123456789".to_owned(),
            token: Some(token.to_owned()).filter(|token| !token.is_empty()),
        });
        let login = rds::Login { host, port, user, region };
        let ours = rds::token(&credentials, &login, Instant::from_millis(at * 1000 + 999)).await.unwrap();
        assert_eq!(ours.expose(), String::from_utf8(output.stdout).unwrap(), "{host}:{port}");
        assert!(!format!("{ours:?}").contains("X-Amz"));
    }
}
