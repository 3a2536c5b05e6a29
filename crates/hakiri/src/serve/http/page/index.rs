//! The first page: is everything well, and if not, what and what to do.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::parts::{badge, code, problem, rich, runs, strip, time, tone, when};
use super::{Frame, frame};
use crate::status::{PipelineStatus, Problem, RunSummary, State, Status, text};

/// Runs of all pipelines that the page shows.
const LATEST_RUNS: usize = 12;
/// Problems of one pipeline that the page shows; its own page has all.
const PROBLEMS: usize = 3;

/// The page.
pub fn render(status: &Status, troubles: &[Problem], refresh: bool) -> Markup {
    let body = html! {
        p.lead { (verdict(status, troubles)) }
        @if !status.pipelines.is_empty() { (counts(status)) }
        (attention(status, troubles))
        @if status.pipelines.is_empty() {
            (no_pipeline())
        } @else {
            section aria-labelledby="pipelines" {
                h2 #pipelines { "Pipelines" }
                (pipelines(status))
            }
            (latest(status))
        }
    };
    let beside = html! {
        @if let Some(env) = &status.env { span.badge.plain { (env) } }
        @if let Some(version) = &status.version { span.badge.plain { "version " (version) } }
    };
    let title = status.project.as_str();
    frame(&Frame { title, beside, crumbs: Vec::new(), status: Some(status), refresh: Some(refresh) }, &body)
}

fn verdict(status: &Status, troubles: &[Problem]) -> String {
    let (bad, all) = (status.needing_attention().count(), status.pipelines.len());
    match (bad, all) {
        _ if status.catalog.error.is_some() => {
            "The catalog does not answer, so nothing is known of the pipelines.".to_owned()
        }
        (_, 0) => "This project has no pipeline yet.".to_owned(),
        (0, _) if !troubles.is_empty() => "The pipelines are well, and this server needs attention.".to_owned(),
        (0, 1) => "The pipeline is well.".to_owned(),
        (0, all) => format!("All {all} pipelines are well."),
        (1, 1) => "The pipeline needs attention.".to_owned(),
        (1, all) => format!("1 of {all} pipelines needs attention."),
        (bad, all) => format!("{bad} of {all} pipelines need attention."),
    }
}

fn counts(status: &Status) -> Markup {
    html! {
        ul.counts aria-label="Pipelines by state" {
            @for state in State::ALL {
                @let n = status.pipelines.iter().filter(|p| p.state == state).count();
                @if n > 0 { li { span class={ "badge " (tone(state)) } { (n) " " (state.text()) } } }
            }
        }
    }
}

fn attention(status: &Status, troubles: &[Problem]) -> Markup {
    let mut bad: Vec<&PipelineStatus> = status.needing_attention().filter(|p| p.state != State::Unknown).collect();
    bad.sort_by_key(|p| Reverse(p.failures_in_a_row));
    html! {
        @if !bad.is_empty() || !troubles.is_empty() || status.catalog.error.is_some() {
            section aria-labelledby="attention" {
                h2 #attention { "Needs attention" }
                @for trouble in status.catalog.error.iter().chain(troubles) {
                    article.card.problem { header { h3 { "This server" } } ul { li { (problem(trouble)) } } }
                }
                @for pipeline in bad {
                    article class={ "card problem " (tone(pipeline.state)) } {
                        header {
                            h3 { a href={ "/pipelines/" (pipeline.id) } { (pipeline.id) } }
                            (badge(pipeline.state))
                            @if pipeline.failures_in_a_row > 1 {
                                span.soft.small { (pipeline.failures_in_a_row) " runs in a row" }
                            }
                            @if let Some(at) = pipeline.last_success {
                                span.soft.small { "last success " (text::relative(at, status.at)) }
                            }
                        }
                        @if let Some(why) = &pipeline.why { p.what { (rich(why)) } }
                        @if !pipeline.problems.is_empty() {
                            ul {
                                @for p in pipeline.problems.iter().take(PROBLEMS) { li { (problem(p)) } }
                                @if pipeline.problems.len() > PROBLEMS {
                                    li { a href={ "/pipelines/" (pipeline.id) } { (pipeline.problems.len() - PROBLEMS) " more" } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn pipelines(status: &Status) -> Markup {
    html! {
        div.card {
            table.overview role="table" aria-labelledby="pipelines" {
                thead role="rowgroup" { tr role="row" {
                    th role="columnheader" scope="col" { "Pipeline" }
                    th role="columnheader" scope="col" { "State" }
                    th role="columnheader" scope="col" { "Last run" }
                    th.right role="columnheader" scope="col" { "Rows" }
                    th role="columnheader" scope="col" { "Next tick" }
                    th role="columnheader" scope="col" { "Recent runs" }
                } }
                tbody role="rowgroup" { @for pipeline in &status.pipelines { (row(status, pipeline)) } }
            }
        }
    }
}

fn row(status: &Status, pipeline: &PipelineStatus) -> Markup {
    let last = pipeline.last_run.as_ref();
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                a href={ "/pipelines/" (pipeline.id) } { (pipeline.id) }
                span.sub { (subtitle(pipeline)) }
            }
            td role="cell" data-label="State" { span {
                (badge(pipeline.state))
                // What needs attention is said above, in full.
                @if let Some(why) = pipeline.why.as_ref().filter(|_| !pipeline.state.needs_attention()) { span.sub { (rich(why)) } }
                @if let Some(p) = pipeline.problems.first() { " " (code(&p.code)) }
            } }
            td role="cell" data-label="Last run" { span {
                @match last {
                    Some(run) => {
                        a href={ "/runs/" (run.pipeline) "/" (run.run) } { (text::relative(run.ended.unwrap_or(run.started), status.at)) }
                        span.sub { (time(run.tick)) }
                    }
                    None => span.soft { "none yet" },
                }
            } }
            td.right.num role="cell" data-label="Rows" {
                @match last { Some(run) => (text::number(run.rows)), None => span.soft { "–" } }
            }
            td role="cell" data-label="Next tick" { span { (next(pipeline, status)) } }
            td role="cell" data-label="Recent runs" { (strip(&pipeline.recent)) }
        }
    }
}

fn next(pipeline: &PipelineStatus, status: &Status) -> Markup {
    html! {
        @match pipeline.next_ticks.first() {
            Some(tick) => (when(*tick, status.at)),
            None if pipeline.paused => span.soft { "paused" },
            None => span.soft { "by hand" },
        }
    }
}

/// The connector and the schedule.
pub fn subtitle(pipeline: &PipelineStatus) -> String {
    let connector = pipeline.connector.as_deref().unwrap_or("no longer in the manifest");
    match &pipeline.schedule {
        Some(schedule) => format!("{connector}, {schedule}"),
        None => connector.to_owned(),
    }
}

fn latest(status: &Status) -> Markup {
    let mut all: Vec<&RunSummary> = status.pipelines.iter().flat_map(|p| &p.recent).collect();
    all.sort_by_key(|run| Reverse(run.started));
    let all: Vec<RunSummary> = all.into_iter().take(LATEST_RUNS).cloned().collect();
    html! {
        section aria-labelledby="latest" {
            h2 #latest { "Latest runs" }
            @if all.is_empty() {
                div.card.empty {
                    p { "No run yet. " code { "hakiri serve" } " runs what is due by its schedule; to run everything now:" }
                    pre { "hakiri run" }
                }
            } @else {
                (runs(&all, status.at, true, "Latest runs"))
            }
        }
    }
}

fn no_pipeline() -> Markup {
    html! {
        div.card.empty {
            h2 { "Add the first pipeline" }
            p { "Describe where records come from in " code { "hakiri.toml" } ", for example:" }
            pre {
                "[[pipeline]]\nid = \"weather\"\nschedule = \"every 15m\"\ntables = [\"daily\"]\n"
                "source = { connector = \"file\", config = { path = \"data/*.csv\" } }"
            }
            p { "Then check it with " code { "hakiri check" } " and start it with " code { "hakiri run" } "." }
        }
    }
}
