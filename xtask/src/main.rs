//! Tasks of the Perennis workspace.
fn main() {}
