//! Scenarios, interoperation and crash tests of the whole product.

pub mod measure;
