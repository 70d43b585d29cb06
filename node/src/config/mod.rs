//! The node's settings: one typed tree; defaults < file < env < flags; unknown keys are errors.
