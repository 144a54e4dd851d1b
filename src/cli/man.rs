//! `taskgate man`: the manual pages, made from the same words as `--help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};

use super::{CliError, print};

/// What `man` takes.
#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// A folder to write all pages to, such as /usr/local/share/man/man1 [default: the first page, on standard output]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs, command: Command) -> Result<ExitCode, CliError> {
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(command).render(&mut page);
        rendered.map_err(|error| CliError::system("the page cannot be made", error))?;
        print(&String::from_utf8_lossy(&page))?;
        return Ok(ExitCode::SUCCESS);
    };
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    written.map_err(|error| CliError::system(format!("{} cannot be written", folder.display()), error))?;
    Ok(ExitCode::SUCCESS)
}
