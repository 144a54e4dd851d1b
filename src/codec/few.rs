//! A set for what is mostly a handful: no hashing before there are many.
//!
//! **Invariants.** Time is linear in the number of members, however many there are.

use std::collections::HashSet;
use std::hash::Hash;

/// Members that have been seen.
#[derive(Debug)]
pub(crate) struct Few<T> {
    first: [Option<T>; FEW],
    more: Option<HashSet<T>>,
}

/// Up to here comparing each member with each other one beats hashing them.
const FEW: usize = 8;

impl<T: Copy + Eq + Hash> Few<T> {
    pub(crate) fn new() -> Self {
        Self {
            first: [None; FEW],
            more: None,
        }
    }

    /// Adds a member; `false` where it is there already.
    pub(crate) fn insert(&mut self, member: T) -> bool {
        if let Some(more) = &mut self.more {
            return more.insert(member);
        }
        for place in &mut self.first {
            match place {
                Some(known) if *known == member => return false,
                Some(_) => {}
                None => {
                    *place = Some(member);
                    return true;
                }
            }
        }
        let more = self.more.insert(self.first.iter().flatten().copied().collect());
        more.insert(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_is_new_once() {
        for count in [0_usize, 1, FEW - 1, FEW, FEW + 1, 100] {
            let mut few = Few::new();
            for _ in 0..2 {
                let new: Vec<bool> = (0..count).map(|member| few.insert(member)).collect();
                let again: Vec<bool> = (0..count).map(|member| few.insert(member)).collect();
                assert!(again.iter().all(|new| !new), "{count}");
                assert!(new.windows(2).all(|pair| pair[0] == pair[1]), "{count} {new:?}");
            }
        }
    }
}
