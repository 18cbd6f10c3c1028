//! Routes of the node itself: its pages, its health, its figures and this documentation.

use super::{ERROR, HTML, routes};
use crate::http::route::{Documented, Metering, Route, Schema, Shape};
use crate::http::{health, metrics, openapi, page, status};

pub(super) static ROUTES: &[Route] = &[
    Route::get("/", "home", handler!(page::home))
        .also(&["//"])
        .metering(Metering::NeverRefused)
        .summary("A page that shows how the node is.")
        .answers(documented![200 "the page" HTML]),
    Route::get("/page/{*file}", "page", handler!(page::file))
        .also(&["/page", "/page/"])
        .metering(Metering::NeverRefused)
        .summary("The page for trying an identity in a browser, and its files.")
        .answers(documented![200 "the file" HTML, 404 "no such file" ERROR]),
    Route::get("/health/live", "live", handler!(health::live))
        .metering(Metering::NeverRefused)
        .summary("Whether the process answers.")
        .answers(documented![200 "it does" json!("health")]),
    Route::get("/health/ready", "ready", handler!(health::ready))
        .metering(Metering::NeverRefused)
        .summary("Whether the node takes writes.")
        .answers(documented![
            200 "it does" json!("health"),
            503 "it is stopping, its disk is full, its data folder is gone, its store is being opened or failed, or the rows of the index cannot be read" json!("health"),
        ]),
    Route::watch("/metrics", "metrics", handler!(metrics::metrics))
        .also(&["/metrics/"])
        .metering(Metering::NeverRefused)
        .summary("Metrics in the OpenMetrics text format.")
        .answers(documented![200 "the metrics" &[("application/openmetrics-text; version=1.0.0; charset=utf-8", Shape::Text)]]),
    Route::get("/openapi.json", "openapi", |call| Box::pin(async move { Ok(openapi::document(call.listener, routes(call.listener))) }))
        .also(&["/openapi.json/"])
        .metering(Metering::NeverRefused)
        .summary("This document.")
        .answers(documented![200 "the document" json!("openapi")]),
    Route::watch("/v1/status", "status", handler!(status::status))
        .metering(Metering::NeverRefused)
        .summary("How the node and each of its background workers is.")
        .answers(documented![200 "the status" json!("status")]),
];
