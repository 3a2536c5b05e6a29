//! The store that a manifest or a command line names.

#![allow(clippy::disallowed_methods)] // resolves the store's path

use std::path::{Component, Path};

use hakiri_aws::credentials::{self, Credentials};
use hakiri_aws::place;
use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};
use hakiri_engine::store::{S3Settings, Store};

use crate::environment;
use crate::project::Loaded;

/// The store of a project.
pub(super) fn open_store(dir: &Path, loaded: &Loaded, named: &str) -> Result<Store> {
    let context = loaded.project.context.clone();
    let path = context.path.unwrap_or_else(|| format!(".hakiri/context{named}"));
    open_store_at(dir, &path, context.endpoint, context.region, loaded.project.name.as_str())
}

/// A store by path or URL; `project` is its folder in it.
///
/// # Errors
/// `HK0110` for a URL that is not understood; any store error.
pub fn open_store_at(
    dir: &Path,
    path: &str,
    endpoint: Option<String>,
    region: Option<String>,
    project: &str,
) -> Result<Store> {
    match path.strip_prefix("s3://") {
        Some(rest) => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let settings = s3_settings(path, bucket, endpoint, region, Code::StoreDenied)?;
            Store::s3(&S3Settings { prefix: prefix.trim_matches('/').to_owned(), ..settings }, project)
        }
        None if path.contains("://") => Err(Error::new(Code::ManifestValue, format!("`{path}` is not a store"))
            .with_hint("use a folder or s3://bucket/prefix")),
        None => Store::local(&dir.join(path), project),
    }
}

/// How a bucket is reached and who signs for it, as the environment says where the manifest does not.
///
/// # Errors
/// `denied` when there are no credentials.
pub(super) fn s3_settings(
    shown: &str,
    bucket: &str,
    endpoint: Option<String>,
    region: Option<String>,
    denied: Code,
) -> Result<S3Settings> {
    // One that the manifest names is some other service's: who else could sign for it than a key in the environment?
    let own = endpoint.is_some();
    let endpoint = endpoint.or_else(|| place::endpoint("S3", &environment::variable));
    let credentials = match Credentials::of(&environment::variable) {
        Ok(credentials) if !own || environment::variable("AWS_ACCESS_KEY_ID").is_some() => credentials,
        _ => {
            return Err(Error::new(denied, format!("there are no credentials for {shown}"))
                .with_kind(hakiri_core::error::Kind::Usage)
                .with_hint(credentials::HINT));
        }
    };
    Ok(S3Settings {
        bucket: bucket.to_owned(),
        prefix: String::new(),
        allow_http: endpoint.as_deref().is_some_and(|e| e.starts_with("http://")),
        endpoint,
        region: place::region(region.as_deref(), &environment::variable),
        credentials: Some(credentials.provider()),
        ..S3Settings::default()
    })
}

/// A project's folder in a store, by path or URL, to look at it without its catalog.
///
/// # Errors
/// `HK0002` for what cannot be one; any store error.
pub fn open_project_in_store(url: &str, endpoint: Option<String>, region: Option<String>) -> Result<Store> {
    let unnamed = || {
        Error::new(Code::Arguments, format!("`{url}` does not name a project's folder in a store"))
            .with_hint("write path/project or s3://bucket/prefix/project")
    };
    let here = environment::current_dir()?;
    if let Some(rest) = url.strip_prefix("s3://") {
        let (root, project) = rest.trim_end_matches('/').rsplit_once('/').ok_or_else(unnamed)?;
        return open_store_at(&here, &format!("s3://{root}"), endpoint, region, project);
    }
    if url.is_empty() || url.contains("://") {
        return Err(unnamed());
    }
    let folder = std::fs::canonicalize(here.join(url)).map_err(|e| {
        Error::new(Code::Arguments, format!("{url}: {}", e.kind())).with_hint("name a project's folder in a store")
    })?;
    match (folder.parent(), folder.components().next_back()) {
        (Some(root), Some(Component::Normal(project))) => Store::local(root, project.to_str().ok_or_else(unnamed)?),
        _ => Err(unnamed()),
    }
}
