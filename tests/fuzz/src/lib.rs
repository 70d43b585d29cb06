//! Fuzz targets for everything that parses bytes from outside; they are the tests beside this folder.
//!
//! `make test` replays the corpus (`tests/__fuzz__`) and tries a thousand random inputs each; `make fuzz` looks ten minutes each, led by coverage.
//! What it finds goes into the corpus. Not here: properties over values that we made (they are in their own packages).
