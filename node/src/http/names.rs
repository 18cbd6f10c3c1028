//! `/v1/names`: the names that are kept, and publishing.

use hyper::StatusCode;
use perennis_rt as rt;
use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::media::content_type;
use super::name_status::NameSummary;
use super::page_query::PageQuery;
use super::parameter::parse_name;
use super::refusal::Refusal;
use super::upload::{FEWER_BLOCKS, Upload};

#[derive(Serialize)]
struct Names {
    names: Vec<NameSummary>,
    next: Option<String>,
}

/// A page of names.
pub(super) async fn list(call: Call) -> Result<Answer, Refusal> {
    let node = &call.node;
    let page = PageQuery::parse(call.query())?;
    let (rows, next) = page.rows(node).await?;
    let now = rt::now();
    let puts = node
        .republish
        .states_of(rows.iter().map(|(name, _)| *name).collect())
        .await?;
    let names = rows
        .iter()
        .zip(puts)
        .map(|((name, kept), puts)| {
            let (_, hot) = node.republish.demand(name);
            NameSummary::new(name, kept, &puts, hot, now)
        })
        .collect();
    Ok(json(StatusCode::OK, &Names { names, next }))
}

/// Receives a publish message and stores it.
pub(super) async fn publish(call: Call) -> Result<Answer, Refusal> {
    let Call {
        node,
        request,
        caller,
        ..
    } = call;
    let name = parse_name(&call.parameter).map_err(Refusal::closing)?;
    let sent = content_type(request.headers());
    if !sent.is_some_and(|sent| sent.is_one_of(&["application/vnd.ipld.car"])) {
        return Err(Refusal::new(
            "unsupported_media_type",
            "a publish message is a CAR file",
            "send it with Content-Type: application/vnd.ipld.car",
        )
        .closing());
    }
    node.ingest
        .admit(&name, &caller)
        .await
        .map_err(|error| Refusal::from(error).closing())?;
    let mut message = node.ingest.receive(Some(&caller));
    let mut upload = Upload::new(request, message.limit(), FEWER_BLOCKS, &node.config.http)?;
    while let Some(part) = upload.part().await? {
        message
            .push(&part)
            .map_err(|error| Refusal::from(error).closing())?;
    }
    // A client that goes away now changes nothing: what it sent whole is stored whole.
    let stored = tokio::spawn(async move { node.ingest.publish(&name, message, &caller).await });
    let receipt = stored.await.map_err(Refusal::internal)??;
    Ok(json(StatusCode::OK, &receipt))
}
