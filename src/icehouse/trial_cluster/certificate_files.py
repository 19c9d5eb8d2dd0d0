"""What the files of the root are called, for those who do not open them."""

KEY_FILE = "customerCA.key"
ROOT_FILE = "customerCA.crt"
"""What the CloudHSM client calls it, too: it belongs to /opt/cloudhsm/etc/customerCA.crt."""
