//! What is known of a volume without a look at how it is made.

use super::{BLOCKS, Content, SECTORS, State};

/// What is promised of one volume.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub(super) ephemeral: bool,
    pub(super) parent: Option<usize>,
    pub(super) here: Option<Local>,
    /// What the flush point may be, `None` for none at all. Several while an answer of object storage
    /// is missing.
    pub(super) points: Vec<Option<State>>,
    /// Blocks that the loss of the host would take. What a killed process had written is not counted.
    pub(super) at_stake: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) current: State,
    pub(super) synced: State,
    /// Contents that each block had since it was last synced.
    pub(super) unsynced: [Vec<Content>; BLOCKS.len()],
}

impl Local {
    pub(super) fn holding(state: State) -> Self {
        Self {
            current: state,
            synced: state,
            unsynced: Default::default(),
        }
    }

    pub(super) fn sync(&mut self, block: usize) {
        self.synced[block] = self.current[block];
        self.unsynced[block].clear();
    }

    /// Whether a power cut may leave this, torn at most at `tear` sectors.
    pub(super) fn may_become(&self, block: usize, content: Content, torn: bool) -> bool {
        let versions = || self.unsynced[block].iter().chain([&self.synced[block]]);
        let whole = versions().any(|version| *version == content);
        let mixed =
            (0..SECTORS).all(|sector| versions().any(|version| version[sector] == content[sector]));
        whole || torn && mixed
    }
}
