//! `dynamodb` on the stand-in of `HAKIRI_TEST_AWS`, and behind a proxy that misbehaves.

mod faults;
mod large;
pub mod proxy;
mod table;

use std::sync::Arc;

use async_trait::async_trait;
use hakiri_aws::{Credentials, Place};
use hakiri_catalog::conformance::{Bench, ManualClock, Setup};
use hakiri_catalog::dynamodb::{self, DynamoDb, Settings};
use hakiri_catalog::{Catalog, RecordCatalog};
use hakiri_sim::aws::shared;
use serde_json::{Value, json};

use crate::database::{now, project};

/// The table that all tests share; each has a project of its own in it.
pub const TABLE: &str = "hakiri-test";

pub const SECRET: &str = "sekrit-0123456789";

pub fn settings(endpoint: &str, project: &str) -> Settings {
    Settings {
        table: TABLE.to_owned(),
        project: project.to_owned(),
        place: Place { region: "us-east-1".to_owned(), endpoint: Some(endpoint.to_owned()) },
        credentials: Credentials::of(&|name| {
            let value = match name {
                "AWS_ACCESS_KEY_ID" => "hakiri-test",
                "AWS_SECRET_ACCESS_KEY" => SECRET,
                "AWS_SESSION_TOKEN" => "sekrit-session",
                _ => return None,
            };
            Some(value.to_owned())
        })
        .unwrap(),
    }
}

/// A request by hand: status and body of the answer.
pub async fn ask(operation: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::builder().no_proxy().build().unwrap().post(shared());
    let request = request
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=hakiri-test/20270101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
        );
    let answer = request.body(body.to_string()).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

/// As CloudFormation makes it. Whoever comes second finds it.
pub async fn table() {
    let (status, answer) = ask(
        "CreateTable",
        &json!({
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                { "AttributeName": "pk", "AttributeType": "S" },
                { "AttributeName": "sk", "AttributeType": "S" },
            ],
            "KeySchema": [
                { "AttributeName": "pk", "KeyType": "HASH" },
                { "AttributeName": "sk", "KeyType": "RANGE" },
            ],
        }),
    )
    .await;
    assert!(status == 200 || answer["__type"].as_str().unwrap().contains("ResourceInUse"), "{answer}");
}

pub async fn open(endpoint: &str, project: &str) -> RecordCatalog<DynamoDb> {
    table().await;
    dynamodb::open(settings(endpoint, project), "catalog-1").await.unwrap()
}

/// A new catalog, with nothing in between.
pub async fn opened() -> RecordCatalog<DynamoDb> {
    open(&shared(), &project()).await
}

/// The items of a partition.
pub async fn partition(project: &str, place: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut query = json!({
        "TableName": TABLE,
        "KeyConditionExpression": "pk = :p",
        "ExpressionAttributeValues": { ":p": { "S": format!("{project}/{place}") } },
    });
    loop {
        let (status, mut answer) = ask("Query", &query).await;
        assert_eq!(status, 200, "{answer}");
        items.extend(answer["Items"].as_array().unwrap().iter().cloned());
        if answer["LastEvaluatedKey"].is_null() {
            return items;
        }
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"].take();
    }
}

/// A catalog with the clock of a test.
async fn timed(project: &str, clock: Arc<ManualClock>) -> Arc<dyn Catalog> {
    let catalog = open(&shared(), project).await;
    Arc::new(RecordCatalog::new(catalog.records().clone().with_test_clock(clock)))
}

/// The setup: a project of its own for each bench; each client has connections of its own.
pub struct InTable;

#[async_trait]
impl Setup for InTable {
    async fn bench(&self) -> Bench {
        let (project, clock) = (project(), Arc::new(ManualClock::default()));
        let time = clock.clone();
        Bench {
            catalog: timed(&project, clock.clone()).await,
            reopen: Box::new(move || now(timed(&project, clock.clone()))),
            time,
            keep: Box::new(()),
        }
    }
}
