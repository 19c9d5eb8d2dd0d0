"""An opened vault: settings, store and custody, the rules of this process, and the one way to change a key."""
