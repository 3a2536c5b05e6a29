//! What one request of a read says: its URL, headers and body, out of the manifest, the pages before it and the records
//! above it.

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;
use url::Url;

use super::super::compile::Slot;
use super::super::config::Paginate;
use super::super::paginate::Turn;
use super::super::{extract, template};
use super::{Frame, Reader};

impl Reader<'_> {
    /// The URL of the next request, without credentials.
    pub(super) fn url(&self, frame: &Frame, paginate: &Paginate) -> Result<Url> {
        let Turn { params: turn, url: next, .. } = frame.pager.turn(paginate);
        if let (Some(next), Some(last)) = (next, &frame.url) {
            return self.client.follow(last, &next);
        }
        let node = &self.site.nodes[frame.node];
        let secrets = &self.ctx.secrets;
        let mut text = secrets.resolve_text(&self.site.base)?.trim_end_matches('/').to_owned();
        if !node.resource.path.is_empty() && !node.resource.path.starts_with('/') {
            text.push('/');
        }
        for slot in &node.path {
            match slot {
                Slot::Text(piece) => text.push_str(&secrets.resolve_text(piece)?),
                Slot::Field { node: of, field } => {
                    let value = self.parent_text(frame, *of, field)?;
                    if matches!(value.as_str(), "" | "." | "..") {
                        return Err(self.unusable(*of, field, "is empty or dots, which cannot stand in a path"));
                    }
                    text.push_str(&template::encode_segment(&value));
                }
            }
        }
        let mut url =
            Url::parse(&text).map_err(|_| Error::new(Code::SourceConfig, "base_url and path do not make a URL"))?;
        let mut params: Vec<(String, String)> = Vec::new();
        for (name, slots) in &node.params {
            let mut value = String::new();
            for slot in slots {
                match slot {
                    Slot::Text(piece) => value.push_str(&secrets.resolve_text(piece)?),
                    Slot::Field { node: of, field } => value.push_str(&self.parent_text(frame, *of, field)?),
                }
            }
            params.push((name.clone(), value));
        }
        if let (Some(incremental), Some(bounds)) = (&node.resource.incremental, self.bounds.get(&frame.node)) {
            for (param, bound) in [(&incremental.param, &bounds.lower), (&incremental.upper_param, &bounds.upper)] {
                if let (Some(param), Some(bound)) = (param, bound) {
                    set(&mut params, param, bound.as_str().map_or_else(|| bound.to_string(), str::to_owned));
                }
            }
        }
        for (name, value) in turn {
            set(&mut params, &name, value);
        }
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(&params);
        }
        Ok(url)
    }

    pub(super) fn headers(&self, with_body: bool) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if with_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &self.site.config.headers {
            let wrong = || {
                Error::new(Code::SourceConfig, format!("headers.{name}: cannot be sent"))
                    .with_hint("look for line breaks")
            };
            let mut text = HeaderValue::from_str(&self.ctx.secrets.resolve_text(value)?).map_err(|_| wrong())?;
            text.set_sensitive(value.contains("${"));
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, text);
        }
        Ok(headers)
    }

    /// The body of the next request; secrets first, so that what a record holds is never taken for one.
    pub(super) fn body(&self, frame: &Frame) -> Result<Option<Vec<u8>>> {
        let node = &self.site.nodes[frame.node];
        let Some(body) = &node.resource.body else {
            return Ok(None);
        };
        let body = self.ctx.secrets.resolve(body)?;
        let turn = frame.pager.turn(&node.resource.paginate);
        let bounds = self.bounds.get(&frame.node).cloned().unwrap_or_default();
        let filled = template::fill(&body, &|hole| match hole {
            "lower" => bounds.lower.clone(),
            "upper" => bounds.upper.clone(),
            _ => match turn.values.iter().find(|(name, _)| *name == hole) {
                Some((_, value)) => Some(value.clone()),
                None => {
                    let (of, field) = hole.split_once('.')?;
                    serde_json::from_str(parent_field(frame, self.site.find(of)?, field)?.get()).ok()
                }
            },
        });
        Ok(Some(filled.to_string().into_bytes()))
    }

    /// A field of an ancestor's record, as text.
    fn parent_text(&self, frame: &Frame, of: usize, field: &str) -> Result<String> {
        parent_field(frame, of, field)
            .and_then(extract::scalar)
            .ok_or_else(|| self.unusable(of, field, "is absent, or neither text, number nor boolean"))
    }

    fn unusable(&self, of: usize, field: &str, why: &str) -> Error {
        Error::new(
            Code::HttpShape,
            format!("`{field}` of a record of `{}`, which a request needs, {why}", self.site.nodes[of].name),
        )
    }
}

fn parent_field<'f>(frame: &'f Frame, of: usize, field: &str) -> Option<&'f RawValue> {
    let mut here = frame.parent.as_deref();
    while let Some(parent) = here {
        if parent.node == of {
            return parent.fields.get(field).map(AsRef::as_ref);
        }
        here = parent.above.as_deref();
    }
    None
}

fn set(params: &mut Vec<(String, String)>, name: &str, value: String) {
    params.retain(|(n, _)| n != name);
    params.push((name.to_owned(), value));
}
