//! HashiCorp Vault and OpenBao as key store of kes.
