"""AWS KMS: `awskms://REGION`."""
