//! What may be asked, and what the answers to mistakes are.

use hakiri_core::schema::{Field, Type};
use hakiri_core::spec::Mode;
use hakiri_query::OutputFormat;

use crate::support::{Store, columns, print};

fn store() -> Store {
    let inner = Type::Struct { fields: vec![Field::new("userName", Type::Text)] };
    let schema = columns(&[
        ("id", Type::Int64),
        ("userId", Type::Int64),
        ("Total", Type::Decimal { precision: 10, scale: 2 }),
        ("Payload", inner),
        ("note", Type::Text),
    ]);
    let mut store = Store::new();
    store.table("shop_Orders", Mode::Append, &[], &schema);
    store.run(
        "shop_Orders",
        1,
        &schema,
        &[r#"{"id":1,"userId":7,"Total":0.10,"Payload":{"userName":"Ann"},"note":"secret"}
{"id":2,"userId":8,"Total":2.50,"note":"x"}"#],
    );
    store
}

#[tokio::test]
async fn names_are_found_in_any_case() {
    let store = store();
    for (sql, expected) in [
        ("select userid, TOTAL from SHOP_ORDERS where UserId = 7", "7,0.10"),
        ("select o.userId as Sum, O.payload.USERNAME from shop_orders O order by SUM", "7,Ann 8,"),
        ("select \"userId\" from \"shop_Orders\" limit 1", "7"),
        ("select total as t, sum(id) as S from main.shop_orders group by T order by s", "0.10,1 2.50,2"),
        ("with X as (select userId u from shop_orders) select max(U) from x", "8"),
        ("select COUNT(*), Max(Id) from hakiri.main.shop_orders", "2,2"),
        ("select id from shop_orders where total = 0.1", "1"),
        ("values (1, 'a')", "1,a"),
        ("show tables", "shop_Orders"),
        ("SELECT 1; ", "1"),
        ("select value from generate_series(1, 2)", "1 2"),
        ("select try_cast(note as bigint) from shop_orders", " "),
    ] {
        assert_eq!(store.rows(sql).await, expected, "{sql}");
    }
    assert!(store.rows("describe shop_orders").await.starts_with("id,Int64,YES userId,Int64,YES"));
    assert!(store.rows("explain select * from shop_orders").await.contains("shop_Orders"));
}

#[tokio::test]
async fn mistakes_have_a_code_a_place_and_a_next_step() {
    let store = store();
    let database = store.database_with(1 << 20, 1);
    for (sql, code, message, hint) in [
        ("", "HK0801", "there is no statement", "select 1"),
        ("selec 1", "HK0801", "line 1, column 1", ""),
        ("select *\nfrom shop_orders wher id = 1 )", "HK0801", "line 2, column", ""),
        ("select 'x", "HK0801", "line 1, column 8", ""),
        ("select * from shop_order", "HK0802", "there is no table `shop_order`", "did you mean `shop_Orders`?"),
        ("select * from zzz", "HK0802", "there is no table `zzz`", "use one of: shop_Orders"),
        ("select user_id from shop_orders", "HK0802", "there is no column `user_id`", "did you mean `userId`?"),
        (
            "select o.zzz from shop_orders o",
            "HK0802",
            "there is no column `o.zzz`",
            "use one of: id, userId, Total, Payload, note",
        ),
        ("select nosuch(id) from shop_orders", "HK0802", "nosuch", ""),
        ("select 1/0 from shop_orders", "HK0804", "divided by zero", ""),
        ("select cast(note as bigint) from shop_orders", "HK0804", "cannot be converted to Int64", "try_cast"),
        (
            "select a.id from shop_orders a, shop_orders b where id = 1",
            "HK0802",
            "the column `id` is in several tables",
            "table.column",
        ),
        (
            "select array_agg(v) from (select repeat('x', 100000) || value as v from generate_series(1, 1000))",
            "HK0804",
            "memory",
            "--memory",
        ),
        ("create table x as select 1", "HK0803", "`create`", "single SELECT"),
        ("create external table x stored as csv location '/etc/passwd'", "HK0803", "", ""),
        ("create view v as select 1", "HK0803", "`create`", ""),
        ("drop table shop_orders", "HK0803", "`drop`", ""),
        ("insert into shop_orders select * from shop_orders", "HK0803", "`insert`", ""),
        ("delete from shop_orders", "HK0803", "`delete`", ""),
        ("update shop_orders set id = 1", "HK0803", "`update", ""),
        ("truncate shop_orders", "HK0803", "`truncate", ""),
        ("copy shop_orders to '/tmp/x.csv'", "HK0803", "", ""),
        ("copy (select 1) to '/tmp/x.parquet'", "HK0803", "", ""),
        ("set datafusion.execution.batch_size = 1", "HK0803", "", ""),
        ("begin", "HK0803", "", ""),
        ("prepare p as select 1", "HK0803", "`prepare`", ""),
        ("select 1; select 2", "HK0803", "several statements", "one by one"),
        ("; drop table shop_orders", "HK0803", "`drop`", ""),
        ("/* select */ copy x from '/etc/passwd'", "HK0803", "`copy`", ""),
        ("select 1; drop table shop_orders", "HK0803", "several statements", ""),
        ("select * into x from shop_orders", "HK0803", "`select into`", ""),
        ("explain drop table shop_orders", "HK0803", "", ""),
        ("explain analyze insert into shop_orders values (1)", "HK0803", "", ""),
        ("with x as (select * into y from shop_orders) select 1", "HK0803", "`select into`", ""),
        ("select * from '/etc/passwd'", "HK0802", "there is no table", ""),
        ("select * from 'x.parquet'", "HK0802", "there is no table", ""),
        ("select * from \"file:///etc/passwd\"", "HK0802", "there is no table", ""),
        ("select * from read_parquet('x.parquet')", "HK0802", "read_parquet", ""),
        ("select * from read_csv('/etc/passwd')", "HK0802", "read_csv", ""),
        ("select * from parquet_metadata('x')", "HK0802", "parquet_metadata", ""),
        ("select * from glob('/etc/*')", "HK0802", "glob", ""),
        ("attach 'x.db' as y", "HK0803", "", ""),
        ("load 'x'", "HK0803", "", ""),
        ("install httpfs", "HK0803", "", ""),
        ("pragma table_info('x')", "HK0803", "", ""),
        ("call f()", "HK0803", "", ""),
        ("kill 1", "HK0803", "", ""),
        ("show all", "HK0803", "", ""),
        ("select id from shop_orders for update", "HK0803", "`for update`", ""),
    ] {
        let error = match print(&database, sql, OutputFormat::Csv).await {
            Err(error) => error,
            Ok(rows) => panic!("{sql} gave {rows}"),
        };
        assert_eq!(error.code().to_string(), code, "{sql}: {error:?}");
        assert!(error.to_string().contains(message), "{sql}: {error:?}");
        assert!(error.hint().contains(hint), "{sql}: {error:?}");
        assert!(!error.to_string().contains("secret") && !error.to_string().contains('\n'), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn deep_statements_are_errors_and_not_the_end_of_the_process() {
    let store = store();
    let database = store.database();
    for deep in [40, 200, 20_000] {
        for (start, again, end) in [
            ("select ", "(", "1"),
            ("select ", "not ", "true"),
            ("select ", "abs(", "1"),
            ("select 1", " + 1", ""),
            ("select 1", "::int", ""),
            ("select true", " and true", ""),
            ("select 1", " union all select 1", ""),
            ("select [1]", "[1]", ""),
            ("select ", "- ", "1"),
            ("select id from shop_orders where id = 1", " or id = 2", ""),
            ("", "with a as (", "select 1"),
        ] {
            let closing = match again.chars().find(|c| "([{".contains(*c)).filter(|_| !again.ends_with(']')) {
                Some('(') => ")",
                Some('[') => "]",
                Some('{') => "}",
                _ => "",
            };
            let sql = format!("{start}{}{end}{}", again.repeat(deep), closing.repeat(deep));
            if let Err(error) = print(&database, &sql, OutputFormat::Csv).await {
                assert!(error.code().to_string().starts_with("HK08"), "{start}{again}…: {error:?}");
            }
        }
    }
}

/// Which table functions there are: a new one of DataFusion's must be looked at before it is let in.
#[tokio::test]
async fn no_table_function_reads_files() {
    let store = store();
    for name in [
        "read_parquet",
        "read_csv",
        "read_json",
        "parquet_scan",
        "parquet_metadata",
        "list_files",
        "glob",
        "read_text",
        "read_blob",
    ] {
        let error =
            print(&store.database(), &format!("select * from {name}('x')"), OutputFormat::Csv).await.unwrap_err();
        assert_eq!(error.code().to_string(), "HK0802", "{error:?}");
    }
}
