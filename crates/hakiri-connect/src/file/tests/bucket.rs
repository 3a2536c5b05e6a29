//! Files in a bucket: what is not the same as on a disk. What is, runs on both in the other modules.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use hakiri_core::buckets::{Buckets, Depth, Object, Page};
use hakiri_core::hash::Hash;

use super::*;

/// A folder as a bucket, with a tag that is another at every write of other bytes. Pages are small.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Bytes asked for, by key.
    read: Mutex<BTreeMap<String, Vec<(u64, u64)>>>,
    listed: Mutex<Vec<(String, Depth)>>,
    own: Option<String>,
    refuses: AtomicBool,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            read: Mutex::default(),
            listed: Mutex::default(),
            own: None,
            refuses: AtomicBool::new(false),
        }
    }

    fn below(&self, folder: &Path, out: &mut Vec<Object>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.below(&path, out);
            } else {
                let key = path.strip_prefix(&self.root).unwrap().to_str().unwrap().to_owned();
                out.extend(self.object(&key));
            }
        }
    }

    fn object(&self, key: &str) -> Option<Object> {
        let bytes = std::fs::read(self.root.join(key)).ok()?;
        Some(Object { key: key.to_owned(), size: bytes.len() as u64, tag: format!("\"{}\"", Hash::of(&bytes)) })
    }
}

#[async_trait]
impl Buckets for Folder {
    async fn list(&self, bucket: &str, prefix: &str, depth: Depth, after: Option<&str>) -> Result<Page> {
        assert_eq!(bucket, "bucket");
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Error::new(Code::SourceAuth, "the bucket refused access"));
        }
        if after.is_none() {
            self.listed.lock().unwrap().push((prefix.to_owned(), depth));
        }
        let mut all = Vec::new();
        self.below(&self.root, &mut all);
        all.retain(|o| o.key.starts_with(prefix) && !(depth == Depth::Shallow && o.key[prefix.len()..].contains('/')));
        all.sort_by(|a, b| b.key.cmp(&a.key));
        let from: usize = after.map_or(0, |a| a.parse().unwrap());
        let next = (from + 2 < all.len()).then(|| (from + 2).to_string());
        Ok(Page { objects: all.into_iter().skip(from).take(2).collect(), next })
    }

    async fn read(&self, bucket: &str, object: &Object, range: Range<u64>) -> Result<Bytes> {
        assert_eq!(bucket, "bucket");
        match self.object(&object.key) {
            None => return Err(Error::new(Code::SourceChanged, "gone")),
            Some(now) if now != *object => return Err(Error::new(Code::SourceChanged, "changed")),
            Some(_) => {}
        }
        self.read.lock().unwrap().entry(object.key.clone()).or_default().push((range.start, range.end));
        let bytes = std::fs::read(self.root.join(&object.key)).unwrap();
        Ok(Bytes::copy_from_slice(&bytes[range.start as usize..range.end as usize]))
    }

    fn own<'a>(&'a self, _bucket: &str) -> Option<&'a str> {
        self.own.as_deref()
    }
}

/// A world whose bucket can be asked what was wanted of it.
fn world(change: impl FnOnce(&mut Folder)) -> (World, Arc<Folder>) {
    let world = World::new();
    let mut folder = Folder::new(world.dir.path());
    change(&mut folder);
    let folder = Arc::new(folder);
    let buckets: Arc<dyn Buckets> = folder.clone();
    (World { buckets: Some(buckets), ..world }, folder)
}

#[tokio::test]
async fn a_plan_reads_no_object_and_a_step_only_what_is_new() {
    let (world, folder) = world(|_| ());
    world.put("in/a.csv", "id\n1\n").put("in/b.csv", "id\n2\n").put("in/old/c.csv", "id\n3\n").put("x.csv", "id\n4\n");
    let config = json!({ "path": "s3://bucket/in/*.csv" });
    let (_, step) = world.plan(config.clone(), Window::After { position: None }).await.unwrap();
    assert_eq!(*folder.listed.lock().unwrap(), [("in/".to_owned(), Depth::Shallow)]);
    assert!(folder.read.lock().unwrap().is_empty());
    assert_eq!(step.source["files"][0]["path"], "s3://bucket/in/a.csv");
    assert_eq!(step.source["files"][0]["tag"], format!("\"{}\"", Hash::of(b"id\n1\n")));
    let first = world.run(config.clone()).await.unwrap();
    assert_eq!(first.rows, ["id=1", "id=2"]);
    folder.read.lock().unwrap().clear();
    world.put("in/b.csv", "id\n9\n");
    let mut keyed = world;
    keyed.key = vec!["id".into()];
    let second = keyed.after(config, first.cursor).await.unwrap();
    assert_eq!(second.rows, ["id=9"]);
    assert_eq!(folder.read.lock().unwrap().keys().collect::<Vec<_>>(), ["in/b.csv"]);
}

#[tokio::test]
async fn the_identity_is_that_of_size_and_tag_and_of_no_content() {
    let (world, _) = world(|_| ());
    world.put("a.csv", "id\n1\n");
    let given = world.run(json!({ "path": "s3://bucket/a.csv" })).await.unwrap();
    let Some(Cursor::Opaque { value }) = given.cursor else { panic!() };
    let tag = format!("\"{}\"", Hash::of(b"id\n1\n"));
    let hash = super::super::seen::tag_hash(&tag);
    assert_eq!(
        value.trim_end(),
        format!("{{\"files\":[{{\"path\":\"s3://bucket/a.csv\",\"sha256\":\"{hash}\",\"size\":5}}],\"format\":1}}")
    );
    assert_eq!(hash, Hash::of_parts(&[b"entity tag", tag.as_bytes()]), "frozen: cursors hold it");
    assert_ne!(hash, Hash::of(tag.as_bytes()));
}

#[tokio::test]
async fn large_objects_are_read_in_ranges() {
    let (world, folder) = world(|_| ());
    let rows: String = (0..1_500_000).map(|i| format!("{i:013}\n")).collect();
    world.put("a.csv", format!("id\n{rows}")).put("empty.csv", "");
    let given = world.run(json!({ "path": "s3://bucket/*.csv" })).await.unwrap();
    assert_eq!((given.rows.len(), given.rows.last().unwrap().as_str()), (1_500_000, "id=0000001499999"));
    assert_eq!(given.notes, ["`s3://bucket/empty.csv` is empty"]);
    let read = folder.read.lock().unwrap();
    let size = 3 + 14 * 1_500_000;
    assert_eq!(read["a.csv"], [(0, 8 << 20), (8 << 20, 16 << 20), (16 << 20, size)]);
    assert_eq!(read["empty.csv"], [(0, 0)]);
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_read_is_an_error_that_may_pass() {
    let (world, _) = world(|_| ());
    let text = |c: char| format!("id\n{}", format!("{}\n", c.to_string().repeat(99)).repeat(300_000));
    world.put("a.csv", text('1'));
    let window = Window::After { position: None };
    let (connector, step) = world.plan(json!({ "path": "s3://bucket/a.csv" }), window.clone()).await.unwrap();
    let step = planned(step, window);
    let context = world.context();
    let mut stream = connector.read(&step, None, &context).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(Message::Rows { .. }))));
    world.put("a.csv", text('2'));
    let mut last = None;
    while let Some(message) = stream.next().await {
        last = Some(message.map(|m| assert!(!matches!(m, Message::Cursor { .. }))));
    }
    let e = last.unwrap().unwrap_err();
    assert_eq!((e.code(), e.place()), (Code::SourceChanged, Some("s3://bucket/a.csv")));
}

#[tokio::test]
async fn the_projects_own_store_is_no_source() {
    let (world, folder) = world(|folder| folder.own = Some("data/shop".to_owned()));
    world.put("data/shop/tables/t/x.parquet", "").put("inbox/a.csv", "id\n1\n");
    for path in ["s3://bucket/**/*.parquet", "s3://bucket/data/shop/tables/t/x.parquet", "s3://bucket/*/*/*/*/*"] {
        let e = world.run(json!({ "path": path })).await.unwrap_err();
        assert_eq!((e.code(), e.place()), (Code::SourceConfig, Some(path)));
        assert!(e.message().contains("s3://bucket/data/shop"), "{e}");
    }
    assert!(folder.listed.lock().unwrap().is_empty());
    assert_eq!(world.run(json!({ "path": "s3://bucket/inbox/*" })).await.unwrap().rows, ["id=1"]);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_the_path_and_what_to_do() {
    let (world, folder) = world(|_| ());
    world.put("in/a.csv", "id\n1\n");
    for (path, hint) in [
        ("s3://bucket/in", "it is a folder: write for example path = \"s3://bucket/in/*.csv\""),
        ("s3://bucket/in/**", "`**` stands for folders: write path = \"s3://bucket/in/**/*\""),
        ("s3://bucket/IN/*", "check the bucket, the folders and the pattern of `path`: upper and lower case differ"),
    ] {
        let e = world.run(json!({ "path": path })).await.unwrap_err();
        assert_eq!((e.code(), e.hint()), (Code::FileNotFound, hint), "{path}");
    }
    folder.refuses.store(true, Ordering::SeqCst);
    let e = world.run(json!({ "path": "s3://bucket/in/*" })).await.unwrap_err();
    assert_eq!((e.code(), e.place()), (Code::SourceAuth, Some("s3://bucket/in/*")));
    let without = World { buckets: None, ..world };
    assert_eq!(without.run(json!({ "path": "s3://bucket/in/*" })).await.unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn a_raised_flag_ends_a_wait_for_the_bucket() {
    let (world, _) = world(|_| ());
    world.put("a.csv", "id\n1\n");
    world.cancel.cancel();
    let e = world.run(json!({ "path": "s3://bucket/*" })).await.unwrap_err();
    assert_eq!(e.code(), Code::Interrupted);
}

#[tokio::test]
async fn the_probe_lists_and_reads_a_byte() {
    let (world, folder) = world(|_| ());
    world.put("a.csv", "id\n1\n").put("b.csv", "id\n2\n");
    let connector =
        FileConnector::new(crate::registry::parse_config("file", &json!({ "path": "s3://bucket/*" })).unwrap())
            .unwrap();
    assert_eq!(connector.probe(&world.context()).await.unwrap(), "1 table, 2 files, 10 bytes");
    assert_eq!(folder.read.lock().unwrap()["a.csv"], [(0, 1)]);
    assert_eq!(folder.read.lock().unwrap().len(), 1);
}
