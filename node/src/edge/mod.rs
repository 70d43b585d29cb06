//! Client listener: accept, admission, sessions' streams.
