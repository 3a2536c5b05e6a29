//! The sample project of the deployments, of which each test takes what it is about. Its parts are macros, since only
//! `concat!` makes a constant of several texts.

/// A pipeline with a secret, which reads an API at this address.
macro_rules! api {
    ($base_url:literal) => {
        concat!(
            r#"
[[pipeline]]
id = "api"
secrets = ["API_TOKEN"]
schedule = "every 15m"
tables = ["items"]
[pipeline.source]
connector = "http"
[pipeline.source.config]
base_url = ""#,
            $base_url,
            r#""
auth = { bearer = "${API_TOKEN}" }
[pipeline.source.config.resources.items]
path = "/items"
"#
        )
    };
}
pub(crate) use api;

/// A store and a catalog that are for elsewhere.
macro_rules! elsewhere {
    () => {
        r#"
[context]
path = "s3://elsewhere/prefix"
endpoint = "http://127.0.0.1:9000"

[catalog]
url = "postgres://hakiri:${DATABASE_PASSWORD}@localhost/hakiri"
"#
    };
}

macro_rules! webhook {
    () => {
        r#"
[notify]
webhook = "${HOOK}"
"#
    };
}

/// A pipeline that reads files in a bucket.
macro_rules! files {
    () => {
        r#"
[[pipeline]]
id = "sales_files"
schedule = "0 6 13 * fri"
source = { connector = "file", config = { path = "s3://acme-inbox/sales/*.csv" } }
"#
    };
}

/// A pipeline without a schedule, and an environment.
macro_rules! by_hand {
    () => {
        r#"
[[pipeline]]
id = "by-hand"
tables = ["x"]
source = { connector = "postgres", config = { url = "${SHOP_DATABASE}" } }
secrets = ["SHOP_DATABASE"]

[env.staging]
"#
    };
}

/// A pipeline with a secret, one without a schedule, a webhook, and a store and catalog that are for elsewhere.
pub const SHOP: &str = concat!(elsewhere!(), webhook!(), api!("https://api.example.com/${HAKIRI_STAGE}"), by_hand!());

/// The same, with a pipeline that reads files in a bucket.
pub const WITH_FILES: &str =
    concat!(elsewhere!(), webhook!(), api!("https://api.example.com/${HAKIRI_STAGE}"), files!(), by_hand!());

/// A pipeline with a secret, and a webhook.
pub const SMALL: &str = concat!(webhook!(), api!("https://api.example.com"));

/// A shop with a schedule for the pipeline that has none, which reads this database.
pub fn by_the_hour(shop: &str, url: &str) -> String {
    let database = shop.replace("url = \"${SHOP_DATABASE}\"", &format!("url = \"{url}\""));
    database.replace("id = \"by-hand\"", "id = \"by-hand\"\nschedule = \"every 1h\"")
}
