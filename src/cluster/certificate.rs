//! When the client's own certificate ends: an API server answers a bare 401 to one that is past it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::certificates::element;

/// The end of the first certificate in `pem`; none when it cannot be told.
pub(super) fn not_after(pem: &str) -> Option<Timestamp> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let der = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    let (_, certificate, _) = element(&der)?;
    let (_, mut fields, _) = element(certificate)?;
    // X.509 (RFC 5280, 4.1): [0] version, serial number, signature, issuer, validity.
    let (tag, _, rest) = element(fields)?;
    if tag == 0xa0 {
        fields = rest;
    }
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, end) = element(validity)?;
    let (tag, text, _) = element(end)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// `UTCTime` (two digits of the year, 1950 to 2049) or `GeneralizedTime`, both ending in `Z`.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let text = match (tag, text.as_bytes().first()?) {
        (0x17, b'5'..=b'9') => format!("19{text}"),
        (0x17, _) => format!("20{text}"),
        _ => text.to_owned(),
    };
    let civil = DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        for year in [2019, 2049, 2050, 2150] {
            let key = rcgen::KeyPair::generate().expect("a key");
            let mut params = rcgen::CertificateParams::new(vec!["x".to_owned()]).expect("a name");
            params.not_after = rcgen::date_time_ymd(year, 2, 3);
            let pem = params.self_signed(&key).expect("a certificate").pem();
            let end = not_after(&pem).expect("an end").to_string();
            assert_eq!(end, format!("{year}-02-03T00:00:00Z"));
        }
    }

    #[test]
    fn nonsense_has_no_end() {
        for text in ["", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"] {
            assert_eq!(not_after(text), None);
        }
    }
}
