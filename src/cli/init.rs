//! `taskgate init`: the shipped routes, schemas and cases, written to a folder.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CliError, print};
use crate::config::shipped::{self, ROUTES_FILE};

/// What `init` takes.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The folder; made where it does not exist
    #[arg(default_value = ".")]
    folder: PathBuf,
}

/// Writes the tree; refuses to overwrite anything.
pub(super) fn run(args: InitArgs) -> Result<ExitCode, CliError> {
    let sources = shipped::sources();
    let mut paths = vec![ROUTES_FILE.to_owned()];
    paths.extend(sources.list("schemas"));
    paths.extend(sources.list("cases"));
    if let Some(existing) = paths.iter().map(|path| args.folder.join(path)).find(|path| path.exists()) {
        return Err(CliError::Refused(format!(
            "{} is there already; nothing was written",
            existing.display()
        )));
    }
    for path in &paths {
        let target = args.folder.join(path);
        let text = sources
            .read(path)
            .map_err(|error| CliError::system(format!("the shipped {path} cannot be read"), error))?;
        let cannot = |error| CliError::system(format!("{} cannot be written", target.display()), error);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(cannot)?;
        }
        fs::write(&target, text).map_err(cannot)?;
    }
    let routes = args.folder.join(ROUTES_FILE);
    print(&format!(
        "{} files written; next:\n  taskgate check --routes {}\n",
        paths.len(),
        routes.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
