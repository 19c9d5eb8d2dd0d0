//! The core's errors as Python exceptions; `icehouse.errors` gives them their place in the tree.
