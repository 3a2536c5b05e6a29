//! An alarm of CloudWatch, as it comes to a function: what the webhook is told of it. No catalog is needed, since the
//! alarm may be about just that.

use hakiri_core::spec::Project;
use hakiri_core::time::Instant;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::notify::events::{Event, of_alarm};

/// Characters of a text of the platform's that are passed on.
const MAX_TEXT: usize = 500;

/// A change of an alarm's state.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    alarm_name: String,
    state: State,
    #[serde(default)]
    configuration: Configuration,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct State {
    value: String,
    #[serde(default)]
    reason: String,
    timestamp: String,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Configuration {
    #[serde(default)]
    description: Option<String>,
}

impl Alarm {
    /// Of the whole event.
    ///
    /// # Errors
    /// What is missing.
    pub fn read(mut event: Value) -> serde_json::Result<Self> {
        serde_json::from_value(event["alarmData"].take())
    }

    /// What the webhook hears. The platform may report a change twice: its id is the same then.
    pub fn event(&self, project: &Project, now: Instant) -> Event {
        let about = format!("{}@{}", self.alarm_name, self.state.timestamp);
        let data = json!({
            "alarm": self.alarm_name,
            "state": self.state.value,
            "reason": shortened(&self.state.reason),
            "description": self.configuration.description.as_deref().map(shortened),
        });
        of_alarm(project, &about, instant(&self.state.timestamp).unwrap_or(now), data)
    }
}

/// The platform writes the zone without a colon: `2026-11-28T12:36:15.490+0000`.
fn instant(text: &str) -> Option<Instant> {
    let (rest, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    text.parse().or_else(|_| format!("{rest}:{minutes}").parse()).ok()
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use hakiri_core::spec::{ManifestText, NotifyEvent, parse};

    use super::*;

    fn alarm(timestamp: &str) -> Value {
        json!({
            "source": "aws.cloudwatch",
            "alarmArn": "arn:aws:cloudwatch:eu-central-1:000000000000:alarm:shop-failed",
            "accountId": "000000000000",
            "time": timestamp,
            "region": "eu-central-1",
            "alarmData": {
                "alarmName": "shop-failed",
                "state": { "value": "ALARM", "reason": "Threshold Crossed: 1 datapoint", "timestamp": timestamp },
                "previousState": { "value": "OK", "timestamp": "2026-11-28T12:31:29.591+0000" },
                "configuration": { "description": "an execution failed", "metrics": [] },
            },
        })
    }

    fn event(timestamp: &str) -> Event {
        let project = parse(&[ManifestText::new("hakiri.toml", "[project]\nname = \"shop\"\n")], None, &[]).unwrap();
        Alarm::read(alarm(timestamp)).unwrap().event(&project, Instant::from_millis(0))
    }

    #[test]
    fn a_change_has_one_id_however_often_it_is_reported() {
        let at = "2026-11-28T12:36:15.490+0000";
        assert_eq!(event(at), event(at));
        assert_ne!(event(at).id, event("2026-11-28T12:37:15.490+0000").id);
        let told = event(at);
        assert_eq!((told.kind, &told.body["type"]), (NotifyEvent::Alarm, &json!("alarm")));
        assert_eq!(told.body["timestamp"], "2026-11-28T12:36:15.490Z");
        assert_eq!(told.body["pipeline"], Value::Null);
        assert_eq!(told.body["data"]["state"], "ALARM");
        assert_eq!(told.body["data"]["description"], "an execution failed");
    }

    #[test]
    fn a_time_that_cannot_be_read_is_now() {
        for odd in ["", "é", "yesterday"] {
            assert_eq!(event(odd).body["timestamp"], "1970-01-01T00:00:00.000Z");
        }
    }
}
