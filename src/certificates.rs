//! Files of certificates: what is in them besides goes nowhere.
//!
//! Owns: PEM and DER as far as a certificate's frame is concerned. Does not own: whether a certificate is to be trusted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END CERTIFICATE-----";
/// DER tags (X.690): what a certificate is made of.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// Why a file is none of certificates. Nothing of it is quoted: it may be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCertificates {
    /// No block at all.
    #[error("there is no PEM certificate in it")]
    None,
    /// A key, a request, a list of revocations.
    #[error("line {line} begins something that is no certificate")]
    Other {
        /// Where, from 1.
        line: usize,
    },
    /// The frame of a certificate around something else.
    #[error("what begins in line {line} is no whole certificate")]
    Broken {
        /// Where, from 1.
        line: usize,
    },
}

/// The certificates of a PEM file as they are to be handed on: each block must be one, and what stands between them is left
/// out.
pub fn only_certificates(pem: &[u8]) -> Result<String, NotCertificates> {
    let text = String::from_utf8_lossy(pem);
    let mut lines = text.lines().map(str::trim).zip(1..);
    let mut certificates = String::new();
    while let Some((line, number)) = lines.next() {
        if !line.starts_with(BEGIN) {
            continue;
        }
        if line != "-----BEGIN CERTIFICATE-----" {
            return Err(NotCertificates::Other { line: number });
        }
        let mut is_whole = false;
        let body: String = lines
            .by_ref()
            .map(|(line, _)| line)
            .take_while(|line| {
                is_whole = *line == END;
                !is_whole
            })
            .collect();
        let der = STANDARD.decode(body).ok().filter(|der| is_whole && is_certificate(der));
        let der = der.ok_or(NotCertificates::Broken { line: number })?;
        certificates.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(der);
        let rows = (0..encoded.len()).step_by(64).map(|at| &encoded[at..encoded.len().min(at + 64)]);
        certificates.extend(rows.flat_map(|row| [row, "\n"]));
        certificates.push_str(END);
        certificates.push('\n');
    }
    if certificates.is_empty() { Err(NotCertificates::None) } else { Ok(certificates) }
}

/// A certificate (RFC 5280, 4.1) is what is signed, how, and the signature; a key begins with its version, a number.
fn is_certificate(der: &[u8]) -> bool {
    let parts = || {
        let (SEQUENCE, content, []) = element(der)? else { return None };
        let (signed, _, rest) = element(content)?;
        let (algorithm, _, rest) = element(rest)?;
        let (signature, _, rest) = element(rest)?;
        Some((signed, algorithm, signature, rest.is_empty()))
    };
    parts() == Some((SEQUENCE, SEQUENCE, BIT_STRING, true))
}

/// The first DER element: its tag, its content, and what follows it.
pub fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let len =
            digits.iter().try_fold(0_usize, |len, digit| len.checked_mul(256)?.checked_add(usize::from(*digit)))?;
        (len, rest)
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["x".to_owned()]).expect("a name");
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    #[test]
    fn certificates_pass_and_nothing_else_does() {
        let ((one, key), (other, _)) = (pair(), pair());
        let clean = |text: &str| only_certificates(text.as_bytes());
        let passed = clean(&format!("# a name\n{one}\n\ncanary\n{other}canary")).expect("certificates");
        let same = |a: &str, b: &str| a.lines().map(str::trim).eq(b.lines().map(str::trim));
        assert!(same(&passed, &[one.trim(), "\n", other.trim()].concat()), "{passed}");
        assert_eq!(clean(&format!("{one}{key}")), Err(NotCertificates::Other { line: one.lines().count() + 1 }));
        assert_eq!(clean("AKIA canary\n"), Err(NotCertificates::None));
        let disguised = key.replace("PRIVATE KEY", "CERTIFICATE");
        assert_eq!(clean(&disguised), Err(NotCertificates::Broken { line: 1 }));
        let cut = one.replace("-----END CERTIFICATE-----", "");
        assert_eq!(clean(&cut), Err(NotCertificates::Broken { line: 1 }));
        let folded = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n";
        assert_eq!(clean(folded), Err(NotCertificates::Broken { line: 1 }));
    }

    #[test]
    fn what_the_system_trusts_passes() {
        let Ok(all) = std::fs::read("/etc/ssl/certs/ca-certificates.crt") else { return };
        let count = |text: &str| text.matches(BEGIN).count();
        let passed = only_certificates(&all).expect("certificates");
        assert_eq!(count(&passed), count(&String::from_utf8_lossy(&all)));
    }
}
