//! The plumbing on real sockets.

#[cfg(test)]
mod client;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod wire;
