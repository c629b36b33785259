//! What the admin port shows of a process, beside health and metrics: brokers, triggers, routes, parked events
//! and the live feed as JSON, and all of it as a page for people.
//!
//! ```text
//! GET  /                                       a page
//! GET  /v1/brokers                             [BrokerView]
//! GET  /v1/triggers                            [TriggerView]
//! GET  /v1/routes                              RoutesView
//! GET  /v1/brokers/{namespace}/{name}/events   lines of FeedLine, ?since=10m|RFC3339 &filter.NAME=VALUE
//! POST /v1/brokers/{namespace}/{name}/lab      Triggers in, as in files, ?last=; a LabView out when it has ended
//! GET  /v1/parked                              ParkedPage, ?broker= &trigger= &id= &from= &limit=
//! GET  /v1/parked/{namespace}/{name}/{offset}  ParkedView
//! POST /v1/parked/redrive                      RedriveOrder in, a RedriveLine out when it has ended
//! GET  /v1/explain                             ExplainedPage, ?id= &source= &trigger= &broker=
//! POST /v1/explain                             an event in, ExplainedPage out, ?trigger= &broker=
//! ```
//!
//! What only a dispatcher knows, Triggers and parked events, an ingress answers with 421.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::sync::watch;
use trigon_core::routing::RoutingTable;
use trigon_dispatcher::Dispatcher;
use trigon_dispatcher::parked::ParkedError;
use trigon_eventlog::{LogError, SharedLog};
use trigon_runtime::shutdown::Drain;

use crate::failure::Chain;
use crate::routes::RoutesStatus;
use crate::serving::Serving;

mod events;
pub(crate) mod explain;
pub(crate) mod explained;
pub(crate) mod lab;
mod page;
pub(crate) mod parked;
pub(crate) mod search;
pub(crate) mod standing;
pub(crate) mod view;

use view::{BrokerView, RoutesView, TriggerView};

/// What the admin port looks at. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Admin {
    /// The table in force.
    pub(crate) table: Arc<ArcSwap<RoutingTable>>,
    /// What is known about it.
    pub(crate) routes: watch::Receiver<RoutesStatus>,
    /// Which Brokers take events.
    pub(crate) serving: Serving,
    /// Where events are.
    pub(crate) log: SharedLog,
    /// Who delivers them, if this process does.
    pub(crate) dispatcher: Option<Dispatcher>,
    /// Where this process takes them, if it does: `http://127.0.0.1:8080`.
    pub(crate) ingress: Option<String>,
    /// Ends the feeds.
    pub(crate) drain: Drain,
}

/// The routes of the admin port.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(show_page))
        .route("/v1/brokers", get(brokers))
        .route("/v1/triggers", get(triggers))
        .route("/v1/routes", get(routes))
        .route("/v1/brokers/{namespace}/{name}/events", get(events::feed))
        .route("/v1/parked", get(parked::list))
        .route("/v1/parked/{namespace}/{name}/{offset}", get(parked::show))
        .route("/v1/parked/redrive", post(parked::redrive))
        .route("/v1/explain", get(explain::by_id).post(explain::sent_along))
        .merge(lab::router())
        .with_state(admin)
}

/// Why a question was not answered.
#[derive(Debug)]
enum Refused {
    /// The question is wrong.
    Question(String),
    /// What is asked for is not there.
    Absent(String),
    /// A dispatcher knows it, and this process is none.
    NoDispatcher,
    /// Another filter lab runs.
    Busy,
    /// The log does not answer.
    Log(LogError),
    /// Neither does it for parked events.
    Parked(ParkedError),
    /// The answer could not be put together.
    Failed(String),
}

impl From<LogError> for Refused {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, reason) = match self {
            Self::Question(reason) => (StatusCode::BAD_REQUEST, reason),
            Self::Absent(reason) => (StatusCode::NOT_FOUND, reason),
            Self::NoDispatcher => (StatusCode::MISDIRECTED_REQUEST, NO_DISPATCHER.to_owned()),
            Self::Busy => {
                let reason = "another filter lab runs in this process; ask again when it has ended";
                (StatusCode::TOO_MANY_REQUESTS, reason.to_owned())
            }
            Self::Log(error) => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("the log does not answer: {error}"))
            }
            Self::Failed(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason),
            Self::Parked(error) => (StatusCode::SERVICE_UNAVAILABLE, Chain(&error).to_string()),
        };
        (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{reason}\n")).into_response()
    }
}

/// What is said where a dispatcher should have been asked.
const NO_DISPATCHER: &str = "this process is an ingress, which knows neither how triggers stand nor what is parked; \
                             ask the admin address of a dispatcher";

async fn brokers(State(admin): State<Admin>) -> Result<Json<Vec<BrokerView>>, Refused> {
    Ok(Json(admin.brokers().await?))
}

async fn triggers(State(admin): State<Admin>) -> Result<Json<Vec<TriggerView>>, Refused> {
    let dispatcher = admin.dispatcher()?;
    Ok(Json(admin.triggers(dispatcher).await?))
}

async fn routes(State(admin): State<Admin>) -> Json<RoutesView> {
    Json(admin.routes())
}

async fn show_page(State(admin): State<Admin>) -> Result<Response, Refused> {
    let triggers = match &admin.dispatcher {
        Some(dispatcher) => Some(admin.triggers(dispatcher).await?),
        None => None,
    };
    let page = page::page(&admin.brokers().await?, triggers.as_deref(), &admin.routes());
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response())
}

impl Admin {
    fn dispatcher(&self) -> Result<&Dispatcher, Refused> {
        self.dispatcher.as_ref().ok_or(Refused::NoDispatcher)
    }
}
