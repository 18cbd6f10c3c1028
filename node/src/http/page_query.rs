//! Which page of a long list is asked for.

use perennis_shared::ipns::Name;

use super::query;
use super::refusal::Refusal;
use crate::http::service::Service;
use crate::storage::NameState;

/// Rows on a page when nothing else is asked for, and the most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// One page of a long list.
pub(super) struct PageQuery {
    pub(super) after: Option<Name>,
    pub(super) limit: usize,
}

impl PageQuery {
    pub(super) fn parse(query: Option<&str>) -> Result<PageQuery, Refusal> {
        let after = match query::value(query, "after")?.as_deref() {
            None | Some("") => None,
            Some(cursor) => Some(Name::parse(cursor).map_err(|error| {
                Refusal::new(
                    "invalid_cursor",
                    format!("`after` is no cursor of ours: {error}"),
                    "give the `next` of the page before, or leave it out",
                )
            })?),
        };
        let limit = PageQuery::parse_limit(query)?;
        Ok(PageQuery { after, limit })
    }

    pub(super) fn parse_limit(query: Option<&str>) -> Result<usize, Refusal> {
        Ok(match query::value(query, "limit")? {
            None => PAGE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=PAGE_MAX).contains(limit))
                .ok_or_else(|| {
                    Refusal::new(
                        "invalid_limit",
                        "`limit` is no number from 1 to 1000",
                        "correct it or leave it out",
                    )
                })?,
        })
    }

    /// The rows of this page and the cursor of the next.
    pub(super) async fn rows(
        &self,
        node: &Service,
    ) -> Result<(Vec<(Name, NameState)>, Option<String>), Refusal> {
        let rows = node.read.names(self.after, self.limit).await?;
        let next = if rows.len() == self.limit {
            rows.last().map(|(name, _)| name.to_string())
        } else {
            None
        };
        Ok((rows, next))
    }
}
