//! What the settings about memory come to together.

use super::Config;

impl Config {
    /// Memory in bytes that the process may hold before no further peer is taken: what there is for peers, and all that
    /// is set aside for other things, so that none of those can shut peers out.
    #[must_use]
    pub fn process_memory_bytes(&self) -> u64 {
        [
            self.p2p.memory_bytes,
            self.http.answer_memory_bytes,
            self.admission.memory_bytes,
            self.cache.block_bytes,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_for_others_is_not_taken_from_peers() {
        let mut config = Config::default();
        let before = config.process_memory_bytes();
        assert!(before > config.p2p.memory_bytes);
        config.http.answer_memory_bytes += 1 << 30;
        assert_eq!(config.process_memory_bytes(), before + (1 << 30));
        config.cache.block_bytes = u64::MAX;
        assert_eq!(config.process_memory_bytes(), u64::MAX);
    }
}
