//! How a name is: the summary that a page of names has of each, and all that is known of one.

use hyper::StatusCode;
use perennis_rt as rt;
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, NameChain, NameChainError, NameStep};
use perennis_shared::time::Millis;
use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::document::json;
use super::parameter::parse_name;
use super::pins::PinProblem;
use super::refusal::Refusal;
use crate::http::service::Service;
use crate::metrics::Removal;
use crate::storage::{FollowState, NameState};
use crate::workers::republish::RouterPut;

/// What a page tells about a name.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NameSummary {
    name: String,
    did: Option<String>,
    sequence: u64,
    head: Option<String>,
    alive_until: String,
    expired: bool,
    bytes: u64,
    blocks: u64,
    pin: &'static str,
    problem: Option<PinProblem>,
    followed: bool,
    last_put: Option<String>,
    peers_reached: Option<u64>,
    next_due: Option<String>,
    hot: bool,
}

impl NameSummary {
    pub(super) fn new(
        name: &Name,
        kept: &NameState,
        puts: &[RouterPut],
        hot: bool,
        now: Millis,
    ) -> NameSummary {
        let last = puts.iter().max_by_key(|put| put.put.last_put);
        let last_put = last.and_then(|put| put.put.last_put);
        // The DHT's own count, whoever was the last to take the record.
        let peers = puts.iter().filter_map(|put| put.put.peers).max();
        let next_due = puts.iter().map(|put| put.due).min();
        NameSummary {
            name: name.to_string(),
            did: kept.facts.did.clone(),
            sequence: kept.sequence,
            head: kept.head.map(|head| head.to_string()),
            alive_until: kept.valid_until.to_string(),
            expired: kept.valid_until < now,
            bytes: kept.facts.bytes,
            blocks: kept.facts.blocks,
            pin: kept.facts.pin.name(),
            problem: PinProblem::of(&kept.facts),
            followed: kept.followed.is_some(),
            last_put: last_put.map(|at| at.to_string()),
            peers_reached: peers,
            next_due: next_due.map(|at| at.to_string()),
            hot,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NameStatus {
    #[serde(flatten)]
    summary: NameSummary,
    following: Option<FollowStatus>,
    ladder: Option<LadderStatus>,
    chain: Option<ChainStatus>,
    missing_blocks: Option<u64>,
    /// Where the record points, as it says that itself.
    value: String,
    stored_at: String,
    document: Option<String>,
    list: Option<String>,
    equivocated: bool,
    /// A record of this sequence was acknowledged and is lost by damage: older ones are refused until one as new is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_sequence: Option<u64>,
    republish_period_seconds: u64,
    resolves_per_hour: f64,
    routers: Vec<RouterStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RouterStatus {
    url: String,
    last_put: Option<String>,
    peers_reached: Option<u64>,
    last_error: Option<String>,
    failures: u32,
    next_due: String,
}

/// The rungs that are left.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LadderStatus {
    rungs: usize,
    next_release: Option<String>,
    alive_until: String,
}

impl LadderStatus {
    /// None where nothing is left that could be released.
    async fn find(
        node: &Service,
        name: &Name,
        kept: &NameState,
    ) -> Result<Option<LadderStatus>, Refusal> {
        let ladder = node.read.ladder(name).await?;
        if ladder.is_empty() {
            return Ok(None);
        }
        let ladder = ladder.above(&kept.record);
        let now = rt::now();
        let left = ladder.rungs().iter().filter(|rung| !rung.is_expired(now));
        Ok(ladder
            .alive_until()
            .filter(|end| end.to_millis() >= now)
            .map(|end| LadderStatus {
                rungs: left.count(),
                next_release: ladder
                    .next_release(kept.record.validity())
                    .map(|at| at.to_string()),
                alive_until: end.to_millis().to_string(),
            }))
    }
}

/// The names that a name leads to, where its record points at another one, as far as they are kept here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChainStatus {
    steps: Vec<ChainStep>,
    /// Why they lead to no content that is known here.
    problem: Option<ChainProblem>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChainStep {
    name: String,
    value: String,
    sequence: u64,
    alive_until: String,
    followed: bool,
    pin: &'static str,
}

#[derive(Serialize)]
struct ChainProblem {
    code: &'static str,
    message: String,
}

impl ChainStatus {
    /// None where the record points at content itself.
    async fn find(
        node: &Service,
        name: &Name,
        kept: &NameState,
    ) -> Result<Option<ChainStatus>, Refusal> {
        if kept.record.next_name().is_none() {
            return Ok(None);
        }
        let mut names = NameChain::new(*name, "");
        let mut step = names.follow(kept.record.value());
        let mut steps = Vec::new();
        let problem = loop {
            let next = match step {
                Ok(NameStep::Content { .. }) => break None,
                Ok(NameStep::Name(next)) => next,
                Err(error) => break Some(ChainProblem::of(&error)),
            };
            let Some(kept) = node.read.kept(&next).await? else {
                break Some(ChainProblem {
                    code: "not_found",
                    message: format!("the record of {next} is not kept here"),
                });
            };
            step = names.follow(kept.record.value());
            steps.push(ChainStep {
                name: next.to_string(),
                value: String::from_utf8_lossy(kept.record.value()).into_owned(),
                sequence: kept.sequence,
                alive_until: kept.valid_until.to_string(),
                followed: kept.followed.is_some(),
                pin: kept.facts.pin.name(),
            });
        };
        Ok(Some(ChainStatus { steps, problem }))
    }
}

impl ChainProblem {
    fn of(error: &NameChainError) -> ChainProblem {
        ChainProblem {
            code: error.code(),
            message: chain(error),
        }
    }
}

impl RouterStatus {
    fn new(state: RouterPut) -> RouterStatus {
        RouterStatus {
            url: state.url,
            last_put: state.put.last_put.map(|at| at.to_string()),
            peers_reached: state.put.peers,
            last_error: state.put.last_error,
            failures: state.put.failures,
            next_due: state.due.to_string(),
        }
    }
}

/// How a followed name is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FollowStatus {
    since: String,
    asked: bool,
    led_by: Vec<String>,
    sources: Vec<String>,
    found_at: Option<String>,
    failures: u32,
    last_error: Option<String>,
    next_look: Option<String>,
}

impl FollowStatus {
    fn new(row: &FollowState, next: Option<Millis>) -> FollowStatus {
        FollowStatus {
            since: row.since.to_string(),
            asked: row.is_asked,
            led_by: row.led_by.iter().map(Name::to_string).collect(),
            sources: row.sources.clone(),
            found_at: row.found_at.map(|at| at.to_string()),
            failures: row.failures,
            last_error: row.last_error.clone(),
            next_look: next.map(|at| at.to_string()),
        }
    }
}

/// How one name is.
pub(super) async fn status(call: Call) -> Result<Answer, Refusal> {
    let name = parse_name(&call.parameter)?;
    status_of(&call.node, name).await
}

/// How a name is.
pub(super) async fn status_of(node: &Service, name: Name) -> Result<Answer, Refusal> {
    let Some(kept) = node.read.kept(&name).await? else {
        return Err(absent(node, &name).await?);
    };
    let lost_sequence = node.storage().min_sequence(name).await?;
    let states = node.republish.states(&name).await?;
    let equivocated = node.read.has_evidence(&name).await?;
    let next_look = node.read.next_look(&name).await?;
    let (rate, hot) = node.republish.demand(&name);
    let status = NameStatus {
        following: kept
            .followed
            .as_ref()
            .map(|row| FollowStatus::new(row, next_look)),
        ladder: LadderStatus::find(node, &name, &kept).await?,
        chain: ChainStatus::find(node, &name, &kept).await?,
        missing_blocks: kept.facts.pin.missing(),
        value: String::from_utf8_lossy(kept.record.value()).into_owned(),
        stored_at: kept.stored_at.to_string(),
        document: kept.facts.document.map(|cid| cid.to_string()),
        list: kept.facts.list.map(|cid| cid.to_string()),
        equivocated,
        lost_sequence,
        republish_period_seconds: node.republish.period_of(&name).as_secs(),
        resolves_per_hour: (rate * 10.0).round() / 10.0,
        summary: NameSummary::new(&name, &kept, &states, hot, rt::now()),
        routers: states.into_iter().map(RouterStatus::new).collect(),
    };
    Ok(json(StatusCode::OK, &status))
}

/// That a name is not kept, or that its record is lost.
pub(super) async fn absent(node: &Service, name: &Name) -> Result<Refusal, Refusal> {
    if node.storage().is_head_lost(*name).await? {
        return Ok(Refusal::new(
            "record_lost",
            format!(
                "the record of {name} was kept here and is lost by damage; it is being looked for"
            ),
            "publish it again, or wait until it is found",
        ));
    }
    let denied = node.storage().is_denied(*name).await?;
    let removed = node.ingest.removed(name);
    let at = removed.map(|removed| removed.at).or(denied);
    let Some(at) = at else {
        return Ok(Refusal::not_found(
            format!("{name} is not kept here"),
            "publish it to this node, or ask another",
        ));
    };
    let (why, hint) = match removed.map(|removed| removed.why) {
        _ if denied.is_some() => (
            "by the node's operator, and is not taken again",
            "ask another node",
        ),
        None | Some(Removal::Operator) => ("by the node's operator", "ask another node"),
        Some(Removal::Lapsed) => (
            "since its record had ended, and nothing had renewed it, for longer than admission.grace",
            "publish it again",
        ),
        Some(Removal::Unclaimed) => (
            "since nobody had claimed it and newer names needed its room (admission.unclaimed-size, admission.unclaimed-names)",
            "publish it again; with the node's token, or in admission.allow, or followed by its operator, it stays",
        ),
    };
    Ok(Refusal::not_found(
        format!("{name} was kept here; it was removed at {at} {why}"),
        hint,
    ))
}
