//! Values by the paths that they are about: what a tree, or a manifest, of tens of thousands of files is in memory.

use std::fmt;
use std::ops::Range;

/// Values by their paths, in the order of the paths' bytes. The paths lie one behind the other in one piece of memory, so that
/// each costs its bytes and sixteen, and none is an allocation of its own.
#[derive(Clone)]
pub struct ByPath<T> {
    /// The paths, in the order in which they came.
    text: Vec<u8>,
    /// Where in it each path is, and its value, in the order of the paths.
    entries: Vec<(Range<usize>, T)>,
}

impl<T> Default for ByPath<T> {
    fn default() -> Self {
        ByPath { text: Vec::new(), entries: Vec::new() }
    }
}

impl<T> ByPath<T> {
    /// None yet, with room for as many.
    pub fn with_capacity(paths: usize) -> Self {
        ByPath { text: Vec::new(), entries: Vec::with_capacity(paths) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a path, or replaces its value. It is quickest for paths that come in their order.
    pub fn insert(&mut self, path: &[u8], value: T) {
        let found = match self.last_path() {
            Some(last) if last >= path => self.find(path),
            _ => Err(self.entries.len()),
        };
        match found {
            Ok(index) => self.entries[index].1 = value,
            Err(index) => {
                let start = self.text.len();
                self.text.extend_from_slice(path);
                self.entries.insert(index, (start..self.text.len(), value));
            }
        }
    }

    /// The value of a path.
    pub fn get(&self, path: &[u8]) -> Option<&T> {
        self.find(path).ok().map(|index| &self.entries[index].1)
    }

    fn find(&self, path: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|(place, _)| self.text[place.clone()].cmp(path))
    }

    /// The last of the paths.
    pub fn last_path(&self) -> Option<&[u8]> {
        self.entries.last().map(|(place, _)| &self.text[place.clone()])
    }

    /// The paths and their values, in the order of the paths.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &T)> + Clone {
        self.entries.iter().map(|(place, value)| (&self.text[place.clone()], value))
    }

    /// Leaves out those of which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &T) -> bool) {
        self.entries.retain(|(place, value)| keep(&self.text[place.clone()], value));
    }
}

impl<T: PartialEq> PartialEq for ByPath<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for ByPath<T> {}

impl<T: fmt::Debug> fmt::Debug for ByPath<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(path, value)| (String::from_utf8_lossy(path), value));
        f.debug_map().entries(shown).finish()
    }
}

impl<P: AsRef<[u8]>, T> FromIterator<(P, T)> for ByPath<T> {
    fn from_iter<I: IntoIterator<Item = (P, T)>>(values: I) -> Self {
        let mut by_path = ByPath::default();
        values.into_iter().for_each(|(path, value)| by_path.insert(path.as_ref(), value));
        by_path
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_a_sorted_map_is(values in prop::collection::vec(("[a-c/-]{0,3}", 0..9_u8), 0..40), gone in 0..9_u8) {
            let mut expected: BTreeMap<String, u8> = values.iter().cloned().collect();
            let mut by_path: ByPath<u8> = values.iter().cloned().collect();
            let shown = |by_path: &ByPath<u8>| -> Vec<(String, u8)> {
                by_path.iter().map(|(path, value)| (String::from_utf8(path.to_vec()).unwrap(), *value)).collect()
            };
            prop_assert_eq!(shown(&by_path), expected.clone().into_iter().collect::<Vec<_>>());
            for path in ["", "a", "a-b", "a/b", "zz"] {
                prop_assert_eq!(by_path.get(path.as_bytes()), expected.get(path));
            }
            by_path.retain(|_, value| *value != gone);
            expected.retain(|_, value| *value != gone);
            prop_assert_eq!(shown(&by_path), expected.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(by_path, expected.into_iter().collect::<ByPath<u8>>());
        }
    }
}
