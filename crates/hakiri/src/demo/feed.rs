//! The demo API's records and answers, without I/O.
//!
//! The contract of `GET /events`: records by `updated_at` and `id`, those after `updated_since` only; `limit` of them
//! (250 unless asked, 500 at most) and a token for the next ones. The token names the last record and not a position, so
//! that a revision between two pages makes no reader miss a record. Equal requests get equal answers until a revision.

use std::collections::BTreeMap;
use std::io::Read as _;

use hakiri_core::codes::Code;
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// One event a line; see `examples/quakes/README.md`.
const SHIPPED: &[u8] = include_bytes!("../../../../examples/quakes/quakes.jsonl.gz");
/// Records of a page when the request does not say.
const LIMIT: usize = 250;
/// Records of a page at most.
const MAX_LIMIT: usize = 500;
/// The revisions: event and new magnitude. All are made up. The first three lift events near Pedro Bay to magnitude 2,
/// which is what the final query counts from.
const REVISIONS: [(&str, f64); 6] = [
    ("ak18251295", 2.1),
    ("ak18295514", 2.0),
    ("ak18353319", 2.2),
    ("ak18384001", 4.1),
    ("ak18327913", 4.0),
    ("ak18379633", 4.0),
];

/// The records as they are now.
#[derive(Debug)]
pub struct Feed {
    /// Each record's JSON as it was shipped or revised: numbers keep their spelling.
    records: BTreeMap<(Instant, String), String>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The JSON document.
    pub body: String,
    /// How many records it holds.
    pub records: u64,
}

/// What a revision changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Revision {
    /// The event.
    pub id: String,
    /// Where it was, in the source's words.
    pub place: String,
    /// The magnitude before.
    pub mag_before: f64,
    /// The magnitude now.
    pub mag_after: f64,
    /// Whether its status went from automatic to reviewed, with one more product.
    pub reviewed: bool,
}

impl Feed {
    /// The shipped records.
    ///
    /// # Errors
    /// `HK0001`: they are part of the binary, so nothing but a defect can make them unreadable.
    pub fn shipped() -> Result<Self> {
        let mut text = String::new();
        flate2::read::GzDecoder::new(SHIPPED).read_to_string(&mut text).map_err(|_| defect("cannot be unpacked"))?;
        let mut records = BTreeMap::new();
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).map_err(|_| defect("are not JSON"))?;
            records.insert(key(&record)?, line.to_owned());
        }
        Ok(Self { records })
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Answers `GET /events?query`.
    ///
    /// # Errors
    /// What is wrong with the query, for the body of a 400.
    pub fn page(&self, query: &str) -> Result<Page, String> {
        let (mut since, mut after, mut limit) = (None, None, LIMIT);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "updated_since" => {
                    since = Some(value.parse::<Instant>().map_err(|_| "updated_since is not an instant")?)
                }
                "after" => after = Some(token(&value).ok_or("after is not a token of this API")?),
                "limit" => {
                    limit = value
                        .parse::<usize>()
                        .ok()
                        .filter(|n| *n > 0)
                        .ok_or("limit is not a number above zero")?
                        .min(MAX_LIMIT);
                }
                _ => {
                    return Err(format!("{name} is not a parameter; there are updated_since, after and limit"));
                }
            }
        }
        let matching = || self.records.iter().filter(|((at, _), _)| since.is_none_or(|since| *at > since));
        let mut rest = matching().skip_while(|(key, _)| after.as_ref().is_some_and(|after| *key <= after)).peekable();
        let (mut data, mut records, mut last) = (String::new(), 0, None);
        while let Some((key, record)) = rest.next_if(|_| records < limit) {
            if records > 0 {
                data.push(',');
            }
            data.push_str(record);
            records += 1;
            last = Some(key);
        }
        let next = last.filter(|_| rest.peek().is_some()).map(|(at, id)| format!("{at}~{id}"));
        let meta = json!({ "next": next, "total": matching().count() });
        Ok(Page { body: format!("{{\"data\":[{data}],\"meta\":{meta}}}"), records: records as u64 })
    }

    /// Revises the six events, one in each of the milliseconds before `now`.
    ///
    /// # Errors
    /// `HK0001` when one of them is not there.
    pub fn revise(&mut self, now: Instant) -> Result<Vec<Revision>> {
        REVISIONS
            .iter()
            .zip((1..=6).rev())
            .map(|((id, mag), before)| self.revise_one(id, *mag, now.plus_millis(-before)))
            .collect()
    }

    fn revise_one(&mut self, id: &str, mag: f64, at: Instant) -> Result<Revision> {
        let old = self.records.keys().find(|(_, have)| have == id).cloned().ok_or_else(|| defect("lack an event"))?;
        let text = self.records.remove(&old).unwrap_or_default();
        let mut record: Value = serde_json::from_str(&text).map_err(|_| defect("are not JSON"))?;
        let reviewed = record["status"] == "automatic";
        let revision = Revision {
            id: id.to_owned(),
            place: record["place"]["description"].as_str().unwrap_or_default().to_owned(),
            mag_before: record["mag"].as_f64().unwrap_or_default(),
            mag_after: mag,
            reviewed,
        };
        record["mag"] = mag.into();
        record["updated_at"] = at.to_string().into();
        if reviewed {
            record["status"] = "reviewed".into();
            let products = record["products"].as_array_mut().ok_or_else(|| defect("lack products"))?;
            products.push(json!({ "type": "phase-data", "position": products.len() + 1 }));
        }
        self.records.insert(key(&record)?, record.to_string());
        Ok(revision)
    }
}

/// What the records are sorted by.
fn key(record: &Value) -> Result<(Instant, String)> {
    let text = |name: &str| record[name].as_str().ok_or_else(|| defect("lack a field"));
    Ok((text("updated_at")?.parse()?, text("id")?.to_owned()))
}

fn token(text: &str) -> Option<(Instant, String)> {
    let (at, id) = text.split_once('~')?;
    Some((at.parse().ok()?, id.to_owned()))
}

fn defect(what: &str) -> Error {
    Error::new(Code::Internal, format!("the demo's records {what}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Reads to the end: the size of each page, and all records.
    fn read(feed: &Feed, query: &str) -> (Vec<u64>, Vec<Value>) {
        let (mut sizes, mut all, mut after) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = feed.page(&format!("{query}{after}")).unwrap();
            let body: Value = serde_json::from_str(&page.body).unwrap();
            let data = body["data"].as_array().unwrap();
            assert_eq!(data.len() as u64, page.records);
            sizes.push(page.records);
            all.extend(data.iter().cloned());
            match &body["meta"]["next"] {
                Value::String(next) => {
                    after =
                        format!("&after={}", url::form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>())
                }
                next => {
                    assert!(next.is_null());
                    assert!(query.starts_with("after=") || body["meta"]["total"] == all.len());
                    return (sizes, all);
                }
            }
        }
    }

    fn ids(records: &[Value]) -> BTreeSet<&str> {
        records.iter().map(|r| r["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn pages_cover_every_record_once_in_order() {
        let feed = Feed::shipped().unwrap();
        let (sizes, all) = read(&feed, "");
        assert_eq!(sizes, [250, 250, 250, 250, 250, 250, 207]);
        assert_eq!((ids(&all).len(), all.len(), feed.count()), (1707, 1707, 1707));
        assert!(all.is_sorted_by_key(|r| key(r).unwrap()));
        // Pages that end exactly with the last record have no empty page after them.
        let some = read(&feed, "updated_since=2018-02-07T00:00:00Z").1.len();
        assert!(some > 1 && some < 250, "{some}");
        assert_eq!(read(&feed, &format!("limit={some}&updated_since=2018-02-07T00:00:00Z")).0, [some as u64]);
        assert_eq!(read(&feed, "limit=1&updated_since=2018-02-07T00:00:00Z").0, vec![1; some]);
        assert_eq!(read(&feed, "limit=100000").0[0], 500);
    }

    #[test]
    fn the_filter_is_exclusive_and_by_instant() {
        let feed = Feed::shipped().unwrap();
        let (_, all) = read(&feed, "");
        let at = |i: usize| all[i]["updated_at"].as_str().unwrap();
        let (_, some) = read(&feed, &format!("updated_since={}", at(1000)));
        assert_eq!(ids(&some), ids(&all[1001..]));
        let (_, none) = read(&feed, &format!("updated_since={}", at(1706)));
        assert!(none.is_empty());
        let shifted = read(&feed, "updated_since=2018-02-07T02:00:00%2B01:00").1;
        assert_eq!(ids(&shifted), ids(&read(&feed, "updated_since=2018-02-07T01:00:00Z").1));
    }

    #[test]
    fn answers_are_the_shipped_bytes_and_repeat() {
        let feed = Feed::shipped().unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(SHIPPED).read_to_string(&mut text).unwrap();
        let page = feed.page("limit=500").unwrap();
        assert_eq!(page, feed.page("limit=500").unwrap());
        let found = text.lines().filter(|line| page.body.contains(line)).count();
        assert_eq!(found, 500);
    }

    #[test]
    fn wrong_queries_are_refused() {
        let feed = Feed::shipped().unwrap();
        for query in
            ["updated_since=yesterday", "after=zzz", "after=2018-01-31", "limit=0", "limit=x", "limit=-1", "updated=1"]
        {
            assert!(feed.page(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_revision_moves_six_events_to_the_end() {
        let mut feed = Feed::shipped().unwrap();
        let (_, before) = read(&feed, "");
        let now: Instant = "2026-01-31T12:00:00Z".parse().unwrap();
        let revisions = feed.revise(now).unwrap();
        let (sizes, changed) = read(&feed, "updated_since=2026-01-31T11:54:59Z");
        assert_eq!(sizes, [6]);
        assert_eq!(changed[0]["updated_at"], "2026-01-31T11:59:59.994Z");
        assert_eq!(changed[5]["updated_at"], "2026-01-31T11:59:59.999Z");
        assert_eq!(revisions.iter().filter(|r| r.reviewed).count(), 4);
        for (revision, record) in revisions.iter().zip(&changed) {
            let old = before.iter().find(|r| r["id"] == record["id"]).unwrap();
            assert_eq!(
                (record["id"].as_str(), record["mag"].as_f64()),
                (Some(&*revision.id), Some(revision.mag_after))
            );
            assert!(old["mag"].as_f64() == Some(revision.mag_before) && revision.mag_before < revision.mag_after);
            assert_eq!(record["status"], "reviewed");
            let (products, old_products) =
                (record["products"].as_array().unwrap(), old["products"].as_array().unwrap());
            assert_eq!(products.len(), old_products.len() + usize::from(revision.reviewed));
            assert!(products.iter().zip(1..).all(|(p, n)| p["position"] == n));
            assert_eq!(record["location"], old["location"]);
        }
        let (_, after) = read(&feed, "");
        assert_eq!(ids(&after), ids(&before));
        assert_eq!(feed.count(), 1707);
    }

    #[test]
    fn a_revision_between_two_pages_loses_nothing() {
        let mut feed = Feed::shipped().unwrap();
        let first: Value = serde_json::from_str(&feed.page("limit=500").unwrap().body).unwrap();
        feed.revise("2026-01-31T12:00:00Z".parse().unwrap()).unwrap();
        let (_, rest) = read(&feed, &format!("after={}", first["meta"]["next"].as_str().unwrap()).replace("+", "%2B"));
        let seen: BTreeSet<&str> = ids(first["data"].as_array().unwrap()).union(&ids(&rest)).copied().collect();
        assert_eq!(seen.len(), 1707);
    }
}
