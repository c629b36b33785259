//! The pooled HTTP client that subscribers are called with.
//!
//! HTTP/1.1 and HTTP/2 by ALPN, `http` and `https`. It follows no redirect (DLV, X-25), sets no timeout but
//! the one for connecting, and retries nothing: those are decisions of its callers. Only a request that found
//! its pooled connection closed before a byte of it was written is sent on another one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioTimer;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::tasks::Spawner;

/// The client. Cloning shares the pool.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// How the client connects and what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// How long a connection may take to be made. Default 10 s.
    pub connect_timeout: Duration,
    /// How many idle connections are kept per origin. Default 256.
    pub max_idle_per_origin: usize,
    /// How long an idle connection is kept. Default 60 s.
    pub idle_timeout: Duration,
    /// How large the head of a response may be, in bytes. Default 64 KiB, at least 8 KiB.
    pub max_header_bytes: u32,
    /// Whom TLS connections trust.
    pub trust: Trust,
}

/// Whom TLS connections trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The certificate authorities of the operating system.
    #[default]
    Native,
    /// Nobody: every `https` request fails, `http` works.
    Nobody,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            max_idle_per_origin: 256,
            idle_timeout: Duration::from_secs(60),
            max_header_bytes: 64 * 1024,
            trust: Trust::Native,
        }
    }
}

/// Why the client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The operating system has no certificate authorities.
    #[error(
        "no certificate authorities found for https subscribers: install the system's CA certificates or set \
         SSL_CERT_FILE"
    )]
    NoRoots(#[source] io::Error),
    /// TLS cannot be set up.
    #[error("could not set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Builds a client whose connections run on `connections`.
///
/// # Errors
/// When TLS cannot be set up, most likely because there are no certificate authorities.
pub fn client(settings: &ClientSettings, connections: Spawner) -> Result<HttpClient, ClientError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(settings.connect_timeout));

    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls(settings.trust)?)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);

    Ok(Client::builder(connections)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(settings.idle_timeout)
        .pool_max_idle_per_host(settings.max_idle_per_origin)
        .http1_max_buf_size(usize::try_from(settings.max_header_bytes).unwrap_or(usize::MAX))
        .http2_max_header_list_size(settings.max_header_bytes)
        .build(connector))
}

fn tls(trust: Trust) -> Result<ClientConfig, ClientError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?;
    let config = match trust {
        Trust::Native => config.with_native_roots().map_err(ClientError::NoRoots)?,
        Trust::Nobody => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(config.with_no_client_auth())
}
