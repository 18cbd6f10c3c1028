//! Client of Perennis: publish, update, resolve, back up and restore an identity and its lists.
