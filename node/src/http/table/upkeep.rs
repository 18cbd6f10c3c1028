//! Routes of what is damaged, and how fast names are published and found.

use super::ERROR;
use crate::http::route::{Documented, Route, RouteMethod, Schema, Shape};
use crate::http::{damage, probe};
use crate::scope::Scope;

pub(super) static ROUTES: &[Route] = &[
    Route::watch("/v1/damage", "damage", handler!(damage::list))
        .summary("What is damaged or lost and not mended yet: losses of acknowledged data, rows and blocks that were set aside.")
        .answers(documented![
            200 "what is damaged" json!("damage"),
            503 "the rows of the index cannot be read" ERROR,
        ]),
    Route::new(RouteMethod::Delete, "/v1/damage", "damage_dismiss", Scope::Admin, handler!(damage::dismiss))
        .summary("Forgets the losses that were told, and rows from which nothing can be mended. What waits to be mended stays.")
        .answers(documented![
            200 "what is left" json!("damage"),
            503 "the rows of the index cannot be read" ERROR,
            507 "the disk is full" ERROR,
        ]),
    Route::watch("/v1/probe", "probe", handler!(probe::report))
        .summary("How fast the node's canary name was published and found lately, by route.")
        .answers(documented![200 "what was measured" json!("probe")]),
    Route::new(RouteMethod::Post, "/v1/probe", "probe_now", Scope::Admin, handler!(probe::now))
        .summary("Publishes and resolves the canary name through each route now, and answers when all have ended, which takes 80 seconds at most.")
        .answers(documented![
            200 "what was measured" json!("probe"),
            503 "the node is stopping" ERROR,
        ]),
    Route::watch("/v1/probe/plot.svg", "probe_plot", handler!(probe::plot))
        .summary("The same as a picture.")
        .answers(documented![200 "the picture" &[("image/svg+xml", Shape::Text)]]),
];
