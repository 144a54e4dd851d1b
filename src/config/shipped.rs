//! The routes, schemas and cases that the binary carries, so that it works from any folder.

use include_dir::{Dir, include_dir};

use super::sources::{Shipped, Sources};

/// The shipped tree.
#[must_use]
pub fn sources() -> Sources {
    Sources::shipped(SHIPPED)
}

/// The name of the routes file in every tree.
pub const ROUTES_FILE: &str = "routes.yaml";

static SCHEMAS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/schemas");
static CASES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/cases");

const SHIPPED: Shipped = Shipped {
    files: &[(ROUTES_FILE, include_str!("../../routes.yaml"))],
    folders: &[("schemas", &SCHEMAS), ("cases", &CASES)],
};
