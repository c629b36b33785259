//! Opening the addresses that a command serves.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::failure::Failure;

/// Listens on an address; port 0 takes a free one.
///
/// # Errors
/// When the address is taken or not of this machine; the failure names the flag that sets another one.
pub(crate) async fn listen(address: SocketAddr, flag: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let opened = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    opened.await.map_err(|error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "the address is in use by another process".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            io::ErrorKind::PermissionDenied => "this needs permission".to_owned(),
            _ => error.to_string(),
        };
        Failure::Failed(format!("could not listen on {address}: {reason}; {flag} sets another address"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_is_named_with_the_flag_that_changes_it() {
        let (_listener, taken) = listen("127.0.0.1:0".parse().unwrap(), "--listen").await.unwrap();
        let failure = listen(taken, "--listen").await.unwrap_err();
        let message = format!(
            "could not listen on {taken}: the address is in use by another process; --listen sets another address"
        );
        assert_eq!(failure, Failure::Failed(message));
    }
}
