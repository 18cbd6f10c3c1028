//! The perpetual node and the command-line tool of Perennis.
