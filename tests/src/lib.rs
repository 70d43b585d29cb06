//! kith-tests
