//! The ingress behind a real listener, in front of a log in memory.

mod accepting;
mod binding;
mod bounds;
mod coding;
mod draining;
mod durability;
mod memory;
mod refusing;
mod tap;
mod wire;
mod world;
