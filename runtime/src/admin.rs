//! The routes that every process has on its admin port.
//!
//! Other crates merge their own routers into this one; who may reach the port is decided by the address it
//! listens on.

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;

use crate::metrics::{Metrics, OPEN_METRICS};
use crate::readiness::Readiness;
use crate::shutdown::Drain;
use crate::tasks::Liveness;

/// What the admin port looks at.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Answers `/healthz`.
    pub liveness: Liveness,
    /// Answers `/readyz`.
    pub readiness: Readiness,
    /// Makes `/readyz` fail once it has started.
    pub drain: Drain,
    /// Answers `/metrics`.
    pub metrics: Metrics,
}

type Answer = (StatusCode, [(HeaderName, &'static str); 1], String);

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn healthz(State(admin): State<Admin>) -> Answer {
    if admin.liveness.is_alive() {
        text(StatusCode::OK, "ok\n".to_owned())
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "a task has failed, see the log\n".to_owned())
    }
}

async fn readyz(State(admin): State<Admin>) -> Answer {
    let mut lines = String::new();
    if admin.drain.is_draining() {
        lines.push_str("draining\n");
    }
    for unready in admin.readiness.unready() {
        writeln!(lines, "{unready}").expect("a String takes every text");
    }
    let is_ready = lines.is_empty();
    if is_ready {
        lines.push_str("ok\n");
    }
    for remark in admin.readiness.remarks() {
        writeln!(lines, "{remark}").expect("a String takes every text");
    }
    text(if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
}

async fn metrics(State(admin): State<Admin>) -> Answer {
    match admin.metrics.encode() {
        Ok(metrics) => (StatusCode::OK, [(CONTENT_TYPE, OPEN_METRICS)], metrics),
        Err(error) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("could not write the metrics: {error}\n"))
        }
    }
}

fn text(status: StatusCode, body: String) -> Answer {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], body)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::readiness::CheckState;
    use crate::shutdown::{DrainSettings, Shutdown};
    use crate::tasks::TaskGroup;

    async fn ask(admin: &Admin, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(admin.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn admin() -> (Admin, Shutdown) {
        let shutdown = Shutdown::new(DrainSettings::default());
        let admin = Admin {
            liveness: Liveness::default(),
            readiness: Readiness::new(),
            drain: shutdown.watch(),
            metrics: Metrics::new(),
        };
        (admin, shutdown)
    }

    #[tokio::test]
    async fn readyz_names_each_check_that_is_not_ready() {
        let (admin, _shutdown) = admin();
        let routes = admin.readiness.check("routes");
        admin.readiness.check("event log").not_ready("the disk is full");
        routes.ready();
        let (status, body) = ask(&admin, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "event log: the disk is full\n");
    }

    #[tokio::test]
    async fn readyz_names_what_is_missing_where_the_process_serves_all_the_same() {
        let (admin, _shutdown) = admin();
        admin.readiness.probe("brokers", || CheckState::ReadyExcept("default/x: no topic".to_owned()));
        let missing = "brokers: default/x: no topic\n";
        assert_eq!(ask(&admin, "/readyz").await, (StatusCode::OK, format!("ok\n{missing}")));
        admin.readiness.check("event log").not_ready("the disk is full");
        let (status, body) = ask(&admin, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, format!("event log: the disk is full\n{missing}"));
    }

    /// IN-23
    #[tokio::test]
    async fn readyz_fails_as_soon_as_the_drain_starts() {
        let (admin, shutdown) = admin();
        assert_eq!(ask(&admin, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
        shutdown.drain();
        assert_eq!(ask(&admin, "/readyz").await.1, "draining\n");
        assert_eq!(ask(&admin, "/healthz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn healthz_fails_when_a_task_has_failed() {
        let mut group = TaskGroup::new();
        let (mut admin, _shutdown) = admin();
        admin.liveness = group.liveness();
        assert_eq!(ask(&admin, "/healthz").await.0, StatusCode::OK);
        group.spawn("breaks", async { Err(std::io::Error::other("gone")) });
        group.first_failure().await.unwrap();
        assert_eq!(ask(&admin, "/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_text() {
        let (admin, _shutdown) = admin();
        assert_eq!(ask(&admin, "/metrics").await, (StatusCode::OK, "# EOF\n".to_owned()));
    }
}
