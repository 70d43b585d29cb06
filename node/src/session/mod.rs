//! Protocol of one client: sans-io machine, driver.
