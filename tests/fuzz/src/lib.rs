//! Fuzz targets for everything that parses bytes from outside; they are the tests beside this folder.
//!
//! `make test` replays the corpus (`__fuzz__` beside them) and tries a thousand random inputs each; cargo-bolero runs the same targets led by
//! coverage, for as long as it is let. What it finds goes into the corpus. Not here: properties over values that we made (they are in their own packages).
