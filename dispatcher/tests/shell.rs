//! The dispatcher with a real log and real subscribers: what goes in is appended to the log, what comes out is
//! what listeners on 127.0.0.1 were sent.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

#[path = "shell/dead_letters.rs"]
mod dead_letters;
#[path = "shell/delivery.rs"]
mod delivery;
#[path = "shell/failing_log.rs"]
mod failing_log;
#[path = "shell/lifecycle.rs"]
mod lifecycle;
#[path = "shell/parked.rs"]
mod parked;
#[path = "shell/replicas.rs"]
mod replicas;
#[path = "shell/replies.rs"]
mod replies;
#[path = "shell/shared_log.rs"]
mod shared_log;
#[path = "shell/world.rs"]
mod world;
