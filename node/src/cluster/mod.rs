//! The cluster as a whole: its making, its map.
