//! What places that are asked for records say to a client.

use perennis_sdk::router::RouteError;
use perennis_shared::error::chain;

use super::{ClientError, INTERNAL};

impl ClientError for RouteError {
    // They are somebody else, whom the node has asked for the client.
    const IS_RELAYED: bool = true;

    fn code(&self) -> &'static str {
        match self {
            RouteError::NotFound { .. } => "not_found",
            RouteError::Nobody { failures, .. } if failures.is_empty() => "not_found",
            RouteError::Stale { .. } => "stale_record",
            RouteError::Store(_) => INTERNAL,
            _ => "routers_failed",
        }
    }

    /// With what each of them said.
    fn message(&self) -> String {
        match self {
            RouteError::Nobody { failures, .. } if !failures.is_empty() => {
                let told = failures
                    .iter()
                    .map(|(label, error)| format!("{label}: {}", chain(error)));
                let told: Vec<String> = told.collect();
                format!("no record was found: {}", told.join("; "))
            }
            _ => format!("no record was found: {}", chain(self)),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            RouteError::Stale { .. } => "ask other routers and sources: these replay an old record",
            _ if ClientError::code(self) == "routers_failed" => {
                "try again when they can be reached, name another source, or send the record itself"
            }
            _ => "name a source that has it, configure ipns.routers, or send the record itself",
        }
    }
}
