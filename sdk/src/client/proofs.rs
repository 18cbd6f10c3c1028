//! Showing others what a list says about one label.

use perennis_shared::{did::Did, log::LabelProof, taglist::Key};

use super::{Client, ListError, ledger::entry};
use crate::store::BlockStore;

impl<S: BlockStore + 'static> Client<S> {
    /// Proves what the list of `did` says about a label: that it has it, that it was removed, or that it never had it.
    /// Of the own list that is what the newest record leads to; what is only staged is no part of it. Another's is resolved
    /// first, and what is fetched for it is verified and kept. The record is part of the proof.
    ///
    /// # Errors
    /// The own list has no record yet, the DID does not resolve, or a block cannot be had.
    pub async fn prove(&self, did: &Did, key: &Key) -> Result<LabelProof, ListError> {
        let name = did.name();
        let own = self.identity().await?;
        let head = if own.is_some_and(|facts| facts.name == name) {
            self.mend_clock().await?;
            let mark = self.shared.local.mark(&name).await?;
            mark.and_then(|record| record.head())
                .ok_or(ListError::Empty)?
        } else {
            self.resolve_list(did, &[]).await?.head
        };
        let mut view = self.view(&[]);
        let entry = entry(&mut view, &name, &head).await?;
        let document = view.block(entry.document()).await?;
        let mark = self.shared.local.mark(&name).await?;
        let record = mark.filter(|record| record.head() == Some(head));
        let proof = view
            .run(|blocks| LabelProof::new(key, &entry, &document, record.as_ref(), blocks))
            .await?;
        self.keep(view).await?;
        Ok(proof)
    }
}
