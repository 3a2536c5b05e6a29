//! One run: what came of its tables, and where each of its steps stands.

use hakiri_core::time::Instant;
use maud::{Markup, html};

use super::parts::{code, problem, rich, run_badge, shortened, step_badge, time, when};
use super::{Frame, frame};
use crate::status::run_view::{RunView, StepView};
use crate::status::{Status, text};

/// The page.
pub fn render(status: &Status, view: &RunView, now: Instant, refresh: bool) -> Markup {
    let run = &view.summary;
    let body = html! {
        p.lead.mono { (run.run) }
        (facts(view, now))
        (tables(view))
        (steps(view, now))
    };
    let pipeline = run.pipeline.as_str();
    let tick = text::instant(run.tick);
    let title = format!("Run of {tick}");
    let crumbs = vec![
        (status.project.as_str(), Some("/".to_owned())),
        (pipeline, Some(format!("/pipelines/{pipeline}"))),
        (tick.as_str(), None),
    ];
    // What has ended changes no more.
    let refresh = run.ended.is_none().then_some(refresh);
    frame(&Frame { title: &title, beside: run_badge(run.status), crumbs, status: Some(status), refresh }, &body)
}

fn facts(view: &RunView, now: Instant) -> Markup {
    let run = &view.summary;
    html! {
        dl.facts.card {
            div { dt { "Started" } dd { (when(run.started, now)) } }
            div {
                dt { "Ended" }
                dd { @match run.ended { Some(at) => (when(at, now)), None => span.soft { "not yet" } } }
            }
            div { dt { @if run.ended.is_some() { "Took" } @else { "Has taken" } } dd.num { (text::duration(run.took_ms)) } }
            div { dt { "Commit" } dd.num { @match run.seq { Some(seq) => (seq), None => span.soft { "none" } } } }
            div { dt { "Rows" } dd.num { (text::number(run.rows)) span.sub { (text::bytes(run.bytes)) } } }
            div { dt { "Kind" } dd {
                @match (view.scheduled, view.full) {
                    (_, Some(true)) => "everything anew",
                    (Some(true), _) => "by schedule",
                    (Some(false), _) => "by hand",
                    _ => span.soft { "not known" },
                }
            } }
            div { dt { "Epoch" } dd.num {
                (view.epoch)
                @if let Some(until) = view.lease_until { span.sub { "lease until " (time(until)) } }
            } }
        }
    }
}

fn tables(view: &RunView) -> Markup {
    html! {
        section aria-labelledby="tables" {
            h2 #tables { "Tables" }
            @if view.tables.is_empty() {
                div.card.empty { p.soft { @if view.summary.ended.is_none() { "They are reported when the run ends." } @else { "None." } } }
            } @else {
                div.card {
                    table role="table" aria-labelledby="tables" {
                        thead role="rowgroup" { tr role="row" {
                            th role="columnheader" scope="col" { "Table" }
                            th.right role="columnheader" scope="col" { "Read" }
                            th.right role="columnheader" scope="col" { "Written" }
                            th.right role="columnheader" scope="col" { "Size" }
                            th role="columnheader" scope="col" { "Result" }
                        } }
                        tbody role="rowgroup" {
                            @for table in &view.tables {
                                tr role="row" {
                                    th role="rowheader" scope="row" { (table.table) }
                                    td.right.num role="cell" data-label="Read" { (text::number(table.read)) }
                                    td.right.num role="cell" data-label="Written" { (text::number(table.rows)) }
                                    td.right.num.tight role="cell" data-label="Size" {
                                        span { (text::bytes(table.bytes)) span.sub { (crate::commands::count(table.parts, "part")) } }
                                    }
                                    td role="cell" data-label="Result" { div {
                                        @match &table.problem {
                                            Some(p) => (problem(p)),
                                            None => {
                                                "ok"
                                                @if let Some(cursor) = &table.cursor { span.sub { "cursor " span.mono { (shortened(cursor)) } } }
                                            }
                                        }
                                        @if let Some(version) = table.schema_changed { span.sub { "schema is now version " (version) } }
                                        @if table.rejected > 0 { span.sub { (text::number(table.rejected)) " records skipped" } }
                                        @for sample in &table.samples { span.sub { "skipped: " (shortened(sample)) } }
                                    } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn steps(view: &RunView, now: Instant) -> Markup {
    html! {
        section aria-labelledby="steps" {
            h2 #steps { "Steps" }
            @if view.steps.is_empty() {
                div.card.empty { p.soft { "The catalog has no steps of this run." } }
            } @else {
                div.card {
                    table role="table" aria-labelledby="steps" {
                        thead role="rowgroup" { tr role="row" {
                            th role="columnheader" scope="col" { "Step" }
                            th role="columnheader" scope="col" { "State" }
                            th.right role="columnheader" scope="col" { "Failed attempts" }
                            th.right role="columnheader" scope="col" { "Deaths" }
                            th role="columnheader" scope="col" { "Last error" }
                        } }
                        tbody role="rowgroup" { @for step in &view.steps { (row(step, now)) } }
                    }
                }
                @if view.step_count > view.steps.len() {
                    p.soft { "The first " (view.steps.len()) " of " (view.step_count) " steps." }
                }
            }
        }
    }
}

fn row(step: &StepView, now: Instant) -> Markup {
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                (step.name)
                @if !step.tables.is_empty() { span.sub { "into " (step.tables.join(", ")) } }
            }
            td role="cell" data-label="State" { span {
                (step_badge(step.state))
                @if let Some(worker) = &step.worker { span.sub { "worker " (worker) } }
                @if let Some(until) = step.until {
                    span.sub { @if step.worker.is_some() { "claim ends " } @else { "tries again " } (text::relative(until, now)) }
                }
            } }
            td.right.num role="cell" data-label="Failed tries" { (step.attempts) }
            td.right.num role="cell" data-label="Deaths" { (step.deaths) }
            td.blank[step.problem.is_none()] role="cell" data-label="Last error" { div {
                @match &step.problem {
                    Some(p) => { (code(&p.code)) " " (rich(&p.message)) },
                    None => span.soft { "none" },
                }
            } }
        }
    }
}
