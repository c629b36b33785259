//! The ingress behind a real listener, in front of a log in memory.

#[cfg(test)]
mod accepting;
#[cfg(test)]
mod binding;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod coding;
#[cfg(test)]
mod draining;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod refusing;
#[cfg(test)]
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
