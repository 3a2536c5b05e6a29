//! The pages, rendered here and complete as they arrive: no script, no font, no image but an icon, nothing from elsewhere.
//!
//! Everything a page shows goes through `maud`, which escapes it; the only text that does not is our own style sheet. So a
//! table name or an error message that holds markup is shown as that text, and if that ever failed, the content security
//! policy would let it neither run nor load anything.
//!
//! Why no script: a status page is read most when something is wrong, on whatever is at hand. The server can render what a
//! script could, a page that reloads itself stays current, and there is nothing to build, to audit or to keep up to date.

pub mod errors;
pub mod index;
pub mod login;
pub mod parts;
pub mod pipeline;
pub mod run;

use std::sync::OnceLock;

use base64::Engine as _;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use self::parts::time;
use crate::status::Status;

/// The style sheet, in every page.
const STYLE: &str = include_str!("style.css");
/// The icon: a needle through a seam.
pub const FAVICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><rect width=\"16\" height=\"16\" rx=\"4\" fill=\"#17539f\"/><path d=\"M3.5 12.5 12.5 3.5M3.5 5.5h3M9.5 10.5h3\" stroke=\"#fff\" stroke-width=\"1.6\" stroke-linecap=\"round\"/></svg>";
/// How often a page reloads itself, in seconds.
const REFRESH_SECONDS: u32 = 30;

/// What a browser may do with our pages: apply this one style sheet, show our icon, send our form.
pub fn content_security_policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
    })
}

/// What stands around every page.
pub struct Frame<'a> {
    /// The title, of the window and the heading.
    pub title: &'a str,
    /// What follows the heading on its line.
    pub beside: Markup,
    /// Where the page stands: links and names, the last without a link.
    pub crumbs: Vec<(&'a str, Option<String>)>,
    /// The status it was made from, for the footer.
    pub status: Option<&'a Status>,
    /// Whether it reloads itself; none where it never does.
    pub refresh: Option<bool>,
}

/// A whole page.
pub fn frame(frame: &Frame<'_>, body: &Markup) -> Markup {
    let window = match frame.status {
        Some(status) if status.project != frame.title => format!("{} · {}", frame.title, status.project),
        _ => format!("{} · Hakiri", frame.title),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                @if frame.refresh == Some(true) { meta http-equiv="refresh" content=(REFRESH_SECONDS); }
                title { (window) }
                link rel="icon" href="/favicon.svg" type="image/svg+xml";
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                div.wrap {
                    header.top {
                        nav.crumbs aria-label="Where you are" {
                            a.mark href="/" { (mark()) "Hakiri" }
                            @for (name, link) in &frame.crumbs {
                                span aria-hidden="true" { "/" }
                                @match link {
                                    Some(link) => a href=(link) { (name) },
                                    None => span aria-current="page" { (name) },
                                }
                            }
                        }
                    }
                    main #main {
                        h1 { (frame.title) (frame.beside) }
                        (body)
                    }
                    (footer(frame))
                }
            }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg width="18" height="18" viewBox="0 0 16 16" aria-hidden="true" {
            rect width="16" height="16" rx="4" fill="#17539f" {}
            path d="M3.5 12.5 12.5 3.5M3.5 5.5h3M9.5 10.5h3" stroke="#fff" stroke-width="1.6" stroke-linecap="round" {}
        }
    }
}

fn footer(frame: &Frame<'_>) -> Markup {
    html! {
        footer.end {
            span { "Hakiri " (env!("CARGO_PKG_VERSION")) }
            @if let Some(status) = frame.status {
                span { "as of " (time(status.at)) }
                @if let Some(adapter) = status.catalog.adapter { span { "catalog: " (adapter) } }
            }
            @match frame.refresh {
                Some(true) => span { "reloads every " (REFRESH_SECONDS) " s (" a href="?refresh=off" { "stop" } ")" },
                Some(false) => span { a href="?" { "reload by itself" } },
                None => {},
            }
            @if frame.status.is_some() {
                a href="/status.json" { "JSON" }
                a href="/metrics" { "Metrics" }
            }
            a href="/errors" { "Error codes" }
        }
    }
}

/// A page that says one thing.
pub fn message(title: &str, text: &str) -> Markup {
    let body = html! {
        p.lead { (text) }
        p { a href="/" { "To the status page" } }
    };
    frame(&Frame { title, beside: html! {}, crumbs: vec![(title, None)], status: None, refresh: None }, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_cannot_end_its_element_and_its_hash_is_of_what_is_sent() {
        assert!(!STYLE.contains('<'), "the sheet is sent as it is");
        let page = message("Title", "text").into_string();
        let sent = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(sent.as_bytes()));
        assert!(content_security_policy().contains(&format!("'sha256-{hash}'")));
        assert!(!page.contains("<script") && !page.contains(" style=") && !page.contains("http://"));
    }

    #[test]
    fn what_is_shown_is_escaped() {
        let page = message("<b>&\"'", "<script>alert(1)</script>").into_string();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>") && !page.contains("<b>"));
    }
}
