//! The renderer of `/docs`: taken out of the crate that carries it, compressed, and laid where `src/catalog/reference.rs` includes it.

use std::fs::File;
use std::io::{Cursor, Read as _, Write as _};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no folder for what is built")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for name in ["dist/swagger-ui-bundle.js", "dist/swagger-ui.css", "LICENSE"] {
        // The first folder of the archive has the version in its name.
        let paths: Vec<String> = archive.file_names().filter_map(|path| Some(path.ok()?.into_owned())).collect();
        let is_wanted = |path: &&String| path.split_once('/').is_some_and(|(_, rest)| rest == name);
        let path = paths
            .iter()
            .find(is_wanted)
            .ok_or_else(|| format!("the archive of Swagger UI has no {name}"))?;
        let mut text = String::new();
        archive.by_name(path)?.read_to_string(&mut text)?;
        // The map of the source is not served.
        let text = text
            .lines()
            .filter(|line| !line.contains("sourceMappingURL="))
            .collect::<Vec<_>>()
            .join("\n");
        let mut packed = GzEncoder::new(
            File::create(out.join(format!("{}.gz", name.trim_start_matches("dist/"))))?,
            Compression::best(),
        );
        packed.write_all(text.as_bytes())?;
        packed.finish()?.flush()?;
    }
    Ok(())
}
