//! One endpoint of the Delegated Routing V1 HTTP API (IPIP-337, IPIP-379).
//!
//! A record is `application/vnd.ipfs.ipns-record`. An endpoint without one answers 404, or 200 with another
//! content type; both mean that there is none.

use perennis_rt::{
    self as rt, BoxFuture,
    http::{self, Request},
};
use perennis_shared::{
    backoff::Backoff,
    ipns::{Name, Record, UnverifiedRecord},
    limits::RECORD_BYTES,
};

use super::{RouteError, Router};
use crate::{
    node_url::NodeUrl,
    remote::{BearerToken, RemoteError, refusal, with_retries},
};

const RECORD_TYPE: &str = "application/vnd.ipfs.ipns-record";

/// Asks one HTTP endpoint, again where that can help.
pub struct Http {
    http: http::Http,
    endpoint: NodeUrl,
    backoff: Backoff,
    token: Option<BearerToken>,
}

impl Http {
    /// The router at `endpoint`, which serves `/routing/v1/ipns`.
    #[must_use]
    pub fn new(http: http::Http, endpoint: NodeUrl, backoff: Backoff) -> Self {
        Self {
            http,
            endpoint,
            backoff,
            token: None,
        }
    }

    /// The same, with a bearer token that each put carries. Questions go without it.
    #[must_use]
    pub fn with_token(mut self, token: BearerToken) -> Self {
        self.token = Some(token);
        self
    }

    fn url(&self, name: &Name) -> String {
        self.endpoint.at(&format!("routing/v1/ipns/{name}"))
    }

    async fn fetch(&self, name: &Name) -> Result<Record, RouteError> {
        let request = Request::get(self.url(name)).accepting(RECORD_TYPE);
        let response = self.http.send(request).await.map_err(RemoteError::from)?;
        match response.status() {
            200 if response.is(RECORD_TYPE) => {
                let body = response.bytes(RECORD_BYTES).await;
                let bytes = body.map_err(RemoteError::from)?;
                Ok(UnverifiedRecord::parse(&bytes)?.verify(name, rt::now())?)
            }
            200 | 404 => Err(RouteError::NotFound { name: *name }),
            _ => Err(refusal(response).await.into()),
        }
    }

    /// The record that a node holds of `name`, truly signed, also one that has ended; none where it holds none, or is another server.
    ///
    /// # Errors
    /// The node does not answer, or what it holds is no record of this name.
    pub async fn held(&self, name: &Name) -> Result<Option<Record>, RouteError> {
        with_retries(&self.backoff, || self.fetch_held(name)).await
    }

    async fn fetch_held(&self, name: &Name) -> Result<Option<Record>, RouteError> {
        let url = self.endpoint.at(&format!("v1/names/{name}/record"));
        let request = Request::get(url).accepting(RECORD_TYPE);
        let response = self.http.send(request).await.map_err(RemoteError::from)?;
        match response.status() {
            200 if response.is(RECORD_TYPE) => {
                let body = response.bytes(RECORD_BYTES).await;
                let bytes = body.map_err(RemoteError::from)?;
                let record = UnverifiedRecord::parse(&bytes)?.verify_at_any_time(name)?;
                Ok(Some(record))
            }
            200 | 404 => Ok(None),
            _ => Err(refusal(response).await.into()),
        }
    }

    async fn put(&self, name: &Name, record: &Record) -> Result<(), RouteError> {
        let mut request = Request::put(self.url(name), RECORD_TYPE, record.bytes().clone());
        if let Some(token) = &self.token {
            request = token.carried_by(request);
        }
        let response = self.http.send(request).await.map_err(RemoteError::from)?;
        match response.status() {
            200..=299 => Ok(()),
            _ => Err(refusal(response).await.into()),
        }
    }
}

impl Router for Http {
    fn label(&self) -> String {
        self.endpoint.to_string()
    }

    fn resolve<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Record, RouteError>> {
        Box::pin(with_retries(&self.backoff, || self.fetch(name)))
    }

    fn publish<'a>(
        &'a self,
        name: &'a Name,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), RouteError>> {
        Box::pin(with_retries(&self.backoff, || self.put(name, record)))
    }
}
