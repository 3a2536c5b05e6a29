//! The bucket under test, read past Hakiri's own commands.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hakiri_engine::store::{S3Settings, Store};
use object_store::{ObjectStore, ObjectStoreExt as _};
use serde_json::Value;

use super::sha256;

/// Who may use a bucket.
pub struct Keys {
    id: String,
    secret: String,
}

impl Keys {
    /// Those of the test's S3 server.
    pub fn from_env() -> Self {
        let set = |name: &str| std::env::var(name).unwrap_or_default();
        Self { id: set("AWS_ACCESS_KEY_ID"), secret: set("AWS_SECRET_ACCESS_KEY") }
    }

    /// Those of the local R2 of `hakiri dev cloudflare`.
    pub fn local() -> Self {
        Self { id: "local".to_owned(), secret: "localsecret".to_owned() }
    }
}

/// The store of a project in the bucket.
fn store(endpoint: &str, bucket: &str, prefix: &str, project: &str, keys: &Keys) -> Store {
    let settings = S3Settings {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        allow_http: true,
        access_key_id: Some(keys.id.clone()),
        secret_access_key: Some(hakiri_core::secret::Secret::new(keys.secret.clone())),
        ..S3Settings::default()
    };
    Store::s3(&settings, project).unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Every file of the project in the bucket, sorted by path.
pub fn objects(endpoint: &str, bucket: &str, prefix: &str) -> Vec<(String, Vec<u8>)> {
    objects_of(endpoint, bucket, prefix, &Keys::from_env())
}

/// As [`objects`], for somebody else's bucket.
pub fn objects_of(endpoint: &str, bucket: &str, prefix: &str, keys: &Keys) -> Vec<(String, Vec<u8>)> {
    let store = store(endpoint, bucket, prefix, "test", keys);
    wait(async {
        let mut files = Vec::new();
        for file in store.list("").await.unwrap() {
            let bytes = store.get(&file.path).await.unwrap().unwrap();
            files.push((file.path, bytes.to_vec()));
        }
        files
    })
}

/// Puts an object.
pub fn put(endpoint: &str, bucket: &str, key: &str, bytes: &[u8], keys: &Keys) {
    let objects = store(endpoint, bucket, "", "any", keys).object_store();
    let key = object_store::path::Path::parse(key).unwrap();
    wait(objects.put(&key, bytes.to_vec().into())).unwrap();
}

/// A folder of the bucket that others put files into and take them out of.
pub struct Folder {
    pub endpoint: String,
    pub bucket: String,
    /// Its name, that of no other.
    pub name: String,
    objects: Arc<dyn ObjectStore>,
}

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let set = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with ./x test"))
        };
        let (endpoint, bucket) = (set("HAKIRI_TEST_S3"), set("HAKIRI_TEST_S3_BUCKET"));
        let at = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let name = format!("files-{}-{at}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let objects = store(&endpoint, &bucket, "", "any", &Keys::from_env()).object_store();
        Self { endpoint, bucket, name, objects }
    }

    /// The URL of a path in it.
    pub fn url(&self, path: &str) -> String {
        format!("s3://{}/{}/{path}", self.bucket, self.name)
    }

    fn key(&self, path: &str) -> object_store::path::Path {
        object_store::path::Path::parse(format!("{}/{path}", self.name)).unwrap()
    }

    pub fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        wait(self.objects.put(&self.key(path), bytes.as_ref().to_vec().into())).unwrap();
    }

    /// Many at once.
    pub fn put_all(&self, files: impl Iterator<Item = (String, String)>) {
        use futures::StreamExt as _;
        let puts = files.map(|(path, text)| {
            let key = self.key(&path);
            async move { self.objects.put(&key, text.into()).await.map(drop).unwrap() }
        });
        wait(futures::stream::iter(puts).buffer_unordered(32).collect::<()>());
    }

    /// An empty object whose key ends in `/`, as no client library of ours makes one.
    pub fn mark(&self, path: &str) {
        let set = |name: &str| std::env::var(name).unwrap();
        let user = format!("{}:{}", set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"));
        let url = format!("{}/{}/{}/{path}", self.endpoint, self.bucket, self.name);
        let curl =
            ["-fsS", "-X", "PUT", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user, "--data-binary", "", &url];
        let output = std::process::Command::new("curl").args(curl).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn delete(&self, path: &str) {
        wait(self.objects.delete(&self.key(path))).unwrap();
    }

    /// A way to the service that holds back every request for a range until it is let through.
    pub fn gate(&self) -> Gate {
        Gate::start(self.endpoint.trim_start_matches("http://"))
    }
}

/// See [`Folder::gate`].
pub struct Gate {
    pub endpoint: String,
    waiting: Receiver<()>,
    open: Arc<AtomicBool>,
}

impl Gate {
    fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, waiting) = channel();
        let (open, target) = (Arc::new(AtomicBool::new(false)), target.to_owned());
        let is_open = open.clone();
        std::thread::spawn(move || {
            for mut inside in listener.incoming().map_while(Result::ok) {
                let (sender, open) = (sender.clone(), is_open.clone());
                let mut outside = TcpStream::connect(&target).unwrap();
                let (mut back, mut answers) = (inside.try_clone().unwrap(), outside.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
                std::thread::spawn(move || {
                    let mut buffer = [0; 64 << 10];
                    // Requests that only read are small: each comes in one piece.
                    while let Ok(n @ 1..) = inside.read(&mut buffer) {
                        let is_range = buffer[..n].to_ascii_lowercase().windows(8).any(|w| w == b"\r\nrange:");
                        if is_range {
                            let _ = sender.send(());
                        }
                        while is_range && !open.load(Ordering::SeqCst) {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                        if outside.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { endpoint, waiting, open }
    }

    /// Waits until a range is asked for.
    pub fn wait(&self) {
        self.waiting.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
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
