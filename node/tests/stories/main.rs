//! What operators and publishers live through with a node, over real sockets: one file per story.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod callers;
mod clocks;
mod damaging;
mod entities;
mod fetching;
mod following;
mod foreign;
mod gateway;
mod gossiping;
mod identifiers;
mod importing;
mod laddering;
mod leading;
mod limits;
mod passing_on;
mod path_gateway;
mod probing;
mod publishing;
mod readers;
mod records;
mod removing;
mod republishing;
mod restarting;
mod schemas;
mod starting;
mod strangers;
mod watching;
