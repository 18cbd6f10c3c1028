//! Reading what an identity says of itself.

use perennis_shared::did::{Did, DidDocument};

use super::{
    Client, ListError, Resolved,
    ledger::{document_of, entry},
};
use crate::store::BlockStore;

/// The DID document of an identity, and the record that leads to it.
#[derive(Clone, Debug)]
pub struct PublishedDocument {
    /// The document. Its id may be another identifier of the same key than the one that was asked for.
    pub document: DidDocument,
    /// Where the name points.
    pub resolved: Resolved,
}

impl<S: BlockStore + 'static> Client<S> {
    /// The DID document that the newest record of `did` leads to. What is fetched for it is verified and kept.
    ///
    /// # Errors
    /// The DID does not resolve, or a block cannot be had or is not genuine.
    pub async fn published_document(&self, did: &Did) -> Result<PublishedDocument, ListError> {
        let resolved = self.resolve_list(did, &[]).await?;
        let mut view = self.view(&[]);
        let entry = entry(&mut view, &resolved.name, &resolved.head).await?;
        let document = document_of(&mut view, &entry).await?;
        self.keep(view).await?;
        Ok(PublishedDocument { document, resolved })
    }
}
