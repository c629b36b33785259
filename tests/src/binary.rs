//! Where the binary under test is: `TRIGON_BIN`, or else the one that cargo builds from this workspace.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names the binary under test; without it, the workspace's is built.
pub const VARIABLE: &str = "TRIGON_BIN";

/// The path of the binary.
///
/// # Panics
/// When it is not there and cannot be built.
pub fn path() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env::var_os(VARIABLE) {
        Some(path) => {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "{VARIABLE} names {}, which is not a file", path.display());
            path
        }
        None => build(),
    })
}

/// The workspace's folder.
///
/// # Panics
/// Never: this crate is in one.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace's folder")
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    // <target>/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("cargo puts tests into target/PROFILE/deps").to_owned();
    let binary = folder.join("trigon");
    // Every test is a process of its own: one of a run builds, the others wait for it.
    let lock = File::create(folder.join("trigon-tests.lock")).expect("the target folder is writable");
    lock.lock().expect("files in the target folder can be locked");
    let stamp = folder.join("trigon-tests.run");
    let run = env::var("NEXTEST_RUN_ID").ok();
    let is_built = run.is_some() && fs::read_to_string(&stamp).ok() == run && binary.is_file();
    if !is_built {
        let mut command = Command::new(env!("CARGO"));
        // The same selection as `cargo xtask test`, so that both mean the same build.
        command.current_dir(workspace()).args(["build", "--bin", "trigon"]);
        if folder.file_name().is_some_and(|profile| profile == "release") {
            command.arg("--release");
        }
        let status = command.status().expect("cargo is there: it built this test");
        assert!(
            status.success(),
            "{command:?} failed; set {VARIABLE} to test a binary that is built already"
        );
        fs::write(&stamp, run.unwrap_or_default()).expect("the target folder is writable");
    }
    binary
}
