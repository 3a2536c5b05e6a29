//! What the codes mean: the register that the binary carries, so that it works offline and fits this version.

use hakiri_core::codes::{Code, Info};
use hakiri_core::error::Failure;
use maud::{Markup, html};

use super::parts::{problem, rich};
use super::{Frame, frame};
use crate::status::Problem;

/// All codes.
pub fn list() -> Markup {
    let body = html! {
        p.lead { "Every error has a code that keeps its meaning in all versions." }
        div.card {
            table role="table" aria-label="Error codes" {
                thead role="rowgroup" { tr role="row" {
                    th role="columnheader" scope="col" { "Code" }
                    th role="columnheader" scope="col" { "What happened" }
                } }
                tbody role="rowgroup" {
                    @for info in Code::ALL.iter().map(|code| code.info()) {
                        tr role="row" {
                            th role="rowheader" scope="row" { a.mono href={ "/errors/" (info.id) } { (info.id) } }
                            td role="cell" { (rich(info.title)) }
                        }
                    }
                }
            }
        }
    };
    let title = "Error codes";
    frame(&Frame { title, beside: html! {}, crumbs: vec![(title, None)], status: None, refresh: None }, &body)
}

/// One code.
pub fn one(info: &Info) -> Markup {
    let body = html! {
        p.lead { (capital(info.title)) "." }
        h2 { "Why it happens" }
        p { (rich(info.cause)) }
        h2 { "What to do" }
        p { (rich(&capital(info.remedy))) "." }
        p.soft { "An error may bring a more precise hint of its own; that one counts." }
    };
    let crumbs = vec![("Error codes", Some("/errors".to_owned())), (info.id, None)];
    frame(&Frame { title: info.id, beside: html! {}, crumbs, status: None, refresh: None }, &body)
}

/// An error where a page should be.
pub fn failure(failure: &Failure) -> Markup {
    let body = html! { div.card.problem { (problem(&Problem::of(failure, None))) } };
    let title = "This page cannot be shown";
    frame(&Frame { title, beside: html! {}, crumbs: vec![(title, None)], status: None, refresh: None }, &body)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
