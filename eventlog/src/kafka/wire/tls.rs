//! Encrypts a connection, and makes sure of who is at its other end.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::WireError;
use crate::kafka::security::{HostNames, Tls};

/// Shakes hands over a connection to `address`.
pub(super) async fn secured(
    tcp: TcpStream,
    address: &str,
    tls: &Tls,
) -> Result<TlsStream<TcpStream>, WireError> {
    let failed = |reason: String| WireError::Tls { address: address.to_owned(), reason };
    let host = host(address);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| failed(format!("{host:?} is no name that a certificate could have")))?;
    let config = config(tls).map_err(failed)?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, tcp).await.map_err(|error| match is_of_tls(&error) {
        true => failed(reason(&error)),
        false => WireError::Unsecured { address: address.to_owned(), reason: reason(&error) },
    })
}

/// The host of an address of the form `HOST:PORT` or `[HOST]:PORT`.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether one side has refused the other, rather than that the connection has failed.
pub(super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

fn reason(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "what listens there does not speak TLS".to_owned()
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection, as what does not speak TLS does".to_owned()
        }
        _ => error.to_string(),
    }
}

fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(roots(tls.ca.as_deref())?);
    let verifier: Arc<dyn ServerCertVerifier> = match tls.host_names {
        HostNames::Checked => {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            verifier.map_err(|error| error.to_string())?
        }
        HostNames::Unchecked => Arc::new(AnyHost { roots, provider: Arc::clone(&provider) }),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(identity) = &tls.identity else { return Ok(config.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("our certificate is not PEM: {error}"))?;
    // What the parser says of a key could be a part of it.
    let key = PrivateKeyDer::from_pem_slice(identity.key.reveal().as_bytes())
        .map_err(|_| "our private key is not PEM, or encrypted".to_owned())?;
    config.with_client_auth_cert(chain, key).map_err(|error| format!("our certificate and key: {error}"))
}

fn roots(ca: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate =
                    certificate.map_err(|error| format!("the authorities are not PEM: {error}"))?;
                roots.add(certificate).map_err(|error| format!("the authorities: {error}"))?;
            }
        }
        None => {
            // One certificate that cannot be read does not make the others useless.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    match roots.is_empty() {
        false => Ok(roots),
        true if ca.is_some() => Err("the authorities' PEM has no certificate".to_owned()),
        true => Err("the system has no authorities: name those of the brokers".to_owned()),
    }
}

/// Wants a certificate of an authority that is trusted, whatever host it names.
#[derive(Debug)]
struct AnyHost {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
