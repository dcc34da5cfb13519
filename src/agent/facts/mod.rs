//! What this host has: found out, or told by the operator.
