//! The exchanges against a server's side of our own, which is itself checked against the RFCs' examples.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use super::*;
use crate::kafka::security::Secret;

fn login(user: &str, password: &str) -> Login {
    Login { user: user.to_owned(), password: Secret::new(password) }
}

/// The functions of RFC 5802 §3 for one hash.
struct Hash {
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
    digest: &'static digest::Algorithm,
}

impl Hash {
    fn sha256() -> Self {
        Self { hmac: hmac::HMAC_SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256, digest: &digest::SHA256 }
    }

    fn sha512() -> Self {
        Self { hmac: hmac::HMAC_SHA512, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512, digest: &digest::SHA512 }
    }

    fn sha1() -> Self {
        let hmac = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
        let digest = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        Self { hmac, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1, digest }
    }

    fn sign(&self, key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac, key), text).as_ref().to_vec()
    }

    /// The client's proof and the server's signature.
    fn expected(&self, password: &str, salt: &str, iterations: u32, messages: &str) -> (String, String) {
        let salt = STANDARD.decode(salt).expect("the salt is base64");
        let mut salted = vec![0; self.digest.output_len()];
        let iterations = NonZeroU32::new(iterations).expect("there are some");
        pbkdf2::derive(self.pbkdf2, iterations, &salt, password.as_bytes(), &mut salted);
        let client = self.sign(&salted, b"Client Key");
        let signature = self.sign(digest::digest(self.digest, &client).as_ref(), messages.as_bytes());
        let proof: Vec<_> = client.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
        let server = self.sign(&self.sign(&salted, b"Server Key"), messages.as_bytes());
        (STANDARD.encode(proof), STANDARD.encode(server))
    }
}

#[test]
fn the_oracle_computes_the_examples_of_rfc_5802_and_rfc_7677() {
    let messages = "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                    s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    let (proof, signature) = Hash::sha1().expected("pencil", "QSXCR+Q6sek8bf92", 4096, messages);
    assert_eq!(proof, "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    assert_eq!(signature, "rmF9pqV8S7suAoZWja4dJRkFsKQ=");

    let messages = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                    r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                    c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let (proof, signature) = Hash::sha256().expected("pencil", "W22ZaJ0SNY7soEsUEjb6gQ==", 4096, messages);
    assert_eq!(proof, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

/// Goes through an exchange up to the server's last message, which `end` makes of the true signature.
fn scram(sasl: &Sasl, hash: &Hash, password: &str, end: impl FnOnce(String) -> String) -> Result<(), String> {
    let mut exchange = Exchange::new(sasl).expect("the mechanism is known");
    let text = |message: Option<Vec<u8>>| {
        String::from_utf8(message.expect("there is something to say")).expect("it is text")
    };
    let first = text(exchange.next(None)?);
    let bare = first.strip_prefix("n,,").expect("neither channel binding nor another identity");
    let nonce = bare.strip_prefix("n=user,r=").expect("the user and a nonce");
    let salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
    let server = format!("r={nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s={salt},i=4096");
    let last = text(exchange.next(Some(server.as_bytes()))?);
    let (without_proof, proof) = last.rsplit_once(",p=").expect("a proof at the end");
    assert_eq!(without_proof, format!("c=biws,r={nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"));
    let messages = format!("{bare},{server},{without_proof}");
    let (expected, signature) = hash.expected(password, salt, 4096, &messages);
    assert_eq!(proof, expected);
    let nothing = exchange.next(Some(end(signature).as_bytes()))?;
    assert_eq!(nothing, None);
    assert_eq!(exchange.next(None)?, None);
    Ok(())
}

/// RFC 7677 §3, with a nonce that is ours each time.
#[test]
fn scram_proves_the_password_with_either_hash() {
    let verified = |signature| format!("v={signature}");
    let sasl = Sasl::ScramSha256(login("user", "pencil"));
    assert_eq!(scram(&sasl, &Hash::sha256(), "pencil", verified), Ok(()));
    let sasl = Sasl::ScramSha512(login("user", "pencil"));
    assert_eq!(scram(&sasl, &Hash::sha512(), "pencil", verified), Ok(()));
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let sasl = Sasl::ScramSha256(login("user", "pencil"));
    let forged = |_| format!("v={}", STANDARD.encode([7; 32]));
    assert!(scram(&sasl, &Hash::sha256(), "pencil", forged).is_err());
    for said in ["", "v", "v=", ",", "e=invalid-proof", "v=,", "x", "=="] {
        let outcome = scram(&sasl, &Hash::sha256(), "pencil", |_| said.to_owned());
        assert!(outcome.is_err(), "{said:?}");
    }
}

#[test]
fn a_server_that_speaks_something_else_is_refused() {
    for said in ["", "r", "r=", "r=x,s", "r=x,,", ",,,", "r=x,s=y,i", "\u{0}"] {
        let mut exchange = Exchange::new(&Sasl::ScramSha512(login("user", "pencil"))).expect("it is known");
        assert!(exchange.next(None).is_ok_and(|first| first.is_some()));
        assert!(exchange.next(Some(said.as_bytes())).is_err(), "{said:?}");
    }
}

#[test]
fn a_server_may_not_ask_for_any_number_of_iterations() {
    let mut exchange = Exchange::new(&Sasl::ScramSha256(login("user", "pencil"))).expect("it is known");
    let first = exchange.next(None).expect("it begins").expect("with a message");
    let first = String::from_utf8(first).expect("of text");
    let nonce = first.strip_prefix("n,,n=user,r=").expect("the user and a nonce");
    let greedy = format!("r={nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294967295");
    let error = exchange.next(Some(greedy.as_bytes())).unwrap_err();
    assert_eq!(error, "it asks for more than 1048576 iterations");
}

/// RFC 4616 §4
#[test]
fn plain_says_it_all_at_once() {
    let mut exchange = Exchange::new(&Sasl::Plain(login("tim", "tanstaaftanstaaf"))).expect("it is known");
    assert_eq!(exchange.next(None), Ok(Some(b"\0tim\0tanstaaftanstaaf".to_vec())));
    assert_eq!(exchange.next(Some(b"")), Ok(None));
}

/// RFC 7628 §3.1 and §3.2.2
#[test]
fn a_bearer_token_is_taken_or_refused_with_a_reason() {
    let sasl = Sasl::OauthBearer(Token { token: Secret::new("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==") });
    let first = b"n,,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01".to_vec();
    let mut exchange = Exchange::new(&sasl).expect("it is known");
    assert_eq!(exchange.next(None), Ok(Some(first.clone())));
    assert_eq!(exchange.next(Some(b"")), Ok(None));
    let mut exchange = Exchange::new(&sasl).expect("it is known");
    assert_eq!(exchange.next(None), Ok(Some(first)));
    let refused = r#"{"status":"invalid_token"}"#;
    assert_eq!(exchange.next(Some(refused.as_bytes())), Err(refused.to_owned()));
}
