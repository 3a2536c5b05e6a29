//! PostgreSQL as a source, through the real binary: discovery, windows, ranges of keys, grants, kills.

mod windows;

use std::time::Duration;

use hakiri_sim::postgres::{Options, Server};
use serde_json::{Value, json};

use crate::support::pg::{Connection, Db, manifest, secret};
use crate::support::{Project, files_below, python, verified_files};

fn ids(project: &Project, table: &str) -> Vec<i64> {
    project.rows(&format!("select id from {table} order by id")).iter().map(|r| r["id"].as_i64().unwrap()).collect()
}

/// The names of the steps that a run would have.
fn steps(project: &Project) -> Vec<String> {
    let plan = project.hakiri(&["plan", "--json"]).expect(0).json();
    let steps = plan.pointer("/plans/0/steps").and_then(Value::as_array).unwrap_or_else(|| panic!("{plan}"));
    steps.iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect()
}

/// The parts of a table in order, with their bytes.
fn parts(project: &Project) -> Vec<(String, Vec<u8>)> {
    let files = project.files().into_iter().filter(|f| f.contains("/runs/") && f.ends_with(".parquet"));
    files.map(|f| (f.clone(), std::fs::read(project.store().join(&f)).unwrap())).collect()
}

/// A manifest of one table `t` with a cursor.
fn incremental(more: &str) -> String {
    format!("tables = [\"t\"]\n[pipeline.table.t]\n{more}\n")
}

fn tick(project: &Project, at: &str) {
    project.hakiri(&["run", "--tick", at]).expect(0);
}

#[test]
fn tables_views_and_partitioned_tables_are_offered_with_their_keys_and_nothing_else_is() {
    let db = Db::new(
        "create schema \"My Schema\"; set search_path = \"My Schema\"; \
         create table \"Weird \"\"name\"\" ü\" (\"Id\" int, \"a b\" text, primary key (\"a b\", \"Id\")); \
         insert into \"Weird \"\"name\"\" ü\" values (1, 'x'), (2, 'x'), (1, 'y'); \
         create table parts (id int, day date, primary key (id, day)) partition by range (day); \
         create table parts_1 partition of parts for values from ('2026-01-01') to ('2026-02-01'); \
         create table parts_2 partition of parts for values from ('2026-02-01') to ('2026-03-01'); \
         insert into parts values (1, '2026-01-05'), (2, '2026-02-05'); \
         create view seen as select id from parts; \
         create materialized view kept as select id from parts; \
         create table empty (id int primary key, note text); \
         create sequence not_a_table; \
         create table public.elsewhere (id int)",
    );
    let project = db.project(", schema = \"My Schema\"", "");
    project.run();
    let tables: Vec<String> = project
        .hakiri(&["tables", "--json"])
        .expect(0)
        .json()
        .pointer("/tables")
        .and_then(Value::as_array)
        .unwrap()
        .iter()
        .map(|t| t["table"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(tables, ["p_Weird__name___", "p_empty", "p_kept", "p_parts", "p_seen"]);
    assert_eq!(project.number("select count(*) from p_parts"), 2);
    assert_eq!(project.number("select count(*) from p_empty"), 0);
    // In the order of the key, which is that of its definition.
    let path = parts(&project).into_iter().find(|(name, _)| name.contains("Weird")).unwrap().0;
    let rows = python(
        "import sys, pyarrow.parquet as pq; t = pq.read_table(sys.argv[1]).to_pydict(); print(t['a b'], t['Id'])",
        &[project.store().join(path).to_str().unwrap()],
    );
    assert_eq!(rows.trim(), "['x', 'x', 'y'] [1, 2, 1]");

    let wrong = db.project(", schema = \"my schema\"", "");
    wrong.hakiri(&["run"]).expect(2).says("HK0403").says("did you mean `My Schema`?");
    let wrong = db.project(", schema = \"My Schema\"", "tables = [\"part\"]\n");
    wrong.hakiri(&["run"]).expect(2).says("HK0402");
}

#[test]
fn columns_can_be_chosen_and_rows_too() {
    let db = Db::new(
        "create table t (id int primary key, a text, b text, secret text); \
         insert into t select i, 'a' || i, 'b' || i, 'hidden' from generate_series(1, 9) i",
    );
    let project = db.project(
        ", tables = { t = { exclude_columns = [\"secret\"], where = \"id % 2 = 1 -- odd ones\" } }",
        "tables = [\"t\"]\n",
    );
    project.run();
    assert_eq!(ids(&project, "p_t"), [1, 3, 5, 7, 9]);
    let columns = project.rows("select * from p_t limit 1")[0].as_object().unwrap().clone();
    assert!(columns.contains_key("b") && !columns.contains_key("secret"), "{columns:?}");
    for (config, says) in [
        ("{ columns = [\"idd\"] }", "did you mean `id`?"),
        ("{ casts = { a = \"text); drop table t; --\" } }", "not a type that columns can be cast to"),
        ("{ columns = [\"id\"], exclude_columns = [\"a\"] }", "exclude each other"),
    ] {
        project.manifest(&manifest(&format!(", tables = {{ t = {config} }}"), "tables = [\"t\"]\n"));
        let ran = project.hakiri(&["run"]);
        assert_ne!(ran.code, 0);
        ran.says("HK0403").says(says);
    }
}

const LARGE: &str = "create table t (tenant int, k uuid, name text, at timestamptz not null, primary key (tenant, k)); \
    insert into t select i % 7 - 3, md5(i::text)::uuid, 'name ' || i, '2026-01-01'::timestamptz - i * interval '1 minute' \
    from generate_series(1, 3500) i";

#[test]
fn a_table_in_ranges_of_its_key_is_the_table_in_one_step_in_the_same_order() {
    let db = Db::new(LARGE);
    let read = |chunk: u64, cursor: &str| {
        let project = db.project("", &incremental(&format!("chunk_rows = {chunk}\n{cursor}")));
        let planned = steps(&project);
        tick(&project, "2026-01-02T00:00:00Z");
        let out = python(
            "import sys, glob, json, pyarrow as pa, pyarrow.parquet as pq\n\
             t = [pq.read_table(f).drop_columns(['_hakiri_run']) for f in sorted(glob.glob(sys.argv[1] + '/tables/p_t/runs/*/part-*'))]\n\
             print(json.dumps([[x.num_rows for x in t], [[str(v) for v in r.values()] for r in pa.concat_tables(t).to_pylist()]]))",
            &[project.store().to_str().unwrap()],
        );
        (planned.len(), serde_json::from_str::<Value>(&out).unwrap())
    };
    let (one, whole) = read(1_000_000, "");
    assert_eq!((one, &whole[0]), (1, &json!([3500])));
    for cursor in ["", "incremental = \"at\""] {
        let (many, cut) = read(1000, cursor);
        assert_eq!((many, &cut[0]), (4, &json!([1000, 1000, 1000, 500])), "exactly every thousandth key");
        assert_eq!(cut[1], whole[1], "the same rows in the same order");
    }
    assert_eq!(read(3500, "").0, 1);
    assert_eq!(read(3499, "").1[0], json!([3499, 1]));
}

#[test]
fn ranges_follow_the_window_of_a_later_run() {
    let db = Db::new(LARGE);
    let project = db.project("", &incremental("chunk_rows = 1000\nincremental = \"at\"\nlag = \"0s\""));
    tick(&project, "2026-01-02T00:00:00Z");
    db.sql("update t set at = '2026-01-02 00:30+00', name = 'changed' where name like '%1'");
    let changed: i64 = db.connection.value("select count(*) from t where name = 'changed'").parse().unwrap();
    assert!(changed < 1000);
    tick(&project, "2026-01-02T01:00:00Z");
    assert_eq!(project.number("select count(*) from p_t where name = 'changed'"), changed);
    db.sql("update t set at = '2026-01-02 01:30+00', name = 'all'");
    tick(&project, "2026-01-02T02:00:00Z");
    let last: Vec<u64> = serde_json::from_str(&python(
        "import sys, glob, os, pyarrow.parquet as pq\n\
         runs = sorted(glob.glob(sys.argv[1] + '/tables/p_t/runs/*'))\n\
         print([[pq.read_metadata(f).num_rows for f in sorted(glob.glob(r + '/part-*'))] for r in runs][-1])",
        &[project.store().to_str().unwrap()],
    ))
    .unwrap();
    assert_eq!(last, [1000, 1000, 1000, 500]);
    assert_eq!(project.number("select count(*) from p_t where name = 'all'"), 3500);
}

#[test]
fn keys_that_the_server_orders_in_another_way_are_not_cut() {
    let db = Db::new(
        "create table linguistic (id text primary key); create table bytes (id text collate \"C\" primary key); \
         create table mixed (a int, id text, primary key (a, id)); create table blank (id char(3) primary key); \
         create table number (id numeric(5,1) primary key); create table days (id date primary key); \
         insert into linguistic select chr(65 + i % 26) || chr(97 + i % 23) from generate_series(1, 300) i on conflict do nothing; \
         insert into bytes select id from linguistic; insert into mixed select length(id) + ascii(id) % 3, id from linguistic; \
         insert into blank select id from linguistic; insert into number select ascii(id) * 10 + row_number() over () / 10.0 from linguistic \
         on conflict do nothing; insert into days select date '2026-01-01' + row_number() over ()::int from linguistic",
    );
    let tables = ["linguistic", "bytes", "mixed", "blank", "number", "days"];
    let more: String = std::iter::once(format!("tables = {}\n", json!(tables)))
        .chain(tables.iter().map(|t| format!("[pipeline.table.{t}]\nchunk_rows = 100\n")))
        .collect();
    let project = db.project("", &more);
    let planned = steps(&project);
    let of = |table: &str| planned.iter().filter(|s| s.split(' ').next() == Some(table)).count();
    assert_eq!((of("linguistic"), of("blank")), (1, 1), "{planned:?}");
    for table in ["bytes", "mixed", "number", "days"] {
        assert!(of(table) > 1, "{table}: {planned:?}");
    }
    project.run();
    let check = "import sys, glob, pyarrow as pa, pyarrow.parquet as pq\n\
        for table, keys in (('linguistic', ['id']), ('bytes', ['id']), ('mixed', ['a', 'id']), ('number', ['id']), ('days', ['id'])):\n\
        \x20t = pa.concat_tables([pq.read_table(f) for f in sorted(glob.glob(f'{sys.argv[1]}/tables/p_{table}/runs/*/part-*'))])\n\
        \x20rows = [tuple(r[k].encode() if isinstance(r[k], str) else r[k] for k in keys) for r in t.to_pylist()]\n\
        \x20assert rows == sorted(set(rows)) and rows, table\n";
    python(check, &[project.store().to_str().unwrap()]);
}

#[test]
fn a_key_that_a_transform_may_change_is_read_in_one_step() {
    let db = Db::new(
        "create table t (id int primary key, name text); insert into t select i, 'n' from generate_series(1, 50) i",
    );
    for (transform, expected) in [
        ("select * exclude (name) from input", 5),
        ("select * replace (id % 7 as id) from input", 1),
        ("select id, name from input", 1),
    ] {
        let project = db.project("", &incremental(&format!("chunk_rows = 10\ntransform = \"{transform}\"")));
        assert_eq!(steps(&project).len(), expected, "{transform}");
    }
}

#[test]
fn kill_in_the_middle_gives_the_files_of_a_run_that_was_left_alone() {
    let db = Db::new(
        "create table t (id int primary key, body text); \
         insert into t select i, repeat(md5(i::text), 20) from generate_series(1, 30000) i",
    );
    let settings = incremental("chunk_rows = 5000");
    let whole = db.project("", &settings);
    let started = std::time::Instant::now();
    tick(&whole, "2026-01-01T00:00:00Z");
    let mut took = started.elapsed();
    let expected = parts(&whole);
    assert_eq!(expected.len(), 6);
    let mut killed = 0;
    for round in 1..=8_u32 {
        let project = db.project("", &settings);
        let started = std::time::Instant::now();
        let mut child = project
            .command(&["run", "--tick", "2026-01-01T00:00:00Z"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while started.elapsed() < took * round / 9 {
            if child.try_wait().unwrap().is_some() {
                // The runs before were slower: from now on this is how long one takes.
                took = started.elapsed();
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        tick(&project, "2026-01-01T00:00:00Z");
        let named = verified_files(&project);
        let after: Vec<(String, Vec<u8>)> = parts(&project).into_iter().filter(|(f, _)| named.contains(f)).collect();
        assert!(after == expected, "round {round}: {:?}", after.iter().map(|p| &p.0).collect::<Vec<_>>());
    }
    assert!(killed >= 3, "{killed} of 8 were killed");
}

#[test]
fn a_cut_connection_is_tried_again_and_rows_that_came_after_the_plan_are_not_lost() {
    let db = Db::new(
        "create table t (id int primary key, body text); \
         insert into t select i, repeat(md5(i::text), 100) from generate_series(1, 40000) i",
    );
    let project = db.project("", &format!("concurrency = 1\n{}", incremental("chunk_rows = 20000")));
    assert_eq!(steps(&project), ["t 1 of 2", "t 2 of 2"]);
    let mut child = project.command(&["run", "--json"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // Ends the backend that copies as soon as there is one.
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
               where datname = current_database() and query like 'COPY%' and state = 'active'";
    let mut cuts = 0;
    while cuts == 0 && child.try_wait().unwrap().is_none() {
        cuts += db.connection.value(cut).parse::<u32>().unwrap();
    }
    // Below the first key and above the last that the plan knows.
    db.sql("insert into t values (-5), (1000000)");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(cuts, 1, "the copy was over before it could be cut");
    assert_eq!(project.number("select count(*) from p_t"), 40_002);
    assert_eq!(project.number("select count(distinct id) from p_t"), 40_002);
}

#[test]
fn missing_grants_are_named_with_the_statement_to_run_and_the_other_tables_go_on() {
    let user = format!("hakiri \"app\" {}", std::process::id());
    let quoted = format!("\"{}\"", user.replace('"', "\"\""));
    let db = Db::new(&format!(
        "create role {quoted} login password 'pw'; create schema s; revoke all on schema s from public; \
         create table s.open (id int primary key); insert into s.open values (1); grant select on s.open to {quoted}; \
         create table s.closed (id int primary key); \
         create table s.partly (id int primary key, pay int); grant select (id) on s.partly to {quoted}"
    ));
    let project = db.project(", schema = \"s\"", "");
    secret(&project, &db.url_as(&user, "pw"));
    project.hakiri(&["run"]).expect(1).says("HK1004").says(&format!("grant usage on schema \"s\" to {quoted}"));
    db.sql(&format!("grant usage on schema s to {quoted}"));
    let probe = project.hakiri(&["check", "--connect"]).expect(0);
    let said = format!("{}{}", probe.stdout, probe.stderr);
    assert!(said.contains("closed, partly") && said.contains("PostgreSQL 1") && said.contains(&user), "{said}");
    let ran = project.hakiri(&["run"]).expect(3);
    ran.says("HK1004").says(&format!("grant select on \"s\".\"closed\" to {quoted}"));
    ran.says("may not read the columns pay").says(&format!("grant select (\"pay\") on \"s\".\"partly\" to {quoted}"));
    assert_eq!(ids(&project, "p_open"), [1]);
    db.sql(&format!("grant select on s.closed, s.partly to {quoted}"));
    project.run();
    // Policies that hide rows are not taken for all there is.
    db.sql("alter table s.open enable row level security");
    project.hakiri(&["run"]).expect(3).says("row-level security").says("row_security = true");
    project.manifest(&manifest(", schema = \"s\", row_security = true", ""));
    project.run();
    assert_eq!(ids(&project, "p_open"), Vec::<i64>::new());
    drop(project);
    db.sql(&format!("drop owned by {quoted}; drop role {quoted}"));
}

#[test]
fn the_password_is_in_no_output_and_no_file() {
    let server = Server::start(&Options {
        hba: Some("host all hakiri 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n".into()),
        ..Options::default()
    });
    let canary = "c4n4ry/p@ss word";
    let admin = Connection::open(&server.url());
    admin.sql(&format!(
        "create role app login password '{canary}'; create table t (id int primary key, p point); grant select on t to app"
    ));
    let mut url = url::Url::parse(&server.url_of("app", "127.0.0.1")).unwrap();
    url.set_password(Some(canary)).unwrap();
    let project = Project::new(&manifest("", ""));
    secret(&project, url.as_str());
    let mut said = String::new();
    for args in [&["plan", "--json"][..], &["run"], &["check", "--connect"], &["runs", "--json"]] {
        let ran = project.hakiri(args);
        said.push_str(&format!("{}{}", ran.stdout, ran.stderr));
    }
    // A wrong one, and a server that is not there.
    url.set_password(Some("c4n4ry-wrong")).unwrap();
    secret(&project, url.as_str());
    said.push_str(&project.hakiri(&["run"]).stderr);
    url.set_port(Some(1)).unwrap();
    secret(&project, url.as_str());
    said.push_str(&project.hakiri(&["plan"]).stderr);
    assert!(said.contains("HK1020") && said.contains("HK1003") && said.contains("HK1001"), "{said}");
    assert!(!said.contains("c4n4ry"), "{said}");
    std::fs::remove_file(project.path().join(".env")).unwrap();
    for file in files_below(project.path(), project.path()) {
        let bytes = std::fs::read(project.path().join(&file)).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"c4n4ry"), "{file}");
    }
}

#[test]
fn a_column_that_is_altered_between_plan_and_read_is_never_misread() {
    // Both have eight bytes: without the cast of each column the integers would pass for instants. Without a key the
    // plan asks the catalog alone, and the lock holds up the copy.
    let db = Db::new("create table t (id int, x timestamptz); insert into t values (1, '2026-01-01')");
    let project = db.project("", "tables = [\"t\"]\n");
    let lock = db.connect();
    lock.sql("begin; alter table t alter x type bigint using 5");
    let child = project.command(&["run"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and query like 'COPY%' \
                 and wait_event_type = 'Lock'";
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while db.connection.value(waits) == "0" {
        assert!(std::time::Instant::now() < deadline, "no copy waits for the lock");
        std::thread::sleep(Duration::from_millis(20));
    }
    lock.sql("commit");
    let said = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.code() == Some(1) && text.contains("cannot cast type bigint"), "{text}");
    // The next plan knows the new type.
    project.run();
    assert_eq!(project.rows("select x from p_t"), [json!({"x": 5})]);
}

#[test]
fn an_interruption_ends_a_copy_that_would_take_long_and_its_backend_with_it() {
    let db = Db::new("create view t as select i as id, pg_sleep(0.01)::text as s from generate_series(1, 100000) i");
    let project = db.project("", &incremental(""));
    let mut child = project.command(&["run"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let copies = "select count(*) from pg_stat_activity where datname = current_database() and query like 'COPY%'";
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while db.connection.value(copies) == "0" {
        assert!(std::time::Instant::now() < deadline, "no copy began");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let asked = std::time::Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    while db.connection.value(copies) != "0" {
        assert!(asked.elapsed() < Duration::from_secs(20), "the backend goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
}
