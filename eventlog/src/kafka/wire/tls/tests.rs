//! Against a server of rustls in this process.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

use super::*;
use crate::kafka::security::{Identity, Secret, Security};
use crate::kafka::wire::connection::Connection;
use crate::kafka::wire::fake::{Fake, Reply};
use crate::kafka::wire::patience::Setback;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key is made");
        Self(CertifiedIssuer::self_signed(params, key).expect("it signs itself"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn identity(&self, name: &str) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key is made");
        let certificate = params.signed_by(&key, &self.0).expect("it signs");
        Identity { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) }
    }
}

/// A broker whose certificate names `localhost`; with `clients`, it wants one of theirs.
async fn broker(authority: &Authority, clients: Option<&Authority>) -> Fake {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("there are some");
    let builder = match clients {
        Some(clients) => {
            let roots = Arc::new(roots(Some(&clients.pem())).expect("an authority"));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.expect("there is an authority"))
        }
        None => builder.with_no_client_auth(),
    };
    let Identity { certificate, key } = authority.identity("localhost");
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("it is PEM")];
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).expect("it is PEM");
    let config = builder.with_single_cert(chain, key).expect("they belong together");
    Fake::start(&[], Some(config), |_| Reply::Close).await
}

async fn open(host: &str, broker: &Fake, tls: Tls) -> Result<Connection, String> {
    try_to_open(host, broker, tls).await.map_err(|error| error.to_string())
}

async fn try_to_open(host: &str, broker: &Fake, tls: Tls) -> Result<Connection, WireError> {
    let security = Security { tls: Some(tls), sasl: None };
    let address = format!("{host}:{}", broker.port);
    Connection::open(&address, &security, Duration::from_secs(10)).await
}

fn trusting(authority: &Authority) -> Tls {
    Tls { ca: Some(authority.pem()), ..Tls::default() }
}

#[tokio::test]
async fn a_broker_whose_authority_and_name_are_right_is_spoken_to() {
    let authority = Authority::new();
    let broker = broker(&authority, None).await;
    assert!(open("localhost", &broker, trusting(&authority)).await.expect("it opens").is_open());
}

#[tokio::test]
async fn a_broker_of_another_authority_is_not() {
    let broker = broker(&Authority::new(), None).await;
    let stranger = Authority::new();
    for host_names in [HostNames::Checked, HostNames::Unchecked] {
        let tls = Tls { host_names, ..trusting(&stranger) };
        let error = open("localhost", &broker, tls).await.unwrap_err();
        let expected = format!("could not secure the connection to localhost:{}: ", broker.port);
        assert!(error.starts_with(&expected) && error.contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_is_taken_only_where_names_are_not_checked() {
    let authority = Authority::new();
    let broker = broker(&authority, None).await;
    let error = open("127.0.0.1", &broker, trusting(&authority)).await.unwrap_err();
    assert!(error.contains("127.0.0.1") && error.contains("localhost"), "{error}");
    let unchecked = Tls { host_names: HostNames::Unchecked, ..trusting(&authority) };
    assert!(open("127.0.0.1", &broker, unchecked).await.is_ok());
}

#[tokio::test]
async fn a_broker_that_wants_a_certificate_gets_ours() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let broker = broker(&authority, Some(&clients)).await;
    let error = open("localhost", &broker, trusting(&authority)).await.unwrap_err();
    assert!(error.starts_with("could not secure the connection"), "{error}");
    let tls = Tls { identity: Some(clients.identity("trigon")), ..trusting(&authority) };
    assert!(open("localhost", &broker, tls).await.is_ok());
    let tls = Tls { identity: Some(authority.identity("trigon")), ..trusting(&authority) };
    assert!(open("localhost", &broker, tls).await.is_err());
}

#[tokio::test]
async fn a_listener_without_tls_is_told_from_one_with_a_bad_certificate() {
    let broker = Fake::start(&[], None, |_| Reply::Close).await;
    let error = open("localhost", &broker, trusting(&Authority::new())).await.unwrap_err();
    let expected = format!("could not secure the connection to localhost:{}: ", broker.port);
    assert!(error.starts_with(&expected) && !error.contains("certificate"), "{error}");
}

/// A broker that goes closes its connections without a word, in the middle of a handshake too.
#[tokio::test]
async fn a_connection_that_is_closed_in_the_handshake_is_tried_again_and_a_bad_certificate_is_not() {
    let going = Fake::start(&[], None, |_| Reply::Close).await;
    let error = try_to_open("localhost", &going, trusting(&Authority::new())).await.unwrap_err();
    assert!(matches!(Setback::from(error.clone()), Setback::Passing(_)), "{error:?}");

    let broker = broker(&Authority::new(), None).await;
    let error = try_to_open("localhost", &broker, trusting(&Authority::new())).await.unwrap_err();
    assert!(matches!(Setback::from(error.clone()), Setback::Lasting(_)), "{error:?}");
}

#[test]
fn a_host_is_what_stands_before_the_port() {
    assert_eq!(host("kafka-1.example:9093"), "kafka-1.example");
    assert_eq!(host("[::1]:9093"), "::1");
    assert_eq!(host("10.0.0.1:9093"), "10.0.0.1");
}

#[test]
fn what_is_not_pem_is_refused_without_a_word_of_a_key() {
    let nothing = Tls { ca: Some("x".to_owned()), ..Tls::default() };
    assert_eq!(config(&nothing).unwrap_err(), "the authorities' PEM has no certificate");
    let authority = Authority::new();
    let identity = Identity { key: Secret::new("-----BEGIN hunter2-----"), ..authority.identity("a") };
    let tls = Tls { identity: Some(identity), ..trusting(&authority) };
    assert_eq!(config(&tls).unwrap_err(), "our private key is not PEM, or encrypted");
}
