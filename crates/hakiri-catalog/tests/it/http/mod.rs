//! `http` against the object itself, on the Worker runtime of `HAKIRI_TEST_WORKERD`, and against servers that misbehave.

mod faults;
mod fixtures;
mod object;

use std::sync::Arc;

use async_trait::async_trait;
use hakiri_catalog::conformance::{Bench, ManualClock, Setup, Time};
use hakiri_catalog::{Catalog, http};
use hakiri_core::time::Clock as _;
use hakiri_sim::workerd::shared;

use crate::database::{now, project};

/// The setup: an object of its own for each bench, whose clock a door of the test Worker moves.
pub struct InObject;

#[async_trait]
impl Setup for InObject {
    async fn bench(&self) -> Bench {
        let object = Object::new();
        let url = object.url();
        let catalog = http::open(&url, None, "catalog-1").await.unwrap();
        Bench {
            catalog: Arc::new(catalog),
            reopen: Box::new(move || -> Arc<dyn Catalog> {
                Arc::new(now(async { http::open(&url, None, "catalog-1").await.unwrap() }))
            }),
            time: Arc::new(object),
            keep: Box::new(()),
        }
    }
}

/// A new object of the test Worker, and its doors.
pub struct Object {
    url: String,
    http: reqwest::Client,
}

impl Object {
    pub fn new() -> Self {
        Self {
            url: format!("{}/t/{}", shared(), project()),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// A request by hand: status and body of the answer.
    pub async fn post(&self, path: &str, protocol: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let request = self.http.post(format!("{}/{path}", self.url)).header("hakiri-catalog", protocol).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Opens a door; answers with what it says.
    pub async fn door(&self, name: &str, body: &str) -> String {
        let (status, answer) = self.post(&format!("door/{name}"), "1", body.to_owned()).await;
        assert_eq!(status, 200, "{name}: {answer}");
        answer
    }
}

#[async_trait]
impl Time for Object {
    async fn pass(&self, millis: i64) {
        self.door("pass", &millis.to_string()).await;
    }

    async fn stand_still(&self) {
        let millis = ManualClock::default().now().millis();
        self.door("clock", &format!("{{\"still\":true,\"millis\":{millis}}}")).await;
    }
}
