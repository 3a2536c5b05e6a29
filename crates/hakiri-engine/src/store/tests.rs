//! One set of tests for folders and buckets. `s3_*` need the S3 server that `./x test` starts (`eval "$(./x s3 start)"`).

#![allow(clippy::disallowed_methods)] // tests look at files behind the store's back and read where the S3 server is

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt as _, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;

const PART: &str = "tables/a/runs/run-1/part-00000-00000-0123456789abcdef.parquet";

/// A project's name that no other test of this machine uses.
fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let at = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("{name}-{}-{at}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst))
}

fn s3_settings() -> S3Settings {
    let variable = |name: &str| {
        std::env::var(name)
            .unwrap_or_else(|_| panic!("{name} is not set: run ./x test, or first eval \"$(./x s3 start)\""))
    };
    S3Settings {
        bucket: variable("HAKIRI_TEST_S3_BUCKET"),
        prefix: "engine/store tests".to_owned(),
        endpoint: Some(variable("HAKIRI_TEST_S3")),
        region: None,
        allow_http: true,
        access_key_id: Some(variable("AWS_ACCESS_KEY_ID")),
        secret_access_key: Some(Secret::new(variable("AWS_SECRET_ACCESS_KEY"))),
        session_token: None,
        credentials: None,
    }
}

fn s3_store(name: &str) -> Store {
    Store::s3(&s3_settings(), &unique(name)).unwrap()
}

async fn paths(store: &Store, folder: &str) -> Vec<String> {
    store.list(folder).await.unwrap().into_iter().map(|f| f.path).collect()
}

/// S2: what is written stays, and writing it again is a success.
async fn files_are_created_once(store: &Store) {
    assert!(store.get(PART).await.unwrap().is_none());
    assert_eq!(paths(store, "").await, Vec::<String>::new());
    let file = store.put_new(PART, "rows".into()).await.unwrap();
    assert_eq!(file, FileRef { path: PART.to_owned(), sha256: Hash::of(b"rows") });
    assert_eq!(store.put_new(PART, "rows".into()).await.unwrap(), file);
    for other in ["rowz", "", "rows and more"] {
        assert_eq!(store.put_new(PART, other.into()).await.unwrap_err().code(), Code::StoreDamaged, "{other}");
    }
    assert_eq!(store.get(PART).await.unwrap().unwrap(), "rows");
    assert_eq!(store.get_verified(&file).await.unwrap(), "rows");
    let wrong = FileRef { sha256: Hash::of(b"others"), ..file.clone() };
    assert_eq!(store.get_verified(&wrong).await.unwrap_err().code(), Code::StoreDamaged);
    store.delete(PART).await.unwrap();
    store.delete(PART).await.unwrap();
    assert_eq!(store.get_verified(&file).await.unwrap_err().code(), Code::StoreMissing);
}

async fn listings_are_by_folder_sorted_and_relative(store: &Store) {
    for path in ["tables/b/x", "tables/a/y", "tablesque/z", "heads/crm.json", "tables/a/runs/1"] {
        store.put_new(path, path.to_owned().into()).await.unwrap();
    }
    assert_eq!(paths(store, "tables/").await, ["tables/a/runs/1", "tables/a/y", "tables/b/x"]);
    assert_eq!(paths(store, "tables").await, paths(store, "tables/").await);
    assert_eq!(paths(store, "").await.len(), 5);
    assert_eq!(paths(store, "nothing/here").await, Vec::<String>::new());
    let file = store.list("heads").await.unwrap().remove(0);
    assert_eq!(file.size, 14);
    let age = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64 - file.modified.millis();
    assert!((-60_000..60_000).contains(&age), "{age}");
}

/// S4: publishers race, the highest commit wins, whatever the order.
async fn derived_files_only_go_forward(store: &Store) {
    let body = |seq: u64| Bytes::from(format!("{{\"seq\":{seq}}}\n"));
    let path = "heads/crm.json";
    assert!(store.replace_derived(path, body(2), 2).await.unwrap());
    assert!(!store.replace_derived(path, body(2), 2).await.unwrap());
    assert!(!store.replace_derived(path, body(1), 1).await.unwrap());
    assert!(store.replace_derived(path, body(3), 3).await.unwrap());
    assert_eq!(store.get(path).await.unwrap().unwrap(), body(3));
    assert_eq!(store.replace_derived(path, body(4), 5).await.unwrap_err().code(), Code::Internal);
    let view = "views/crm_a.sql";
    assert!(store.replace_derived(view, "SELECT 1\n".into(), 3).await.unwrap());
    assert!(!store.replace_derived(view, "SELECT 2\n".into(), 2).await.unwrap());
    assert_eq!(store.get(view).await.unwrap().unwrap(), "-- seq 3\nSELECT 1\n");

    let path = "heads/race.json";
    let publishers = (1..=8).map(|seq| store.replace_derived(path, body(seq), seq));
    for written in futures::future::join_all(publishers).await {
        written.unwrap();
    }
    assert_eq!(store.get(path).await.unwrap().unwrap(), body(8));
}

/// S11: one catalog, whoever comes at once.
async fn one_catalog_governs(store: &Store) {
    let claims = ["one", "two", "one", "two"].map(|catalog| store.claim(catalog));
    let outcomes = futures::future::join_all(claims).await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 2, "{outcomes:?}");
    let winner = if outcomes[0].is_ok() { "one" } else { "two" };
    store.claim(winner).await.unwrap();
    let error = store.claim("three").await.unwrap_err();
    assert_eq!(error.code(), Code::StoreForeign);
    assert!(error.place().unwrap().ends_with("/_hakiri.json"));
    assert_eq!(paths(store, "").await.iter().filter(|p| !p.starts_with(TEMP)).count(), 1);
}

/// What readers get is what was written.
async fn readers_see_the_same_bytes(store: &Store) {
    store.put_new("tables/a/x", "0123456789".into()).await.unwrap();
    let key: Key = store.prefix().parts().chain("tables/a/x".split('/').map(Into::into)).collect();
    assert_eq!(store.object_store().get_range(&key, 2..5).await.unwrap(), "234");
}

async fn large_files_are_one_put(store: &Store) {
    let bytes = Bytes::from(vec![7_u8; 64 << 20]);
    let file = store.put_new(PART, bytes.clone()).await.unwrap();
    assert_eq!(store.get_verified(&file).await.unwrap().len(), bytes.len());
    store.delete(PART).await.unwrap();
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod folder {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&super::Store::local(&dir.path().join("Café ☕/%41 #1"), "shop").unwrap()).await;
            })*
        }
        mod s3 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&super::s3_store("shop")).await;
            })*
        }
    };
}

on_both! {
    files_are_created_once
    listings_are_by_folder_sorted_and_relative
    derived_files_only_go_forward
    one_catalog_governs
    readers_see_the_same_bytes
    large_files_are_one_put
}

#[tokio::test]
async fn s3_errors_are_told_apart_and_quote_nothing_that_was_signed() {
    let wrong_secret = S3Settings { secret_access_key: Some(Secret::new("wrong")), ..s3_settings() };
    let wrong_key = S3Settings { access_key_id: Some("AKIDUNKNOWN".to_owned()), ..s3_settings() };
    for denied in [wrong_secret, wrong_key] {
        let error = Store::s3(&denied, "shop").unwrap().claim("one").await.unwrap_err();
        assert_eq!(error.code(), Code::StoreDenied, "{error:?}");
        assert!(!format!("{error:?}").contains("AKIDUNKNOWN"), "{error:?}");
    }
}

/// A bucket in memory with the habits of real ones.
#[derive(Debug, Default)]
struct Moody {
    inner: object_store::memory::InMemory,
    /// Conditions are ignored, as old S3 servers do.
    careless: bool,
    /// So many writes are answered with 409 although nothing is there.
    conflicts: AtomicU32,
    /// So many writes are carried out and answered with "it exists", as after a retry by the client.
    echoes: AtomicU32,
    puts: AtomicU32,
}

impl std::fmt::Display for Moody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("moody")
    }
}

fn spend(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

#[async_trait]
impl ObjectStore for Moody {
    async fn put_opts(
        &self,
        key: &Key,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        let refused = || object_store::Error::AlreadyExists { path: key.to_string(), source: "409".into() };
        if spend(&self.conflicts) {
            return Err(refused());
        }
        if self.careless {
            options.mode = PutMode::Overwrite;
        }
        let written = self.inner.put_opts(key, payload, options).await?;
        if spend(&self.echoes) { Err(refused()) } else { Ok(written) }
    }

    async fn put_multipart_opts(
        &self,
        _: &Key,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        panic!("every file is one PUT");
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, object_store::Result<Key>>,
    ) -> BoxStream<'static, object_store::Result<Key>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_bucket_that_ignores_conditions_is_refused_and_left_clean() {
    let moody = Arc::new(Moody { careless: true, ..Moody::default() });
    let store = Store::over(moody.clone(), "root/shop");
    assert_eq!(store.claim("one").await.unwrap_err().code(), Code::StoreUnsafe);
    assert_eq!(paths(&store, "").await, Vec::<String>::new());
    // A marker that was there is neither changed nor removed, our own or not.
    for catalog in ["one", "two"] {
        let marker = format!("{{\"catalog\":\"{catalog}\",\"format\":1}}\n");
        moody.inner.put(&Key::from("root/shop/_hakiri.json"), marker.clone().into()).await.unwrap();
        assert!(store.claim("one").await.is_err());
        assert_eq!(store.get("_hakiri.json").await.unwrap().unwrap(), marker);
    }
}

#[tokio::test]
async fn a_conflict_is_tried_again_and_our_own_write_is_recognised() {
    let moody = Arc::new(Moody { conflicts: 3.into(), ..Moody::default() });
    let store = Store::over(moody.clone(), "shop");
    store.put_new(PART, "rows".into()).await.unwrap();
    assert_eq!(moody.puts.load(Ordering::SeqCst), 4);

    let store = Store::over(Arc::new(Moody { echoes: 1.into(), ..Moody::default() }), "shop");
    store.put_new(PART, "rows".into()).await.unwrap();

    let store = Store::over(Arc::new(Moody { conflicts: 2.into(), echoes: 1.into(), ..Moody::default() }), "shop");
    assert!(store.replace_derived("heads/a.json", "{\"seq\":1}".into(), 1).await.is_ok());
    assert_eq!(store.get("heads/a.json").await.unwrap().unwrap(), "{\"seq\":1}");

    let store = Store::over(Arc::new(Moody { conflicts: 1_000.into(), ..Moody::default() }), "shop");
    let error = store.put_new(PART, "rows".into()).await.unwrap_err();
    assert_eq!(error.kind(), hakiri_core::Kind::Transient, "retries end");
}

#[tokio::test]
async fn paths_never_leave_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::local(dir.path(), "shop").unwrap();
    for path in ["../x", "/etc/passwd", "a/../../x", "a//b", "", ".", "a\\..\\b", "a/"] {
        assert_eq!(store.get(path).await.unwrap_err().code(), Code::ManifestValue, "{path}");
        assert!(store.put_new(path, "x".into()).await.is_err() && store.delete(path).await.is_err());
        assert!(store.replace_derived(path, "x".into(), 1).await.is_err());
    }
    assert!(store.list("..").await.is_err());
    assert!(Store::local(dir.path(), "../other").is_err());
}

#[tokio::test]
async fn looking_at_a_folder_that_is_not_there_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::local(&dir.path().join("none"), "shop").unwrap();
    assert!(store.get("heads/a.json").await.unwrap().is_none() && store.list("").await.unwrap().is_empty());
    store.delete("heads/a.json").await.unwrap();
    assert!(!dir.path().join("none").exists());
}

#[tokio::test]
async fn a_newer_or_damaged_marker_stops_everything() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::local(dir.path(), "shop").unwrap();
    std::fs::create_dir(dir.path().join("shop")).unwrap();
    for (marker, code) in [("{\"format\":2}", Code::StoreNewer), ("{", Code::StoreDamaged)] {
        std::fs::write(dir.path().join("shop/_hakiri.json"), marker).unwrap();
        assert_eq!(store.claim("one").await.unwrap_err().code(), code);
    }
}
