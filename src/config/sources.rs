//! Where routes.yaml, the schemas and the cases come from: the binary, a folder, or memory.
//!
//! **Shape**: `read("schemas/acme/stop.reply.json")` -> text; `list("cases")` -> `["cases/acme/stop/ok.yaml", …]`.
//!
//! **Invariants**: paths are relative to the root and written with `/`; none leads out of it. Texts are UTF-8 and at most
//! [`MAX_BYTES`] long.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use include_dir::Dir;
use thiserror::Error;

use crate::config::diagnostic::nearest;
use crate::config::files::FileSet;
use crate::config::place::FileId;
use crate::config::yaml::MAX_BYTES;
use crate::crypto::sha256_hex;

/// A tree of files. Clones share the record of what was read from disk.
#[derive(Clone, Debug)]
pub struct Sources {
    tree: Tree,
    seen: Arc<Mutex<Seen>>,
}

/// What was read from disk, or was to be: each path with the digest of its bytes, or with nothing where it could not be read.
/// Two that are equal mean the same configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Option<String>>);

impl Seen {
    /// Is there anything on disk that could change?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same paths as they are now.
    #[must_use]
    pub fn again(&self) -> Self {
        let again = |path: &PathBuf| (path.clone(), read_capped(path).ok().map(|bytes| sha256_hex(&bytes)));
        Self(self.0.keys().map(again).collect())
    }
}

/// Where the tree is.
#[derive(Clone, Debug)]
enum Tree {
    Folder(PathBuf),
    Memory(BTreeMap<String, String>),
    Shipped(Shipped),
}

/// What the binary carries.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Single files: path and text.
    pub files: &'static [(&'static str, &'static str)],
    /// Folders: path and content.
    pub folders: &'static [(&'static str, &'static Dir<'static>)],
}

/// A file could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The path is absolute or leads out of the root, or is empty.
    #[error("the path must be relative and stay inside the folder of routes.yaml")]
    Escapes,
    /// The system refused it.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// It is not text.
    #[error("the file is not valid UTF-8")]
    NotUtf8,
    /// It is too large.
    #[error("the file is larger than {MAX_BYTES} bytes")]
    TooLarge,
}

impl Sources {
    /// The files below a folder.
    #[must_use]
    pub fn folder(root: impl Into<PathBuf>) -> Self {
        Self::new(Tree::Folder(root.into()))
    }

    /// Files in memory: path and text.
    ///
    /// ```
    /// use taskgate::config::sources::Sources;
    ///
    /// let sources = Sources::memory([("routes.yaml", "version: 1"), ("schemas/a.json", "{}")]);
    /// assert_eq!(sources.list("schemas"), ["schemas/a.json"]);
    /// assert_eq!(sources.read("./schemas/a.json").expect("it is there"), "{}");
    /// assert!(sources.read("../secret").is_err());
    /// ```
    #[must_use]
    pub fn memory<P: Into<String>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        Self::new(Tree::Memory(
            files.into_iter().map(|(path, text)| (path.into(), text.into())).collect(),
        ))
    }

    /// The files that the binary carries.
    #[must_use]
    pub fn shipped(shipped: Shipped) -> Self {
        Self::new(Tree::Shipped(shipped))
    }

    fn new(tree: Tree) -> Self {
        Self {
            tree,
            seen: Arc::default(),
        }
    }

    /// The same tree, of which nothing has been read yet.
    #[must_use]
    pub fn unread(&self) -> Self {
        Self::new(self.tree.clone())
    }

    /// What has been read from disk since this tree was made.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read_disk(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let bytes = read_capped(path);
        let digest = bytes.as_ref().ok().map(|bytes| sha256_hex(bytes));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.insert(path.to_owned(), digest);
        bytes
    }

    /// The text of a file.
    ///
    /// # Errors
    ///
    /// When the path leads out of the root, or there is no file, or it cannot be read, is too large or is not UTF-8.
    pub fn read(&self, path: &str) -> Result<String, ReadError> {
        let path = normalize(path).ok_or(ReadError::Escapes)?;
        let bytes = match &self.tree {
            Tree::Folder(root) => self.read_disk(&root.join(&path))?,
            Tree::Memory(files) => files.get(&path).ok_or(ReadError::Missing)?.as_bytes().to_vec(),
            Tree::Shipped(shipped) => shipped.bytes(&path).ok_or(ReadError::Missing)?.to_vec(),
        };
        if bytes.len() > MAX_BYTES {
            return Err(ReadError::TooLarge);
        }
        String::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
    }

    /// The bytes of a file that is no part of the tree: a certificate of this deployment. A relative path starts at the root, for
    /// shipped routes at the working folder.
    ///
    /// # Errors
    ///
    /// When there is no file, or it cannot be read or is too large.
    pub fn read_beside(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        let bytes = match &self.tree {
            Tree::Folder(root) => self.read_disk(&root.join(path))?,
            Tree::Memory(files) => match files.get(path) {
                Some(text) => text.as_bytes().to_vec(),
                None => self.read_disk(Path::new(path))?,
            },
            Tree::Shipped(_) => self.read_disk(Path::new(path))?,
        };
        if bytes.len() > MAX_BYTES {
            return Err(ReadError::TooLarge);
        }
        Ok(bytes)
    }

    /// Reads a file into the set that faults are shown from.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn open(&self, path: &str, files: &mut FileSet) -> Result<FileId, ReadError> {
        let text = self.read(path)?;
        Ok(files.add(self.name(path), text))
    }

    /// The name of a file for people: where an editor finds it.
    #[must_use]
    pub fn name(&self, path: &str) -> String {
        match &self.tree {
            Tree::Folder(root) if root != Path::new(".") => root.join(path).display().to_string(),
            Tree::Folder(_) | Tree::Memory(_) | Tree::Shipped(_) => path.to_owned(),
        }
    }

    /// The paths of all files in and below a folder, sorted; hidden ones left out. Empty when there is no such folder.
    #[must_use]
    pub fn list(&self, folder: &str) -> Vec<String> {
        let Some(folder) = normalize(folder) else { return Vec::new() };
        let inside = |path: &str| folder.is_empty() || path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'));
        let mut paths = match &self.tree {
            Tree::Folder(root) => {
                let mut paths = Vec::new();
                collect(&root.join(&folder), &folder, MAX_FOLDERS, &mut paths);
                paths
            }
            Tree::Memory(files) => files.keys().filter(|path| inside(path)).cloned().collect(),
            Tree::Shipped(shipped) => shipped.paths().into_iter().filter(|path| inside(path)).collect(),
        };
        paths.sort();
        paths
    }

    /// The file whose path is most like `path`, for "did you mean".
    #[must_use]
    pub fn nearest(&self, path: &str) -> Option<String> {
        let folder = path.split('/').next().filter(|first| *first != path).unwrap_or_default();
        let candidates = self.list(folder);
        let same_name = |candidate: &&String| candidate.rsplit('/').next() == path.rsplit('/').next();
        nearest(path, candidates.iter().map(String::as_str))
            .map(str::to_owned)
            .or_else(|| candidates.iter().find(same_name).cloned())
    }
}

impl Shipped {
    /// The content of a file.
    fn bytes(&self, path: &str) -> Option<&'static [u8]> {
        if let Some((_, text)) = self.files.iter().find(|(name, _)| *name == path) {
            return Some(text.as_bytes());
        }
        self.folders.iter().find_map(|(name, folder)| {
            let rest = path.strip_prefix(name)?.strip_prefix('/')?;
            folder.get_file(rest).map(include_dir::File::contents)
        })
    }

    /// The paths of all files.
    fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.files.iter().map(|(name, _)| (*name).to_owned()).collect();
        for (name, folder) in self.folders {
            let mut open = vec![*folder];
            while let Some(folder) = open.pop() {
                open.extend(folder.dirs());
                paths.extend(
                    folder
                        .files()
                        .filter_map(|file| Some(format!("{name}/{}", file.path().to_str()?.replace('\\', "/")))),
                );
            }
        }
        paths
    }
}

/// `a/./b/../c` -> `a/c`; nothing for a path that is absolute or leads out.
pub(crate) fn normalize(path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains(['\\', '\0']) || path.contains("//") {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            // A drive or a stream of Windows.
            part if part.contains(':') => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The bytes of a file on disk, one more than allowed at most.
fn read_capped(path: &Path) -> Result<Vec<u8>, ReadError> {
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ReadError::Missing,
        _ => ReadError::Io(error),
    };
    // Asked first: to open a pipe would be to wait for somebody who writes to it.
    if !fs::metadata(path).map_err(missing)?.is_file() {
        return Err(ReadError::Missing);
    }
    let file = fs::File::open(path).map_err(missing)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    Ok(bytes)
}

/// Collects the files below a folder. Links to files count (a mounted ConfigMap consists of them), links to folders do
/// not: they could lead round in a circle.
fn collect(folder: &Path, prefix: &str, levels: usize, paths: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        let Ok(kind) = entry.file_type() else { continue };
        if name.starts_with('.') || paths.len() >= MAX_FILES {
            continue;
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if kind.is_dir() && levels > 0 {
            collect(&entry.path(), &path, levels - 1, paths);
        } else if kind.is_file() || (kind.is_symlink() && entry.path().is_file()) {
            paths.push(path);
        }
    }
}

/// `cases/<provider>/<action>` needs three; a root that is a home folder by mistake must not be searched in full.
const MAX_FOLDERS: usize = 8;
/// A hundred providers have some thousand cases.
const MAX_FILES: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    static HERE: Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/src/config");

    static FOLDERS: [(&str, &Dir<'_>); 1] = [("config", &HERE)];

    fn shipped() -> Sources {
        Sources::shipped(Shipped {
            files: &[(
                "routes.yaml",
                "version: 1
",
            )],
            folders: &FOLDERS,
        })
    }

    fn folder() -> Sources {
        Sources::folder(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
    }

    #[test]
    fn shipped_and_folder_give_the_same_files() {
        let (shipped, folder) = (shipped(), folder());
        let paths = shipped.list("config");
        assert!(paths.contains(&"config/mod.rs".to_owned()));
        assert_eq!(paths, folder.list("config"));
        assert_eq!(shipped.read("config/mod.rs").unwrap(), folder.read("config/mod.rs").unwrap());
        assert_eq!(shipped.read("routes.yaml").unwrap(), "version: 1\n");
        assert!(shipped.list("").contains(&"routes.yaml".to_owned()));
        assert!(shipped.list("conf").is_empty());
    }

    #[test]
    fn paths_stay_inside() {
        for path in [
            "/etc/passwd",
            "../Cargo.toml",
            "config/../../Cargo.toml",
            "c:/x",
            "a\\b",
            "//host/x",
            "a\0",
        ] {
            assert!(matches!(folder().read(path), Err(ReadError::Escapes)), "{path}");
        }
        assert!(folder().read("config/../config/./mod.rs").is_ok());
    }

    #[test]
    fn what_is_no_file_is_missing() {
        for sources in [shipped(), folder(), Sources::memory([("a", "b")])] {
            for path in ["nothing", "config", "", "config/mod.rs/x"] {
                assert!(matches!(sources.read(path), Err(ReadError::Missing)), "{path}");
            }
        }
    }

    #[test]
    fn size_is_limited() {
        let sources = Sources::memory([("large", "x".repeat(MAX_BYTES + 1)), ("fits", "x".repeat(MAX_BYTES))]);
        assert!(matches!(sources.read("large"), Err(ReadError::TooLarge)));
        assert!(sources.read("fits").is_ok());
    }

    #[test]
    fn names_and_neighbours_help_people() {
        assert_eq!(Sources::folder(".").name("routes.yaml"), "routes.yaml");
        assert_eq!(Sources::folder("conf").name("routes.yaml"), "conf/routes.yaml");
        let sources = Sources::memory([("schemas/acme/stop.reply.json", ""), ("schemas/acme/stop.request.json", "")]);
        assert_eq!(
            sources.nearest("schemas/acme/stop.replay.json").as_deref(),
            Some("schemas/acme/stop.reply.json")
        );
        assert_eq!(
            sources.nearest("stop.request.json").as_deref(),
            Some("schemas/acme/stop.request.json")
        );
    }
}
