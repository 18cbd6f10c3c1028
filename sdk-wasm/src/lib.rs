//! The browser edition of the Perennis SDK.
