//! One pipeline: how it stands, its tables, its runs page by page.

use hakiri_core::catalog::RunReport;
use maud::{Markup, html};

use super::index::subtitle;
use super::parts::{badge, problem, rich, runs, strip, time, tone, when};
use super::{Frame, frame};
use crate::status::{PipelineStatus, RunSummary, Status, text};

/// The page. `older` says that the runs are not the newest ones.
pub fn render(
    status: &Status,
    pipeline: &PipelineStatus,
    reports: &[RunReport],
    more: bool,
    older: bool,
    refresh: bool,
) -> Markup {
    let listed: Vec<RunSummary> = reports.iter().map(|r| RunSummary::of(r, status.at)).collect();
    let here = format!("/pipelines/{}", pipeline.id);
    let body = html! {
        p.lead { (subtitle(pipeline)) @if let Some(why) = &pipeline.why { " – " (rich(why)) } }
        @if !older {
            (facts(status, pipeline))
            (problems(pipeline))
            (tables(pipeline))
        }
        section aria-labelledby="runs" {
            h2 #runs { @if older { "Older runs" } @else { "Runs" } }
            @if listed.is_empty() {
                div.card.empty {
                    p { @if older { "There are no older ones." } @else { "No run yet. To make the first one:" } }
                    @if !older { pre { "hakiri run " (pipeline.id) } }
                }
            } @else {
                (runs(&listed, status.at, false, "Runs"))
            }
            nav.more aria-label="Pages of runs" {
                @if older { a href=(here) { "Newest" } }
                @if let Some(last) = listed.last().filter(|_| more) { a href={ (here) "?before=" (last.run) } rel="next" { "Older" } }
            }
        }
    };
    let title = pipeline.id.as_str();
    let crumbs = vec![(status.project.as_str(), Some("/".to_owned())), (title, None)];
    let refresh = (!older).then_some(refresh);
    frame(&Frame { title, beside: badge(pipeline.state), crumbs, status: Some(status), refresh }, &body)
}

fn facts(status: &Status, pipeline: &PipelineStatus) -> Markup {
    html! {
        dl.facts.card {
            div { dt { "Last tick" } dd { @match pipeline.last_tick { Some(t) => (when(t, status.at)), None => span.soft { "none yet" } } } }
            div { dt { "Next tick" } dd {
                @match pipeline.next_ticks.first() {
                    Some(t) => (when(*t, status.at)),
                    None if pipeline.paused => span.soft { "paused" },
                    None => span.soft { "run by hand" },
                }
            } }
            div { dt { "Last success" } dd { @match pipeline.last_success { Some(t) => (when(t, status.at)), None => span.soft { "none among the recent runs" } } } }
            div { dt { "Commits" } dd.num { (text::number(pipeline.seq)) } }
            div { dt { "Recent runs" } dd { (strip(&pipeline.recent)) } }
            @if let Some(run) = &pipeline.unfinished {
                div { dt { "Unfinished run" } dd {
                    a href={ "/runs/" (pipeline.id) "/" (run.run) } { (run.steps_ended) " of " (run.steps) " steps ended" }
                    span.sub {
                        @match (run.epoch, run.lease_until) {
                            (Some(epoch), Some(until)) => { "epoch " (epoch) ", lease until " (time(until)) }
                            _ => "nobody works on it",
                        }
                    }
                } }
            }
        }
    }
}

fn problems(pipeline: &PipelineStatus) -> Markup {
    html! {
        @if !pipeline.problems.is_empty() {
            section aria-labelledby="problems" {
                h2 #problems { "Last errors" }
                div class={ "card problem " (tone(pipeline.state)) } {
                    ul { @for p in &pipeline.problems { li { (problem(p)) } } }
                }
            }
        }
    }
}

fn tables(pipeline: &PipelineStatus) -> Markup {
    html! {
        @if !pipeline.tables.is_empty() {
            section aria-labelledby="tables" {
                h2 #tables { "Tables" }
                div.card {
                    table role="table" aria-labelledby="tables" {
                        thead role="rowgroup" { tr role="row" {
                            th role="columnheader" scope="col" { "Table" }
                            th role="columnheader" scope="col" { "Cursor" }
                            th.right role="columnheader" scope="col" { "Rows of the last run" }
                            th.right role="columnheader" scope="col" { "Columns" }
                            th.right role="columnheader" scope="col" { "Schema" }
                        } }
                        tbody role="rowgroup" {
                            @for table in &pipeline.tables {
                                tr role="row" {
                                    th role="rowheader" scope="row" {
                                        (table.table)
                                        @if table.source_table != table.table.as_str() { span.sub { "from " (table.source_table) } }
                                    }
                                    td role="cell" data-label="Cursor" { @match &table.cursor { Some(c) => span.mono { (c) }, None => span.soft { "none: read as a whole" } } }
                                    td.right.num role="cell" data-label="Rows" { @match table.rows_of_last_run { Some(n) => (text::number(n)), None => span.soft { "–" } } }
                                    td.right.num role="cell" data-label="Columns" { (table.columns) }
                                    td.right.num role="cell" data-label="Schema" { @match table.schema_version { Some(v) => { "version " (v) }, None => span.soft { "–" } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
