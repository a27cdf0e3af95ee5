//! The operator's tool for rings. All it does is in [`ring::command`], which `halo ring` shares.

use std::io;
use std::process::ExitCode;

use clock::WallClock;
use ring::command::Console;

fn main() -> ExitCode {
    let mut console = Console {
        out: &mut io::stdout().lock(),
        complaints: &mut io::stderr().lock(),
        answers: &mut io::stdin().lock(),
    };
    ring::command::main(std::env::args_os(), clock::SystemClock.now_ms(), &mut console)
}
