//! S3 as it is on a bad day: what no stand-in does by itself comes from a proxy in front of it.

use std::time::Duration;

use super::{BOUND, FUNCTIONS, There, all_went_well, borrowed};
use crate::support::dev::Dev;
use crate::support::faulty::{Fault, Faulty};
use crate::support::sources::{FIRST, Sources, assert_same, here, named, reference};
use crate::support::text;

#[test]
fn aws_conflicts_and_broken_answers_of_s3_change_no_byte() {
    let sources = Sources::new(4, Duration::ZERO);
    let (cloud, laptop) = (sources.project(FUNCTIONS), sources.project(FUNCTIONS));
    let secrets = sources.secrets();
    let secrets = borrowed(&secrets);
    cloud.hakiri(&["deploy", "aws"]).expect(0);
    let s3 = Faulty::start(&[Fault::Conflict, Fault::Unavailable, Fault::Slow, Fault::Torn, Fault::Reset]);
    // The function asks another address for S3 alone.
    let template = "deploy/aws/template.yaml";
    let variable = "          HAKIRI_MEMORY:";
    let there = format!("          AWS_ENDPOINT_URL_S3: \"{}\"\n{variable}", s3.url());
    let changed = text(&cloud, template).replacen(variable, &there, 1);
    assert!(changed.contains(&s3.url()));
    cloud.write(template, changed);

    let opened = There::open(&cloud, &secrets);
    opened.deliver(&sources, &[1, 2]);
    s3.lead_to(&opened.url);
    opened.close();
    let mut dev = Dev::start(&cloud, "aws", &["--ticks", "4", "--from", FIRST], &secrets);
    let url = dev.wait_for("ready", BOUND)["url"].as_str().unwrap().to_owned();
    s3.lead_to(&url);
    let lines = dev.finish(BOUND);
    all_went_well(&lines, 4);
    let done = s3.done();
    println!("{done:?}");
    assert!(done.iter().all(|n| *n >= 3), "a fault was seldom met: {done:?}");
    reference(&sources, 0, 4, &laptop);
    let here = here(&laptop);
    assert_same(&here, &named(&There::open(&cloud, &secrets).files(), &here));
}
