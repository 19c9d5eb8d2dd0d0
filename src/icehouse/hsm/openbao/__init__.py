"""The transit engine of OpenBao or Vault: `openbao://HOST/MOUNT`."""
