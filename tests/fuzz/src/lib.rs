//! Fuzz targets for everything that parses bytes from outside; they are the tests beside this folder.
//!
//! `make test` replays the corpus (`__fuzz__` beside them) and tries a thousand random inputs each; `make fuzz` (`run.sh`) runs the same targets for as long
//! as it is let, led by coverage if asked to. What it finds goes into the corpus. `parsers.txt` says which target tries which parser. What only this needs of other packages is in
//! their modules `fuzz`, which call parsers and have none. Not here: properties over values that we made (they are in their own packages).
