//! Paths of the ingress: `/<namespace>/<broker>` (IN-11).
//!
//! Names of Brokers are DNS labels, so a percent-encoded path cannot name one and is not decoded.

use trigon_core::name;

/// Why a path does not name a Broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It is `/`.
    Root,
    /// It is anything else but two segments.
    Malformed,
}

/// Reads the Broker's namespace and name from a path; one slash at its end is tolerated.
///
/// # Errors
/// When the path has not exactly two segments.
pub fn broker_of(path: &str) -> Result<(&str, &str), PathError> {
    if path == "/" {
        return Err(PathError::Root);
    }
    let path = path.strip_prefix('/').ok_or(PathError::Malformed)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    name::parts(path).ok_or(PathError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IN-11
    #[test]
    fn exactly_two_segments_name_a_broker() {
        for path in ["/default/orders", "/default/orders/"] {
            assert_eq!(broker_of(path), Ok(("default", "orders")), "{path}");
        }
        assert_eq!(broker_of("/"), Err(PathError::Root));
        for path in [
            "",
            "*",
            "//",
            "///",
            "/default",
            "/default/",
            "//orders",
            "/default//",
            "/a/b/c",
            "/a/b//",
            "//a/b",
        ] {
            assert_eq!(broker_of(path), Err(PathError::Malformed), "{path:?}");
        }
    }
}
