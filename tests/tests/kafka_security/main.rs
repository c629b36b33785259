//! Kafka secured in every way that it can be: who gets in, who does not, and what changes while events flow.

mod access;
mod login;
mod rotation;
