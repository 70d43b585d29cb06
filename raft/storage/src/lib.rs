//! kith-storage
