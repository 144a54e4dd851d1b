//! The gateway of a scene: the built program as a process of its own, with its routes, schemas and log in a temporary folder.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::provider::provider;
use super::{Failure, Scene};

/// The built program, with its files in a folder of its own.
pub(super) struct Gateway {
    pub(super) process: Child,
    pub(super) address: SocketAddr,
    admin: SocketAddr,
    folder: PathBuf,
}

impl Gateway {
    pub(super) async fn start(scene: &Scene, under: &str, vendor: SocketAddr) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("taskgate-overload-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("schemas"))?;
        std::fs::write(
            folder.join("routes.yaml"),
            format!("version: 1\nproviders:\n{}", provider("busy", vendor, scene.limits)),
        )?;
        std::fs::write(
            folder.join("schemas/stop.json"),
            r#"{ "type": "object", "properties": { "reason": { "type": "string" } }, "additionalProperties": false }"#,
        )?;
        std::fs::write(
            folder.join("schemas/page.json"),
            r#"{ "type": "object", "properties": { "state": { "type": "string" } } }"#,
        )?;
        let log = std::fs::File::create(folder.join("log"))?;
        let mut words: VecDeque<&str> = under.split_whitespace().collect();
        words.push_back(env!("CARGO_BIN_EXE_taskgate"));
        let mut process = Command::new(words.pop_front().ok_or("no program")?)
            .args(words)
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            // One of two processors, so that callers and vendor have the other.
            .args(["--workers", "1", "--watch", "off", "--log-format", "json", "--routes"])
            .arg(folder.join("routes.yaml"))
            .args(scene.flags)
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let mut at = async |before: &str| {
            let line = timeout(Duration::from_secs(30), lines.next_line()).await??.unwrap_or_default();
            let address = line.strip_prefix(before).ok_or_else(|| format!("it does not start: {line}"))?;
            Ok::<SocketAddr, Failure>(address.parse()?)
        };
        let (address, admin) = (at("listening on http://").await?, at("admin on http://").await?);
        Ok(Self {
            process,
            address,
            admin,
            folder,
        })
    }

    /// Resident memory in kB.
    pub(super) fn resident(&self) -> Result<u64, Failure> {
        let process = self.process.id().ok_or("the gateway has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// How many lines have been written and lost.
    pub(super) async fn log_lines(&self) -> Result<String, Failure> {
        let mut stream = TcpStream::connect(self.admin).await?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")
            .await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        let lost = page.lines().find_map(|line| line.strip_prefix("taskgate_log_lines_lost_total "));
        let written = lines_of(&self.folder.join("log"))?;
        Ok(format!("log lines: {written} written, {} lost", lost.unwrap_or("0")))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is only untidy.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn lines_of(file: &Path) -> Result<usize, Failure> {
    Ok(std::fs::read(file)?.iter().filter(|byte| **byte == b'\n').count())
}
