//! Peers as a source of blocks.

use perennis_net::bitswap::Session;
use perennis_rt::BoxFuture;
use perennis_shared::cid::{Block, Cid};

use super::{Source, SourceError};

impl Source for Session {
    fn name(&self) -> String {
        "peers".to_owned()
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Block, SourceError>> {
        let wanted = Session::block(self, cid);
        Box::pin(async { Ok(wanted.await?) })
    }
}
