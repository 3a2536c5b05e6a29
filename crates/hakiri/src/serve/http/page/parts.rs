//! Small pieces that several pages share.

use hakiri_core::catalog::RunStatus;
use hakiri_core::time::Instant;
use maud::{Markup, html};

use crate::status::run_view::StepState;
use crate::status::{Problem, RECENT_RUNS, RunSummary, State, text};

/// Characters of a message that a page shows; the whole is in the catalog, and the first line says it.
const MAX_MESSAGE: usize = 1_200;

/// An instant.
pub fn time(at: Instant) -> Markup {
    html! { time datetime=(at) { (text::instant(at)) } }
}

/// An instant by its distance, with the instant itself below.
pub fn when(at: Instant, now: Instant) -> Markup {
    html! { (text::relative(at, now)) span.sub { (time(at)) } }
}

/// The class of a state.
pub fn tone(state: State) -> &'static str {
    match state {
        State::Idle => "ok",
        State::Running => "run",
        State::Waiting => "wait",
        State::Failed => "bad",
        State::Partial | State::Late => "late",
        State::Paused | State::NeverRan | State::Unknown => "off",
    }
}

/// A state.
pub fn badge(state: State) -> Markup {
    html! { span class={ "badge " (tone(state)) } { (state.text()) } }
}

/// How a run ended.
pub fn run_badge(status: RunStatus) -> Markup {
    let (tone, text) = run_words(status);
    html! { span class={ "badge " (tone) } { (text) } }
}

/// The class and the words for how a run ended.
pub fn run_words(status: RunStatus) -> (&'static str, &'static str) {
    match status {
        RunStatus::Running => ("run", "unfinished"),
        RunStatus::Succeeded => ("ok", "committed"),
        RunStatus::Partial => ("late", "partly committed"),
        RunStatus::Failed => ("bad", "failed"),
        RunStatus::Cancelled => ("wait", "cancelled"),
    }
}

/// Where a step stands.
pub fn step_badge(state: StepState) -> Markup {
    let tone = match state {
        StepState::Done => "ok",
        StepState::Running => "run",
        StepState::Waiting => "wait",
        StepState::Failed => "bad",
        StepState::Expired => "late",
        StepState::Pending => "off",
    };
    html! { span class={ "badge " (tone) } { (state.text()) } }
}

/// An error code, linked to what it means.
pub fn code(id: &str) -> Markup {
    html! {
        @if crate::status::code_info(id).is_some() {
            a.code.mono href={ "/errors/" (id) } { (id) }
        } @else {
            span.code.mono { (id) }
        }
    }
}

/// A text of ours with `commands` in it, shown as such.
pub fn rich(text: &str) -> Markup {
    html! {
        @for (i, piece) in shortened(text).split('`').enumerate() {
            @if i % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

/// A message, cut where it is far longer than anyone reads.
pub fn shortened(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => format!("{} …", &message[..at]),
        None => message.to_owned(),
    }
}

/// What happened and what to do.
pub fn problem(problem: &Problem) -> Markup {
    html! {
        p.what {
            (code(&problem.code)) " "
            @if let Some(subject) = &problem.subject { b { (subject) } ": " }
            @if let Some(place) = &problem.place { (place) ": " }
            (rich(&problem.message))
        }
        p.todo { b { "What to do: " } (rich(&problem.hint)) "." }
    }
}

/// The last runs, oldest first, as bars: what failed is taller, so that colour is not all there is.
pub fn strip(newest_first: &[RunSummary]) -> Markup {
    let shown = &newest_first[..newest_first.len().min(RECENT_RUNS)];
    let failed = shown.iter().filter(|r| matches!(r.status, RunStatus::Failed | RunStatus::Partial)).count();
    let label = match (shown.len(), failed) {
        (0, _) => "no run yet".to_owned(),
        (n, 0) => format!("the last {n}: none failed"),
        (n, failed) => format!("the last {n}: {failed} failed"),
    };
    html! {
        span.strip role="img" aria-label=(label) {
            @for _ in shown.len()..RECENT_RUNS { i.none {} }
            @for run in shown.iter().rev() {
                @let (tone, words) = run_words(run.status);
                i class=(tone) title={ (text::instant(run.tick)) ": " (words) ", " (text::rows(run.rows)) } {}
            }
        }
    }
}

/// Runs as a table.
pub fn runs(runs: &[RunSummary], now: Instant, with_pipeline: bool, label: &str) -> Markup {
    html! {
        div.card {
            table.runs role="table" aria-label=(label) {
                thead role="rowgroup" { tr role="row" {
                    th role="columnheader" scope="col" { "Tick" }
                    @if with_pipeline { th role="columnheader" scope="col" { "Pipeline" } }
                    th role="columnheader" scope="col" { "Result" }
                    th role="columnheader" scope="col" { "Started" }
                    th.right role="columnheader" scope="col" { "Took" }
                    th.right role="columnheader" scope="col" { "Rows" }
                } }
                tbody role="rowgroup" { @for run in runs { (run_row(run, now, with_pipeline)) } }
            }
        }
    }
}

fn run_row(run: &RunSummary, now: Instant, with_pipeline: bool) -> Markup {
    html! {
        tr role="row" {
            th.tick role="rowheader" scope="row" { a href={ "/runs/" (run.pipeline) "/" (run.run) } { (time(run.tick)) } }
            @if with_pipeline {
                td.of role="cell" { a href={ "/pipelines/" (run.pipeline) } { (run.pipeline) } }
            }
            td.ended role="cell" {
                (run_badge(run.status))
                @if let Some(id) = &run.code { " " (code(id)) }
                @if run.failed_tables > 0 && run.tables > 1 {
                    span.sub { (run.failed_tables) " of " (run.tables) " tables failed" }
                }
            }
            td.started role="cell" { (text::relative(run.started, now)) }
            td.took.right.num.tight role="cell" { (text::duration(run.took_ms)) }
            td.rows.right.num.tight role="cell" { (text::number(run.rows)) span.unit { " rows" } }
        }
    }
}
