//! The bucket under test, read past Hakiri's own commands.

use std::collections::BTreeMap;

use serde_json::Value;

use super::sha256;

/// Every file of the project in the bucket, sorted by path.
pub fn objects(endpoint: &str, bucket: &str, prefix: &str) -> Vec<(String, Vec<u8>)> {
    use hakiri_engine::store::{S3Settings, Store};
    let settings = S3Settings {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        allow_http: true,
        access_key_id: std::env::var("AWS_ACCESS_KEY_ID").ok(),
        secret_access_key: std::env::var("AWS_SECRET_ACCESS_KEY").ok().map(hakiri_core::secret::Secret::new),
        ..S3Settings::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::s3(&settings, "test").unwrap();
        let mut files = Vec::new();
        for file in store.list("").await.unwrap() {
            let bytes = store.get(&file.path).await.unwrap().unwrap();
            files.push((file.path, bytes.to_vec()));
        }
        files
    })
}

/// Checks that what every manifest in a project's files names is there with its hash, from the heads down; the number
/// of files named.
#[track_caller]
pub fn verified(objects: &[(String, Vec<u8>)]) -> usize {
    let files: BTreeMap<&str, &[u8]> = objects.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    let mut named = 0;
    let mut check = |file: &Value| -> Vec<u8> {
        let path = file["path"].as_str().unwrap();
        let bytes = files.get(path).unwrap_or_else(|| panic!("{path} is not there"));
        assert_eq!(sha256(bytes), file["sha256"].as_str().unwrap(), "{path}");
        named += 1;
        bytes.to_vec()
    };
    for (_, head) in files.iter().filter(|(path, _)| path.starts_with("heads/")) {
        let head: Value = serde_json::from_slice(head).unwrap();
        for table in head["tables"].as_object().unwrap().values() {
            let mut next = table["manifest"].clone();
            while next["path"].is_string() {
                let manifest: Value = serde_json::from_slice(&check(&next)).unwrap();
                for part in manifest["parts"].as_array().unwrap() {
                    check(part);
                }
                next = manifest["previous"].clone();
            }
        }
    }
    named
}
