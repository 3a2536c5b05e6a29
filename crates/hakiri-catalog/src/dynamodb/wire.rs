//! The bodies of requests and answers. Pure.
//!
//! Attributes are always named by `#…`, since many words are reserved.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::layout::{self, Action, FORMAT, Item, Place, ROOT, Range};
use crate::records::Version;

/// The answer of `GetItem`.
#[derive(Deserialize)]
pub(super) struct Got {
    #[serde(rename = "Item")]
    pub(super) item: Option<Item>,
}

/// The answer of `BatchGetItem`.
#[derive(Deserialize)]
pub(super) struct Found {
    #[serde(rename = "Responses", default)]
    pub(super) responses: BTreeMap<String, Vec<Item>>,
    #[serde(rename = "UnprocessedKeys", default)]
    pub(super) unprocessed: Map<String, Value>,
}

/// The answer of `Query`.
#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(rename = "Items")]
    pub(super) items: Vec<Item>,
    #[serde(rename = "LastEvaluatedKey")]
    pub(super) last: Option<Value>,
}

pub(super) fn get(table: &str, project: &str, place: Place, sort: &str) -> Value {
    json!({ "TableName": table, "Key": layout::key(project, place, sort), "ConsistentRead": true })
}

/// The root of a new catalog, if there is none.
pub(super) fn create(table: &str, project: &str, mut item: Item) -> Value {
    item.insert("pk".to_owned(), layout::text(Place::Catalog.partition(project)));
    item.insert("sk".to_owned(), layout::text(ROOT));
    json!({
        "TableName": table,
        "Item": item,
        "ConditionExpression": "attribute_not_exists(#pk)",
        "ExpressionAttributeNames": { "#pk": "pk" },
    })
}

/// Asks for items; with `versions` only for what tells version and parts.
pub(super) fn wanted(table: &str, keys: impl Iterator<Item = Value>, versions: bool) -> Value {
    let keys: Vec<_> = keys.collect();
    let mut wanted = json!({ "Keys": keys, "ConsistentRead": true });
    if versions {
        wanted["ProjectionExpression"] = json!("#sk, #version, #parts, #count, #bytes");
        wanted["ExpressionAttributeNames"] = json!({
            "#sk": "sk", "#version": "version", "#parts": "parts", "#count": "count", "#bytes": "bytes",
        });
    }
    json!({ "RequestItems": { table: wanted } })
}

/// Asks for what was left out of an answer; each part of it says all that the first request said.
pub(super) fn unprocessed(rest: Map<String, Value>) -> Option<Value> {
    let mut rest = rest;
    // Where nothing is left, some say so with the table's name.
    rest.retain(|_, wanted| wanted["Keys"].as_array().is_some_and(|keys| !keys.is_empty()));
    for wanted in rest.values_mut() {
        wanted["ConsistentRead"] = json!(true);
    }
    (!rest.is_empty()).then(|| json!({ "RequestItems": rest }))
}

/// A page of a range of records.
pub(super) fn query(
    table: &str,
    project: &str,
    range: &Range<'_>,
    limit: usize,
    reverse: bool,
    start: Option<Value>,
) -> Value {
    let mut body = ranged(table, project, Place::Records, range.from, range.to, start);
    body["ScanIndexForward"] = json!(!reverse);
    body["Limit"] = json!(limit.min(10_000));
    body
}

/// A page of the items that wait in a range.
pub(super) fn waiting(table: &str, project: &str, from: &str, to: &str, start: Option<Value>) -> Value {
    ranged(table, project, Place::Batches, Some(from), to, start)
}

fn ranged(table: &str, project: &str, place: Place, from: Option<&str>, to: &str, start: Option<Value>) -> Value {
    let condition = if from.is_some() { "#pk = :pk AND #sk BETWEEN :from AND :to" } else { "#pk = :pk AND #sk <= :to" };
    let mut values = json!({ ":pk": { "S": place.partition(project) }, ":to": { "S": to } });
    if let Some(from) = from {
        values[":from"] = json!({ "S": from });
    }
    let mut body = json!({
        "TableName": table,
        "ConsistentRead": true,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": { "#pk": "pk", "#sk": "sk" },
        "ExpressionAttributeValues": values,
    });
    if let Some(start) = start {
        body["ExclusiveStartKey"] = start;
    }
    body
}

pub(super) fn transaction(items: impl IntoIterator<Item = Value>) -> Value {
    json!({ "TransactItems": items.into_iter().collect::<Vec<_>>() })
}

/// A change of an item.
pub(super) fn change(table: &str, project: &str, action: &Action) -> Value {
    match &action.put {
        None => json!({ "Delete": { "TableName": table, "Key": layout::key(project, action.place, &action.sort) } }),
        Some(item) => {
            let mut item = item.clone();
            item.insert("pk".to_owned(), layout::text(action.place.partition(project)));
            item.insert("sk".to_owned(), layout::text(action.sort.as_str()));
            json!({ "Put": { "TableName": table, "Item": item } })
        }
    }
}

/// Raises the revision, if it is still this one and nothing is under way; with a note of a large write.
pub(super) fn raise(table: &str, project: &str, known: Version, note: Option<&str>) -> Value {
    let mut update = "SET #revision = :next".to_owned();
    let mut values = json!({
        ":format": layout::number(FORMAT),
        ":known": layout::number(known),
        ":next": layout::number(known + 1),
    });
    if let Some(note) = note {
        update.push_str(", #pending = :note");
        values[":note"] = json!({ "S": note });
    }
    json!({ "Update": {
        "TableName": table,
        "Key": layout::key(project, Place::Catalog, ROOT),
        "UpdateExpression": update,
        "ConditionExpression": "#revision = :known AND #format = :format AND attribute_not_exists(#pending)",
        "ExpressionAttributeNames": { "#revision": "revision", "#format": "format", "#pending": "pending" },
        "ExpressionAttributeValues": values,
    } })
}

/// Demands that a large write is still noted.
pub(super) fn noted(table: &str, project: &str, note: &str) -> Value {
    json!({ "ConditionCheck": of_note(table, project, note) })
}

/// Removes the note of a large write.
pub(super) fn finish(table: &str, project: &str, note: &str) -> Value {
    let mut update = of_note(table, project, note);
    update["UpdateExpression"] = json!("REMOVE #pending");
    json!({ "Update": update })
}

fn of_note(table: &str, project: &str, note: &str) -> Value {
    json!({
        "TableName": table,
        "Key": layout::key(project, Place::Catalog, ROOT),
        "ConditionExpression": "#pending = :note",
        "ExpressionAttributeNames": { "#pending": "pending" },
        "ExpressionAttributeValues": { ":note": { "S": note } },
    })
}
