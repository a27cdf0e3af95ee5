//! Swift's own tools read our rings and say the same of them. What is compared stands in `tests/ring/swift_tools.py`.

use std::path::Path;
use std::process::Command;

/// The interpreter that Debian's python3-swift belongs to.
const PYTHON: &str = "/usr/bin/python3";

#[test]
#[allow(clippy::print_stdout, reason = "a skipped case is printed as skipped")]
fn the_tools_of_openstack_swift_read_our_rings_and_we_theirs() {
    let installed = |program: &str, words: &[&str]| {
        let done = Command::new(program).args(words).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !installed(PYTHON, &["-c", "import swift"]) || !installed("swift-get-nodes", &["--help"]) {
        println!("skipped: the Debian packages swift and python3-swift are not installed");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/ring/swift_tools.py");
    let done = Command::new(PYTHON)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_ring-builder"))
        .output()
        .expect("the interpreter was there a moment ago");
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}
