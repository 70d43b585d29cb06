//! From a channel's leader to screens: dispatch, registry, local.
