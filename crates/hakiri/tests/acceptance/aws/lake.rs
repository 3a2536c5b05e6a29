//! Files in the bucket that is also the store, by the rights that the template grants.

use super::{BOUND, all_went_well};
use crate::support::Project;
use crate::support::bucket::{Keys, objects_of, put};
use crate::support::dev::Dev;
use crate::support::sources::{BUCKET, FIRST};

#[test]
fn aws_files_are_read_from_the_bucket_that_is_the_store() {
    let pipeline = |id: &str| {
        format!(
            "[[pipeline]]\nid = \"{id}\"\nschedule = \"every 1m\"\nsource = {{ connector = \"file\", config = {{ path = \
             \"s3://{BUCKET}/inbox/*.csv\", table = \"rows\" }} }}\n"
        )
    };
    let deploy = format!("[deploy.aws]\nbucket = \"{BUCKET}\"\nfargate = [\"by_task\"]\n");
    let project = Project::new(&[pipeline("by_function"), pipeline("by_task"), deploy].concat());
    let mut dev = Dev::start(&project, "aws", &["--ticks", "0"], &[]);
    let url = dev.wait_for("ready", BOUND)["url"].as_str().unwrap().to_owned();
    put(&url, BUCKET, "inbox/1.csv", b"id,n\n1,a\n", &Keys::local());
    drop(dev);
    let lines = Dev::start(&project, "aws", &["--ticks", "1", "--from", FIRST], &[]).finish(BOUND);
    all_went_well(&lines, 1);
    let mut dev = Dev::start(&project, "aws", &["--ticks", "0"], &[]);
    let url = dev.wait_for("ready", BOUND)["url"].as_str().unwrap().to_owned();
    let store = objects_of(&url, BUCKET, "", &Keys::local());
    let paths: Vec<&str> = store.iter().map(|(path, _)| path.as_str()).collect();
    for id in ["by_function", "by_task"] {
        let is_data = |path: &&&str| path.contains(id) && path.ends_with(".parquet");
        assert_eq!(paths.iter().filter(is_data).count(), 1, "{id}: {paths:#?}\n{lines:#?}");
    }
}
