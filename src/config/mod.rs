//! The compiler of routes.yaml: text in, a checked route table out, every fault at once.
//!
//! **Shape**: text -> [`yaml::Node`] tree -> [`file::File`] model (front half); model + schemas -> `RouteTable` (back half).
//!
//! **Invariants**: nothing in here talks to a network. Only `environment` reads the process environment, only `sources`
//! reads files. A fault never ends the reading early where more can be said; a model that was read with faults is good for
//! finding more of them and for nothing else.

pub mod case;
pub mod compile;
pub mod diagnostic;
pub mod environment;
pub mod file;
pub mod files;
pub mod json;
pub mod place;
pub mod schemas;
pub mod shipped;
pub mod sources;
pub mod yaml;

mod compile_credentials;
mod compile_limits;
mod compile_request;
mod compile_route;
mod compile_task;
mod deployment;
mod deployment_tls;
mod fields;
mod file_credentials;
mod file_like;
mod file_limits;
mod file_provider;
mod file_route;
mod file_task;
mod file_tls;
mod flatten;
#[cfg(test)]
mod keys_tests;
mod names;
mod node;
mod operation;
mod operator;
mod placeholder;
mod scalar;
#[cfg(test)]
mod schemas_tests;
#[cfg(test)]
mod task_tests;
mod template;
#[cfg(test)]
mod tests;
mod variables;
#[cfg(test)]
mod yaml_tests;

pub use deployment::parse_endpoint;
