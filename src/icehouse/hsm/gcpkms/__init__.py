"""Google Cloud KMS, protection level HSM: `gcpkms://projects/P/locations/L/keyRings/R`."""
