//! Broker and Trigger of `eventing.knative.dev/v1`: their types, defaults and rules, and the routing table built
//! from them, for standalone and for Kubernetes alike.
//!
//! Pure: files come in as text and leave as a table or as problems with their places. Nothing here reads a file, a
//! clock or a cluster; what only a cluster knows, the address of an object, is asked for through [`Resolve`].
//!
//! ```
//! let files = [("routes.yaml".to_owned(), "
//! apiVersion: eventing.knative.dev/v1
//! kind: Broker
//! metadata: {name: default}
//! ---
//! apiVersion: eventing.knative.dev/v1
//! kind: Trigger
//! metadata:
//!   name: orders
//! spec:
//!   broker: default
//!   subscribr:
//!     uri: http://127.0.0.1:9000/
//! ".to_owned())];
//! # use trigon_core::name::Installation;
//! let problems = trigon_crds::load(&Installation::default(), &files, &trigon_crds::uris_only).unwrap_err();
//! assert_eq!(
//!     problems[0].to_string(),
//!     "routes.yaml:12:3: spec.subscribr: unknown field; did you mean \"subscriber\"?"
//! );
//! ```

pub mod annotation;
pub mod api;
mod bytes;
mod config_map;
mod delivery;
mod destination;
mod duration;
mod file;
mod filter;
mod interest;
mod metadata;
mod path;
mod pem;
mod problem;
mod remarks;
mod scalar;
mod shape;
mod table;
mod topic;
mod trigger;
mod yaml;

pub use destination::{Resolve, Unresolved, uris_only};
pub use file::{Objects, parse};
pub use interest::{Interest, interests};
pub use problem::{MAX_PROBLEMS, Problem};
pub use remarks::remarks;
pub use table::{BUILT_IN_BROKER, build, built_in, load, load_triggers, notes};
pub use trigger::{DEPENDENCY, INJECTION};
pub use yaml::{MAX_COPIED, MAX_DEPTH, MAX_FILE};
