//! What a failure test draws, so that it can be drawn again.

/// Repeats a run's choices, though not the scheduling of the machine.
pub const VARIABLE: &str = "TRIGON_TEST_SEED";

/// How often a failure test goes through everything that it breaks; once where nothing is said.
pub const ROUNDS: &str = "TRIGON_TEST_ROUNDS";

/// The seed that was asked for, or any; it is printed.
#[expect(clippy::print_stdout, reason = "whoever repeats a failure needs the seed")]
pub fn seed() -> u64 {
    let seed = number(VARIABLE).unwrap_or_else(|| fastrand::u64(..));
    println!("{VARIABLE}={seed}");
    seed
}

/// How many rounds were asked for.
pub fn rounds() -> u64 {
    number(ROUNDS).unwrap_or(1).max(1)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
