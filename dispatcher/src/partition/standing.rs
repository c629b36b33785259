//! The lanes that want a seat on a scan: by where they want it, and by how long they have stood.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use trigon_core::name::Offset;

use crate::attempt::LaneId;

#[derive(Debug, Default)]
pub(super) struct Standing {
    by_offset: BTreeSet<(Offset, LaneId)>,
    by_turn: BTreeMap<u64, LaneId>,
    places: HashMap<LaneId, (Offset, u64)>,
    last_turn: u64,
    served: u64,
}

impl Standing {
    /// A lane that stands already keeps its turn.
    pub(super) fn insert(&mut self, id: LaneId, at: Offset) {
        if self.places.contains_key(&id) {
            return;
        }
        self.last_turn += 1;
        self.places.insert(id, (at, self.last_turn));
        self.by_turn.insert(self.last_turn, id);
        self.by_offset.insert((at, id));
    }

    pub(super) fn remove(&mut self, id: LaneId) {
        if let Some((at, turn)) = self.places.remove(&id) {
            self.by_turn.remove(&turn);
            self.by_offset.remove(&(at, id));
        }
    }

    /// Where the next scan is to begin. In turn, where the lowest lane stands, because it will meet the most
    /// others, and where the one stands that has waited longest, so that low ones do not keep it waiting for ever.
    pub(super) fn next(&mut self) -> Option<Offset> {
        self.served += 1;
        if self.served.is_multiple_of(2) {
            let (_, longest) = self.by_turn.first_key_value()?;
            self.places.get(longest).map(|(at, _)| *at)
        } else {
            self.by_offset.first().map(|(at, _)| *at)
        }
    }

    /// The lanes that stand from `from` up to `to`.
    pub(super) fn between(&self, from: Offset, to: Offset) -> Vec<LaneId> {
        let met = self.by_offset.range((from, LaneId(0))..).take_while(|(at, _)| *at < to);
        met.map(|(_, id)| *id).collect()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
