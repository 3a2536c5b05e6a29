//! Every diagnostic, with its exact text.

use super::*;

const ROOT: &str = "[project]\nname = \"shop\"\n";
const SOURCE: &str = "source = { connector = \"file\", config = { path = \"a.csv\" } }\n";

/// One pipeline's text, below a right root and source.
fn one(rest: &str) -> String {
    refuse(&[("hakiri.toml", &format!("{ROOT}[[pipeline]]\nid = \"a\"\n{SOURCE}{rest}"))], None)
}

/// The first line and the hint of each diagnostic: what a table of cases compares.
fn brief(rendered: &str) -> Vec<String> {
    rendered
        .lines()
        .filter_map(|l| l.strip_prefix("error[").or_else(|| l.trim_start().strip_prefix("= help: ")))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_password_in_the_url_of_the_catalog() {
    let refused = |url: &str| brief(&refuse(&[("hakiri.toml", &format!("{ROOT}[catalog]\nurl = \"{url}\"\n"))], None));
    assert_eq!(
        refused("postgres://u:secret@h/d"),
        [
            "HK0110]: a catalog's URL holds a password as it is",
            "write ${NAME} in its place, and set NAME in the environment or in .env"
        ]
    );
    assert!(refused("mysql://h/d")[0].contains("a catalog's URL is one of PostgreSQL, https, dynamodb or rds-secret"));
}

#[test]
fn everything_at_once() {
    let text = r#"
[project]
name = "My Shop"
versoin = "1"

[notify]
webhook = "${HOOK}"

[context]
path = "${BUCKET}/x"

[[pipeline]]
id = "crm"
source = { connector = "http", config = { base_ulr = "x", auth = { bearer = "${TOKEM}" } } }
secrets = ["TOKEN", "${OTHER}"]
schedule = "every 15 minutes"
tables = ["accounts", "contacts"]
concurrency = "8"
incrmental = "updated_at"

[pipeline.table.account]
primary_key = []
mode = "append"
lag = "5 minutes"
types = { price = "decimal(180,2)", note = "string" }

[pipeline.table.issues]
mode = "upsert"
schedule = "every 1h"

[[pipeline]]
id = "crm"
source = { connector = "htttp" }

[[pipeline]]
id = "Git Hub"
tables = ["issues"]

[[pipeline]]
id = "other"
source = { connector = "file", config = { path = "x", format = "cvs", skip_lines = 300, delimiter = 1 } }
tables = ["*", "x"]
catch_up = "all"

[env.staging]
schedule = { crn = "0 0 30 2 *" }
"#;
    insta::assert_snapshot!(refuse(&[("hakiri.toml", text)], Some("stagin")));
}

#[test]
fn errors_of_several_files_and_kinds() {
    let rendered = refuse(
        &[
            (
                "hakiri.toml",
                "[project]\nname = \"shop\"\n[[pipeline]]\nid = \"a\"\ntables = [\"t\"]\nprefix = \"\"\nsource = { connector = \"file\", config = { path = \"a\" } }\n",
            ),
            (
                "pipelines/b.json",
                "{\n  \"catalog\": {},\n  \"pipeline\": [\n    {\"id\": \"a\", \"source\": {\"connector\": \"file\"}},\n    {\"id\": \"b\", \"prefix\": \"\", \"tables\": [\"T\"], \"source\": {\"connector\": \"file\", \"config\": {\"path\": \"${X}\", \"\\u0000\": 1}}}\n  ]\n}",
            ),
            ("pipelines/c.toml", "[[pipeline]]\nid = \"c\nsource = 1\n"),
            ("pipelines/d.json", "{\"pipeline\": [}"),
            ("pipelines/e.json", "[]"),
        ],
        None,
    );
    insta::assert_snapshot!(rendered);
}

#[test]
fn a_table_below_the_wrong_pipeline_points_at_the_right_one() {
    insta::assert_snapshot!(refuse(
        &[(
            "hakiri.toml",
            "[project]\nname = \"shop\"\n\n[[pipeline]]\nid = \"a\"\ntables = [\"orders\"]\nsource = { connector = \"file\", config = { path = \"a\" } }\n\n\
             [[pipeline]]\nid = \"b\"\ntables = [\"people\"]\nsource = { connector = \"file\", config = { path = \"a\" } }\n[pipeline.table.orders]\nprimary_key = [\"id\"]\n",
        )],
        None
    ));
}

#[test]
fn a_missing_project_and_missing_files() {
    insta::assert_snapshot!(
        [
            refuse(&[], None),
            refuse(&[("hakiri.toml", "")], None),
            refuse(&[("hakiri.toml", "# nothing\n[project]\n")], None),
            refuse(&[("pipelines/a.toml", "[project]\nname = \"a\"")], None),
            refuse(&[("hakiri.toml", ROOT)], Some("prod")),
            refuse(&[("hakiri.toml", &format!("{ROOT}[env.staging]\n[env.live]\n"))], Some("prod")),
            refuse(&[("hakiri.toml", ROOT), ("more.toml", ROOT)], None),
        ]
        .join("----\n")
    );
}

#[test]
fn syntax_errors() {
    insta::assert_snapshot!(
        [
            refuse(&[("hakiri.toml", "[project\nname = \"a\"")], None),
            refuse(&[("hakiri.toml", "[project]\nname = \"a\"\nname = \"b\"")], None),
            refuse(&[("hakiri.toml", "[project]\nname = ")], None),
            refuse(&[("hakiri.toml", "[project]\nname = \"a\"\nversion = nan")], None),
            refuse(&[("a.json", "{\n  // comment\n}")], None),
            refuse(&[("a.json", "{\"a\": 1,}")], None),
            refuse(&[("a.json", "{\"a\": 'x'}")], None),
            refuse(&[("a.json", "{\"a\": yes}")], None),
            refuse(&[("a.json", "{\"a\": \"x")], None),
            refuse(&[("a.json", "{\"a\": 1, \"a\": 2}")], None),
            refuse(&[("a.json", "{\"a\": 99999999999999999999}")], None),
            refuse(&[("a.json", "{\"a\": 01}")], None),
            refuse(&[("a.json", "{\"a\": \"\\q\"}")], None),
            refuse(&[("a.json", "{} {}")], None),
            refuse(&[("a.json", "")], None),
        ]
        .join("----\n")
    );
}

#[test]
fn long_lines_are_cut_and_control_characters_cannot_reach_a_terminal() {
    let json = format!(
        "{{\"project\": {{\"name\": \"shop\"}}, \"pipeline\": [{{\"id\": \"a\", \"x\": \"{}\", \"sourc\": 1, \"y\": \"{}\"}}]}}",
        "é".repeat(300),
        "z".repeat(300)
    );
    insta::assert_snapshot!(refuse(&[("a.json", &json)], None));
    for text in [
        "[project]\nname = \"\x1b[31m\"",
        "[project]\nname = \"\\u001b[31m\"\n\"\\u001b[2J\" = 1\n[[moved]]\nfrom = \"a\"\nto = \"\\u001b\"",
    ] {
        let rendered = refuse(&[("hakiri.toml", text)], None);
        assert!(!rendered.contains('\x1b'), "{rendered}");
    }
}

#[test]
fn the_settings_of_tables() {
    for (rest, expected) in [
        (
            "[pipeline.table.t]\nmode = \"append\"\nlag = \"5m\"",
            &[
                "HK0110]: `lag` is not allowed in mode append: rows would be read twice",
                "use `settle`, or mode = \"merge\" with a primary key",
            ][..],
        ),
        (
            "[pipeline.table.t]\nmode = \"merge\"\nsettle = \"5m\"",
            &["HK0110]: `settle` is not allowed in mode merge", "use `lag`"],
        ),
        (
            "[pipeline.table.t]\nmode = \"replace\"\nlag = 5",
            &[
                "HK0110]: `lag` is not allowed in mode replace: a full load has no cursor",
                "remove `lag`, or use mode = \"merge\" or \"append\"",
            ],
        ),
        (
            "[pipeline.table.t]\nlag = 5\nsettle = 5",
            &["HK0110]: `lag` and `settle` exclude each other", "keep `lag` for mode merge, `settle` for mode append"],
        ),
        (
            "[pipeline.table.t]\nlag = 5\nincremental = \"\"",
            &["HK0110]: `lag` is not allowed without a cursor", "remove `lag`, or set `incremental`"],
        ),
        (
            "[pipeline.table.t]\nmode = \"append\"\nincremental = \"\"",
            &[
                "HK0110]: mode append needs a cursor: a full load would add all rows again",
                "set `incremental`, or use mode = \"replace\"",
            ],
        ),
        ("[pipeline.table.t]\nlag = -5", &["HK0110]: `lag` is -5, but must be at least 0", "use 0 or more"]),
        (
            "[pipeline.table.t]\nlag = 1.5",
            &[
                "HK0103]: `lag` is a number with a fraction, but takes a whole number or text",
                "write a whole number or text here",
            ],
        ),
        (
            "[pipeline.table.t]\nlag = \"soon\"",
            &["HK0110]: `soon` is not a duration", "write for example 90s, 5m, 1h or 2d"],
        ),
        (
            "[pipeline.table.t]\nprimary_key = \"id\"",
            &["HK0103]: `primary_key` is text, but takes a list", "write it as a list: [\"id\"]"],
        ),
        (
            "[pipeline.table.t]\nprimary_key = [\"id\", \"id\"]",
            &["HK0110]: `primary_key` names \"id\" twice", "remove one of them"],
        ),
        (
            "[pipeline.table.t]\nprimary_key = [\"\"]",
            &["HK0110]: `primary_key` holds an empty name", "write the name of a column, or remove it"],
        ),
        (
            "[pipeline.table.t]\nprimary_key = [1]",
            &["HK0103]: an item of `primary_key` is a whole number, but takes text", "write it as text: \"1\""],
        ),
        (
            "[pipeline.table.t]\nname = \"a b\"",
            &[
                "HK0110]: `a b` is not a valid table name",
                "use 1 to 127 letters, digits and `_`, not starting with a digit",
            ],
        ),
        (
            "[pipeline.table.t]\nchunk_rows = 0",
            &["HK0110]: `chunk_rows` is 0, but must be at least 1", "use 1 or more"],
        ),
        (
            "[pipeline.table.t]\nid = \"x\"",
            &["HK0102]: `t` has no key `id`", "`id` belongs into [[pipeline]], above its [pipeline.table.…]"],
        ),
        (
            "[pipeline.table.t]\ntypes = { a = \"int\" }",
            &["HK0110]: `int` is not a type: there is no type `int`", "did you mean `int64`?"],
        ),
        (
            "[pipeline.table.a]\nname = \"x\"\n[pipeline.table.b]\nname = \"X\"",
            &[
                "HK0107]: two tables of `a` would write the same table `X`",
                "set `name` for one of the tables, or another `prefix`",
            ],
        ),
    ] {
        assert_eq!(brief(&one(rest)), expected, "{rest}");
    }
}

#[test]
fn the_settings_of_pipelines() {
    let long = format!("tables = [\"{}\"]", "x".repeat(130));
    for (rest, expected) in [
        (
            "tables = []",
            &[
                "HK0110]: `tables` is empty: nothing would be read",
                "name tables, or leave `tables` out to read all the source offers",
            ][..],
        ),
        (
            "tables = [\"*\", \"b\"]",
            &["HK0110]: `tables` has \"*\" and names", "\"*\" means all tables: write [\"*\"] alone, or only names"],
        ),
        ("tables = [\"b\", \"b\"]", &["HK0110]: `tables` names \"b\" twice", "remove one of them"]),
        (
            "tables = [\"b\"]\nexclude = [\"c\"]",
            &[
                "HK0110]: `exclude` has nothing to leave out: `tables` names each table",
                "remove `exclude`, or write tables = [\"*\"]",
            ],
        ),
        (
            "exclude = [\"t\"]\n[pipeline.table.t]",
            &["HK0109]: the table `t` is in `exclude`", "remove it from `exclude`, or remove its settings"],
        ),
        (
            "tables = [\"orders\"]\n[pipeline.table.order]",
            &["HK0109]: the pipeline `a` has no table `order`", "did you mean `orders`?"],
        ),
        (
            "tables = [\"orders\"]\n[pipeline.table.x]",
            &["HK0109]: the pipeline `a` has no table `x`", "add \"x\" to `tables`, or remove this"],
        ),
        (
            &long,
            &[
                "HK0110]: `a_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...` is not a valid table name",
                "set `name` for this table, or a shorter `prefix`",
            ],
        ),
        (
            "prefix = \"a-\"",
            &[
                "HK0110]: `prefix` cannot start a table's name",
                "use letters, digits and `_`, not starting with a digit",
            ],
        ),
        ("concurrency = 65", &["HK0110]: `concurrency` is 65, but must be at most 64", "use 64 or less"]),
        ("concurrency = 0", &["HK0110]: `concurrency` is 0, but must be at least 1", "use 1 or more"]),
        (
            "concurrency = \"8\"",
            &["HK0103]: `concurrency` is text, but takes a whole number", "write the number without quotes"],
        ),
        ("catch_up = \"lates\"", &["HK0110]: `catch_up` cannot be \"lates\"", "did you mean `latest`?"]),
        ("catch_up = true", &["HK0103]: `catch_up` is true or false, but takes text", "use one of: each, latest"]),
        (
            "schedule = \"0 0 31 6 *\"",
            &["HK0106]: `0 0 31 6 *` never fires", "no month it names has such a day; write for example `0 0 28 2 *`"],
        ),
        (
            "destination = { connector = \"warehouse\" }",
            &["HK0110]: `connector` cannot be \"warehouse\"", "use one of: context"],
        ),
        (
            "secrets = [\"my token\"]",
            &[
                "HK0110]: an item of `secrets` is not a name",
                "write the name of an environment variable: letters, digits and `_`; its value stays outside",
            ],
        ),
        (
            "secrets = [\"${TOKEN}\"]",
            &["HK0110]: an item of `secrets` is not a name", "write the name alone: \"TOKEN\""],
        ),
        (
            "prefix = \"${TOKEN}\"",
            &[
                "HK0108]: `${TOKEN}` is not replaced here",
                "secrets are replaced only inside source.config",
                "HK0110]: `prefix` cannot start a table's name",
                "use letters, digits and `_`, not starting with a digit",
            ],
        ),
        (
            "primary_key = [\"id\"]",
            &[
                "HK0102]: the pipeline `a` has no key `primary_key`",
                "`primary_key` belongs into [pipeline.table.<name>]",
            ],
        ),
        ("table = 1", &["HK0103]: `table` is a whole number, but takes a table", "write a table here"]),
        ("[[moved]]\nfrom = \"x\"\nto = \"b\"", &["HK0110]: there is no pipeline `b`", "use one of: a"]),
        ("[[moved]]\nfrom = \"a\"\nto = \"a\"", &["HK0110]: a rename to the same name", "remove it"]),
        (
            "[[moved]]\nfrom = \"x\"\nto = \"a.t\"",
            &[
                "HK0110]: a pipeline can only become a pipeline, a table a table",
                "write both as `pipeline`, or both as `pipeline.table`",
            ],
        ),
        ("[deploy.gcp]", &["HK0102]: `deploy` has no key `gcp`", "use one of: systemd, compose, cloudflare, aws"]),
        (
            "[deploy.aws]\nregion = \"Frankfurt\"\ncatalog = \"sqlite\"\nsubnet_ids = [\"subnet-1a2b3c4d\", \"10.0.0.0/24\"]\n\
             kms_key_arn = \"arn:aws:kms:eu-central-1:123456789012:alias/x\"\ntags = { \"aws:x\" = \"1\" }",
            &[
                "HK0110]: `Frankfurt` cannot be the region of [deploy.aws]",
                "write for example eu-central-1",
                "HK0110]: `catalog` cannot be \"sqlite\"",
                "use one of: dynamodb, postgres",
                "HK0110]: `10.0.0.0/24` cannot be the subnet_ids of [deploy.aws]",
                "write ids, such as subnet-0123456789abcdef0",
                "HK0110]: `arn:aws:kms:eu-central-1:123456789012:alias/x` cannot be the kms_key_arn of [deploy.aws]",
                "write arn:aws:kms:REGION:ACCOUNT:key/ID; an alias names no key to a policy",
                "HK0110]: `aws:x` cannot be among the tags of [deploy.aws]: the beginning `aws:` is reserved",
                "use at most 40 tags, keys of 1 to 128 and values of up to 256 letters, digits, spaces and `_ . : / = + - @`, no \
                 key that begins with `aws:`, and no two that differ in case alone",
            ],
        ),
        (
            "[deploy.aws]\ndatabase_host = \"db:0\"\n[env.s.deploy.aws]\ndatabase_name = \"shop\"",
            &[
                "HK0110]: `db:0` cannot be the database_host of [deploy.aws]",
                "write a name or address and, unless it is 5432, a port: db.example.com:5433",
                "HK0110]: database_host of [deploy.aws] belongs to database_secret_arn, which is not given",
                "set database_secret_arn, which holds the login, or leave it out",
                "HK0110]: database_name of [deploy.aws] belongs to database_secret_arn, which is not given",
                "set database_secret_arn, which holds the login, or leave it out",
            ],
        ),
        (
            "[deploy.systemd]\ndir = \"/srv/../etc\"\n[env.s.deploy.compose]\nmemory = \"1 GB\"\nreplicas = 0",
            &[
                "HK0110]: `/srv/../etc` cannot be the dir of [deploy.systemd]",
                "write an absolute path of letters, digits, `/`, `.`, `-` and `_`, such as /srv/hakiri/shop",
                "HK0110]: `1 GB` cannot be the memory of [deploy.compose]",
                "write for example 1GiB or 512MiB; at least 256MiB",
                "HK0110]: `replicas` is 0, but must be at least 1",
                "use 1 or more",
            ],
        ),
        (
            "[deploy.cloudflare]\nbucket = \"My.Bucket\"\nmemory = \"100MiB\"\ninstance_type = \"huge\"",
            &[
                "HK0110]: `My.Bucket` cannot be the bucket of [deploy.cloudflare]",
                "use 3 to 63 lower-case letters, digits and `-`, the first and the last no `-`",
                "HK0110]: `100MiB` cannot be the memory of [deploy.cloudflare]",
                "write for example 1GiB or 512MiB; at least 256MiB",
                "HK0110]: `instance_type` cannot be \"huge\"",
                "use one of: lite, basic, standard-1, standard-2, standard-3, standard-4",
            ],
        ),
    ] {
        let mut found = brief(&one(rest));
        let mut expected: Vec<String> = expected.iter().map(|s| (*s).to_owned()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{rest}");
    }
}

#[test]
fn the_config_of_connectors() {
    let http = |config: &str| {
        brief(&refuse(
            &[(
                "hakiri.toml",
                &format!(
                    "{ROOT}[[pipeline]]\nid = \"a\"\n[pipeline.source]\nconnector = \"http\"\n[pipeline.source.config]\nbase_url = \"x\"\n{config}"
                ),
            )],
            None,
        ))
    };
    for (config, expected) in [
        ("base_uri = 1", &["HK0102]: the config of `http` has no key `base_uri`", "did you mean `base_url`?"][..]),
        ("auth = { bearer = 1 }", &["HK0103]: `bearer` is a whole number, but takes text", "write it as text: \"1\""]),
        ("auth = { beerer = \"x\" }", &["HK0102]: `auth` has no key `beerer`", "did you mean `bearer`?"]),
        ("auth = {}", &["HK0104]: `auth` is empty", "use one of: bearer, basic"]),
        ("auth = { basic = { user = \"x\" } }", &["HK0104]: `basic` lacks the key `password`", "add `password`"]),
        ("auth = \"x\"", &["HK0103]: `auth` is text, but takes a table", "write a table here"]),
        ("resources.r = {}", &["HK0104]: `r` lacks the key `path`", "add `path`"]),
        (
            "resources.r = { path = \"\", page_size = 2000 }",
            &["HK0110]: `page_size` is 2000, but must be at most 1000", "use 1000 or less"],
        ),
        (
            "resources.r = { path = \"\", skip_status = [404, 70000] }",
            &["HK0110]: an item of `skip_status` is 70000, but must be at most 65535", "use 65535 or less"],
        ),
        (
            "resources.r = { path = \"\", paginate = \"link_hedder\" }",
            &["HK0110]: `paginate` cannot be \"link_hedder\"", "did you mean `link_header`?"],
        ),
        (
            "resources.r = { path = \"\", paginate = { cursr = 1 } }",
            &["HK0102]: `paginate` has no key `cursr`", "did you mean `cursor`?"],
        ),
        (
            "resources.r = { path = \"\", paginate = { cursor = { param = \"x\", nxt = \"y\" } } }",
            &["HK0102]: `cursor` has no key `nxt`", "did you mean `next`?"],
        ),
        (
            "headers = { a = \"${TOKEN}\" }",
            &[
                "HK0108]: the pipeline `a` uses the secret `TOKEN` without declaring it",
                "add it to the pipeline: secrets = [\"TOKEN\"]",
            ],
        ),
    ] {
        assert_eq!(http(config), expected, "{config}");
    }
}

#[test]
fn diagnostics_as_json_and_as_errors_and_in_colour() {
    let diagnostics =
        parse(&texts(&[("hakiri.toml", "[project]\nname = \"shop\"\n\n[contxt]\n")]), None, &[]).unwrap_err();
    let [diagnostic] = &diagnostics[..] else { panic!("{diagnostics:?}") };
    assert_eq!(
        serde_json::to_value(diagnostic).unwrap(),
        serde_json::json!({
            "code": "HK0102", "file": "hakiri.toml", "line": 4, "column": 2, "length": 6,
            "message": "the manifest has no key `contxt`", "hint": "did you mean `context`?",
            "snippet": { "text": "[contxt]", "offset": 1 },
        })
    );
    let error = diagnostic.to_error();
    assert_eq!(error.to_string(), "hakiri.toml:4:2: the manifest has no key `contxt`");
    assert_eq!(error.kind(), crate::error::Kind::Usage);
    let colored = diagnostic.render(true);
    assert!(colored.contains("\x1b[1;31merror[HK0102]\x1b[0m"), "{colored:?}");
    let mut plain = colored;
    for style in ["\x1b[1;31m", "\x1b[1;34m", "\x1b[1;36m", "\x1b[1m", "\x1b[0m"] {
        plain = plain.replace(style, "");
    }
    assert_eq!(plain, diagnostic.render(false));
}
