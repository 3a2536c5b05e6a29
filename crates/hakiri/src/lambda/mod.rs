//! The entry point on AWS Lambda: this binary under the name `bootstrap`, with the manifest in `project/` beside it.
//!
//! ```text
//! settings     what the environment says
//! runtime_api  the platform's four requests
//! events       what the state machine asks and is answered
//! alarm        an alarm of the platform, for the webhook
//! ```
//!
//! One invocation at a time, and when it is answered nothing is left running: the platform freezes the process until the
//! next one, or for ever. So the webhook is told before the answer, and not beside it as `hakiri worker` does.
//!
//! Catalog, store and secrets are opened when the first event asks for them: a function that has to tell of an alarm needs
//! neither of the first two and may have no right to them, and reading the system's certificates would be most of a start.

mod alarm;
mod events;
mod runtime_api;
mod settings;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::id::PipelineId;
use hakiri_core::ops::{BeginRequest, CommitRequest, StepRequest};
use hakiri_core::retry::stop_at;
use hakiri_core::source::Cancel;
use hakiri_core::spec::Diagnostic;
use hakiri_core::time::{Clock, Instant};
use hakiri_core::{Error, Result};
use hakiri_engine::orchestrate::hand_over;
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::Instrument as _;

use self::alarm::Alarm;
use self::events::{Answer, Event, Operation, after_begin, after_commit, after_step, error_message, error_type, room};
use self::runtime_api::{Invocation, RuntimeApi};
use self::settings::{API, Settings};
use crate::aws;
use crate::cli::LogFormat;
use crate::environment::{self, EnvironmentSecrets, SystemClock};
use crate::exit::Exit;
use crate::logging::{self, events::Recorder};
use crate::notify;
use crate::project::{LoadError, Loaded};
use crate::serve::live::Live;
use crate::worker::aftermath::{Aftermath, Op};
use crate::world::{self, Access, World};

/// The program's name on the platform.
const NAME: &str = "bootstrap";

/// Whether the platform called this program.
pub fn is_called() -> bool {
    Path::new(&environment::program()).file_name().is_some_and(|name| name == NAME)
        && environment::variable(API).is_some()
}

/// Answers invocations until the platform ends the process.
pub fn main() -> ExitCode {
    match crate::run_on(None, serve()) {
        Ok(()) => Exit::Done.into(),
        Err(e) => {
            tracing::error!(code = %e.code(), "{e}");
            Exit::of(&e).into()
        }
    }
}

async fn serve() -> Result<()> {
    let api = RuntimeApi::new(&environment::variable(API).unwrap_or_default());
    let function = match Function::start() {
        Ok(function) => function,
        Err(e) => {
            api.fail_to_start(error_type(&e), &error_message(&e)).await?;
            return Err(e);
        }
    };
    loop {
        let invocation = api.next().await?;
        let span = tracing::info_span!("invocation", request = %invocation.id);
        match function.answer(&invocation).instrument(span).await {
            Ok(answer) => api.answer(&invocation.id, &answer).await?,
            Err(e) => api.fail(&invocation.id, error_type(&e), &error_message(&e)).await?,
        }
    }
}

/// What stays from one invocation to the next.
#[derive(Debug)]
struct Function {
    settings: Settings,
    loaded: Loaded,
    opened: OnceCell<Opened>,
}

/// What operations need.
#[derive(Debug)]
struct Opened {
    live: Arc<Live>,
    aftermath: Aftermath,
}

impl Function {
    /// Reads environment and manifest.
    fn start() -> Result<Self> {
        logging::init(logging::Settings { format: Some(LogFormat::Json), serving: true, colour: false })?;
        let settings = Settings::read(environment::variable)?;
        let mut loaded = world::load(&settings.global).map_err(|e| match e {
            LoadError::Error(e) => e,
            LoadError::Invalid(diagnostics) => invalid(&diagnostics),
        })?;
        loaded.placed(&settings.place);
        // The folder of the code cannot be written to.
        loaded.state_dir = environment::temp_dir().join("hakiri");
        Ok(Self { settings, loaded, opened: OnceCell::new() })
    }

    /// Carries out what an invocation asks for, to its end.
    async fn answer(&self, invocation: &Invocation) -> Result<Value> {
        let answer = match events::read(&invocation.event).inspect_err(log)? {
            Event::Operation(operation) => self.operation(operation, invocation.deadline).await?,
            Event::Alarm(alarm) => self.alarm(&alarm).await.inspect_err(log)?,
        };
        serde_json::to_value(answer).map_err(|e| Error::new(Code::Internal, format!("an answer: {e}")))
    }

    async fn alarm(&self, alarm: &Alarm) -> Result<Answer> {
        let (clock, project) = (environment::clock(), &self.loaded.project);
        let secrets = aws::secrets(EnvironmentSecrets::new(&self.loaded.dir), &clock)?;
        notify::tell(project, &*secrets, &*clock, &alarm.event(project, clock.now())).await?;
        Ok(Answer::Nothing { spent: None })
    }

    async fn operation(&self, operation: Operation, deadline: Option<Instant>) -> Result<Answer> {
        if let Operation::Begin { spent, .. } = &operation
            && room(*spent).is_none()
        {
            return Ok(Answer::Follow);
        }
        let opened = self.opened.get_or_try_init(|| self.open()).await.inspect_err(log)?;
        let engine = opened.live.engine();
        let by = deadline.and_then(|deadline| on_clock(&*engine.clock, deadline));
        let (op, pipeline, answer) = match operation {
            Operation::Begin { request, spent } => {
                let request = BeginRequest { deadline: by, ..request };
                let answer = engine.begin(&request).await;
                let answer = answer.map(|begun| after_begin(begun, room(spent).unwrap_or(1), spent));
                (Op::Begin, request.pipeline, answer)
            }
            Operation::Step(request) => {
                let request = StepRequest { deadline: by, ..request };
                let answer = engine.step(&request).await.map(after_step);
                (Op::Step, request.pipeline, answer)
            }
            Operation::Commit(request) => {
                let request = CommitRequest { deadline: by, ..request };
                let answer = engine.commit(&request).await.map(|committed| after_commit(&committed));
                (Op::Commit, request.pipeline, answer)
            }
            Operation::HandOver(request) => {
                let handed = hand_over(&engine, &request.pipeline, &request.run, request.epoch).await;
                handed.inspect_err(log)?;
                return Ok(Answer::Begin);
            }
        };
        if opened.aftermath.heed(op, &pipeline, answer.as_ref().err()) {
            tell(opened, &pipeline, deadline).await;
        }
        answer
    }

    /// Opens catalog and store.
    async fn open(&self) -> Result<Opened> {
        let events = Arc::new(Recorder);
        let mut world =
            World::open(&self.settings.global, &self.loaded, Access::Write, events, Cancel::default()).await?;
        let settings = &mut world.engine.settings;
        // Others of its kind work beside it: who else is at work only a lease can say.
        (settings.sole_worker, settings.worker) = (false, environment::worker_name()?);
        settings.steps_at_once = 1;
        if let Some(lease) = self.settings.lease {
            settings.lease_ttl_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        }
        logging::keep_secrets(&world.engine.project, &*world.engine.secrets).await;
        notify::start(&world.engine).await?;
        let live = Arc::new(Live::new(world.engine));
        Ok(Opened { aftermath: Aftermath::new(live.clone()), live })
    }
}

/// What an invocation ended with that was no outcome of an operation, which are logged as everywhere.
fn log(e: &Error) {
    tracing::error!(code = %e.code(), "{e}");
}

/// Tells the webhook, before the deadline. Whatever is left then is told by whoever looks next.
async fn tell(opened: &Opened, pipeline: &PipelineId, deadline: Option<Instant>) {
    let now = SystemClock.now();
    let left = deadline.map_or(i64::MAX, |deadline| stop_at(now, deadline).millis() - now.millis());
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    if tokio::time::timeout(left, opened.aftermath.tell(pipeline)).await.is_err() {
        tracing::warn!(%pipeline, "no time is left to tell the webhook");
    }
}

/// A deadline of the machine's clock on the engine's, which may go faster; none where it is past already: the platform's
/// clock and this one differ then, and a step that were cut short at once each time would fail its table.
fn on_clock(clock: &dyn Clock, deadline: Instant) -> Option<Instant> {
    let left = deadline.millis() - SystemClock.now().millis();
    let second = i64::try_from(clock.sleep_for(1_000_000).as_millis()).unwrap_or(1_000_000).max(1);
    (left > 0).then(|| clock.now().plus_millis(left.saturating_mul(1_000_000) / second))
}

/// A manifest's errors: all in the log, the first for the answer.
fn invalid(diagnostics: &[Diagnostic]) -> Error {
    let errors: Vec<Error> = diagnostics.iter().map(Diagnostic::to_error).collect();
    errors.iter().for_each(|e| tracing::error!(code = %e.code(), "{e}"));
    errors.into_iter().next().unwrap_or_else(|| Error::new(Code::Internal, "an invalid manifest without an error"))
}
