//! Tag lists: labels on handles, and the tree that holds them.
//!
//! A list maps a [`Key`] (handle and label) to a [`Row`]: the [`Label`], or the fact that it was
//! removed, with the [`Stamp`] of that change. [`tree`] stores the rows as content-addressed blocks such
//! that equal contents have equal roots; [`import`] and [`export`] exchange them with files. The log of
//! signed entries above the tree is [`crate::log`].
//!
//! Nothing here signs, fetches or stores: blocks are read through [`Blocks`] and new ones are returned.

mod accounts;
mod blocks;
mod edit;
pub mod export;
pub mod import;
mod key;
mod label;
mod row;
mod stamp;
pub mod tree;

pub use accounts::{Accounts, Mismatch};
pub use blocks::{Blocks, Overlay};
pub use edit::{CLEAR, Field, FieldChange, FieldError, LabelEdit, Part, differences};
pub use key::{Key, KeyError, KeyPrefix};
pub use label::{Colour, Handle, Label, LabelError, Note, Source, Subject, Tag};
pub use row::{DatedOp, Op, Row};
pub use stamp::{ClockError, DeviceTag, Hlc, MAX_DRIFT, Stamp};
