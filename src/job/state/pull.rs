//! Whether an image that could not be pulled may still come.

/// What a failed pull means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullFailure {
    /// Another attempt will fail too: there is no such image, or the node may not have it.
    Permanent,
    /// The registry or the network may recover.
    Transient,
    /// The text does not tell.
    Unknown,
}

/// Texts of registries and container runtimes (lower case) that say: try again.
const TRANSIENT: [&str; 15] = [
    "timeout",
    "timed out",
    "deadline exceeded",
    "connection refused",
    "connection reset",
    "no route to host",
    "temporary failure",
    "server misbehaving",
    "unexpected eof",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "too many requests",
    "toomanyrequests",
];

/// Texts that say: not like this.
const PERMANENT: [&str; 14] = [
    "not found",
    "notfound",
    "manifest unknown",
    "manifest_unknown",
    "name unknown",
    "denied",
    "unauthorized",
    "authentication required",
    "authorization failed",
    "403 forbidden",
    "invalid reference",
    "no match for platform",
    "http response to https client",
    "x509:",
];

/// What the kubelet's message about a failed pull means. Temporary causes win: a text may name both
/// ("failed to authorize: … 503 Service Unavailable").
#[must_use]
pub fn classify_pull(message: &str) -> PullFailure {
    let message = message.to_ascii_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if has(&TRANSIENT) {
        PullFailure::Transient
    } else if has(&PERMANENT) {
        PullFailure::Permanent
    } else {
        PullFailure::Unknown
    }
}

/// What kubelets and runtimes wrap around each other's words.
const WRAPPINGS: [&str; 6] = [
    "Back-off pulling image",
    "ErrImagePull",
    "Failed to pull image",
    "rpc error",
    "failed to pull and unpack image",
    "failed to resolve reference",
];

/// The kubelet's message with the image's name once, instead of once for every program that passed it on.
#[must_use]
pub fn pull_words(message: &str) -> String {
    let (mut rest, mut image) = (message, None);
    while let Some((head, tail)) = rest.split_once(": ") {
        if !WRAPPINGS.iter().any(|wrapping| head.contains(wrapping)) {
            break;
        }
        image = image.or_else(|| head.split('"').nth(1));
        rest = tail;
    }
    match image {
        Some(image) => format!("image {image} cannot be pulled: {rest}"),
        None => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_once() {
        let message = "Back-off pulling image \"r:1/a@sha256:12\": ErrImagePull: rpc error: code = Unknown desc = failed to \
                       pull and unpack image \"r:1/a@sha256:12\": failed to resolve reference \"r:1/a@sha256:12\": \
                       pulling from host r:1 failed: 401 Unauthorized";
        assert_eq!(
            pull_words(message),
            "image r:1/a@sha256:12 cannot be pulled: pulling from host r:1 failed: 401 Unauthorized"
        );
        assert_eq!(pull_words("Back-off pulling image \"r:1/a\""), "Back-off pulling image \"r:1/a\"");
        assert_eq!(pull_words("x509: unknown authority"), "x509: unknown authority");
    }

    #[test]
    fn what_registries_and_runtimes_say_is_understood() {
        let digest = "registry:5000/a@sha256:4030000000000000000000000000000000000000000000000000000000000000";
        for (message, expected) in [
            ("rpc error: code = NotFound desc = failed to pull and unpack image: not found", PullFailure::Permanent),
            ("pull access denied, repository does not exist or may require authorization", PullFailure::Permanent),
            ("failed to authorize: failed to fetch anonymous token: 401 Unauthorized", PullFailure::Permanent),
            ("http: server gave HTTP response to HTTPS client", PullFailure::Permanent),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                PullFailure::Permanent,
            ),
            ("dial tcp 10.0.0.1:5000: connect: connection refused", PullFailure::Transient),
            ("failed to authorize: unexpected status: 503 Service Unavailable", PullFailure::Transient),
            ("Head \"https://r/v2/\": net/http: request canceled (Client.Timeout exceeded)", PullFailure::Transient),
        ] {
            assert_eq!(classify_pull(message), expected, "{message}");
        }
        assert_eq!(classify_pull(&format!("Back-off pulling image \"{digest}\"")), PullFailure::Unknown);
    }
}
