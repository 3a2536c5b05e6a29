use hakiri_core::schema::Schema;
use hakiri_core::source::Rows;

use super::{json, schema, shown};
use crate::typing::decode::json_column;
use crate::typing::{ChildSpec, adopt_key_types, child_columns, split_children};

fn records(rows: &Rows) -> Vec<String> {
    let Rows::Json(batch) = rows else { panic!("{rows:?}") };
    let column = json_column(batch).unwrap();
    (0..column.len()).map(|row| column.get(row).unwrap().to_owned()).collect()
}

fn spec(table: &str, key: &[&str], field: &str) -> (Vec<String>, ChildSpec) {
    let key: Vec<String> = key.iter().map(|k| (*k).to_owned()).collect();
    let columns = child_columns(table, &key, field);
    (key, ChildSpec { field: field.to_owned(), columns })
}

#[test]
fn names_of_key_columns_depend_on_the_plan_alone() {
    let (_, events) = spec("events", &["id"], "products");
    assert_eq!(events.columns.primary_key(), ["events_id", "products_index"]);
    let (_, odd) = spec("public.a b", &["x-y", "x.y"], "deep.items");
    assert_eq!(odd.columns.primary_key(), ["public_a_b_x_y", "public_a_b_x_y_", "deep_items_index"]);
}

#[test]
fn arrays_become_rows_and_leave_the_parent() {
    let (key, products) = spec("events", &["id"], "products");
    let (_, deep) = spec("events", &["id"], "place.tags");
    let rows = json(&[
        r#"{"id":"a","products":[{"type":"x","position":1},{"type":"y"}],"n":1.50,"place":{"tags":["t",null],"z":1}}"#,
        r#"{"id":"b","products":[]}"#,
        r#"{"id":"c","products":null,"place":7}"#,
        r#"{"id":null,"products":[{"type":"lost"}]}"#,
        "not json",
        r#"{"products":{"type":"one"},"id":2}"#,
    ]);
    let split = split_children(&rows, &key, &[products, deep]).unwrap();
    assert_eq!(
        records(&split.parent),
        [
            r#"{"id":"a","n":1.50,"place":{"z":1}}"#,
            r#"{"id":"b"}"#,
            r#"{"id":"c","place":7}"#,
            r#"{"id":null}"#,
            "not json",
            r#"{"id":2}"#,
        ]
    );
    assert_eq!(
        records(&split.children[0].rows),
        [
            r#"{"events_id":"a","products_index":0,"type":"x","position":1}"#,
            r#"{"events_id":"a","products_index":1,"type":"y"}"#,
            r#"{"events_id":2,"products_index":0,"type":"one"}"#,
        ]
    );
    assert_eq!(split.children[0].parents, [0, 0, 5]);
    assert_eq!(
        records(&split.children[1].rows),
        [
            r#"{"events_id":"a","place_tags_index":0,"value":"t"}"#,
            r#"{"events_id":"a","place_tags_index":1,"value":null}"#
        ]
    );
}

#[test]
fn fields_of_items_never_meet_the_key_columns() {
    let (key, child) = spec("e", &["id"], "p");
    let rows = json(&[r#"{"id":1,"p":[{"e_id":2,"E_ID_":3,"p_index":4,"e_id_x":5}]}"#]);
    let split = split_children(&rows, &key, &[child]).unwrap();
    assert_eq!(
        records(&split.children[0].rows),
        [r#"{"e_id":1,"p_index":0,"e_id_":2,"E_ID__":3,"p_index_":4,"e_id_x":5}"#]
    );
}

#[test]
fn children_of_children_split_again() {
    let (key, orders) = spec("customers", &["id"], "orders");
    let rows = json(&[r#"{"id":7,"orders":[{"lines":["x","y"]}]}"#]);
    let split = split_children(&rows, &key, std::slice::from_ref(&orders)).unwrap();
    let key = orders.columns.primary_key();
    let lines = ChildSpec { field: "lines".to_owned(), columns: child_columns("customers_orders", &key, "lines") };
    let split = split_children(&split.children[0].rows, &key, &[lines]).unwrap();
    assert_eq!(
        records(&split.children[0].rows)[1],
        r#"{"customers_orders_customers_id":7,"customers_orders_orders_index":0,"lines_index":1,"value":"y"}"#
    );
}

#[test]
fn key_columns_take_the_types_of_the_parent() {
    let (key, child) = spec("e", &["id"], "p");
    let mut of_child: Schema = schema(&[("e_id", "date"), ("p_index", "int64")]);
    adopt_key_types(&mut of_child, &child.columns, &schema(&[("id", "text")]), &key);
    assert_eq!(shown(&of_child), "e_id: text, p_index: int64");
}
