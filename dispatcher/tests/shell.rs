//! The dispatcher with a real log and real subscribers: what goes in is appended to the log, what comes out is
//! what listeners on 127.0.0.1 were sent.

#[path = "shell/delivery.rs"]
mod delivery;
#[path = "shell/world.rs"]
mod world;
