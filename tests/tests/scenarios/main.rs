//! One file for each user story and for each kind of bad input, driven through the real binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod car_files;
mod command_line;
mod dag_conversion;
mod damage;
mod data_folder;
mod following;
mod full_disk;
mod history;
mod home_damage;
mod identity;
mod importing;
mod kill;
mod label_files;
mod label_proofs;
mod labels;
mod nobody_outside;
mod node_process;
mod passphrases;
mod peers;
mod permissions;
mod prompts;
mod publish_and_restore;
mod read_only_home;
mod records;
mod refusals;
mod reverse_proxy;
mod slow_readers;
mod snapshots;
mod stopping;
mod tokens;
mod user;
