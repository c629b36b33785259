//! Whether a text holds certificates in PEM (VAL-17).
//!
//! The frame of each certificate is checked, not its content: whether it can be trusted, TLS finds out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Why a text is no list of certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PemError {
    /// There is nothing between the marks, or there are no marks.
    #[error("holds no certificate; write PEM, with a line \"{BEGIN}\" before each")]
    NoCertificate,
    /// What is between the marks is not one.
    #[error("certificate {0} is damaged; copy the PEM again, with all of its lines")]
    Damaged(usize),
}

/// Checks that there is at least one certificate, and that none is damaged.
pub(crate) fn check_certificates(text: &str) -> Result<(), PemError> {
    let mut certificates = text.split(BEGIN).skip(1).zip(1..).peekable();
    if certificates.peek().is_none() {
        return Err(PemError::NoCertificate);
    }
    for (certificate, number) in certificates {
        let (body, _) = certificate.split_once(END).ok_or(PemError::Damaged(number))?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| PemError::Damaged(number))?;
        if !is_one_sequence(&der) {
            return Err(PemError::Damaged(number));
        }
    }
    Ok(())
}

/// Whether DER is one SEQUENCE of exactly the length that it states.
fn is_one_sequence(der: &[u8]) -> bool {
    match der {
        [0x30, length @ 0..=0x7f, content @ ..] => content.len() == usize::from(*length),
        [0x30, 0x81, length, content @ ..] => content.len() == usize::from(*length),
        [0x30, 0x82, high, low, content @ ..] => {
            content.len() == usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}

/// The smallest text that passes for a certificate.
#[cfg(test)]
pub(crate) const EXAMPLE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// VAL-17
    #[test]
    fn certificates_are_told_from_other_texts() {
        assert_eq!(check_certificates(EXAMPLE), Ok(()));
        assert_eq!(check_certificates(&EXAMPLE.repeat(2)), Ok(()));
        assert_eq!(check_certificates(""), Err(PemError::NoCertificate));
        let key = "-----BEGIN PRIVATE KEY-----\nMAMCAQE=\n-----END PRIVATE KEY-----\n";
        assert_eq!(check_certificates(key), Err(PemError::NoCertificate));
        assert_eq!(check_certificates(BEGIN), Err(PemError::Damaged(1)));
        for body in ["", "MAMCAQ==", "MAMC", "MQMCAQE=", "not base64"] {
            let text = format!("{EXAMPLE}{BEGIN}\n{body}\n{END}\n");
            assert_eq!(check_certificates(&text), Err(PemError::Damaged(2)), "{body}");
        }
    }
}
