"""PKCS#11 modules, and what AWS CloudHSM needs beside its module: `pkcs11:`."""
