//! What a caller may do about a configuration that cannot be used.

use perennis_shared::error::{ErrorKind, Retryable};

use super::ConfigError;

impl Retryable for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Reject
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_with_problems_is_refused() {
        let error = ConfigError {
            problems: Vec::new(),
        };
        assert_eq!(error.kind(), ErrorKind::Reject);
    }
}
