//! A volume whose flushes fail: when the write-behind tries again.

/// After the first failure.
pub const SHORTEST_MS: u64 = 1000;
/// However often it failed.
pub const LONGEST_MS: u64 = 30_000;

/// Flushes of one volume that failed, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trouble {
    failed: u32,
    /// When somebody first looked after the last failure; a try may itself have taken minutes.
    since_ms: Option<u64>,
}

impl Trouble {
    /// One more failed; tells how many that makes.
    pub fn again(&mut self) -> u32 {
        *self = Self {
            failed: self.failed.saturating_add(1),
            since_ms: None,
        };
        self.failed
    }

    /// How many failed.
    pub fn failed(self) -> u32 {
        self.failed
    }

    /// Whether it is time for another try.
    pub fn is_due(&mut self, now_ms: u64) -> bool {
        let since = *self.since_ms.get_or_insert(now_ms);
        now_ms.saturating_sub(since) >= self.wait_ms()
    }

    fn wait_ms(self) -> u64 {
        let doubled = 1u64.checked_shl(self.failed.saturating_sub(1));
        let wait = doubled.unwrap_or(u64::MAX).saturating_mul(SHORTEST_MS);
        wait.min(LONGEST_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::Trouble;

    #[test]
    fn each_failure_doubles_the_wait_up_to_30_s() {
        let mut trouble = Trouble::default();
        let mut waits = Vec::new();
        for _try in 0..70 {
            trouble.again();
            assert!(!trouble.is_due(5000), "it begins with the first look");
            let wait = (0..).find(|ms| trouble.is_due(5000 + ms * 1000));
            waits.push(wait.unwrap());
        }
        assert_eq!(waits[..6], [1, 2, 4, 8, 16, 30]);
        assert!(waits[6..].iter().all(|wait| *wait == 30));
    }
}
